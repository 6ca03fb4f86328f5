"""What a written scalar means where a type is expected. Strict: a number is no text, a word that YAML readers disagree about is neither."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, get_args, get_origin

from infermeter.parsing.strict_yaml import Scalar

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NULL = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DISPUTED = frozenset({"y", "n", "yes", "no", "on", "off"})
"""Booleans in YAML 1.1, words in YAML 1.2."""


SCALARS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    date: "a date such as 2026-07-20",
}
"""The types that one scalar can have, and how they are called."""


def is_null(scalar: Scalar) -> bool:
    """Whether nothing was written, or that there is nothing."""
    return scalar.plain and scalar.text in _NULL


def scalar_value(kind: Any, scalar: Scalar) -> Any:  # noqa: ANN401 - of the kind that was asked for
    """The value of `scalar` as one of SCALARS, or as a Literal of texts.

    Raises: ValueError that says what it must be, and what stands there.
    """
    if get_origin(kind) is Literal:
        if scalar.text in get_args(kind):
            return scalar.text
        raise ValueError(f"must be one of {', '.join(get_args(kind))}, not {written(scalar)}")
    if kind is str:
        return _text(scalar)
    if kind is bool and scalar.plain and scalar.text in _BOOLEANS:
        return _BOOLEANS[scalar.text]
    if kind is int and scalar.plain and _WHOLE.fullmatch(scalar.text):
        return int(scalar.text)
    if kind is float and scalar.plain and _NUMBER.fullmatch(scalar.text) and math.isfinite(float(scalar.text)):
        return float(scalar.text)
    if kind is date and _DATE.fullmatch(scalar.text):
        return date.fromisoformat(scalar.text)  # its own ValueError tells which part is off
    raise ValueError(f"must be {SCALARS[kind]}, not {written(scalar)}")


def written(scalar: Scalar) -> str:
    """What stands there, in words; long texts are cut."""
    text = scalar.text if len(scalar.text) <= 40 else f"{scalar.text[:40]}..."
    if not scalar.plain:
        return f"the quoted text `{text}`"
    if is_null(scalar):
        return "null"
    if scalar.text in _BOOLEANS:
        return f"the boolean `{text}`"
    return f"the number `{text}`" if _is_number(scalar.text) else f"`{text}`"


def _text(scalar: Scalar) -> str:
    if scalar.plain:
        if is_null(scalar):
            raise ValueError("must be text, not null")
        if scalar.text in _BOOLEANS or _is_number(scalar.text):
            raise ValueError(f"must be text, not {written(scalar)}: quote it if it is meant")
        if scalar.text.lower() in _DISPUTED:
            raise ValueError(f"is `{scalar.text}`, which some YAML readers take for a boolean: quote it")
    return scalar.text


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text))

"""The members of OTLP's JSON objects, as tolerantly as senders write them. Pure.

64-bit numbers are strings or numbers, enums numbers or names. What is missing or null is unset; what has another type than it can have
makes the whole export unfit, but for ids, numbers and values, which only make their span or attribute so.

Source: OTLP specification 1.x, "JSON Protobuf Encoding"; ProtoJSON format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from infermeter.errors import DecodeError
from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue

Object: TypeAlias = Mapping[str, Any]
_T = TypeVar("_T")

_KINDS = {f"SPAN_KIND_{name.upper()}": number for number, name in enumerate(SPAN_KINDS)}
_STATUSES = {f"STATUS_CODE_{name.upper()}": number for number, name in enumerate(STATUS_CODES)}
_INT64_END = 2**63
_NOT_AN_ID = b"?"


def checked(value: object, kind: type[_T], what: str) -> _T:
    """The value, if it has the type that it must have.

    Raises:
        DecodeError: it hasn't.
    """
    if not isinstance(value, kind):
        raise DecodeError(f"{what} has the wrong type")
    return value


def member(parent: Object, *names: str) -> object:
    """The first member of these names that is set, None if none is."""
    for name in names:
        value = parent.get(name)
        if value is not None:
            return value
    return None


def object_in(parent: Object, name: str) -> Object:
    """An object, empty where it is unset."""
    value = parent.get(name)
    return {} if value is None else checked(value, dict, name)


def objects_in(parent: Object, *names: str) -> Sequence[Object]:
    """A list of objects, empty where it is unset."""
    value = member(parent, *names)
    objects: list[Object] = [] if value is None else checked(value, list, names[0])
    if not {dict}.issuperset(map(type, objects)):
        raise DecodeError(f"{names[0]} has the wrong type")
    return objects


def text_in(parent: Object, name: str) -> str:
    """A text, empty where it is unset."""
    value = parent.get(name)
    return "" if value is None else checked(value, str, name)


def attributes_in(parent: Object) -> Mapping[str, object]:
    """The attributes of a span or a resource, not yet looked into; the last of two equal keys wins."""
    return {text_in(attribute, "key"): attribute.get("value") for attribute in objects_in(parent, "attributes")}


def kind_code(value: object) -> int:
    """A span kind's number from its number or its name, 0 where it is neither."""
    return _code(value, _KINDS)


def status_code(value: object) -> int:
    """A status code's number from its number or its name, 0 where it is neither."""
    return _code(value, _STATUSES)


def id_bytes(value: object) -> bytes:
    """The bytes of an id in hex: none where it is unset, and what is no id at all has a length that no id has."""
    if value is None:
        return b""
    try:
        return bytes.fromhex(value) if isinstance(value, str) else _NOT_AN_ID
    except ValueError:
        return _NOT_AN_ID


def integer(value: object) -> int | None:
    """A whole number written as a number or a string, None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def scalar(value: object) -> AttributeValue | None:
    """The value of an attribute, None where it is unset or no scalar; of several, of which none may be, the first in the order below."""
    if isinstance(value, dict):
        for name, read in _VALUES.items():
            if (told := value.get(name)) is not None:
                return read(told)
    return None


def _code(value: object, names: Mapping[str, int]) -> int:
    if isinstance(value, str) and value in names:
        return names[value]
    return integer(value) or 0


def int64(value: object) -> int | None:
    """A whole number that fits 64 bits."""
    number = integer(value)
    return number if number is not None and -_INT64_END <= number < _INT64_END else None


def double(value: object) -> float | None:
    """A number, or a string that says one, `NaN`, `Infinity` or `-Infinity`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


_VALUES: dict[str, Callable[[object], AttributeValue | None]] = {
    "doubleValue": double,
    "intValue": int64,
    "stringValue": lambda value: value if isinstance(value, str) else None,
    "boolValue": lambda value: value if isinstance(value, bool) else None,
}
_VALUES |= {f"{name.removesuffix('Value')}_value": read for name, read in _VALUES.items()}

"""A report as JSON: its version, values that JSON has, and the parts of one that was saved. Pure; what is in it is others' concern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from infermeter.errors import ConfigError

SCHEMA: Final = 1
"""The version of the report's and the findings' layout."""

_AS_GIVEN: Final = "as `infermeter replay --format json` and /api/v1/report give it"


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """A value with lists in place of tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def report_parts(body: bytes, where: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The whole of a saved report, and what it says of itself. Raises: ConfigError at `where`, for what is none of this version."""
    try:
        document = orjson.loads(body)
    except ValueError:
        raise ConfigError(where, f"is not JSON; it must be a report, {_AS_GIVEN}") from None
    about = document.get("report") if isinstance(document, dict) else None
    if not isinstance(about, dict) or "schema" not in about:
        raise ConfigError(where, f"is no report, {_AS_GIVEN}")
    if about["schema"] != SCHEMA:
        raise ConfigError(where, f"is a report of another schema than {SCHEMA}, which is what this version reads")
    return document, about

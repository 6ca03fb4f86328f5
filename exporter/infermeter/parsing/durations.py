"""Prometheus durations: `200ms`, `1s`, `1h30m`, `7d`. Text to seconds and back."""

from __future__ import annotations

import re

_UNITS_SECONDS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS_SECONDS))


def duration_seconds(text: str) -> float:
    """The seconds of a Prometheus duration: units descend, each at most once; `0` needs none.

    Raises: ValueError. Source: Prometheus, model.ParseDuration.
    """
    match = _DURATION.fullmatch(text)
    if text == "0" or (text and match):
        return sum(int(count) * _UNITS_SECONDS[unit] for unit, count in match.groupdict("0").items()) if match else 0.0
    raise ValueError(f"must be a duration such as 30s, 5m or 1h30m, not `{text[:40]}`")


def duration_text(seconds: float) -> str:
    """`seconds` to the millisecond, in days and less: 5400 is `1h30m`."""
    milliseconds = round(seconds * 1000)
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, round(_UNITS_SECONDS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"

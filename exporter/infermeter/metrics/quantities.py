"""Numbers as a person reads them: a few significant digits, the unit that fits, a dash for what isn't known. Pure."""

from __future__ import annotations

from math import floor, log10

UNKNOWN = "-"

_BLOCKS = " ▏▎▍▌▋▊▉"


def number(value: float | None, digits: int = 4) -> str:
    """At least `digits` significant digits, with an exponent below 0.00001 and from a billion on."""
    if value is None:
        return UNKNOWN
    if value == 0 or not 1e-5 <= abs(value) < 1e9:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - floor(log10(abs(value))), 0)
    return f"{value:,.{decimals}f}"


def count(value: float | None) -> str:
    """A whole number."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def percent(ratio: float | None) -> str:
    """A ratio of 0 to 1, to a tenth of a percent."""
    return UNKNOWN if ratio is None else f"{100 * ratio:.1f} %"


def seconds(value: float | None) -> str:
    """A latency."""
    return _scaled(value, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)))


def joules(value: float | None) -> str:
    """An energy."""
    return _scaled(value, (("MJ", 1e6), ("kJ", 1e3), ("J", 1.0)))


def gibibytes(value: float | None) -> str:
    """A size of memory, without its unit."""
    return UNKNOWN if value is None else f"{value / 2**30:.1f}"


def length(duration_seconds: float) -> str:
    """A stretch of time, in whole seconds from ten on."""
    if 0 < duration_seconds < 10:
        return seconds(duration_seconds)
    minutes, rest = divmod(round(duration_seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"


def bar(ratio: float, width: int) -> str:
    """A bar of up to `width` characters for a ratio of 0 to 1, to an eighth of a character."""
    whole, eighths = divmod(round(min(max(ratio, 0.0), 1.0) * width * 8), 8)
    return ("█" * whole + _BLOCKS[eighths]).rstrip()


def _scaled(value: float | None, units: tuple[tuple[str, float], ...]) -> str:
    """Three significant digits in the first unit of which there is at least one, else in the last."""
    if value is None:
        return UNKNOWN
    unit, size = next((pair for pair in units if abs(value) >= pair[1]), units[-1])
    return f"{number(value / size, 3)} {unit}"

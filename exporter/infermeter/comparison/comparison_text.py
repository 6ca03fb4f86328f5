"""The comparison for a person at a terminal: at most 100 columns, plain text. Pure.

What isn't known is a dash or said in words, never a zero.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from infermeter.comparison.bootstrap import CONFIDENCE, SLOTS_LEAST
from infermeter.comparison.comparison import Comparison, Side
from infermeter.comparison.load import ALIKE_RATIO, WORK_RATIO, Load
from infermeter.comparison.verdict import INFERENCES_LEAST, Compared, Interval, Reason

WIDTH: Final = 100

_BEYOND: Final = 10_000.0
_ALL: Final = 0.9995
"""A share that changes by this changes by 100 points, as far as two digits tell."""
FACTOR_FROM: Final = 10.0
"""Changes are told in percent up to so many times as much, and then in times."""

REASONS: Final[Mapping[Reason, str]] = {
    "interval_includes_zero": "the interval includes no change: what there is may be chance",
    "load_unknown": "nothing tells how many inferences there were: spans are a sample, and server.metrics_url isn't set",
    "load_differs": f"the load differs more than {ALIKE_RATIO:g} times, which alone changes it; compare times of like load",
    "load_explains_it": "the load moved too, and alone could have made this difference; compare times of like load",
    "work_differs": f"inferences differ more than {WORK_RATIO:g} times in tokens; compare times of like requests",
    "models_differ": "the models, or their shares of the inferences, differ; read each model by itself",
    "not_told_before": "BEFORE doesn't tell it",
    "not_told_after": "AFTER doesn't tell it",
    "too_few_slots": f"a side is too short: it takes {SLOTS_LEAST} slots (half an hour of a report)",
    "too_few_inferences": f"a side has too few inferences: it takes {INFERENCES_LEAST}",
    "nothing_to_divide_by": "parts of a side have nothing to divide by; compare longer times",
    "a_point_without_its_slots": "no interval can be told: slots hold no durations",
}
"""Why nothing is shown, by reason."""


def comparison_text(told: Comparison) -> str:
    """The comparison as text, without a newline at its end."""
    sections = (_head(told), *(_scope(told, model, load) for model, load in told.loads), _notes(told), _summary(told))
    return "\n\n".join("\n".join(line.rstrip() for line in lines) for section in sections if (lines := list(section)))


def _head(told: Comparison) -> Iterator[str]:
    yield "INFERMETER COMPARE"
    yield from (_side("BEFORE", told.before), _side("AFTER", told.after))
    if told.cost_per_hour is None:
        yield "  Hourly cost unknown: BEFORE has no prices."
        return
    own = told.after.cost_per_hour
    theirs = "AFTER has no prices of its own, so none of its money is known" if own is None else f"AFTER's own is {number(own)}"
    text = f"Both are priced at BEFORE's {number(told.cost_per_hour)} {told.currency} an hour; {theirs}."
    yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _side(name: str, side: Side) -> str:
    start, end = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (side.start_unix_seconds, side.end_unix_seconds))
    length = f"{side.seconds:.0f} s" if side.seconds < 600 else f"{side.seconds / 60:,.0f} min"
    return f"  {name:<8}{cut(side.server, 28):<30}{start} to {end} UTC, {length}"


def _scope(told: Comparison, model: str | None, load: Load) -> Iterator[str]:
    yield "THE SERVER, ALL MODELS" if model is None else f"MODEL {cut(model, 60)}"
    yield from textwrap.wrap(_load(load), WIDTH, initial_indent="  ", subsequent_indent="    ")
    for of, sla in told.slas:
        if of == model:
            asked = (("duration", sla.duration_seconds), ("ttft", sla.ttft_seconds), ("tpot", sla.tpot_seconds))
            targets = " · ".join(f"{signal} within {seconds:g} s" for signal, seconds in asked if seconds is not None)
            yield f"  SLA of both: {100 * sla.quantile_ratio:g} % with {targets}"
    yield ""
    yield f"  {'':<37}{'before':>10}{'after':>10} {f'change [{CONFIDENCE:.0%} interval]':<26}"
    rows = [row for row in told.measures if row.model == model]
    for row in rows:
        yield f"  {_titled(row, told):<37}{_value(row, row.before):>10}{_value(row, row.after):>10} {_change(row):<26}{row.verdict}"
    for reason, text in REASONS.items():
        titles = [row.title for row in rows if row.reason == reason]
        verdict = next((row.verdict for row in rows if row.reason == reason), "")
        if titles:
            yield from textwrap.wrap(f"{verdict}: {text} ({'; '.join(titles)})", WIDTH, initial_indent="    ", subsequent_indent="      ")


def _load(load: Load) -> str:
    if load.ratio is None:
        return "Load unknown, or none."
    limits = [name for name, at_limit in (("BEFORE", load.limit_before), ("AFTER", load.limit_after)) if at_limit]
    told = f"Load: {number(load.before_per_second)} inferences per second before, {number(load.after_per_second)} after"
    return f"{told} ({_percent(load.ratio)}){f'; at its limit: {chr(32).join(limits)}' if limits else ''}."


def _titled(row: Compared, told: Comparison) -> str:
    return f"{row.title}, {told.currency}" if row.measure.startswith("cost") and told.currency else row.title


def _value(row: Compared, value: float | None) -> str:
    if row.unit == "ratio" and value is not None:
        return f"{100 * value:.2f} %"
    return number(value)


def _change(row: Compared) -> str:
    """By how much, in percent; of a share in percentage points."""
    if row.unit == "ratio" and row.difference is not None:
        return _between(row.difference, lambda points: 100 * points, 1 if abs(row.difference.point) >= _ALL else 2, "pp")
    if row.ratio is not None and row.ratio.high >= FACTOR_FROM:
        return f"x {_factor(row.ratio.point)} [{_factor(row.ratio.low)}, {_factor(row.ratio.high)}]"
    if row.ratio is not None:
        return _between(row.ratio, lambda ratio: 100 * (ratio - 1), 1, "%")
    return "-"


def _between(of: Interval, scaled: Callable[[float], float], digits: int, unit: str) -> str:
    return f"{scaled(of.point):+.{digits}f} {unit} [{scaled(of.low):.{digits}f}, {scaled(of.high):.{digits}f}]"


def _factor(ratio: float) -> str:
    """Three digits; what nobody would act on differently isn't spelt out."""
    return f"{ratio:.3g}" if ratio < _BEYOND else f">{_BEYOND - 1:.0f}"


def _percent(ratio: float) -> str:
    return f"x {ratio:.3g}" if ratio >= FACTOR_FROM else f"{100 * (ratio - 1):+.1f} %"


def _notes(told: Comparison) -> Iterator[str]:
    if told.notes:
        yield "NOTES"
    for note in told.notes:
        yield from textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _summary(told: Comparison) -> Iterator[str]:
    shown = {verdict: [row for row in told.measures if row.verdict == verdict] for verdict in ("better", "worse")}
    if not any(shown.values()):
        yield "Nothing is shown to have changed."
    for verdict, rows in shown.items():
        if rows:
            names = "; ".join(f"{row.title}{'' if row.model is None else f' ({cut(row.model, 32)})'}" for row in rows)
            yield from textwrap.wrap(f"Shown to be {verdict}: {names}.", WIDTH, subsequent_indent="  ")


def number(value: float | None) -> str:
    """Four significant digits."""
    if value is None:
        return "-"
    return f"{value:.4g}" if value == 0 or not 1e-4 <= abs(value) < 1e6 else f"{value:,.{max(3 - math.floor(math.log10(abs(value))), 0)}f}"


def cut(text: str, width: int) -> str:
    """Printable text of at most `width` characters."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= width else f"{printable[: width - 1]}…"

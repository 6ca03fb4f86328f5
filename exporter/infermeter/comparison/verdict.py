"""A measure on both sides: how far apart, how sure, and what may be said of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from infermeter.comparison.bootstrap import SLOTS_LEAST, block_lengths, drawn_sums, interval, widest
from infermeter.comparison.load import STEADY_RATIO, Load
from infermeter.comparison.measures import Measure
from infermeter.comparison.stretch import Column, Slots
from infermeter.model import Floats

Verdict: TypeAlias = Literal["better", "worse", "not shown", "not comparable"]
Reason: TypeAlias = Literal[
    "interval_includes_zero",
    "load_unknown",
    "load_differs",
    "load_explains_it",
    "work_differs",
    "models_differ",
    "not_told_before",
    "not_told_after",
    "too_few_slots",
    "too_few_inferences",
    "nothing_to_divide_by",
    "a_point_without_its_slots",
]

INFERENCES_LEAST: Final = 100
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """A point and the ends of its confidence interval."""

    point: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of one model, or of the server (`model` None). None: not known; `reason` None: the verdict speaks for itself."""

    model: str | None
    measure: str
    title: str
    unit: str
    before: float | None
    after: float | None
    difference: Interval | None
    ratio: Interval | None
    verdict: Verdict
    reason: Reason | None


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The sums of both sides, drawn again and again, once for each length of block; `blocks`: the fewest that there were to draw."""

    before: Mapping[Column, Floats]
    after: Mapping[Column, Floats]
    blocks: float


def draws_of(before: Slots, after: Slots) -> list[Draws]:
    """None where a side has too few slots."""
    if min(len(before), len(after)) < SLOTS_LEAST:
        return []
    lengths = block_lengths(len(before)), block_lengths(len(after))
    drawn = []
    for i in range(max(map(len, lengths))):
        own = [of_side[min(i, len(of_side) - 1)] for of_side in lengths]
        drawn.append(
            Draws(
                drawn_sums(before.columns, length=own[0], side=0),
                drawn_sums(after.columns, length=own[1], side=1),
                min(len(before) / own[0], len(after) / own[1]),
            )
        )
    return drawn


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A model or the server on both sides, AFTER already at BEFORE's hourly cost.

    `draws` as from `draws_of`; `alike`: it has the same models on both sides, in the same mix.
    """

    model: str | None
    before: Slots
    after: Slots
    load: Load
    draws: list[Draws]
    alike: bool = True


def compared(measure: Measure, scope: Scope) -> Compared | None:
    """None where neither side tells it."""
    before, after = (_point(measure, slots) for slots in (scope.before, scope.after))
    if before is None and after is None:
        return None
    reason = _in_the_way(measure, scope, before, after)
    intervals = _intervals(measure, scope.draws) if before is not None and after is not None else None
    if reason is None and intervals is None:
        reason = "nothing_to_divide_by"
    if intervals is None or before is None or after is None:
        return _row(measure, scope, before, after, ("not comparable", reason))
    difference, ratio, loaded = intervals
    shown = _side(difference, 0.0, 0.0)
    verdict: tuple[Verdict, Reason | None]
    if reason is not None:
        verdict = "not comparable", reason
    elif not shown:
        verdict = "not shown", "interval_includes_zero"
    elif _is_explained(measure, scope.load, shown, loaded):
        verdict = "not comparable", "load_explains_it"
    else:
        verdict = "better" if (shown < 0) == measure.lower_is_better else "worse", None
    return _row(
        measure,
        scope,
        before,
        after,
        verdict,
        difference=Interval(after - before, *difference),
        ratio=None if ratio is None else Interval(after / before, *ratio),
    )


def _row(
    measure: Measure,
    scope: Scope,
    before: float | None,
    after: float | None,
    verdict: tuple[Verdict, Reason | None],
    *,
    difference: Interval | None = None,
    ratio: Interval | None = None,
) -> Compared:
    return Compared(scope.model, measure.name, measure.title, measure.unit, before, after, difference, ratio, *verdict)


def _point(measure: Measure, slots: Slots) -> float | None:
    sums = {column: slots.columns[column].sum(keepdims=True) for column in measure.columns if column in slots.columns}
    if len(sums) < len(measure.columns):
        return None
    value = float(measure.of(sums)[0])
    return None if np.isnan(value) else value


def _in_the_way(measure: Measure, scope: Scope, before: float | None, after: float | None) -> Reason | None:
    """What keeps from comparing; None: nothing."""
    load = scope.load
    fewest = min(_counted(slots) for slots in (scope.before, scope.after))
    hindrances: tuple[tuple[bool, Reason], ...] = (
        (before is None, "not_told_before"),
        (after is None, "not_told_after"),
        (not scope.draws, "too_few_slots"),
        (fewest < INFERENCES_LEAST, "too_few_inferences"),
        (not scope.alike, "models_differ"),
        (measure.volume != "tokens" and not load.is_same_work, "work_differs"),
        (load.ratio is None, "load_unknown"),
        (not load.is_alike, "load_differs"),
    )
    return next((reason for holds, reason in hindrances if holds), None)


def _counted(slots: Slots) -> float:
    """Of how many inferences the slots tell, at the least."""
    columns: tuple[Column, ...] = ("inferences", "seen_ok")
    counts = [count for column in columns if (count := slots.total(column)) is not None]
    return min(counts, default=0.0)


def _intervals(
    measure: Measure, draws: list[Draws]
) -> tuple[tuple[float, float], tuple[float, float] | None, tuple[float, float] | None] | None:
    """Of the difference, of the ratio, and of the ratio at the same load. None: draws are divided by nothing.

    Without a ratio where a draw of BEFORE is 0; without the third where the measure has no volume.
    """
    differences, ratios, loaded = [], [], []
    for drawn in draws:
        before, after = measure.of(drawn.before), measure.of(drawn.after)
        if np.isnan(before).any() or np.isnan(after).any():
            return None
        differences.append(interval(after - before, blocks=drawn.blocks))
        if (before > 0).all():
            ratios.append(interval(after / before, blocks=drawn.blocks))
            if measure.volume is not None:
                loaded.append(interval(after / before * _same_load(measure, drawn), blocks=drawn.blocks))
    if not differences:
        return None
    whole = len(ratios) == len(draws)
    return widest(differences), widest(ratios) if whole else None, widest(loaded) if whole and loaded else None


def _same_load(measure: Measure, drawn: Draws) -> Floats:
    """What the measure's ratio is multiplied by to be that of the same load, if nothing that it costs follows the load."""
    column = measure.volume or "inferences"
    rates = [sums[column] / sums["seconds"] for sums in (drawn.before, drawn.after)]
    more: Floats = np.divide(rates[1], rates[0], out=np.ones_like(rates[0]), where=rates[0] > 0)
    if column in measure.above:
        return np.divide(1.0, more, out=np.ones_like(more), where=more > 0)
    return more


def _side(ends: tuple[float, float], middle: float, rounding: float) -> int:
    """-1 or 1: all of an interval is below or above `middle`; 0: it includes it."""
    low, high = ends
    return int(low > middle + rounding) - int(high < middle - rounding)


def _is_explained(measure: Measure, load: Load, shown: int, loaded: tuple[float, float] | None) -> bool:
    """Whether the load alone could have made the difference.

    If all of what an inference costs were the same in every hour, r times as many would each cost 1/r: only what goes beyond that, or
    against it, is the server's. A limit that was reached is the server's too.
    """
    if measure.volume is not None:
        if load.is_limits:
            return False
        if loaded is not None and _side(loaded, 1.0, _ROUNDING) != shown:
            return True
    if "within" not in (*measure.above, *measure.below) or load.ratio is None:
        return False
    is_better = (shown < 0) == measure.lower_is_better
    return load.ratio < 1 / STEADY_RATIO if is_better else load.ratio > STEADY_RATIO

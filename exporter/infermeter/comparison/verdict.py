"""A measure on both sides: how far apart, how sure, and what may be said of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Ends:
    """Ends of intervals: of the difference, of the ratio, and of the ratio if load cost nothing. None: there is none that is finite."""

    difference: tuple[float, float] | None
    ratio: tuple[float, float] | None
    loaded: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The sums of both sides, drawn again and again, once for each length of block; `blocks`: the fewest that there were to draw."""

    before: Mapping[Column, Floats]
    after: Mapping[Column, Floats]
    blocks: float


def draws_of(before: Slots, after: Slots) -> list[Draws]:
    """One for each length of block; none where a side has too few slots."""
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
    found = Compared(scope.model, measure.name, measure.title, measure.unit, before, after, None, None, "not comparable", None)
    reason = _in_the_way(measure, scope, before, after)
    if before is None or after is None or not scope.draws:
        return replace(found, reason=reason)
    ends = _ends(measure, scope.draws)
    found = replace(
        found, difference=_around(after - before, ends.difference), ratio=_around(after / before, ends.ratio) if before else None
    )
    if reason is not None:
        return replace(found, reason=reason)
    shown = _shown(ends)
    if shown is None:
        return replace(found, reason="nothing_to_divide_by")
    if not shown:
        return replace(found, verdict="not shown", reason="interval_includes_zero")
    if _is_explained(measure, scope.load, shown, ends.loaded):
        return replace(found, reason="load_explains_it")
    return replace(found, verdict="better" if (shown < 0) == measure.lower_is_better else "worse")


def _point(measure: Measure, slots: Slots) -> float | None:
    sums = {column: slots.columns[column].sum(keepdims=True) for column in measure.columns if column in slots.columns}
    if len(sums) < len(measure.columns):
        return None
    value = float(measure.of(sums)[0])
    return value if np.isfinite(value) else None


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


def _ends(measure: Measure, draws: Sequence[Draws]) -> Ends:
    """Of all lengths of block the widest interval each; None where an end is no number."""
    differences, ratios, loaded = [], [], []
    for drawn in draws:
        before, after = measure.of(drawn.before), measure.of(drawn.after)
        with np.errstate(invalid="ignore", divide="ignore"):
            difference, ratio = after - before, after / before
            differences.append(interval(difference, blocks=drawn.blocks))
            ratios.append(interval(ratio, blocks=drawn.blocks))
            if measure.volume is not None:
                more = _more(measure.volume, drawn)
                at_same_load = ratio / more if measure.volume in measure.above else ratio * more
                loaded.append(interval(at_same_load, blocks=drawn.blocks))
    told = [widest(ends) if ends and np.isfinite(ends).all() else None for ends in (differences, ratios, loaded)]
    return Ends(*told)


def _more(volume: Column, drawn: Draws) -> Floats:
    """How many times as much there was of it in an hour of AFTER."""
    before, after = (sums[volume] / sums["seconds"] for sums in (drawn.before, drawn.after))
    more: Floats = after / before
    return more


def _around(point: float, ends: tuple[float, float] | None) -> Interval | None:
    return None if ends is None else Interval(point, min(point, ends[0]), max(point, ends[1]))


def _shown(ends: Ends) -> int | None:
    """-1 or 1: AFTER is shown to be below or above BEFORE; 0: neither; None: no interval tells."""
    if ends.difference is not None:
        return _side(ends.difference, 0.0, 0.0)
    return None if ends.ratio is None else _side(ends.ratio, 1.0, 0.0)


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
        if loaded is None or _side(loaded, 1.0, _ROUNDING) != shown:
            return True
    if "within" not in (*measure.above, *measure.below) or load.ratio is None:
        return False
    is_better = (shown < 0) == measure.lower_is_better
    return load.ratio < 1 / STEADY_RATIO if is_better else load.ratio > STEADY_RATIO

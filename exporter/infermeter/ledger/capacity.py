"""Capacity at the SLA as production shows it: the highest load at which the server has repeatedly held its SLA. Pure.

The highest rate of any single stretch that held would be a maximum over noise: it exceeds the truth by a quarter and more, and an hour of
shorter answers would set it for ever. So stretches are pooled by rate, each pool is judged with its bound, and pools of other work
don't mix.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, median_low
from typing import Any, Final

from infermeter.ledger.instants import SLOT_SECONDS
from infermeter.ledger.sla import allowed_miss_ratio
from infermeter.ledger.steptime import Step, StepBins
from infermeter.ledger.verdict import least_observed
from infermeter.model import Ints, SlaTarget

STRETCH_SECONDS: Final = 300
_DURATION_TARGETS: Final = 20
_POOL_RATIO: Final = 1.1
_POOLS_BEGIN: Final = 8
"""So many pools begin within the width of one. Pools that only met would cost up to two widths: the one that holds the truth fails."""

_CHANCE: Final = 0.5
"""Standard errors of a stretch's own count by which the highest stretches may owe their place to chance."""

_LEAST_STRETCHES: Final = 5
_SETTLING_SECONDS: Final = 600.0
_SAME_WORK: Final = 1.25
_WORK_SECONDS: Final = 3600.0
_MOST_EPOCHS: Final = 4
_MOST_STRETCHES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one model did in some minutes of closed slots, in which it had the server nearly to itself.

    `stop_slot` is one past its last slot. `per_second` is how many inferences ended without error; of the `observed`, `misses` were not
    within the SLA, errors among them. `work` is the mean size of an inference (tokens, else compute seconds). `batch` inferences
    computed at once on average, for `compute_seconds` in all, and `latencies` counts their signals and their time of computing by
    bucket, shape (ROWS, BUCKETS); None where that isn't known.
    """

    stop_slot: int
    seconds: float
    per_second: float
    observed: int
    misses: int
    work: float
    batch: float | None = None
    compute_seconds: float = 0.0
    latencies: Ints | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """A lower bound of what the server can do at its SLA; `inferences` are behind it. `missed_per_second`: a load proven to miss."""

    per_second: float
    stretches: int
    inferences: int
    missed_per_second: float | None = None

    @property
    def reached(self) -> bool:
        """Whether a higher load was proven to miss."""
        return self.missed_per_second is not None


def stretch_slots(sla: SlaTarget) -> int:
    """How many slots a stretch has: 300 s, or 20 times the target for the duration if that is more."""
    target = sla.duration_seconds or 0.0
    return max(STRETCH_SECONDS, math.ceil(_DURATION_TARGETS * target / SLOT_SECONDS) * SLOT_SECONDS) // SLOT_SECONDS


def pooled_capacity(stretches: Iterable[Stretch], sla: SlaTarget, *, confidence: float) -> Capacity | None:
    """What the last pool that holds before the first that fails has shown, less what chance may add; None while no pool holds.

    That is its lower edge, since nothing says how far up demand went; where a pool fails, it is half way to its mean load, at which it
    held as a whole: simulated servers have their truth a little above.

    A pool is what lies within a tenth of a load; the next begins an eighth of that higher. It holds, or fails, if the miss share of its
    stretches keeps the SLA, or doesn't, even at the bound that their scatter gives; one with too little evidence says nothing.

    Source: ratio estimator over clusters, Cochran 1977, section 11.8, with the m / (m - 1) correction; one-sided normal bound.
    """
    loads = sorted((stretch for stretch in stretches if stretch.per_second > 0), key=_load)
    if not loads:
        return None
    held: tuple[float, list[Stretch]] | None = None
    missed_per_second: float | None = None
    for place in range(_place(loads[0].per_second) - _POOLS_BEGIN + 1, _place(loads[-1].per_second) + 1):
        edge = _POOL_RATIO ** (place / _POOLS_BEGIN)
        members = loads[bisect_left(loads, edge, key=_load) : bisect_left(loads, edge * _POOL_RATIO, key=_load)]
        holds = _holds(members, sla, confidence)
        if holds is False:
            missed_per_second = _mean_load(members)
            break
        if holds:
            held = edge, members
    if held is None:
        return None
    edge, members = held
    shown = edge if missed_per_second is None else math.sqrt(edge * _mean_load(members))
    served = sum(stretch.per_second * stretch.seconds for stretch in members) / len(members)
    per_second = shown * (1.0 - _CHANCE / math.sqrt(max(served, 1.0)))
    return Capacity(per_second, len(members), sum(stretch.observed for stretch in members), missed_per_second)


def _load(stretch: Stretch) -> float:
    return stretch.per_second


def _mean_load(members: Sequence[Stretch]) -> float:
    return sum(map(_load, members)) / len(members)


def _place(per_second: float) -> int:
    """Which pool is the last to begin at or below a load."""
    return math.floor(math.log(per_second) / math.log(_POOL_RATIO) * _POOLS_BEGIN)


def _holds(members: Sequence[Stretch], sla: SlaTarget, confidence: float) -> bool | None:
    """Whether the SLA holds at this load; None: can't be told."""
    observed, misses, m = sum(s.observed for s in members), sum(s.misses for s in members), len(members)
    least = least_observed(sla, confidence=confidence)
    if m < _LEAST_STRETCHES or least is None or observed < least:
        return None
    share, allowed = misses / observed, float(allowed_miss_ratio(sla))
    scatter = sum((s.misses - share * s.observed) ** 2 for s in members)
    margin = NormalDist().inv_cdf(confidence) * math.sqrt(scatter * m / (m - 1)) / observed
    if share + margin <= allowed:
        return True
    return False if share - margin > allowed else None


class ObservedCapacity:
    """Follows the stretches of one model.

    Stretches are pooled within an epoch: the time in which the server, its SLA and the mean work of an inference were the same. When the
    median work of an hour changes by more than a quarter, the epoch of that work is taken up again if it is one of the last four (a
    nightly batch comes back every night), else a new one begins. A stretch whose own work differs from its epoch's is left out.
    """

    def __init__(self, sla: SlaTarget, *, confidence: float, horizon_seconds: float) -> None:
        self._sla = sla
        self._confidence = confidence
        self._horizon_slots = math.ceil(horizon_seconds / SLOT_SECONDS)
        self._epochs: list[_Epoch] = []
        self._recent: deque[tuple[int, float]] = deque()

    def add(self, stretch: Stretch) -> None:
        """Takes in a stretch; they come in order of time."""
        self._recent.append((stretch.stop_slot, stretch.work))
        while self._recent[0][0] <= stretch.stop_slot - _WORK_SECONDS / SLOT_SECONDS:
            self._recent.popleft()
        epoch = self._epoch(median_low(work for _, work in self._recent), stretch)
        for other in self._epochs:
            other.forget(stretch.stop_slot - self._horizon_slots)
        settled = (stretch.stop_slot - epoch.since_slot) * SLOT_SECONDS - stretch.seconds >= _SETTLING_SECONDS
        if settled and _is_same(stretch.work, epoch.work):
            epoch.add(stretch)

    def restart(self) -> None:
        """The server isn't what it was (its SLA, GPUs or power limit changed): what was seen of it no longer counts."""
        self._epochs.clear()
        self._recent.clear()

    @property
    def capacity(self) -> Capacity | None:
        """Of the present epoch; None while nothing is known."""
        if not self._epochs:
            return None
        epoch = self._epochs[-1]
        if epoch.changed:
            epoch.capacity, epoch.changed = pooled_capacity(epoch.stretches, self._sla, confidence=self._confidence), False
        return epoch.capacity

    @property
    def steps(self) -> Sequence[Step]:
        """What the present epoch has seen by size of batch."""
        return self._epochs[-1].bins.steps(self._sla.quantile_ratio) if self._epochs else ()

    @property
    def services(self) -> Ints | None:
        """How long inferences of the present epoch computed, counted by bucket; None without one."""
        return self._epochs[-1].bins.services if self._epochs else None

    def _epoch(self, work: float, stretch: Stretch) -> _Epoch:
        """The epoch of this work, which is the present one from now on: last in the list."""
        if self._epochs and _is_same(work, self._epochs[-1].work):
            return self._epochs[-1]
        began = stretch.stop_slot - round(stretch.seconds / SLOT_SECONDS)
        known = min(self._epochs, key=lambda epoch: _distance(work, epoch.work), default=None)
        if known is not None and _is_same(work, known.work):
            self._epochs.remove(known)
            known.since_slot = began
        else:
            known = _Epoch(work, began, self._horizon_slots)
        self._epochs = [*self._epochs[-(_MOST_EPOCHS - 1) :], known]
        return known

    def remember(self) -> list[dict[str, Any]]:
        """What is worth keeping over a restart, ready for JSON: the epochs in the order of their use."""
        return [
            {
                "work": epoch.work,
                "since_slot": epoch.since_slot,
                "stretches": [[s.stop_slot, s.seconds, s.per_second, s.observed, s.misses, s.work] for s in epoch.stretches],
            }
            for epoch in self._epochs
        ]

    def recall(self, remembered: Sequence[Mapping[str, Any]]) -> None:
        """Takes up what `remember` told. Raises: ValueError, KeyError or TypeError for anything else; then nothing is taken."""
        self._epochs = [_recalled(epoch, self._horizon_slots) for epoch in remembered[-_MOST_EPOCHS:]]


class _Epoch:
    """The stretches of one kind of work."""

    def __init__(self, work: float, since_slot: int, horizon_slots: int) -> None:
        self.work = work
        self.since_slot = since_slot
        self.stretches: deque[Stretch] = deque(maxlen=_MOST_STRETCHES)
        self.bins = StepBins(horizon_slots)
        self.capacity: Capacity | None = None
        self.changed = False

    def add(self, stretch: Stretch) -> None:
        """Takes in a stretch of this work."""
        if stretch.batch is not None and stretch.latencies is not None:
            self.bins.add(stretch.stop_slot, batch=stretch.batch, compute_seconds=stretch.compute_seconds, latencies=stretch.latencies)
        self.stretches.append(replace(stretch, latencies=None))
        self.changed = True

    def forget(self, before_slot: int) -> None:
        """Stretches that ended before this slot no longer count."""
        while self.stretches and self.stretches[0].stop_slot <= before_slot:
            self.stretches.popleft()
            self.changed = True


def _recalled(remembered: Mapping[str, Any], horizon_slots: int) -> _Epoch:
    epoch = _Epoch(_positive(remembered["work"]), int(remembered["since_slot"]), horizon_slots)
    for stop_slot, seconds, per_second, observed, misses, work in remembered["stretches"]:
        if not 0 <= int(misses) <= int(observed):
            raise ValueError(misses)
        sizes = _positive(seconds), _positive(per_second)
        epoch.stretches.append(Stretch(int(stop_slot), *sizes, int(observed), int(misses), _positive(work)))
    epoch.changed = True
    return epoch


def _positive(value: object) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(value)
    return float(value)


def _is_same(work: float, reference: float) -> bool:
    return _distance(work, reference) <= math.log(_SAME_WORK)


def _distance(work: float, reference: float) -> float:
    """How far apart two works are, as the logarithm of their ratio."""
    return abs(math.log(work / reference))

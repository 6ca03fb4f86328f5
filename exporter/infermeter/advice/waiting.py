"""How much slower a slower device is at a load: bounds on what waiting adds, which hang on the load and the longest service alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from infermeter.model import ModelEvidence, SizingEvidence

WAITING_RATIO: Final = 0.1
"""Of what an SLA lets be late, this much by waiting, where nothing tells how long services are: those that are too slow need the rest."""

_NORMAL_99: Final = 2.326
_MINUTE_SECONDS: Final = 60.0

_NEARLY_FULL: Final = 0.99
_STEPS: Final = 30
"""More than Newton's method needs down to a load of 1e-6."""

_LESS: Final = 1 - 1e-9


class Slowed(NamedTuple):
    """On a slower device: by how much queue and compute may grow there, and by how much they may within the SLA (None: without one)."""

    needed_ratio: float
    allowed_ratio: float | None


class Loads(NamedTuple):
    """Of the present device while it is asked most: demand over capacity, and how much of the time it computes, one inference at a time."""

    demand_ratio: float
    busy_ratio: float


class Slowing:
    """By how much slower devices would slow this down: what hangs on the evidence alone is found once, and each bound is answered once."""

    def __init__(self, evidence: SizingEvidence) -> None:
        self._peak, self._loads = evidence.peak_load_ratio, busiest(evidence)
        judged = [model for model in evidence.models if model.has_sla and model.slowdown_at_sla_ratio is not None]
        alone = len(evidence.models) == 1
        self._judged = [(model, 1.0 if alone else model.longest_service_ratio) for model in judged]
        self._known: dict[float, Slowed | None] = {}

    def by(self, low: float) -> Slowed | None:
        """Where `low` of the present throughput is sure; None from a load of 1 there on, or where nothing tells the load or the wait.

        Of all models the one that has least to spare. The more of its SLA's late share goes to services that are too long by themselves,
        the less is left to waiting: of what is known of both, the split that spares most.
        """
        if low not in self._known:
            self._known[low] = self._by(low)
        return self._known[low]

    def _by(self, low: float) -> Slowed | None:
        peak, loads = self._peak, self._loads
        if peak is None or loads is None or max(peak, loads.demand_ratio) >= low:
            return None
        many = 1 / (1 - peak / low) / low
        busy = min(loads.demand_ratio, loads.busy_ratio) / low
        if not self._judged:
            return Slowed(max(many, (1 + longest_wait(busy, WAITING_RATIO)) / low), None)
        found: list[Slowed] = []
        for model, wait in self._judged:
            if wait is None:
                return None
            splits = [
                Slowed((1 + max(1.0, wait) * longest_wait(busy, late_ratio)) / low, factor) for factor, late_ratio in _splits(model, busy)
            ]
            factor = model.slowdowns[-1].factor_ratio if model.slowdowns else model.slowdown_at_sla_ratio
            found += [Slowed(many, factor), max(splits, key=_spare)] if splits else [Slowed(many, 0.0)]
        return min(found, key=_spare)


def _splits(model: ModelEvidence, busy: float) -> Iterator[tuple[float, float]]:
    """Factors, each with how many may be late by waiting for services up to that length, where services are so much slower.

    Of the SLA's late share that leaves out those that are longer, and whoever meets one of them: by as much of the time as these take,
    and the queue behind them. Where the lengths aren't told, a tenth of it.
    """
    late_ratio, mean, told = 1 - model.quantile_ratio, model.longest_service_ratio, model.slowdowns
    if mean is None or not told or not all(one.factor_ratio for one in told):
        yield model.slowdown_at_sla_ratio or 0.0, WAITING_RATIO * late_ratio
        return
    longer = 0.0
    for one, following in zip(told, (*told[1:], None), strict=True):
        left = late_ratio - one.late_ratio - longer * busy / (1 - busy)
        if left > 0:
            yield one.factor_ratio, left
        if following is not None:
            longer += (following.late_ratio - one.late_ratio) * mean * told[-1].factor_ratio / one.factor_ratio


def _spare(one: Slowed) -> float:
    return (one.allowed_ratio or 0.0) / one.needed_ratio


def busiest(evidence: SizingEvidence) -> Loads | None:
    """What lasts of the peak load: its busiest minutes are in part those in which more came by chance, and that waiting counts itself.

    Of arrivals at random with a mean of m a minute, 1 % of minutes have more than about m + 2.33 sqrt(m). Never less than the window's own
    load. Without a window that is known throughout, the peak itself.

    Source: the normal approximation of Poisson's distribution.
    """
    peak, mean, busy, seconds = evidence.peak_load_ratio, evidence.load_ratio, evidence.busy_ratio, evidence.window_seconds
    if peak is None:
        return None
    count = sum(model.inferences for model in evidence.models)
    if not mean or not busy or not seconds or not count:
        return Loads(peak, peak)
    most = count * _MINUTE_SECONDS / seconds * peak / mean
    lasting = max(mean, peak * ((math.sqrt(_NORMAL_99**2 + 4 * most) - _NORMAL_99) / 2) ** 2 / most) if most > 0 else mean
    return Loads(lasting, busy * lasting / mean)


def longest_wait(load: float, late_ratio: float) -> float:
    """All but `late_ratio` (0 < x < 1) of those that arrive at random wait at most so many times the longest service; `load` in [0, 1).

    It never shrinks with the load, and is 0 while the device is busy for less than `late_ratio` of the time. Services of any
    distribution up to that longest one: what is left of the one that is met is spread no wider than over all of it, so that nobody waits
    longer than for constant services of that length.

    Source: M/D/1, P(W <= t) = (1 - load) exp(load t) within one service (Erlang 1909); beyond, the lesser of load exp(-(1 - load) t), by
    a geometric sum of exponential rests (Khinchine 1932), and exp(-r t) where load (exp(r) - 1) = r (Kingman 1964).
    """
    if load <= late_ratio:
        return 0.0
    within_one = math.log((1 - late_ratio) / (1 - load)) / load
    if within_one <= 1:
        return within_one
    geometric = math.log(load / late_ratio) / (1 - load)
    return geometric if load > _NEARLY_FULL else min(geometric, math.log(1 / late_ratio) / _decay(load))


@lru_cache(maxsize=64)  # every model of a server is asked of one load
def _decay(load: float) -> float:
    """The r > 0 at which load (exp(r) - 1) = r: by Newton's method from above, where it is convex."""
    rate = 2 - 2 * math.log(load)
    for _ in range(_STEPS):
        rate -= (load * math.expm1(rate) - rate) / (load * math.exp(rate) - 1)
    return rate * _LESS

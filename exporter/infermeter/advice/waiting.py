"""How much slower a slower device is at a load: bounds on what waiting adds, which hang on the load and the longest service alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from infermeter.model import ModelEvidence

WAITING_RATIO: Final = 0.1
"""Of what an SLA lets be late, this much by waiting alone; the slowdown that it allows leaves room for nearly all of the rest."""

_NEARLY_FULL: Final = 0.99
_STEPS: Final = 30
"""More than Newton's method needs down to a load of 1e-6."""

_LESS: Final = 1 - 1e-9


def slowdown_at(load: float, low: float, models: Iterable[ModelEvidence]) -> float | None:
    """By how much queue and compute may grow where `low` of the present throughput is sure, at this load there; None from a load of 1 on.

    Whatever the server: computing many at a time it takes 1 / (1 - load) times as long, as all that run slow each other down; computing
    one at a time, what arrives at random waits for those before it, up to a length that the strictest SLA's quantile sets.

    Source: 1 / (1 - load) of processor sharing (Kleinrock 1975), and of steps of a + b x batch; `longest_wait`.
    """
    if load >= 1:
        return None
    late_ratio = min((1 - model.quantile_ratio for model in models if model.has_sla), default=1.0)
    return max(1 / (1 - load), 1 + longest_wait(load, WAITING_RATIO * late_ratio)) / low


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


def _decay(load: float) -> float:
    """The r > 0 at which load (exp(r) - 1) = r: by Newton's method from above, where it is convex."""
    rate = 2 - 2 * math.log(load)
    for _ in range(_STEPS):
        rate -= (load * math.expm1(rate) - rate) / (load * math.exp(rate) - 1)
    return rate * _LESS

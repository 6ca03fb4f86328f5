"""How much slower the hardware could be with the SLA still met: the largest factor for each inference, counted by slot. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np

from infermeter.ledger.booked import Booked
from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.sketch import BUCKETS, bucket_of, upper_edge_ns
from infermeter.ledger.sla import allowed_miss_ratio
from infermeter.ledger.verdict import is_met
from infermeter.ledger.window_sketches import WindowSketches
from infermeter.model import SIGNALS, STAGES, Bools, Floats, Ints, SlaTarget, Slowdown, Window

_FIXED: Final = [STAGES.index("transfer"), STAGES.index("serialisation")]
_SHARES: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
"""Of the misses that would just be proven to be within the SLA."""

_WAITING: Final = slice(0, SIGNALS.index("ttft") + 1)
_QUEUE: Final = STAGES.index("queue")
_NEAR: Final = 3
"""So near the normal distribution comes to the binomial one where it is of use."""

_KEPT: Final = 1_024
"""Answers of `most_misses` that are kept: it is asked twice of each model and window, and again as long as nothing is new."""

_MOST: Final = 1e6
"""Factors beyond it count as this: an inference that no hardware could make too slow."""


def tolerated(signals_ns: Ints, fixed_ns: Ints, limits_ns: Ints, ok: Bools) -> Floats:
    """By what factor queue and compute of each inference may grow within its targets, from 0 to infinity; 0 for one with an error.

    `signals_ns` and `limits_ns` as in `SIGNALS`, which is the last axis but one, `fixed_ns` the part of the duration that stays as it is.
    Of the token signals nothing is known to stay, so that all of them grows.
    """
    durations_ns = signals_ns[..., 0, :]
    fixed_ns = np.minimum(fixed_ns, durations_ns)
    factors = np.empty(signals_ns.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(limits_ns[0] - fixed_ns, durations_ns - fixed_ns, out=factors[..., 0, :])
        np.divide(limits_ns[1:], signals_ns[..., 1:, :], out=factors[..., 1:, :])
    np.copyto(factors, np.inf, where=signals_ns < 0)
    smallest: Floats = np.fmin.reduce(factors, axis=-2, initial=np.inf)  # 0 / 0 is no bound
    np.maximum(smallest, 0.0, out=smallest)
    np.copyto(smallest, 0.0, where=~ok)
    return smallest


class Slowdowns(WindowSketches):
    """The factors of every inference of a model with an SLA, in each window: to the sketch's 2 %, never above the truth."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        super().__init__(windows, 2 * BUCKETS)

    def count(self, booked: Booked) -> None:
        """Counts the inferences of models with an SLA in their slots."""
        chosen = booked.limits_ns[0] >= 0
        if not chosen.any():
            return
        if not chosen.all():
            booked = booked.rows(np.flatnonzero(chosen))
        signals_ns = np.stack((booked.signals_ns, _alone(booked.signals_ns, booked.stages_ns[_QUEUE])))
        factors = tolerated(signals_ns, np.add.reduce(booked.stages_ns[_FIXED]), booked.limits_ns, booked.ok)
        np.minimum(factors, _MOST, out=factors)
        factors *= SECOND_NS
        keys = bucket_of(factors.astype(np.int64))
        keys += booked.codes * self.width
        keys[1] += BUCKETS
        self.add(booked.slots, keys, np.ones(keys.shape, np.bool_))

    def at_sla(self, window: Window, code: int, sla: SlaTarget, *, confidence: float) -> float | None:
        """The largest factor at which the inferences of a window would prove the SLA to be met; None if there are too few to prove it."""
        counts = self.row(window, code)[:BUCKETS]
        misses = most_misses(sla, observed=int(counts.sum()), confidence=confidence)
        return None if misses is None else _factors(counts, [misses])[0]

    def alone(self, window: Window, code: int, sla: SlaTarget, *, confidence: float) -> tuple[Slowdown, ...]:
        """The largest factors at which they would prove it if nobody had waited, from none that misses on to the most; ascending.

        None of them if there are too few inferences to prove it.
        """
        counts = self.row(window, code)[BUCKETS:]
        observed = int(counts.sum())
        most = most_misses(sla, observed=observed, confidence=confidence)
        if most is None:
            return ()
        late = sorted({math.floor(share * most) for share in _SHARES})
        return tuple(Slowdown(misses / observed, factor) for misses, factor in zip(late, _factors(counts, late), strict=True))


def _alone(signals_ns: Ints, queue_ns: Ints) -> Ints:
    """What each signal would have been without waiting; the time per token has none."""
    alone_ns = signals_ns.copy()
    waiting_ns = alone_ns[_WAITING]
    np.maximum(waiting_ns - queue_ns, 0, out=waiting_ns, where=waiting_ns >= 0)
    return alone_ns


def _factors(counts: Ints, misses: Sequence[int]) -> list[float]:
    """So much slower, and so many miss: the lower edge of the bucket of the next."""
    buckets = np.searchsorted(np.cumsum(counts), np.array(misses) + 1).tolist()
    return [0.0 if bucket == 0 else upper_edge_ns(bucket - 1) / SECOND_NS for bucket in buckets]


@lru_cache(_KEPT)
def most_misses(sla: SlaTarget, *, observed: int, confidence: float) -> int | None:
    """How many of so many inferences may miss, and the rest still proves the SLA to be met; None if even none missing proves nothing."""
    miss_ratio = allowed_miss_ratio(sla)

    def proves(misses: int) -> bool:
        return is_met(misses, observed, miss_ratio, confidence=confidence)

    if not observed or not proves(0):
        return None
    least, most = 0, observed
    for near in _around_most(float(miss_ratio), observed=observed, confidence=confidence):
        if least < near < most:
            least, most = (near, most) if proves(near) else (least, near)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if proves(middle) else (least, middle)
    return least


def _around_most(miss_ratio: float, *, observed: int, confidence: float) -> tuple[int, int]:
    """Two numbers between which `most_misses` lies, by the normal approximation; where it does not, it only takes longer."""
    mean = miss_ratio * observed
    guess = math.floor(mean - NormalDist().inv_cdf(confidence) * math.sqrt(mean * (1 - miss_ratio)))
    return guess - _NEAR, guess + _NEAR

"""Capacity at the SLA as a model of the server tells it, where demand has never come near: step time against batch. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from infermeter.ledger.sketch import BUCKETS, estimate_seconds, quantile_bucket
from infermeter.model import SIGNALS, Floats, Ints, Signal, SlaTarget, StepTime

EXTRAPOLATION: Final = 2.0
"""Up to so many times the largest batch seen. Of 602 published cases that reach at most 2.1 times as far, the median error is -8 %, and
5 % are over by more than 10 %; up to 8 times it is -29 %. Source: ML.ENERGY leaderboard, fits on the lowest batches of each series."""

_LEAST_STEPS: Final = 3
_LEAST_INFERENCES: Final = 300
_BIN_RATIO: Final = 1.25
_LEAST_SPREAD: Final = 1.25
_FULL: Final = 0.9
"""Of a batch limit: a server whose batch is always full has an endless queue."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen at one size of batch: `batch` inferences computed at once on average (while any did), each for `compute_seconds`.

    `latency_seconds` holds the signals at the SLA's quantile; `inferences` are behind it all.
    """

    batch: float
    compute_seconds: float
    inferences: int
    latency_seconds: Mapping[Signal, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """value = at_zero + slope x batch, the slope never below 0."""

    at_zero: float
    slope: float

    def at(self, batch: float) -> float:
        """The value at a batch."""
        return self.at_zero + self.slope * batch

    def batch_at(self, value: float) -> float:
        """The largest batch at which the line isn't above a value: infinite for a level line below it, 0 or less if there is none."""
        if self.slope == 0:
            return np.inf if self.at_zero <= value else 0.0
        return (value - self.at_zero) / self.slope


ROWS: Final = len(SIGNALS) + 1
"""Of counts by bucket: a row for each signal, and one for the time that an inference computed."""


class StepBins:
    """Sums by size of batch, over one to two horizons: the high quantile of few inferences at a time would lie below the truth."""

    def __init__(self, horizon_slots: int) -> None:
        self._horizon_slots = horizon_slots
        self._since_slot: int | None = None
        self._now: dict[int, _Bin] = {}
        self._before: dict[int, _Bin] = {}

    def add(self, stop_slot: int, *, batch: float, compute_seconds: float, latencies: Ints) -> None:
        """Some minutes up to `stop_slot`, with `batch` > 0 inferences computing at once on average, for `compute_seconds` in all.

        `latencies` counts the signals and the time of computing by bucket, shape (ROWS, BUCKETS).
        """
        self._since_slot = stop_slot if self._since_slot is None else self._since_slot
        if stop_slot - self._since_slot >= self._horizon_slots:
            self._since_slot, self._before, self._now = stop_slot, self._now, {}
        place = math.floor(math.log(batch) / math.log(_BIN_RATIO))
        self._now[place] = self._now.get(place, _NO_BIN).plus(batch, compute_seconds, latencies)

    def steps(self, quantile_ratio: float) -> list[Step]:
        """A step for each size of batch with enough inferences behind it, by size."""
        places = sorted({*self._now, *self._before})
        bins = [self._before.get(place, _NO_BIN).merged(self._now.get(place, _NO_BIN)) for place in places]
        return [found.step(quantile_ratio) for found in bins if found.inferences >= _LEAST_INFERENCES]

    @property
    def services(self) -> Ints:
        """How many inferences computed for how long, by bucket, whatever the batch."""
        seen = [found.latencies[-1] for bins in (self._now, self._before) for found in bins.values()]
        return np.sum(seen, axis=0, dtype=np.int64) if seen else np.zeros(BUCKETS, np.int64)


@dataclass(frozen=True, slots=True)
class _Bin:
    """Sums of what was seen at about one size of batch; `batches` is weighted by inferences."""

    inferences: int
    batches: float
    compute_seconds: float
    latencies: Ints

    def plus(self, batch: float, compute_seconds: float, latencies: Ints) -> _Bin:
        inferences = int(latencies[0].sum())
        return self.merged(_Bin(inferences, batch * inferences, compute_seconds, latencies))

    def merged(self, other: _Bin) -> _Bin:
        return _Bin(
            self.inferences + other.inferences,
            self.batches + other.batches,
            self.compute_seconds + other.compute_seconds,
            self.latencies + other.latencies,
        )

    def step(self, quantile_ratio: float) -> Step:
        found = {signal: quantile_bucket(counts, quantile_ratio) for signal, counts in zip(SIGNALS, self.latencies, strict=False)}
        return Step(
            batch=self.batches / self.inferences,
            compute_seconds=self.compute_seconds / self.inferences,
            inferences=self.inferences,
            latency_seconds={signal: estimate_seconds(bucket) for signal, bucket in found.items() if bucket is not None},
        )


_NO_BIN: Final = _Bin(0, 0.0, 0.0, np.zeros((ROWS, BUCKETS), np.int64))


def modelled_capacity(steps: Sequence[Step], sla: SlaTarget, *, max_batch: int | None = None) -> float | None:
    """Inferences per second at the largest batch for which the lines through what was seen keep every target.

    The batch is at most EXTRAPOLATION times the largest one seen, and stays clear of the server's limit. None where the steps are too few
    or too much alike to tell a slope, a target was never measured, or no batch keeps the targets.

    Source: throughput = batch / compute time of an inference at that batch (Little 1961), compute time affine in the batch.
    """
    if not _tells_a_slope(steps):
        return None
    batches = np.array([step.batch for step in steps])
    weights = np.array([float(step.inferences) for step in steps])
    batch = EXTRAPOLATION * float(batches.max())
    if max_batch is not None:
        batch = min(batch, max(1.0, _FULL * max_batch))
    for signal, target in targets_of(sla).items():
        told = [signal in step.latency_seconds for step in steps]
        if sum(told) < _LEAST_STEPS:
            return None
        seconds = np.array([step.latency_seconds[signal] for step in steps if signal in step.latency_seconds])
        batch = min(batch, fitted(batches[told], seconds, weights[told]).batch_at(target))
    if batch <= 0:
        return None
    return batch / fitted(batches, np.array([step.compute_seconds for step in steps]), weights).at(batch)


def step_time(steps: Sequence[Step]) -> StepTime | None:
    """The line of compute time against batch; None where the steps are too few or too much alike to tell a slope."""
    if not _tells_a_slope(steps):
        return None
    batches, weights = np.array([step.batch for step in steps]), np.array([float(step.inferences) for step in steps])
    line = fitted(batches, np.array([step.compute_seconds for step in steps]), weights)
    return StepTime(line.at_zero, line.slope, float(np.average(batches, weights=weights)), float(batches.max()))


def _tells_a_slope(steps: Sequence[Step]) -> bool:
    batches = [step.batch for step in steps]
    return len(steps) >= _LEAST_STEPS and max(batches) >= _LEAST_SPREAD * min(batches)


def targets_of(sla: SlaTarget) -> dict[Signal, float]:
    """The targets that are set, in seconds."""
    targets: dict[Signal, float | None] = {"duration": sla.duration_seconds, "ttft": sla.ttft_seconds, "tpot": sla.tpot_seconds}
    return {signal: target for signal, target in targets.items() if target is not None}


def fitted(batches: Floats, values: Floats, weights: Floats) -> Line:
    """The line through the points by weighted least squares; level, at the weighted mean, where it would fall. One length, >= 1."""
    centre, mean = float(np.average(batches, weights=weights)), float(np.average(values, weights=weights))
    spread = float(np.average((batches - centre) ** 2, weights=weights))
    slope = max(0.0, float(np.average((batches - centre) * (values - mean), weights=weights)) / spread) if spread else 0.0
    return Line(mean - slope * centre, slope)

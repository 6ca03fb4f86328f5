"""Energy between the samples of one device: from its counter where it has one, else from its power."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from infermeter.config import Gpu
from infermeter.ledger.instants import SECOND_NS, TICK_NS, nanoseconds, ticks_between
from infermeter.model import GpuSample

Reason = Literal["read", "gap", "reset", "outlier"]

_MOST_WATTS: Final = 10_000.0
"""Of one device; the largest boards and superchips of 2026 stay below 3 kW."""

_LEAST_GAP_SECONDS: Final = 3.0
_LEAST_STALE_SECONDS: Final = 5.0
_MOST_INTERVALS_A_GAP: Final = 3
_LONGEST_HOLD_NS: Final = 60 * SECOND_NS
"""A counter that stands still this long, while it is read, is believed: no energy."""


def stale_limit_ns(gpu: Gpu) -> int:
    """Without a sample for longer than this, nothing is known of the present."""
    return nanoseconds(gpu.stale_after or max(_LEAST_STALE_SECONDS, _MOST_INTERVALS_A_GAP * gpu.interval))


def gap_limit_ns(interval_seconds: float) -> int:
    """Samples further apart than this leave a gap: what happened between them is unknown."""
    return nanoseconds(max(_LEAST_GAP_SECONDS, _MOST_INTERVALS_A_GAP * interval_seconds))


@dataclass(frozen=True, slots=True)
class Step:
    """Energy of a stretch of time, the power going evenly from `start_watts` to `end_watts`. `watched`: no gap in it."""

    start_ns: int
    end_ns: int
    start_watts: float
    end_watts: float
    watched: bool

    @property
    def joules(self) -> float:
        """All of it."""
        return self._joules_before(self.end_ns)

    def by_tick(self, first_tick: int) -> Iterator[tuple[int, int, float]]:
        """Tick, nanoseconds in it and joules; what lies before `first_tick` comes as one piece of 0 ns in that tick."""
        edge_ns = max(self.start_ns, min(first_tick * TICK_NS, self.end_ns))
        before = self._joules_before(edge_ns)
        if before > 0:
            yield first_tick, 0, before
        for tick, ns in ticks_between(edge_ns, self.end_ns, first_tick):
            edge_ns += ns
            reached = self._joules_before(edge_ns)
            yield tick, ns, max(0.0, reached - before)
            before = reached

    def _joules_before(self, instant_ns: int) -> float:
        seconds = (instant_ns - self.start_ns) / SECOND_NS
        slope = (self.end_watts - self.start_watts) / (self.end_ns - self.start_ns) * SECOND_NS
        return seconds * (self.start_watts + slope * seconds / 2)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sample tells of the time before it: since when it was watched without a gap (None: it wasn't), energy, a loss."""

    watched_from_ns: int | None = None
    step: Step | None = None
    rejected: Reason | None = None


class EnergyMeter:
    """Follows the samples of one device, in their order of time.

    A counter's difference is spread evenly between two changes of it, so that one which moves less often than it is read doesn't show
    0 W and then twice the power. Without a counter: the trapezoid, over gaps up to the limit. Absurd values are rejected, never clipped.
    """

    def __init__(self, gap_ns: int) -> None:
        self.last: GpuSample | None = None
        self._gap_ns = gap_ns
        self._told: GpuSample | None = None
        self._changed_ns = 0
        self._watched = True

    def read(self, sample: GpuSample) -> Reading:
        """Takes the next sample in."""
        last = self.last
        if not is_plausible(sample) or (last is not None and sample.time_ns == last.time_ns):
            return Reading(rejected="outlier")
        self.last = sample
        if last is None or sample.time_ns < last.time_ns:
            self._told = None
            self._energy(sample)
            return Reading(rejected=None if last is None else "reset")
        step, rejected = self._energy(sample)
        return Reading(last.time_ns if self._near(last, sample) else None, step, rejected)

    def _energy(self, sample: GpuSample) -> tuple[Step | None, Reason | None]:
        """What came since the last sample that told energy or power; nothing at one that tells neither."""
        if sample.power_watts is None and sample.energy_joules is None:
            return None, None
        told, self._told = self._told, sample
        if told is None:
            self._anchor(sample)
            return None, None
        if told.energy_joules is None or sample.energy_joules is None:
            self._anchor(sample)
            return self._integrated(told, sample), None if self._near(told, sample) else "gap"
        joules, since_ns = sample.energy_joules - told.energy_joules, self._changed_ns
        self._watched &= self._near(told, sample)
        if joules == 0 and sample.time_ns - since_ns < _LONGEST_HOLD_NS:
            return None, None
        watts, watched = joules / (sample.time_ns - since_ns) * SECOND_NS, self._watched
        self._anchor(sample)
        if 0 <= watts <= _MOST_WATTS:
            return Step(since_ns, sample.time_ns, watts, watts, watched), None
        return self._integrated(told, sample), "reset" if joules < 0 else "outlier"

    def _integrated(self, told: GpuSample, sample: GpuSample) -> Step | None:
        if told.power_watts is None or sample.power_watts is None or not self._near(told, sample):
            return None
        return Step(told.time_ns, sample.time_ns, told.power_watts, sample.power_watts, watched=True)

    def _near(self, before: GpuSample, after: GpuSample) -> bool:
        return after.time_ns - before.time_ns <= self._gap_ns

    def _anchor(self, sample: GpuSample) -> None:
        self._changed_ns, self._watched = sample.time_ns, True


def is_plausible(sample: GpuSample) -> bool:
    """Whether every value that the ledger reads is one that a device can have."""
    return (
        _lies_within(sample.power_watts, _MOST_WATTS)
        and _lies_within(sample.energy_joules, math.inf)
        and _lies_within(sample.utilisation_ratio, 1.0)
        and _lies_within(sample.memory_used_bytes, math.inf)
    )


def _lies_within(value: float | None, most: float) -> bool:
    return value is None or (0 <= value <= most and math.isfinite(value))

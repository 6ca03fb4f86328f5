"""Energy between the samples of one device: from its counter while it has one that is believed, else from its power."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from infermeter.config import Gpu
from infermeter.ledger.instants import SECOND_NS, TICK_NS, nanoseconds, ticks_between
from infermeter.ledger.trust import Trust
from infermeter.model import GpuSample, Rejection

Reason = Rejection

_MOST_WATTS: Final = 10_000.0
"""Of one device, or of a host."""

_MOST_LIMIT_WATTS: Final = 2_000.0
"""Of a device whose limit nothing tells; with the margin below it, the largest boards and superchips of 2026 stay below 3 kW."""

_MOST_OF_LIMIT: Final = 1.5
"""A board may exceed its enforced limit for milliseconds, hardly over the second that a reading covers."""

_COUNTER_SLACK_NS: Final = SECOND_NS // 2
"""A counter moves in steps of 20 to 100 ms, and a driver under load answers late: that much time's energy may come too soon."""

_LEAST_TOLD_WATTS: Final = 5.0
"""The accuracy of a board. Source: `nvidia-smi --help-query-gpu`."""

_LEAST_GAP_SECONDS: Final = 3.0
_LEAST_STALE_SECONDS: Final = 5.0
_MOST_INTERVALS_A_GAP: Final = 3
_LONGEST_HOLD_NS: Final = 60 * SECOND_NS
"""A counter that stands still this long, while it is read, is believed if no power contradicts it: no energy."""


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
        tick = self.start_ns // TICK_NS
        if tick >= first_tick and self.end_ns <= (tick + 1) * TICK_NS:
            yield tick, self.end_ns - self.start_ns, self.joules
            return
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
        if self.start_watts == self.end_watts:
            return seconds * self.start_watts
        slope = (self.end_watts - self.start_watts) / (self.end_ns - self.start_ns) * SECOND_NS
        return seconds * (self.start_watts + slope * seconds / 2)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sample tells of the time before it: since when it was watched without a gap (None: it wasn't), energy, a loss.

    `accepted`: the sample's other values may be used.
    """

    watched_from_ns: int | None = None
    step: Step | None = None
    rejected: Reason | None = None
    accepted: bool = True


class EnergyMeter:
    """Follows the samples of one device, in their order of time; one that is late by less than a gap is left out.

    A counter's difference is spread evenly between two changes of it, so that one which moves less often than it is read doesn't show
    0 W and then twice the power. Without a counter, while it isn't believed, and where it leaps, falls or hangs: the trapezoid, over gaps
    up to the limit. Steps never overlap, so nothing is booked twice when the one takes over from the other. Absurd values are rejected,
    never clipped.
    """

    def __init__(self, gap_ns: int, *, limit_watts: float | None = None, judged: bool = False) -> None:
        """`limit_watts`: the enforced power limit, until a sample tells another. `judged`: power and counter speak of one thing."""
        self.last: GpuSample | None = None
        self.limit_watts = limit_watts
        self.trust = Trust() if judged else None
        self._gap_ns = gap_ns
        self._told: GpuSample | None = None
        self._counter: tuple[int, float] | None = None
        self._since_ns = self._moved_ns = 0
        self._held_joules: float | None = 0.0
        self._watched = True
        self._hung = False

    @property
    def believed(self) -> bool:
        """Whether the counter, if there is one, is where energy comes from."""
        return self.trust is None or self.trust.believed

    def restart(self) -> None:
        """The next sample is held against none of those before: what the device used in between isn't told here."""
        self.last = None

    def read(self, sample: GpuSample) -> Reading:
        """Takes the next sample in."""
        last = self.last
        if not is_plausible(sample) or (last is not None and sample.time_ns == last.time_ns):
            return Reading(rejected="outlier", accepted=False)
        if last is not None and 0 < last.time_ns - sample.time_ns <= self._gap_ns:
            return Reading(rejected="read", accepted=False)
        self.last = sample
        if last is None or sample.time_ns < last.time_ns:
            self._told = None
            self._energy(sample)
            return Reading(rejected=None if last is None else "reset")
        step, rejected = self._energy(sample)
        return Reading(last.time_ns if self._near(last, sample) else None, step, rejected)

    def _energy(self, sample: GpuSample) -> tuple[Step | None, Reason | None]:
        """What came since the last sample that told energy or power; nothing at one that tells neither."""
        if sample.power_limit_watts is not None and 0 < sample.power_limit_watts <= _MOST_WATTS:
            self.limit_watts = sample.power_limit_watts
        if sample.power_watts is None and sample.energy_joules is None:
            return None, None
        told, self._told = self._told, sample
        before = None if told is None else self._counter
        if sample.energy_joules is not None:
            self._counter = sample.time_ns, sample.energy_joules
        elif before is None or sample.time_ns - before[0] > self._gap_ns:
            self._counter = None
        if told is None:
            self._anchor(sample)
            self._moved_ns = sample.time_ns
            return None, None
        near = self._near(told, sample)
        self._watched &= near
        self._hold(told, sample, near=near)
        if before is None or self._counter is None:
            return self._by_power(told, sample, near=near), None if near else "gap"
        joules = self._counter[1] - before[1]
        failed = near and joules >= 0 and self._fails(told, sample, joules)
        if not self.believed:
            return self._by_power(told, sample, near=near), "outlier" if failed else _loss(joules, near=near)
        step, rejected = self._by_counter(told, sample, joules, near=near)
        return step, "outlier" if failed else rejected

    def _by_counter(self, told: GpuSample, sample: GpuSample, joules: float, *, near: bool) -> tuple[Step | None, Reason | None]:
        """What the counter says that has risen by `joules` since `told`; the power's word where it can't be."""
        since_ns, ns = self._since_ns, sample.time_ns - self._since_ns
        if joules == 0 and not self._hung and ns < _LONGEST_HOLD_NS:
            return None, None
        if self._hung or (joules == 0 and (self._held_joules or 0.0) > _LEAST_TOLD_WATTS * ns / SECOND_NS):
            self._hung = joules == 0
            return self._by_power(told, sample, near=near), "reset" if joules < 0 else None
        if 0 <= joules <= self._most_watts(told, sample) * (ns + _COUNTER_SLACK_NS) / SECOND_NS:
            watts, watched = joules / ns * SECOND_NS, self._watched
            self._anchor(sample)
            return Step(since_ns, sample.time_ns, watts, watts, watched), None
        return self._by_power(told, sample, near=near), "reset" if joules < 0 else "outlier"

    def _fails(self, told: GpuSample, sample: GpuSample, joules: float) -> bool:
        """Whether with this interval a stretch ends in which the counter disagrees with the power. One leap alone can't spoil a stretch."""
        if self.trust is None or told.power_watts is None or sample.power_watts is None:
            return False
        ns = sample.time_ns - self._moved_ns
        if joules:
            self._moved_ns = sample.time_ns
        return self.trust.take(
            (sample.time_ns - told.time_ns) / SECOND_NS,
            counted=min(joules, self._most_watts(told, sample) * (ns + _COUNTER_SLACK_NS) / SECOND_NS),
            watts=(told.power_watts, sample.power_watts),
            limit_watts=self.limit_watts,
            busy_ratio=sample.utilisation_ratio,
        )

    def _most_watts(self, told: GpuSample, sample: GpuSample) -> float:
        """More than this the device can't have drawn between two samples."""
        if self.trust is None:
            return _MOST_WATTS
        limit_watts = _MOST_LIMIT_WATTS if self.limit_watts is None else self.limit_watts
        return _MOST_OF_LIMIT * max(limit_watts, told.power_watts or 0.0, sample.power_watts or 0.0)

    def _by_power(self, told: GpuSample, sample: GpuSample, *, near: bool) -> Step | None:
        """The trapezoids since the anchor; if power was missing, or not watched, in a part of it, the last one alone. Anchors anew."""
        since_ns, held, watched = self._since_ns, self._held_joules, self._watched
        self._anchor(sample)
        if held is not None and watched and since_ns < told.time_ns:
            watts = held / (sample.time_ns - since_ns) * SECOND_NS
            return Step(since_ns, sample.time_ns, watts, watts, watched=True)
        if told.power_watts is None or sample.power_watts is None or not near:
            return None
        return Step(told.time_ns, sample.time_ns, told.power_watts, sample.power_watts, watched=True)

    def _hold(self, told: GpuSample, sample: GpuSample, *, near: bool) -> None:
        """Keeps by power what the counter hasn't told yet; None once a part of it is unknown."""
        if self._held_joules is None or told.power_watts is None or sample.power_watts is None or not near:
            self._held_joules = None
        else:
            self._held_joules += (told.power_watts + sample.power_watts) / 2 * (sample.time_ns - told.time_ns) / SECOND_NS

    def _near(self, before: GpuSample, after: GpuSample) -> bool:
        return after.time_ns - before.time_ns <= self._gap_ns

    def _anchor(self, sample: GpuSample) -> None:
        self._since_ns, self._held_joules, self._watched = sample.time_ns, 0.0, True


def _loss(joules: float, *, near: bool) -> Reason | None:
    if joules < 0:
        return "reset"
    return None if near else "gap"


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

"""Whose a tick was: the rule that splits the time and the joules of each GPU into active, idle and unattributed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from infermeter.ledger.running import Running
from infermeter.model import Floats, Ints, Use

USES: tuple[Use, ...] = ("active", "idle", "unattributed")


class Split(NamedTuple):
    """An amount by use."""

    active: float = 0.0
    idle: float = 0.0
    unattributed: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.active + self.idle + self.unattributed

    def times(self, factor: float) -> Split:
        """Every use times a factor."""
        return Split(self.active * factor, self.idle * factor, self.unattributed * factor)

    @property
    def ratios(self) -> Split:
        """Every use as a part of the total, which isn't 0."""
        total = self.total
        return Split(self.active / total, self.idle / total, self.unattributed / total)

    def plus(self, other: Split) -> Split:
        """The sum, use by use."""
        return Split(self.active + other.active, self.idle + other.idle, self.unattributed + other.unattributed)


class Lane(NamedTuple):
    """One GPU in one tick. `weight` is its share of the server's money; joules are this server's share.

    `stray_joules` were measured across a gap, or for ticks that are settled. `seen_ratio` is how much of the tick its samples cover,
    `known_seconds` for how long its power is known; `utilisation_ratio` None: not told; `baseline_watts` None: not learnt yet.
    """

    weight: float
    joules: float
    stray_joules: float
    known_seconds: float
    seen_ratio: float
    utilisation_ratio: float | None
    baseline_watts: float | None


NO_GPU = Lane(1.0, 0.0, 0.0, 0.0, 1.0, None, None)
"""Money without a device: its time goes by the spans alone."""


def time_use(busy_ratio: float, lane: Lane, *, sampled: bool, told: bool = True, running: Running | None = None) -> Split:
    """The tick's time, as ratios that add up to 1. `busy_ratio` is how much of it the known compute intervals cover.

    Idle is only what is known to be: the GPU's samples cover it, and nothing was computing, by its utilisation (which alone speaks
    where spans are a sample) or by the spans of a server that leaves one for every inference. `told` False: there is no GPU at all.
    Where the GPU can't tell, the server's own count of `running` inferences does.
    """
    utilisation = lane.utilisation_ratio
    if utilisation is None and running is not None and (sampled or busy_ratio == 0):
        return _by_running(busy_ratio, lane, running, proven=not (told or sampled))
    if busy_ratio == 0:
        free = utilisation == 0 or not (told or sampled)
        idle = lane.seen_ratio if free else 0.0
        return Split(0.0, idle, 1.0 - idle)
    if not sampled:
        return _rest_by_sight(busy_ratio, lane.seen_ratio)
    if utilisation is None:
        return Split(busy_ratio, 0.0, 1.0 - busy_ratio)
    return _rest_by_sight(max(busy_ratio, utilisation * lane.seen_ratio), lane.seen_ratio)


def _by_running(busy_ratio: float, lane: Lane, running: Running, *, proven: bool) -> Split:
    """The tick's time by what was running. `proven`: no span is left out and no GPU contradicts, so what isn't told is idle too.

    Without a span in a server that leaves one for every inference, whatever was running is nobody's.
    """
    told_ratio = 1.0 if proven else running.told_ratio
    active = max(busy_ratio, running.busy_ratio)
    idle = max(0.0, min(told_ratio - running.busy_ratio, 1.0 - active)) * lane.seen_ratio
    return Split(active, idle, max(0.0, 1.0 - active - idle))


def joules_use(time: Split, busy_ratio: float, lane: Lane, *, sampled: bool, running: Running | None = None) -> Split:
    """The tick's joules: where nothing was computing all idle or all unattributed, else the baseline for the idle time, the rest active."""
    if lane.utilisation_ratio is None and running is not None and (sampled or busy_ratio == 0):
        return _joules_by_running(time, lane)
    if busy_ratio == 0:
        if lane.utilisation_ratio == 0:
            return Split(0.0, lane.joules, lane.stray_joules)
        return Split(0.0, 0.0, lane.joules + lane.stray_joules)
    if sampled and lane.utilisation_ratio is None:
        return Split(lane.joules * time.active, 0.0, lane.joules * time.unattributed + lane.stray_joules)
    baseline_joules = 0.0 if lane.baseline_watts is None else lane.baseline_watts * (1.0 - time.active) * lane.known_seconds
    idle = min(lane.joules, baseline_joules)
    return Split(lane.joules - idle, idle, lane.stray_joules)


def _joules_by_running(time: Split, lane: Lane) -> Split:
    """Joules follow time, but for what is above the baseline while something ran: that is active."""
    unattributed = lane.joules * time.unattributed
    idle = lane.joules * time.idle
    if time.active > 0:
        idle = min(idle, 0.0 if lane.baseline_watts is None else lane.baseline_watts * time.idle * lane.known_seconds)
    return Split(lane.joules - idle - unattributed, idle, unattributed + lane.stray_joules)


def _rest_by_sight(active: float, seen_ratio: float) -> Split:
    return Split(active, (1.0 - active) * seen_ratio, (1.0 - active) * (1.0 - seen_ratio))


class TickUse(NamedTuple):
    """A tick of the whole server: its time as ratios (mean over the GPUs, weighted by cost), its joules, and the time of each GPU."""

    time: Split
    joules: Split
    lanes: tuple[Split, ...]

    def disowned(self, ratio: float) -> TickUse:
        """With this part of what was active nobody's, as far as one knows; the GPUs worked all the same."""
        return TickUse(_disowned(self.time, ratio), _disowned(self.joules, ratio), self.lanes)


def _disowned(split: Split, ratio: float) -> Split:
    moved = split.active * ratio
    return Split(split.active - moved, split.idle, split.unattributed + moved)


def tick_use(busy_ratio: float, lanes: Sequence[Lane], *, sampled: bool, pooled: bool = False, running: Running | None = None) -> TickUse:
    """Splits a tick. A GPU that stood still while another worked was not computing, whatever the spans of the server say.

    `pooled`: who was active is told for many ticks together, so that without a span in this one a working GPU is active all the same.
    """
    told = lanes or (NO_GPU,)
    working = any(lane.utilisation_ratio != 0 for lane in told)
    times, joules = [], []
    for lane in told:
        busy = 0.0 if working and lane.utilisation_ratio == 0 else busy_ratio
        if pooled and lane.utilisation_ratio:
            busy = max(busy, lane.utilisation_ratio * lane.seen_ratio)
        times.append(time_use(busy, lane, sampled=sampled, told=bool(lanes), running=running))
        joules.append(joules_use(times[-1], busy, lane, sampled=sampled, running=running))
    weighted = (time.times(lane.weight) for time, lane in zip(times, told, strict=True))
    return TickUse(reduce(Split.plus, weighted), reduce(Split.plus, joules), tuple(times[: len(lanes)]))


def shares(amounts: Floats, weights: Ints) -> Floats:
    """Amounts of each use, shape (uses, amounts), shared out in proportion to `weights`, shape (uses, sharers).

    Shape (uses, amounts, sharers), >= 0. The last sharer gets the remainder, so that sums are exact. A use without any weight has no
    amount to share.
    """
    reached = np.cumsum(weights, axis=1)
    portions = amounts[:, :, None] * (reached / np.maximum(reached[:, -1:], 1))[:, None, :]
    portions[:, :, 1:] -= portions[:, :, :-1].copy()
    return portions

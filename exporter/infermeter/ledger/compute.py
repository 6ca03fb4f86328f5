"""When inferences were computing: seconds per tick and model, and the union over all of them. Whole nanoseconds, so order is nothing."""

from __future__ import annotations

from typing import Final

import numpy as np

from infermeter.ledger.instants import TICK_NS
from infermeter.ledger.timeline import Timeline
from infermeter.model import Ints

_COMPACT_AT: Final = 8_192
_MOST_INTERVALS: Final = 131_072


class ComputeTime:
    """Compute intervals from the first tick that isn't settled on.

    Per model, an interval is two edges: in its tick an edge adds or takes the rest of the tick, and every tick after it counts in
    full, so a request of 15 minutes costs as much as one of a millisecond. The union is kept as disjoint intervals; where there would
    be more than a fixed number of them, the shortest pauses count as computing.
    """

    def __init__(self, first_tick: int, *, bounded: bool) -> None:
        self.first_tick = first_tick
        self._edges_ns: Timeline[np.int64] = Timeline(first_tick, (1,), np.int64)
        self._levels: Timeline[np.int64] = Timeline(first_tick, (1,), np.int64)
        self._level = np.zeros(1, np.int64)
        self._starts_ns = np.empty(0, np.int64)
        self._ends_ns = np.empty(0, np.int64)
        self._fresh: list[tuple[Ints, Ints]] = []
        self._fresh_count = 0
        self._most_intervals = _MOST_INTERVALS if bounded else None

    def add(self, codes: Ints, starts_ns: Ints, ends_ns: Ints) -> None:
        """Books intervals of the models `codes`; what lies before the first tick that isn't settled takes no part."""
        starts_ns = np.maximum(starts_ns, self.first_tick * TICK_NS)
        real = ends_ns > starts_ns
        if not real.any():
            return
        codes, starts_ns, ends_ns = codes[real], starts_ns[real], ends_ns[real]
        self._widen(int(codes.max()) + 1)
        for instants_ns, sign in ((starts_ns, 1), (ends_ns, -1)):
            ticks = instants_ns // TICK_NS
            self._edges_ns.book(ticks, codes, sign * ((ticks + 1) * TICK_NS - instants_ns))
            self._levels.book(ticks, codes, sign)
        self._fresh.append((starts_ns, ends_ns))
        self._fresh_count += len(starts_ns)
        if self._fresh_count > _COMPACT_AT:
            self._compact()

    def settle(self, stop_tick: int) -> tuple[Ints, Ints]:
        """Nanoseconds of compute in each tick up to `stop_tick` (exclusive, at least one), which are then forgotten.

        By model, shape (ticks, models that have computed or more), and of the union, shape (ticks,).
        """
        ticks = stop_tick - self.first_tick
        for timeline in (self._edges_ns, self._levels):
            timeline.reach(stop_tick)
        levels = self._levels.rows(self.first_tick, stop_tick)
        before = np.cumsum(levels, axis=0) - levels + self._level
        by_model = before * TICK_NS + self._edges_ns.rows(self.first_tick, stop_tick)
        self._level = before[-1] + levels[-1]
        self._compact()
        union = self._union_by_tick(ticks)
        self._forget(stop_tick)
        return by_model, union

    def skip(self, stop_tick: int) -> None:
        """Ticks up to `stop_tick` are forgotten; there is nothing in them."""
        self._forget(stop_tick)

    @property
    def stop_tick(self) -> int:
        """One past the last tick with an interval in it."""
        return self._levels.stop

    def _forget(self, stop_tick: int) -> None:
        self.first_tick = stop_tick
        for timeline in (self._edges_ns, self._levels):
            timeline.drop(stop_tick)
        left = self._ends_ns > stop_tick * TICK_NS
        self._starts_ns, self._ends_ns = np.maximum(self._starts_ns[left], stop_tick * TICK_NS), self._ends_ns[left]

    def _widen(self, models: int) -> None:
        for timeline in (self._edges_ns, self._levels):
            timeline.widen(models)
        missing = self._levels.width - len(self._level)
        self._level = np.concatenate((self._level, np.zeros(missing, np.int64)))

    def _union_by_tick(self, ticks: int) -> Ints:
        first_ns, stop_ns = self.first_tick * TICK_NS, (self.first_tick + ticks) * TICK_NS
        count = int(np.searchsorted(self._starts_ns, stop_ns))
        edges, levels = np.zeros(ticks + 1), np.zeros(ticks + 1)
        for instants_ns, sign in ((self._starts_ns[:count], 1), (self._ends_ns[:count], -1)):
            since_ns = np.minimum(instants_ns, stop_ns) - first_ns
            tick = since_ns // TICK_NS
            edges += sign * np.bincount(tick, (tick + 1) * TICK_NS - since_ns, ticks + 1)
            levels += sign * np.bincount(tick, minlength=ticks + 1)
        return ((np.cumsum(levels) - levels) * TICK_NS + edges)[:ticks].astype(np.int64)

    def _compact(self) -> None:
        if not self._fresh:
            return
        starts_ns = np.concatenate([self._starts_ns, *(starts for starts, _ in self._fresh)])
        ends_ns = np.concatenate([self._ends_ns, *(ends for _, ends in self._fresh)])
        self._fresh, self._fresh_count = [], 0
        starts_ns.sort()
        ends_ns.sort()
        pauses_ns = starts_ns[1:] - ends_ns[:-1]  # as many have begun as have ended: none computes
        shortest_ns = 0
        if self._most_intervals is not None and int((pauses_ns > 0).sum()) >= self._most_intervals:
            shortest_ns = int(np.partition(pauses_ns, -self._most_intervals // 2)[-self._most_intervals // 2])
        new = np.concatenate(([True], pauses_ns > shortest_ns))
        self._starts_ns, self._ends_ns = starts_ns[new], ends_ns[np.concatenate((new[1:], [True]))]

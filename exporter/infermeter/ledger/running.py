"""How many inferences the server says are running, by tick: a busy signal of its own. Told only between two scrapes that are near."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from infermeter.ledger.energy import gap_limit_ns
from infermeter.ledger.instants import SECOND_NS, TICK_NS, ticks_between
from infermeter.ledger.timeline import Timeline
from infermeter.model import Floats

_TOLD_NS, _BUSY_NS, _RUNNING_NS, _HERE_NS, _SQUARE_NS, _COMPARED = range(6)
_SCRAPES_BACK: Final = 12
_FIELDS: Final = _COMPARED + 1 + _SCRAPES_BACK

_AROUND_TICKS: Final = 60
"""Two scrapes alone are as noisy as what runs: the lesser of them is often above what ran between them, though nothing is hidden."""


GAUGE_FIELDS: Final = 4 + _SCRAPES_BACK
"""Length of what `RunningGauge.sums` tells."""


class Running(NamedTuple):
    """One tick: the part of it that lies between two near scrapes, the part with something running, and how many ran for sure."""

    told_ratio: float
    busy_ratio: float
    least: float


class RunningGauge:
    """The gauge between its readings: whether anything ran is what the nearer scrape says.

    How many ran for sure is the least of a minute before, or after if that is more: what hides stays, and noise doesn't.
    """

    def __init__(self, first_tick: int, *, interval_seconds: float) -> None:
        self._near_ns = gap_limit_ns(interval_seconds)
        self._last: tuple[int, float] | None = None
        self._before: deque[float] = deque(maxlen=_SCRAPES_BACK)
        self._ticks: Timeline[np.float64] = Timeline(first_tick, (_FIELDS,), np.float64)

    def read(self, time_ns: int, running: float | None) -> None:
        """Takes the next reading in; None: the server doesn't tell."""
        last, self._last = self._last, None if running is None else (time_ns, running)
        if last is None or running is None or not 0 < time_ns - last[0] <= self._near_ns:
            self._before.clear()
            return
        self._compare(max(time_ns // TICK_NS, self._ticks.first), last[1], running)
        middle_ns, least = (last[0] + time_ns) // 2, min(last[1], running)
        for start_ns, end_ns, here in ((last[0], middle_ns, last[1]), (middle_ns, time_ns, running)):
            for tick, ns in ticks_between(start_ns, end_ns, self._ticks.first):
                self._ticks.row(tick)[: _SQUARE_NS + 1] += (ns, ns * (here > 0), ns * least, ns * here, ns * here**2)

    def tick(self, tick: int, length_ns: int) -> Running | None:
        """A tick that isn't settled yet, of which `length_ns` count; None where nothing is told."""
        if tick >= self._ticks.stop:
            return None
        told_ns, busy_ns = self._ticks.row(tick)[: _BUSY_NS + 1].tolist()
        if told_ns <= 0:
            return None
        told_ratio = min(1.0, told_ns / length_ns)
        least = max(self._least(tick - _AROUND_TICKS, tick + 1), self._least(tick, tick + _AROUND_TICKS + 1))
        return Running(told_ratio, told_ratio * busy_ns / told_ns, least)

    def sums(self, tick: int) -> Floats:
        """Of a tick, shape (GAUGE_FIELDS,): for how long the gauge is told, over this time the sums of the nearer scrape and its square.

        Then how many scrapes there were, and the sums of their squared differences from the one before, the one before that, and so on.
        """
        row = self._ticks.row(tick)
        return np.concatenate((row[[_TOLD_NS, _HERE_NS, _SQUARE_NS]] / SECOND_NS, row[_COMPARED:]))

    def forget(self, stop_tick: int) -> None:
        """Ticks before this one are settled; those around the next ones are kept."""
        self._ticks.drop(stop_tick - _AROUND_TICKS)

    def _compare(self, tick: int, last: float, running: float) -> None:
        """A scrape, held against those before it, once there are enough."""
        self._before.appendleft(last)
        if len(self._before) == _SCRAPES_BACK:
            self._ticks.row(tick)[_COMPARED:] += (1.0, *((running - before) ** 2 for before in self._before))

    def _least(self, first_tick: int, stop_tick: int) -> float:
        """Of the ticks that are told, of which there is one at least."""
        rows = self._ticks.rows(first_tick, stop_tick)
        told = rows[rows[:, _TOLD_NS] > 0]
        return float((told[:, _RUNNING_NS] / told[:, _TOLD_NS]).min())

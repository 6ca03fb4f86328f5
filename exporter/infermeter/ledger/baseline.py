"""What a GPU draws with a model resident and nothing computing: learnt on this host, never from a table."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Final

from infermeter.ledger.instants import HOUR_SECONDS

_HOURS: Final = 24
_LEAST_TICKS: Final = 60
_PER_WATT: Final = 10
"""Power is kept in tenths of a watt: few distinct values, so a day fits into a few kilobytes."""


class Baseline:
    """The 10th percentile of the mean power of idle ticks in the last 24 hours; None before 60 of them, unless configured."""

    def __init__(self, configured_watts: float | None) -> None:
        self._configured_watts = configured_watts
        self._hours: dict[int, Counter[int]] = {}
        self._watts: float | None = None
        self._stale = False

    def learn(self, tick: int, watts: float) -> None:
        """Takes in one tick in which the GPU was idle with a model resident; ticks come in order."""
        hour = tick // HOUR_SECONDS
        if hour not in self._hours:
            self._hours[hour] = Counter()
            for old in [known for known in self._hours if known <= hour - _HOURS]:
                del self._hours[old]
        self._hours[hour][round(watts * _PER_WATT)] += 1
        self._stale = True

    @property
    def watts(self) -> float | None:
        """The baseline of the whole device."""
        if self._configured_watts is not None:
            return self._configured_watts
        if self._stale:
            self._watts, self._stale = self._percentile(), False
        return self._watts

    def _percentile(self) -> float | None:
        counts: Counter[int] = sum(self._hours.values(), Counter())
        ticks = counts.total()
        if ticks < _LEAST_TICKS:
            return None
        ordered = sorted(counts)
        reached = accumulate(counts[power] for power in ordered)
        return next(power for power, below in zip(ordered, reached, strict=True) if below * 10 >= ticks) / _PER_WATT

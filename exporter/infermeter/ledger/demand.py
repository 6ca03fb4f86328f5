"""Demand by the minute, counted by starts, since what is completed can never exceed the capacity. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.timeline import Timeline
from infermeter.model import Floats, Ints

MINUTE_NS: Final = 60 * SECOND_NS
KEPT_MINUTES: Final = 7 * 24 * 60
_PEAK: Final = 0.99


class Demand:
    """How many inferences started in each minute of the last week, by model."""

    def __init__(self, start_ns: int) -> None:
        self._first_minute = -(-start_ns // MINUTE_NS)
        self._starts: Timeline[np.float64] = Timeline(self._first_minute, (1,), np.float64)

    def widen(self, models: int) -> None:
        """Makes room for this many models."""
        self._starts.widen(models)

    def add(self, starts_ns: Ints, codes: Ints, *, per_observed: float = 1.0) -> None:
        """Counts starts in their minutes; each stands for `per_observed` inferences where spans are a sample."""
        minutes = starts_ns // MINUTE_NS
        kept = minutes >= self._starts.first
        self._starts.book(minutes[kept], codes[kept], np.full(int(kept.sum()), per_observed))

    def close(self, stop_ns: int) -> None:
        """Minutes that ended by then are complete; those of more than a week before are forgotten."""
        stop = stop_ns // MINUTE_NS
        self._starts.drop(stop - KEPT_MINUTES)
        self._starts.reach(stop)

    def loads(self, capacity_per_second: Mapping[int, float], *, stop_ns: int, minutes: int) -> Floats | None:
        """The load of each of the last `minutes` complete minutes, shape (minutes,): sum over the models of demand / capacity.

        None where so many haven't passed, or a model with demand in them has no known capacity.
        """
        stop = stop_ns // MINUTE_NS
        if stop - minutes < max(self._first_minute, self._starts.first):
            return None
        per_second = self._starts.rows(stop - minutes, stop) / 60
        loads = np.zeros(minutes)
        for code in np.flatnonzero(per_second.any(axis=0)).tolist():
            if code not in capacity_per_second:
                return None
            loads += per_second[:, code] / capacity_per_second[code]
        return loads

    def peak_load(self, capacity_per_second: Mapping[int, float], *, stop_ns: int, minutes: int) -> float | None:
        """The 99th percentile of the load over those minutes (the smallest value that 99 % of them don't exceed)."""
        loads = self.loads(capacity_per_second, stop_ns=stop_ns, minutes=minutes)
        return None if loads is None else float(np.sort(loads)[int(np.ceil(_PEAK * minutes)) - 1])

"""Demand by the minute, counted by starts, since what is completed can never exceed the capacity. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.timeline import Timeline
from infermeter.model import Floats, Ints

MINUTE_NS: Final = 60 * SECOND_NS
KEPT_MINUTES: Final = 7 * 24 * 60
_PEAK: Final = 0.99
_WATCHED: Final = 0
"""The first value of a minute's row: 1 if this was there for the whole of it. A model's starts are at its code + 1."""


class Demand:
    """How many inferences started in each minute of the last week, by model. Minutes in which nobody watched don't count."""

    def __init__(self, start_ns: int) -> None:
        self._closed = -(-start_ns // MINUTE_NS)
        self._starts: Timeline[np.float64] = Timeline(self._closed, (1,), np.float64)
        self._models = 0
        self._remembered: dict[str, Floats] = {}

    def widen(self, names: Sequence[str]) -> None:
        """Makes room for models that have come up; what was remembered of them is theirs again."""
        self._starts.widen(len(names) + 1)
        for code in range(self._models, len(names)):
            remembered = self._remembered.pop(names[code], None)
            if remembered is not None:
                rows = self._starts.rows(self._starts.first, self._starts.first + len(remembered))
                rows[:, code + 1] = remembered[len(remembered) - len(rows) :]
        self._models = len(names)

    def add(self, starts_ns: Ints, codes: Ints, *, per_observed: float = 1.0) -> None:
        """Counts starts in their minutes; each stands for `per_observed` inferences where spans are a sample."""
        minutes = starts_ns // MINUTE_NS
        kept = minutes >= self._starts.first
        self._starts.book(minutes[kept], codes[kept] + 1, np.full(int(kept.sum()), per_observed))

    def close(self, stop_ns: int) -> None:
        """Minutes that ended by then are complete; those of more than a week before are forgotten."""
        stop = stop_ns // MINUTE_NS
        if stop <= self._closed:
            return
        first = max(self._starts.first, stop - KEPT_MINUTES)
        self._forget(first)
        self._starts.reach(stop)
        self._starts.rows(max(self._closed, first), stop)[:, _WATCHED] = 1
        self._closed = stop

    def _forget(self, first: int) -> None:
        gone = first - self._starts.first
        self._remembered = {name: starts[gone:] for name, starts in self._remembered.items() if len(starts) > gone}
        self._starts.drop(first)

    @property
    def minutes(self) -> int:
        """How many complete minutes are known."""
        return int(self._rows[:, _WATCHED].sum())

    @property
    def _rows(self) -> Floats:
        return self._starts.rows(self._starts.first, self._closed)

    def loads(self, capacity_per_second: Mapping[int, float], *, minutes: int) -> Floats | None:
        """The load of each of the last `minutes` (>= 1) complete minutes that are known: sum over the models of demand / capacity.

        Shape (minutes,). None where there are not so many, or a model with demand in them has no known capacity.
        """
        rows = self._rows
        watched = rows[rows[:, _WATCHED] > 0]
        if len(watched) < minutes or self._remembered:
            return None
        per_second = watched[-minutes:, 1:] / 60
        loads = np.zeros(minutes)
        for code in np.flatnonzero(per_second.any(axis=0)).tolist():
            if code not in capacity_per_second:
                return None
            loads += per_second[:, code] / capacity_per_second[code]
        return loads

    def peak_load(self, capacity_per_second: Mapping[int, float], *, minutes: int) -> float | None:
        """The 99th percentile of the load over those minutes (the smallest value that 99 % of them don't exceed)."""
        loads = self.loads(capacity_per_second, minutes=minutes)
        return None if loads is None else float(np.sort(loads)[int(np.ceil(_PEAK * minutes)) - 1])

    def remember(self, names: Sequence[str]) -> dict[str, Any]:
        """What is worth keeping over a restart, ready for JSON: whether each minute was watched, and the starts of each model in it."""
        rows = self._rows
        starts = {name: rows[:, code + 1].tolist() for code, name in enumerate(names)}
        kept = {name: told.tolist() + [0.0] * (len(rows) - len(told)) for name, told in self._remembered.items()}
        return {"first_minute": self._starts.first, "watched": rows[:, _WATCHED].astype(int).tolist(), "starts": kept | starts}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Takes up what `remember` told, before any demand has come; models are made known anew.

        Raises: ValueError, KeyError or TypeError for anything else; then nothing is taken.
        """
        first, watched = int(remembered["first_minute"]), np.array(remembered["watched"], np.float64)
        starts = {str(name): np.array(told, np.float64) for name, told in remembered["starts"].items()}
        if watched.ndim != 1 or not np.isin(watched, (0.0, 1.0)).all():
            raise ValueError("watched")
        if any(told.shape != watched.shape or not (np.isfinite(told) & (told >= 0)).all() for told in starts.values()):
            raise ValueError("starts")
        gone = max(self._closed - KEPT_MINUTES - first, 0)
        if not first < first + len(watched) <= self._closed or gone >= len(watched):
            return  # of a time that hasn't come, or that no longer counts
        timeline: Timeline[np.float64] = Timeline(first + gone, (self._starts.width,), np.float64)
        timeline.reach(self._closed)
        timeline.rows(first + gone, first + len(watched))[:, _WATCHED] = watched[gone:]
        self._starts = timeline
        self._models = 0
        self._remembered = {name: told[gone:] for name, told in starts.items() if told[gone:].any()}

"""Demand by the minute, counted by starts, since what is completed can never exceed the capacity. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from infermeter.ledger.instants import SECOND_NS
from infermeter.ledger.timeline import Timeline
from infermeter.model import Floats, Ints

MINUTE_NS: Final = 60 * SECOND_NS
DAY_MINUTES: Final = 24 * 60
KEPT_MINUTES: Final = 7 * DAY_MINUTES
_PEAK: Final = 0.99
_WATCHED: Final = 0
"""The first value of a minute's row: 1 if this was there for the whole of it. A model's starts are at its code + 1."""

_GROWTH: Final = 1.05
"""Of the buckets by which the rates of earlier runs are known: a peak is told at most so much too high, and never too low."""

_MOST_BUCKET: Final = 1_000
"""Either way: 1.05 ** 1000 is more than anybody serves in a minute."""


@dataclass(slots=True, eq=False)
class _Day:
    """What earlier runs saw of one day (UTC): how many minutes, and of each model how many of them at about which rate.

    `minutes_by_bucket` counts minutes by bucket of their starts; those without a start are in none.
    """

    minutes: int
    minutes_by_bucket: dict[str, dict[int, int]]

    def rates(self, model: str) -> Floats:
        """Upper bounds of the starts in each minute, ascending; shape (minutes,)."""
        buckets = sorted(self.minutes_by_bucket.get(model, {}).items())
        rates = np.repeat([_GROWTH**bucket for bucket, _ in buckets], [n for _, n in buckets])
        return np.concatenate((np.zeros(self.minutes - len(rates)), rates))

    def plus(self, rows: Floats, names: Sequence[str]) -> _Day:
        """And these rows of minutes that were watched."""
        day = _Day(self.minutes + len(rows), {name: dict(counts) for name, counts in self.minutes_by_bucket.items()})
        for code, name in enumerate(names):
            starts = rows[:, code + 1]
            buckets, minutes = np.unique(_bucket(starts[starts > 0]), return_counts=True)
            counts = day.minutes_by_bucket.setdefault(name, {})
            for bucket, n in zip(buckets.tolist(), minutes.tolist(), strict=True):
                counts[bucket] = counts.get(bucket, 0) + n
        return day


def _bucket(starts: Floats) -> Ints:
    buckets: Ints = np.ceil(np.log(starts) / np.log(_GROWTH)).astype(np.int64)
    return buckets


class Demand:
    """How many inferences started in each minute of the last week, by model. Minutes in which nobody watched don't count.

    Of the minutes of this run each is known; of earlier runs how many there were at about which rate, model by model and day by day. Where
    several models were asked for, their busy minutes are then taken to have been the same ones: the load is at most too high.
    """

    def __init__(self, start_ns: int) -> None:
        """Minutes run from `start_ns` on, whatever the clock on the wall shows: the first is complete a minute later."""
        self._offset_ns = start_ns % MINUTE_NS
        self._closed = start_ns // MINUTE_NS
        self._starts: Timeline[np.float64] = Timeline(self._closed, (1,), np.float64)
        self._names: Sequence[str] = ()
        self._days: dict[int, _Day] = {}

    def widen(self, names: Sequence[str]) -> None:
        """Makes room for models that have come up."""
        self._starts.widen(len(names) + 1)
        self._names = tuple(names)

    def add(self, starts_ns: Ints, codes: Ints, *, per_observed: float = 1.0) -> None:
        """Counts starts in their minutes; each stands for `per_observed` inferences where spans are a sample."""
        minutes = (starts_ns - self._offset_ns) // MINUTE_NS
        if minutes.min() < self._starts.first:
            kept = minutes >= self._starts.first
            minutes, codes = minutes[kept], codes[kept]
        self._starts.book(minutes, codes + 1, per_observed)

    def close(self, stop_ns: int) -> None:
        """Minutes that ended by then are complete; those of more than a week before are forgotten."""
        stop = (stop_ns - self._offset_ns) // MINUTE_NS
        if stop <= self._closed:
            return
        first = max(self._starts.first, stop - KEPT_MINUTES)
        self._starts.drop(first)
        self._starts.reach(stop)
        self._starts.rows(max(self._closed, first), stop)[:, _WATCHED] = 1
        self._closed = stop
        self._days = {day: seen for day, seen in self._days.items() if (day + 1) * DAY_MINUTES > stop - KEPT_MINUTES}

    @property
    def minutes(self) -> int:
        """How many complete minutes are known, those of earlier runs included."""
        return len(self._watched) + sum(day.minutes for day in self._days.values())

    @property
    def _watched(self) -> Floats:
        rows = self._starts.rows(self._starts.first, self._closed)
        return rows[rows[:, _WATCHED] > 0]

    def loads(self, capacity_per_second: Mapping[int, float], *, minutes: int) -> Floats | None:
        """The load of each of the last `minutes` (>= 1) complete minutes of this run: sum over the models of demand / capacity.

        Shape (minutes,). None where there are not so many, or a model with demand in them has no known capacity.
        """
        watched = self._watched
        return None if len(watched) < minutes else self._loads(watched[-minutes:], capacity_per_second)

    def peak_load(self, capacity_per_second: Mapping[int, float], *, minutes: int) -> float | None:
        """The 99th percentile of the load over all that is known (the smallest value that 99 % of the minutes don't exceed).

        None where less than `minutes` (>= 1) are known, or a model with demand in them has no known capacity.
        """
        if self.minutes < minutes:
            return None
        loads = [self._loads(self._watched, capacity_per_second)]
        loads += [self._loads_of(day, capacity_per_second) for day in self._days.values()]
        known = [of_some for of_some in loads if of_some is not None]
        if len(known) < len(loads):
            return None
        every = np.sort(np.concatenate(known))
        return float(every[int(np.ceil(_PEAK * len(every))) - 1])

    def _loads(self, rows: Floats, capacity_per_second: Mapping[int, float]) -> Floats | None:
        per_second = rows[:, 1:] / 60
        loads = np.zeros(len(rows))
        for code in np.flatnonzero(per_second.any(axis=0)).tolist():
            if code not in capacity_per_second:
                return None
            loads += per_second[:, code] / capacity_per_second[code]
        return loads

    def _loads_of(self, day: _Day, capacity_per_second: Mapping[int, float]) -> Floats | None:
        loads = np.zeros(day.minutes)
        for name in (name for name, counts in day.minutes_by_bucket.items() if counts):
            code = self._names.index(name) if name in self._names else -1
            if code not in capacity_per_second:
                return None
            loads += day.rates(name) / 60 / capacity_per_second[code]
        return loads

    def remember(self) -> dict[str, Any]:
        """What is worth keeping over a restart, ready for JSON: by day (since 1970), how many minutes at about which rate."""
        rows, days = self._watched, dict(self._days)
        minutes = np.flatnonzero(self._starts.rows(self._starts.first, self._closed)[:, _WATCHED]) + self._starts.first
        for day in np.unique(minutes // DAY_MINUTES).tolist():
            days[day] = days.get(day, _Day(0, {})).plus(rows[minutes // DAY_MINUTES == day], self._names)
        return {
            str(day): {
                "minutes": seen.minutes,
                "rates": {name: sorted(counts.items()) for name, counts in seen.minutes_by_bucket.items() if counts},
            }
            for day, seen in days.items()
        }

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Takes up what `remember` told, before any demand has come.

        Raises: ValueError, KeyError or TypeError for anything else; then nothing is taken.
        """
        today = self._closed // DAY_MINUTES
        days = {int(day): _day(seen) for day, seen in remembered.items()}
        self._days = {day: seen for day, seen in days.items() if day <= today and (day + 1) * DAY_MINUTES > self._closed - KEPT_MINUTES}


def _day(remembered: Mapping[str, Any]) -> _Day:
    """One day of `remember`. Raises: ValueError, KeyError or TypeError for anything else."""
    minutes = int(remembered["minutes"])
    rates = {str(name): {int(bucket): int(n) for bucket, n in counts} for name, counts in remembered["rates"].items()}
    if not 0 <= minutes <= DAY_MINUTES:
        raise ValueError("minutes")
    for counts in rates.values():
        if any(abs(bucket) > _MOST_BUCKET or n < 1 for bucket, n in counts.items()) or sum(counts.values()) > minutes:
            raise ValueError("rates")
    return _Day(minutes, rates)

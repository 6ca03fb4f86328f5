"""Columns end to end, and the events of spans as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from infermeter.mapping.layouts import Plan
from infermeter.model import Ints, Names, SpanBatch

Array: TypeAlias = npt.NDArray[Any]
"""A column: of numbers, or of objects, None where there is none."""

Told: TypeAlias = Array | Names
"""A column of an attribute; one of texts may be either."""

_MIXER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, and as good as drawn by lot: 2**64 by the golden ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events of many spans, in any order: each one's row, the number of its name (`Plan.event_numbers`), and its instant."""

    row: Ints
    name: Ints
    time_ns: Ints

    @classmethod
    def of(cls, plan: Plan, batches: Sequence[SpanBatch]) -> Events:
        """Those of some batches, their spans end to end, that some rule reads: a sender may invent any number of names."""
        if not plan.layout.events:
            return NO_EVENTS
        numbers: dict[tuple[str, ...], Ints] = {}
        told: list[Events] = []
        for batch in batches:
            if (events := batch.events) is None:
                told.append(NO_EVENTS)
                continue
            names = tuple(events.names)
            if (number := numbers.get(names)) is None:
                number = np.fromiter(map(plan.event_numbers.get, names, repeat(-1)), np.int64, len(names))
                numbers[names] = number
            told.append(cls(events.row, number[events.name], events.time_ns))
        joined = cls.joined(told, [len(batch) for batch in batches])
        known = joined.name >= 0
        return joined if known.all() else cls(joined.row[known], joined.name[known], joined.time_ns[known])

    @classmethod
    def joined(cls, events: Sequence[Events], spans: Sequence[int]) -> Events:
        """Those of several tables, their rows end to end; `spans`: how many rows each of these has."""
        if len(events) == 1:
            return events[0]
        before = np.repeat(np.cumsum([0, *spans[:-1]]), [len(one.row) for one in events])
        rows = np.concatenate([one.row for one in events]) + before
        return cls(rows, np.concatenate([one.name for one in events]), np.concatenate([one.time_ns for one in events]))

    def rows(self, rows: Ints, count: int) -> Events:
        """Those of some of so many spans, which become the rows from 0 on."""
        if not len(self.row):
            return self
        place = np.full(count, -1, np.int64)
        place[rows] = np.arange(len(rows))
        row = place[self.row]
        kept = row >= 0
        return Events(row[kept], self.name[kept], self.time_ns[kept])


NO_EVENTS = Events(*[np.empty(0, np.int64)] * 3)


def end_to_end(columns: Sequence[Array]) -> Array:
    """All of them as one; one alone isn't copied."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def is_objects(column: Told) -> TypeGuard[Array]:
    """Whether it is one of objects."""
    return not isinstance(column, Names) and column.dtype == np.object_


def told_end_to_end(columns: Sequence[Told]) -> Told:
    """All of them as one: as `Names` where all of them are."""
    names = [column for column in columns if isinstance(column, Names)]
    if len(names) == len(columns):
        return Names.joined(names)
    return end_to_end([column.objects() if isinstance(column, Names) else column for column in columns])


def rows_of(column: Told, rows: Ints) -> Told:
    """Some of the rows, in their order."""
    return column.rows(rows) if isinstance(column, Names) else column[rows]


def places(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Which rows of two columns are alike: one row of each kind, and for each row the place of its kind among these.

    Sorting by a number made of both columns costs a fifth of sorting by both; where a sender has found different ones that give the same
    number, it is done by both.
    """
    mixed = first * _MIXER ^ second
    order = np.argsort(mixed)
    ordered = mixed[order]
    fresh = ordered[1:] != ordered[:-1]
    other = (first[order[1:]] != first[order[:-1]]) | (second[order[1:]] != second[order[:-1]])
    if (fresh != other).any():
        order = np.lexsort((second, first))
        fresh = (first[order[1:]] != first[order[:-1]]) | (second[order[1:]] != second[order[:-1]])
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(np.append(False, fresh))
    return order[np.append(True, fresh)], place

"""Spans as they came, until somebody wants to know what becomes of them: what is done with them costs by the batch, so many become one."""

from __future__ import annotations

from collections.abc import Hashable
from sys import getsizeof
from typing import NamedTuple

import numpy as np

from infermeter.mapping.layouts import Plan
from infermeter.mapping.spans import EVENT_BYTES, SPAN_BYTES, VALUE_BYTES, Spans
from infermeter.mapping.traces import TRACE_BYTES
from infermeter.model import Column, Names, SpanBatch

BATCH_BYTES = 3000
"""What a batch takes in memory without its spans and the texts of its resource; rounded up."""


class _Arrival(NamedTuple):
    """A batch, its number, and when it came."""

    batch: SpanBatch
    number: int
    arrived_ns: int


class Arrivals:
    """Batches in the order of their arrival.

    `spans` are how many wait here, `size_bytes` what they take; `earliest_ns` and `latest_ns` when the first and the last of them came,
    or of those that were taken last, by a clock that may be set back.
    """

    def __init__(self) -> None:
        self.spans = 0
        self.size_bytes = 0
        self.earliest_ns = self.latest_ns = 0
        self._number = 0
        self._alike: dict[Hashable, tuple[Plan, list[_Arrival]]] = {}

    def add(self, plan: Plan, batch: SpanBatch, arrived_ns: int) -> None:
        """Takes a batch."""
        self.earliest_ns = min(self.earliest_ns, arrived_ns) if self.spans else arrived_ns
        self.latest_ns = max(self.latest_ns, arrived_ns) if self.spans else arrived_ns
        self.spans += len(batch)
        self.size_bytes += _size_bytes(plan, batch)
        self._number += 1
        self._alike.setdefault(_likeness(batch), (plan, []))[1].append(_Arrival(batch, self._number, arrived_ns))

    @property
    def kinds(self) -> int:
        """How many batches they would be if they were taken now."""
        return len(self._alike)

    def taken(self) -> list[Spans]:
        """All that waits, batches that are alike as one."""
        alike, self._alike = self._alike, {}
        self.spans = self.size_bytes = 0
        return [
            Spans.of(
                plan,
                *(one.batch for one in arrivals),
                number=np.array([one.number for one in arrivals], np.int64),
                arrived_ns=np.array([one.arrived_ns for one in arrivals], np.int64),
            )
            for plan, arrivals in alike.values()
        ]


def _likeness(batch: SpanBatch) -> Hashable:
    """What batches have in common that can be one: their layout, resource, and the types of their columns, which alone keep all values.

    Resources that hold something other than texts are compared by identity, for 1 equals True.
    """
    resource = batch.resource
    texts = all([type(value) is str for value in resource.values()])  # noqa: C419 - a list is faster
    return batch.layout, tuple(resource.items()) if texts else id(resource), tuple(map(_type, batch.attributes))


def _type(column: Column | None) -> str | None:
    """The type of a column; texts are joined in either form."""
    if column is None:
        return None
    return "O" if isinstance(column, Names) else column.dtype.char


def _size_bytes(plan: Plan, batch: SpanBatch) -> int:
    """What it takes in memory if each span is a trace of its own; rounded up, but for the texts of spans that wait for no others."""
    told = BATCH_BYTES + (TRACE_BYTES + SPAN_BYTES + VALUE_BYTES * len(batch.attributes)) * len(batch)
    if plan.waits:
        told += sum(map(getsizeof, batch.resource.values()))
        for column in batch.attributes:
            if isinstance(column, Names):
                told += len(column) * max(map(getsizeof, column.kinds))
            elif column is not None and column.dtype == np.object_:
                told += len(column) * max(map(getsizeof, set(column.tolist())))  # most have few values, or of one length
        told += 0 if batch.events is None else EVENT_BYTES * len(batch.events.row)
    return told

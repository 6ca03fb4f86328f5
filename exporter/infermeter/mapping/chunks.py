"""Spans that are kept until their traces are complete, in the columns in which they came, and who of them is whose parent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import NamedTuple

import numpy as np

from infermeter.mapping.arrivals import BATCH_BYTES
from infermeter.mapping.columns import Array, end_to_end, places
from infermeter.mapping.spans import NO_RULE, Spans, Table
from infermeter.mapping.traces import Above
from infermeter.model import Bools, Ints

DEEPEST = 64
"""So many generations are searched for the ancestor that is missing."""


class Waiting(NamedTuple):
    """Spans that wait for the rest of their traces, in the order of their arrival, each with the number of its rule.

    `rule` is None if nobody reads them, but they may stand between an ancestor and its descendants.
    """

    spans: Spans
    rule: Ints | None


class Kept(NamedTuple):
    """The same, without what nobody looks at, and what each of them takes in memory."""

    spans: Spans
    rule: Ints | None
    row_bytes: Ints

    @classmethod
    def of(cls, waiting: Waiting) -> Kept:
        """What is kept of spans that wait."""
        spans = waiting.spans.links() if waiting.rule is None else waiting.spans.kept()
        return cls(spans, waiting.rule, spans.size_bytes())

    @property
    def size_bytes(self) -> int:
        """What they take if each batch is kept by itself."""
        batches = 1 + int((self.spans.number[1:] != self.spans.number[:-1]).sum())
        return batches * _shared_bytes(self.spans) + int(self.row_bytes.sum())

    def rows(self, rows: Ints) -> Kept:
        """Some of them."""
        return Kept(self.spans.rows(rows), None if self.rule is None else self.rule[rows], self.row_bytes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Spans that came together, each with the slot of its trace.

    `rule` has the number of the rule that each of them matched, or NO_RULE; None: nobody reads them, only their ids are kept.
    `row_bytes`: what each of them takes in memory.
    """

    spans: Spans
    slot: Ints
    rule: Ints | None
    row_bytes: Ints

    @property
    def shared_bytes(self) -> int:
        """What it takes beside its rows."""
        return _shared_bytes(self.spans)

    @property
    def size_bytes(self) -> int:
        """What all of it takes."""
        return self.shared_bytes + int(self.row_bytes.sum())

    def rows(self, chosen: Bools) -> Chunk:
        """Some of it; at least one."""
        rows = np.flatnonzero(chosen)
        return Chunk(self.spans.rows(rows), self.slot[rows], None if self.rule is None else self.rule[rows], self.row_bytes[rows])


def _shared_bytes(spans: Spans) -> int:
    """What spans take that are kept together, beside the rows."""
    return BATCH_BYTES + sum(map(getsizeof, spans.resource.values()))


class TraceIds(NamedTuple):
    """The ids of traces, no two alike, and for each span, of all that are kept end to end, the place of its trace among them."""

    ids: list[bytes]
    trace: Ints

    @classmethod
    def of(cls, kept: Sequence[Kept]) -> TraceIds:
        """Those of some spans."""
        trace_id = end_to_end([one.spans.trace_id for one in kept])
        first, trace = places(*trace_id.view(np.uint64).reshape(-1, 2).T)
        return cls(trace_id[first].tolist(), trace)

    def first_batches(self, kept: Sequence[Kept]) -> Ints:
        """For each trace the number of the batch of those spans with which it came first."""
        first = np.full(len(self.ids), np.iinfo(np.int64).max)
        np.minimum.at(first, self.trace, end_to_end([one.spans.number for one in kept]))
        return first


def by_batch(kept: Sequence[Kept]) -> Iterator[list[Kept]]:
    """What came together, in the order of arrival."""
    for number in np.unique(end_to_end([one.spans.number for one in kept])).tolist():
        ranges = [np.arange(*np.searchsorted(one.spans.number, (number, number + 1))) for one in kept]
        yield [one.rows(rows) for one, rows in zip(kept, ranges, strict=True) if len(rows)]


def missing_above(chunks: Sequence[Chunk], table: Table, rows: Ints) -> Array:
    """Of each of the rows the id of the nearest ancestor that isn't here; 0 where there is none."""
    if not len(rows):
        return np.empty(0, np.uint64)
    top, up = rows, table.parent[rows]
    nobody = len(table.parent) - 1
    for _ in range(DEEPEST):
        if (up == nobody).all():
            break
        top = np.where(up == nobody, top, up)
        up = table.parent[top]
    parent_id = np.concatenate([chunk.spans.parent_id for chunk in chunks])
    missing: Array = np.where(up == nobody, parent_id[top], 0)
    return missing


def matched_below(chunks: Sequence[Chunk], table: Table, above: Mapping[bytes, Sequence[Above]]) -> Ints:
    """For each row of the table the least rule of those spans below it that its trace had when it was complete before, or NO_RULE."""
    rule = np.full(len(table.parent), NO_RULE)
    if not above:
        return rule[: len(table)]
    trace_ids = np.concatenate([chunk.spans.trace_id for chunk in chunks]).tolist()
    span_ids = np.concatenate([chunk.spans.span_id for chunk in chunks]).tolist()
    missing: dict[tuple[bytes, int], int] = {}
    for trace_id, told in above.items():
        for one in told:
            missing[trace_id, one.span_id] = min(one.rule, missing.get((trace_id, one.span_id), NO_RULE))
    rule[:-1] = [missing.get(key, NO_RULE) for key in zip(trace_ids, span_ids, strict=True)]
    least: Ints = np.minimum(rule, table.least_below(rule))
    return least[: len(table)]


def relatives(chunks: Sequence[Chunk]) -> tuple[Ints, Ints]:
    """For each row, of all chunks end to end, the first row of its trace with its id, and that of its parent; where there is none, n.

    The first is the one that came first; of those that nobody reads it is any only if there is no other. A row that is its own parent
    has none.
    """
    slot = end_to_end([chunk.slot for chunk in chunks]).view(np.uint64)
    span_id = end_to_end([chunk.spans.span_id for chunk in chunks])
    parent_id = end_to_end([chunk.spans.parent_id for chunk in chunks])
    n = len(slot)
    key_row, key = places(np.tile(slot, 2), np.concatenate((span_id, parent_id)))
    own, up = key[:n], key[n:]
    row_of = np.full(len(key_row), n, np.int64)
    row_of[own] = np.arange(n)
    if (row_of[own] != np.arange(n)).any():
        number = np.concatenate([chunk.spans.number for chunk in chunks])
        unread = np.repeat([chunk.rule is None for chunk in chunks], [len(chunk.slot) for chunk in chunks])
        latest_first = np.lexsort((number, unread))[::-1]
        row_of[own[latest_first]] = latest_first  # of several assignments the last one stays
    first, parent = row_of[own], row_of[up]
    parent[parent == np.arange(n)] = n
    return first, parent

"""Traces put together across exports, processes and encodings, whatever the order; bounded in number and size. No rules here.

A trace is complete when no span of it has come for a while: `grace` once a span was seen that a rule matched, else `idle`. A parent
that never comes holds nothing back: a span whose parent isn't there is a root, as far as this process can know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping.layouts import Plan
from infermeter.mapping.spans import NO_RULE, Column, Events, Spans, Table
from infermeter.model import AttributeValue

ROW_BYTES, EVENT_BYTES, LINK_BYTES = 900, 150, 250
"""What a span under assembly takes without its texts and events, an event, and a span of which only the ids are kept; rounded up."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What spans share that become one group of a table."""

    plan: Plan
    resource: Mapping[str, AttributeValue]


class Row(NamedTuple):
    """A span under assembly. `rule` is the number of the rule that it matched; NO_RULE: it is there to be read by another's."""

    origin: Origin
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    rule: int
    kind: int
    status: int
    start_ns: int
    end_ns: int
    attributes: Column
    events: Events


class Trace:
    """The spans of one trace that have come; `links` are spans of which only the parent is known."""

    __slots__ = ("counted", "last_ns", "links", "rooted", "rows", "size_bytes", "trace_id")

    def __init__(self, trace_id: bytes, counted: frozenset[bytes]) -> None:
        """`counted`: matched spans of an earlier assembly under the same id."""
        self.trace_id = trace_id
        self.rows: dict[bytes, Row] = {}
        self.links: dict[bytes, bytes] = {}
        self.counted = counted
        self.rooted = False
        self.size_bytes = 0
        self.last_ns = 0

    def matched(self) -> frozenset[bytes]:
        """Ids of the spans that a rule matched, now or earlier."""
        return self.counted.union(span_id for span_id, row in self.rows.items() if row.rule != NO_RULE)


class Assembler:
    """Traces under assembly. `dropped` counts the spans that it loses (`duplicate`, `evicted`)."""

    def __init__(self, assembly: Assembly, limits: Limits, dropped: Counter[str], *, bounded: bool) -> None:
        self._grace_ns = round(assembly.grace * 1e9)
        self._idle_ns = round(assembly.idle * 1e9)
        self._limits = limits
        self._dropped = dropped
        self._bounded = bounded
        self._rooted: dict[bytes, Trace] = {}
        self._rootless: dict[bytes, Trace] = {}
        self._closed: dict[bytes, frozenset[bytes] | None] = {}  # None: evicted, nothing can be made of what is still to come
        self._closed_spans = 0
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._rooted) + len(self._rootless)

    @property
    def spans(self) -> int:
        """How many spans are under assembly."""
        return sum(len(trace.rows) for trace in chain(self._rooted.values(), self._rootless.values()))

    def add(self, rows: Iterable[Row], now_ns: int) -> None:
        """Takes spans; within a trace a span id counts once."""
        touched: dict[bytes, Trace] = {}
        for row in rows:
            trace = touched.get(row.trace_id) or self._opened(row.trace_id, touched)
            if trace is None:
                self._dropped["evicted"] += 1
            elif row.span_id in trace.rows or row.span_id in trace.counted:
                self._dropped["duplicate"] += 1
            else:
                trace.rows[row.span_id] = row
                trace.rooted |= row.rule != NO_RULE
                self._grow(trace, size_bytes(row))
        self._touch(touched, now_ns)

    def link(self, ids: Iterable[tuple[bytes, bytes, bytes]], now_ns: int) -> None:
        """Takes trace, span and parent id of spans that nobody reads, but that may stand between an ancestor and its descendants."""
        touched: dict[bytes, Trace] = {}
        for trace_id, span_id, parent_id in ids:
            trace = touched.get(trace_id) or self._opened(trace_id, touched)
            if trace is not None and span_id not in trace.links:
                trace.links[span_id] = parent_id
                self._grow(trace, LINK_BYTES)
        self._touch(touched, now_ns)

    def due(self, now_ns: int) -> list[Trace]:
        """The traces that are complete; they are under assembly no more. A clock that was set back completes what it left behind."""
        due: list[Trace] = []
        for queue, wait_ns in ((self._rooted, self._grace_ns), (self._rootless, self._idle_ns)):
            while queue:
                trace_id, trace = next(iter(queue.items()))
                if abs(now_ns - trace.last_ns) < wait_ns:
                    break
                del queue[trace_id]
                self._size_bytes -= trace.size_bytes
                self._close(trace_id, trace.matched())
                due.append(trace)
        return due

    def everything(self) -> list[Trace]:
        """All traces: no more spans will come."""
        traces = [*self._rooted.values(), *self._rootless.values()]
        self._rooted.clear()
        self._rootless.clear()
        self._size_bytes = 0
        return traces

    def _opened(self, trace_id: bytes, touched: dict[bytes, Trace]) -> Trace | None:
        """The trace of an id, taken out of its queue until `_touch`; None if it was evicted."""
        trace = self._rooted.pop(trace_id, None) or self._rootless.pop(trace_id, None)
        if trace is None:
            counted = self._closed.get(trace_id, frozenset())
            if counted is None:
                return None
            trace = Trace(trace_id, counted)
        touched[trace_id] = trace
        return trace

    def _grow(self, trace: Trace, size_bytes: int) -> None:
        trace.size_bytes += size_bytes
        self._size_bytes += size_bytes

    def _touch(self, touched: dict[bytes, Trace], now_ns: int) -> None:
        for trace_id, trace in touched.items():
            trace.last_ns = now_ns
            (self._rooted if trace.rooted else self._rootless)[trace_id] = trace
        if self._bounded:
            while len(self) > self._limits.pending_traces or self._size_bytes > self._limits.pending_bytes:
                self._evict()

    def _evict(self) -> None:
        """Drops the trace that has waited longest."""
        oldest = min((next(iter(queue.values())).last_ns, which) for which, queue in enumerate((self._rooted, self._rootless)) if queue)
        queue = (self._rooted, self._rootless)[oldest[1]]
        trace_id = next(iter(queue))
        trace = queue.pop(trace_id)
        self._size_bytes -= trace.size_bytes
        self._dropped["evicted"] += len(trace.rows)
        self._close(trace_id, None)

    def _close(self, trace_id: bytes, matched: frozenset[bytes] | None) -> None:
        """Remembers what became of a trace, as long as there is room: for as many traces as may be pending, and four spans of each."""
        if matched is not None and not matched:
            return
        self._closed_spans += len(matched or ()) - len(self._closed.pop(trace_id, None) or ())
        self._closed[trace_id] = matched
        while len(self._closed) > self._limits.pending_traces or self._closed_spans > 4 * self._limits.pending_traces:
            self._closed_spans -= len(self._closed.pop(next(iter(self._closed))) or ())


def size_bytes(row: Row) -> int:
    """About what a span takes in memory."""
    size = ROW_BYTES + EVENT_BYTES * len(row.events)
    for value in row.attributes:
        if isinstance(value, str):
            size += len(value)
    return size


def table_of(traces: Sequence[Trace]) -> tuple[Table, list[Row]]:
    """The spans of some traces as a table, and its rows in order (at least one)."""
    of_origin: dict[Origin, list[Row]] = {}
    for trace in traces:
        for row in trace.rows.values():
            of_origin.setdefault(row.origin, []).append(row)
    rows = list(chain.from_iterable(of_origin.values()))
    ids = [row.trace_id + row.span_id for row in rows]
    parents = [row.trace_id + row.parent_id for row in rows]
    for trace in traces:
        for span_id, parent_id in trace.links.items():
            ids.append(trace.trace_id + span_id)
            parents.append(trace.trace_id + parent_id)
    nobody = len(ids)
    number = dict(zip(reversed(ids), reversed(range(nobody)), strict=True))  # of a row and a link of one id the row
    parent = np.array([*(number.get(parent_id, nobody) for parent_id in parents), nobody], np.int64)
    parent[parent == np.arange(nobody + 1)] = nobody  # a span that is its own parent has none
    return Table([_group(origin, of_one) for origin, of_one in of_origin.items()], parent), rows


def _group(origin: Origin, rows: Sequence[Row]) -> Spans:
    _, trace_id, span_id, parent_id, _, kind, status, start_ns, end_ns, attributes, events = zip(*rows, strict=True)
    columns = tuple(zip(*attributes, strict=True))
    return Spans(origin.plan, origin.resource, trace_id, span_id, parent_id, kind, status, start_ns, end_ns, columns, events)

"""Traces put together across exports, processes and encodings, whatever the order; bounded in number and size. No rules here.

A trace is complete when no span of it has come for a while: `grace` once a span was seen that a rule matched, else `idle`; `idle` too if
that rule says that its traces come from several processes. A parent
that never comes holds nothing back: a span whose parent isn't there is a root, as far as anyone here can know.

Spans stay in the columns in which they came (`Chunk`), and a trace holds their numbers; a chunk goes when all its spans are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from operator import add

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping.spans import NO_RULE, Spans, Table
from infermeter.model import Bools, Ints

CHUNK_BYTES, SPAN_BYTES, EVENT_BYTES, LINK_BYTES = 3000, 700, 200, 300
"""What a chunk, a span in it without its texts and events, an event, and a span of which only the ids are kept take; rounded up."""

PRESSING_RATIO = 1.25
"""Of `limits.pending_bytes`: beyond it, traces that are complete early don't wait to be taken."""

TRACES_AT_ONCE = 4096
"""Complete traces that are handed over as one table."""


@dataclass(slots=True, eq=False)
class Chunk:
    """Spans that came together. `rule` has the number of the rule that each of them matched, or NO_RULE; `live` of them are pending."""

    spans: Spans
    rule: Ints
    live: int
    size_bytes: int


@dataclass(slots=True, eq=False)
class Trace:
    """What is pending of one trace: the number of each span, and for spans that nobody reads their parent's id.

    `matched`: ids of the spans that a rule matched; `counted`: those of an earlier assembly under the same trace id. `patient`: it is
    complete only after the longer time, whatever was matched.
    """

    rows: dict[bytes, int]
    links: dict[bytes, bytes]
    matched: set[bytes]
    counted: frozenset[bytes]
    patient: bool = False
    last_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """The spans of complete traces. `rule`: as in Chunk; `again`: whether the row's trace was complete once before."""

    table: Table
    rule: Ints
    again: Bools


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
        self._hurried: dict[bytes, Trace] = {}
        self._hurried_spans = 0
        self._spans = 0
        self._chunks: dict[int, Chunk] = {}  # by the number of its first span, ascending
        self._next_number = 0
        self._closed: dict[bytes, frozenset[bytes] | None] = {}  # None: evicted, nothing can be made of what is still to come
        self._closed_spans = 0
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._rooted) + len(self._rootless)

    @property
    def spans(self) -> int:
        """How many spans are under assembly."""
        return self._spans

    @property
    def presses(self) -> bool:
        """Whether traces that are complete early hold so much memory that they should be taken now."""
        return bool(self._hurried) and self._size_bytes > PRESSING_RATIO * self._limits.pending_bytes

    # --- in ------------------------------------------------------------------------------------------------------------------------
    def add(self, spans: Spans, rule: Ints, now_ns: int) -> None:
        """Takes spans, each with the number of its rule; within a trace a span id counts once."""
        first = self._next_number
        self._next_number += len(spans)
        touched: dict[bytes, Trace] = {}
        lost = 0
        matched = (rule != NO_RULE).tolist()
        for number, (trace_id, span_id, is_matched) in enumerate(zip(spans.trace_id, spans.span_id, matched, strict=True), first):
            trace = touched.get(trace_id) or self._opened(trace_id, touched)
            if trace is None:
                self._dropped["evicted"] += 1
                lost += 1
            elif span_id in trace.rows or span_id in trace.counted:
                self._dropped["duplicate"] += 1
                lost += 1
            else:
                trace.rows[span_id] = number
                if is_matched:
                    trace.matched.add(span_id)
        patient = spans.plan.patient
        if patient:
            for row in np.flatnonzero(np.isin(rule, list(patient))).tolist():
                if trace := touched.get(spans.trace_id[row]):
                    trace.patient = True
        if lost < len(spans):
            self._chunks[first] = chunk = Chunk(spans, rule, len(spans) - lost, _size_bytes(spans))
            self._size_bytes += chunk.size_bytes
            self._spans += chunk.live
        self._close(touched, now_ns)

    def link(self, ids: Iterable[tuple[bytes, bytes, bytes]], now_ns: int) -> None:
        """Takes trace, span and parent id of spans that nobody reads, but that may stand between an ancestor and its descendants."""
        touched: dict[bytes, Trace] = {}
        for trace_id, span_id, parent_id in ids:
            trace = touched.get(trace_id) or self._opened(trace_id, touched)
            if trace is not None and span_id not in trace.links:
                trace.links[span_id] = parent_id
                self._size_bytes += LINK_BYTES
        self._close(touched, now_ns)

    def _opened(self, trace_id: bytes, touched: dict[bytes, Trace]) -> Trace | None:
        """The trace of an id, out of its queue until `_close`; None if it was evicted."""
        trace = self._rooted.pop(trace_id, None) or self._rootless.pop(trace_id, None)
        if trace is None and (trace := self._hurried.pop(trace_id, None)):
            self._hurried_spans -= len(trace.rows)
        if trace is None:
            counted = self._closed.get(trace_id, frozenset())
            if counted is None:
                return None
            trace = Trace({}, {}, set(), counted)
        touched[trace_id] = trace
        return trace

    def _close(self, touched: dict[bytes, Trace], now_ns: int) -> None:
        """Puts traces at the end of their queues. While there are too many, the one that has waited longest makes room.

        If a rule matched a span of it, it is complete before its grace has passed, and goes with the next that are due: better early than
        lost. If none did, it is evicted.
        """
        for trace_id, trace in touched.items():
            trace.last_ns = now_ns
            (self._rooted if trace.matched and not trace.patient else self._rootless)[trace_id] = trace
        while self._bounded and self._too_many():
            queue = min((queue for queue in (self._rootless, self._rooted) if queue), key=lambda one: next(iter(one.values())).last_ns)
            trace_id = next(iter(queue))
            trace = queue.pop(trace_id)
            if trace.matched:
                self._hurried[trace_id] = trace
                self._hurried_spans += len(trace.rows)
            else:
                self._evict(trace_id, trace)

    def _too_many(self) -> bool:
        """Whether the traces that wait are too many, or take too much memory: their share of it by the number of spans."""
        waiting_ratio = 1 - self._hurried_spans / self._spans if self._spans else 1.0
        return len(self) > self._limits.pending_traces or (len(self) > 0 and self._size_bytes * waiting_ratio > self._limits.pending_bytes)

    def _evict(self, trace_id: bytes, trace: Trace) -> None:
        self._dropped["evicted"] += len(trace.rows)
        self._released([trace])
        if trace.rows:
            self._remember(trace_id, None)

    # --- out -----------------------------------------------------------------------------------------------------------------------
    def due(self, now_ns: int | None) -> list[Assembled]:
        """The traces that are complete: all of them without `now_ns`, none before if nothing is bounded.

        A clock that was set back completes what it left behind.
        """
        if now_ns is not None and not self._bounded:
            return []
        due, self._hurried, self._hurried_spans = self._hurried, {}, 0
        for queue, wait_ns in ((self._rooted, self._grace_ns), (self._rootless, self._idle_ns)):
            while queue:
                trace_id, trace = next(iter(queue.items()))
                if now_ns is not None and abs(now_ns - trace.last_ns) < wait_ns:
                    break
                due[trace_id] = queue.pop(trace_id)
        for trace_id, trace in due.items():
            if trace.matched or trace.counted:
                self._remember(trace_id, trace.counted.union(trace.matched))
        ids = list(due)
        assembled = (self._assembled({one: due[one] for one in ids[n : n + TRACES_AT_ONCE]}) for n in range(0, len(ids), TRACES_AT_ONCE))
        return [one for one in assembled if one is not None]

    def _assembled(self, traces: dict[bytes, Trace]) -> Assembled | None:
        """The spans of some traces; None if all that came of them were links."""
        chunks = self._released(traces.values())
        if not chunks:
            return None
        groups = [chunk.spans.rows(rows) for chunk, rows in chunks]
        trace_id = [one for group in groups for one in group.trace_id]
        ids = list(map(add, trace_id, chain.from_iterable(group.span_id for group in groups)))
        parents = list(map(add, trace_id, chain.from_iterable(group.parent_id for group in groups)))
        for one, trace in traces.items():
            ids += [one + span_id for span_id in trace.links]
            parents += [one + parent_id for parent_id in trace.links.values()]
        nobody = len(ids)
        number = dict(zip(reversed(ids), range(nobody - 1, -1, -1), strict=True))  # of a span and a link of one id the span
        parent = np.array([number.get(parent_id, nobody) for parent_id in parents] + [nobody], np.int64)
        parent[parent == np.arange(nobody + 1)] = nobody  # a span that is its own parent has none
        before = {one for one, trace in traces.items() if trace.counted}
        again = np.fromiter((one in before for one in trace_id), np.bool_, len(trace_id))
        return Assembled(Table(groups, parent), np.concatenate([chunk.rule[rows] for chunk, rows in chunks]), again)

    def _released(self, traces: Iterable[Trace]) -> list[tuple[Chunk, list[int]]]:
        """The chunks that hold the spans of some traces, each with the rows that are theirs; these spans are pending no more."""
        traces = list(traces)
        self._size_bytes -= LINK_BYTES * sum(len(trace.links) for trace in traces)
        numbers = np.sort(np.fromiter(chain.from_iterable(trace.rows.values() for trace in traces), np.int64))
        firsts = np.fromiter(self._chunks, np.int64)
        chunk_of = np.searchsorted(firsts, numbers, side="right") - 1
        self._spans -= len(numbers)
        found = []
        for which, begin, end in _runs(chunk_of):
            first = int(firsts[which])
            chunk = self._chunks[first]
            found.append((chunk, (numbers[begin:end] - first).tolist()))
            chunk.live -= end - begin
            if not chunk.live:
                del self._chunks[first]
                self._size_bytes -= chunk.size_bytes
        return found

    def _remember(self, trace_id: bytes, counted: frozenset[bytes] | None) -> None:
        """What became of a trace, as long as there is room: for as many traces as may be pending, and four spans of each."""
        self._closed_spans += len(counted or ()) - len(self._closed.pop(trace_id, None) or ())
        self._closed[trace_id] = counted
        while len(self._closed) > self._limits.pending_traces or self._closed_spans > 4 * self._limits.pending_traces:
            self._closed_spans -= len(self._closed.pop(next(iter(self._closed))) or ())


def _runs(ascending: Ints) -> Iterable[tuple[int, int, int]]:
    """Each value with the begin and end of its run."""
    values, begins = np.unique(ascending, return_index=True)
    return zip(values.tolist(), begins.tolist(), np.append(begins, len(ascending))[1:].tolist(), strict=True)


def _size_bytes(spans: Spans) -> int:
    """About what a chunk takes in memory."""
    texts = chain(spans.resource.values(), *(column for column in spans.attributes if not isinstance(column, np.ndarray)))
    events = sum(map(len, spans.events))
    return CHUNK_BYTES + SPAN_BYTES * len(spans) + EVENT_BYTES * events + sum(len(text) for text in texts if isinstance(text, str))

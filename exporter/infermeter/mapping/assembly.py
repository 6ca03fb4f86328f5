"""Traces put together across exports, processes and encodings, whatever the order; bounded in number and size. No rules here.

A trace is complete when no span of it has come for a while: `grace` once a span was seen that a rule matched, else `idle`; `idle` too if
that rule says that its traces come from several processes. A parent
that never comes holds nothing back: a span whose parent isn't there is a root, as far as anyone here can know.

Spans stay in the columns in which they came (`Chunk`), each row with the slot of its trace, until the trace leaves. Whether a span came
twice, and who is whose parent, is found out then, for many traces at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import TypeVar

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping.spans import NO_RULE, Array, Spans, Table
from infermeter.mapping.traces import HURRIED, TRACE_BYTES, WAITING, Above, Closed, Traces
from infermeter.model import Bools, Ints

T = TypeVar("T")

CHUNK_BYTES = 3000
"""What a chunk takes in memory without its spans and the texts of its resource; rounded up."""

WAITING_RATIO = 0.8
"""Of `limits.pending_bytes`: so much may wait; the rest is for traces that are complete early, until they are taken."""

SLACK = 64
"""Where there is too much, one part in so many goes with it: not every span has to make room for itself."""

DEEPEST = 64
"""So many generations are searched for the ancestor that is missing."""

TRACES_AT_ONCE = 4096
"""Complete traces that are handed over as one table."""


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
        return CHUNK_BYTES + sum(map(getsizeof, self.spans.resource.values()))

    @property
    def size_bytes(self) -> int:
        """What all of it takes."""
        return self.shared_bytes + int(self.row_bytes.sum())

    def rows(self, chosen: Bools) -> Chunk:
        """Some of it; at least one."""
        rows = np.flatnonzero(chosen)
        return Chunk(self.spans.rows(rows), self.slot[rows], None if self.rule is None else self.rule[rows], self.row_bytes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """The spans of complete traces. `rule`: as in Chunk; `again`: whether the row's trace was complete once before.

    `before`: the best of the rules that spans below the row had matched when its trace was complete before, or NO_RULE.
    """

    table: Table
    rule: Ints
    again: Bools
    before: Ints


class Assembler:
    """Traces under assembly. `dropped` counts the spans that it loses (`duplicate`, `evicted`)."""

    def __init__(self, assembly: Assembly, limits: Limits, dropped: Counter[str], *, bounded: bool) -> None:
        self._grace_ns = round(assembly.grace * 1e9)
        self._idle_ns = round(assembly.idle * 1e9)
        self._limits = limits
        self._dropped = dropped
        self._bounded = bounded
        self._traces = Traces()
        self._counted: dict[int, frozenset[int]] = {}  # by slot: ids of spans that a rule matched in an earlier assembly of the trace
        self._closed = Closed(limits.pending_traces)
        self._chunks: list[Chunk] = []
        self._waiting = 0
        self._spans = 0
        self._size_bytes = 0
        self._hurried_bytes = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def spans(self) -> int:
        """How many spans are under assembly."""
        return self._spans

    @property
    def presses(self) -> bool:
        """Whether traces that are complete early hold so much memory that they should be taken now."""
        return self._hurried_bytes > 0 and self._size_bytes > self._limits.pending_bytes

    # --- in ------------------------------------------------------------------------------------------------------------------------
    def add(self, spans: Spans, rule: Ints, now_ns: int) -> None:
        """Takes spans, each with the number of its rule; within a trace a span id counts once."""
        slot = self._touched(spans.trace_id.tolist(), now_ns)
        patient = spans.plan.patient
        if patient:
            self._traces.patient[slot[np.isin(rule, list(patient)) & (slot >= 0)]] = True
        if self._counted or slot.min() < 0:
            counted = self._counted_before(spans.span_id, slot)
            self._dropped["duplicate"] += int(counted.sum())
            self._dropped["evicted"] += int((slot < 0).sum())
            self._keep_some(spans, slot, rule, (slot >= 0) & ~counted)
        else:
            self._keep(spans, slot, rule)
        self._make_room()

    def link(self, spans: Spans, now_ns: int) -> None:
        """Takes spans that nobody reads, but that may stand between an ancestor and its descendants."""
        slot = self._touched(spans.trace_id.tolist(), now_ns)
        self._keep_some(spans, slot, None, slot >= 0)
        self._make_room()

    def _touched(self, trace_ids: Sequence[bytes], now_ns: int) -> Ints:
        """The slot of each trace, from now on that of one that waits; -1 where it was evicted."""
        here = slot = self._traces.slots(trace_ids)
        if slot.min() < 0:
            self._open([trace_ids[row] for row in np.flatnonzero(slot < 0).tolist()])
            slot = self._traces.slots(trace_ids)
            here = slot[slot >= 0]
        if self._hurried_bytes:
            hurried = np.unique(here[self._traces.state[here] == HURRIED])
            self._waiting += len(hurried)
            self._hurried_bytes -= int(self._traces.size_bytes[hurried].sum())
            self._traces.state[hurried] = WAITING
        self._traces.touch(here, now_ns)
        return slot

    def _open(self, trace_ids: Sequence[bytes]) -> None:
        """Begins an assembly of each trace that wasn't evicted."""
        fresh = list(dict.fromkeys(trace_ids))
        before = self._closed.of(fresh)
        if any(told is not None for told in before):
            again = {trace_id: told for trace_id, told in zip(fresh, before, strict=True) if told is not None}
            fresh = [trace_id for trace_id in fresh if again.get(trace_id) != Closed.EVICTED]
            self._traces.open(fresh)
            slots = self._traces.slots(fresh).tolist()
            self._counted |= {slot: frozenset(again[trace_id]) for trace_id, slot in zip(fresh, slots, strict=True) if trace_id in again}
        else:
            self._traces.open(fresh)
        self._waiting += len(fresh)
        self._size_bytes += TRACE_BYTES * len(fresh)

    def _counted_before(self, span_id: Array, slot: Ints) -> Bools:
        """Which spans were counted in an earlier assembly of their trace."""
        counted = np.zeros(len(slot), np.bool_)
        for row in np.flatnonzero(np.isin(slot, list(self._counted))).tolist():
            counted[row] = int(span_id[row]) in self._counted[int(slot[row])]
        return counted

    def _keep_some(self, spans: Spans, slot: Ints, rule: Ints | None, wanted: Bools) -> None:
        """Keeps those of the spans that are wanted."""
        if wanted.any():
            rows = np.flatnonzero(wanted)
            self._keep(spans.rows(rows), slot[rows], None if rule is None else rule[rows])

    def _keep(self, spans: Spans, slot: Ints, rule: Ints | None) -> None:
        """Keeps spans; without rules only their ids."""
        trace_id = self._traces.id[slot]
        spans = spans.links(trace_id) if rule is None else spans.kept(trace_id)
        chunk = Chunk(spans, slot, rule, spans.size_bytes())
        self._chunks.append(chunk)
        self._size_bytes += chunk.size_bytes
        np.add.at(self._traces.size_bytes, slot, chunk.row_bytes + chunk.shared_bytes // len(slot))
        if rule is not None:
            self._spans += len(slot)
            np.add.at(self._traces.spans, slot, 1)
            self._traces.matched[slot[rule != NO_RULE]] = True

    # --- too much ------------------------------------------------------------------------------------------------------------------
    def _make_room(self) -> None:
        """While too much waits, the traces that have waited longest make room.

        If a rule matched a span of one, it is complete before its grace has passed, and goes with the next that are due: better early
        than lost. If none did, it is evicted.
        """
        while self._bounded and (over := self._over()):
            leaving = self._traces.waiting()[:over]
            matched = self._traces.matched[leaving]
            hurried, evicted = leaving[matched], leaving[~matched]
            self._traces.state[hurried] = HURRIED
            self._waiting -= len(hurried)
            self._hurried_bytes += int(self._traces.size_bytes[hurried].sum())
            spans = self._traces.spans[evicted]
            self._dropped["evicted"] += int(spans.sum())
            self._closed.add(dict.fromkeys(self._traces.id[evicted[spans > 0]].tolist(), Closed.EVICTED), {})
            self._released(evicted)

    def _over(self) -> int:
        """How many traces must make room."""
        most_bytes = WAITING_RATIO * self._limits.pending_bytes
        surplus = self._waiting - self._limits.pending_traces
        surplus_bytes = self._size_bytes - self._hurried_bytes - most_bytes
        over = surplus + self._limits.pending_traces // SLACK if surplus > 0 else 0
        if self._waiting and surplus_bytes > 0:
            sizes = np.cumsum(self._traces.size_bytes[self._traces.waiting()])
            over = max(over, int(np.searchsorted(sizes, surplus_bytes + most_bytes / SLACK)) + 1)
        return over

    # --- out -----------------------------------------------------------------------------------------------------------------------
    def due(self, now_ns: int | None) -> list[Assembled]:
        """The traces that are complete: all of them without `now_ns`, none before if nothing is bounded."""
        if now_ns is not None and not self._bounded:
            return []
        slots = self._traces.due(now_ns, self._grace_ns, self._idle_ns)
        assembled = [self._assembled(slots[n : n + TRACES_AT_ONCE]) for n in range(0, len(slots), TRACES_AT_ONCE)]
        return [one for one in assembled if one is not None]

    def _assembled(self, slots: Ints) -> Assembled | None:
        """The spans of some traces; None if all that came of them were links."""
        before = {slot: self._counted[slot] for slot in self._counted.keys() & slots.tolist()}
        counted = {trace_id: tuple(before[slot]) for trace_id, slot in zip(self._traces.id[list(before)].tolist(), before, strict=True)}
        above: Mapping[bytes, Sequence[Above]] = {trace_id: told for trace_id in counted if (told := self._closed.above(trace_id))}
        chunks = sorted(self._released(slots), key=lambda chunk: chunk.rule is None)  # of a span and a link of one id the span
        rules = [chunk.rule for chunk in chunks if chunk.rule is not None]
        if not rules:
            self._closed.add(counted, above)
            return None
        first, parent = _relatives(chunks)
        repeated = first != np.arange(len(first))
        if repeated.any():
            self._dropped["duplicate"] += int(repeated[: sum(map(len, rules))].sum())
            once = np.split(~repeated, np.cumsum([len(chunk.slot) for chunk in chunks])[:-1])
            chunks = [chunk.rows(kept) for chunk, kept in zip(chunks, once, strict=True) if kept.any()]
            rules = [chunk.rule for chunk in chunks if chunk.rule is not None]
            _, parent = _relatives(chunks)
        table = Table([chunk.spans for chunk in chunks[: len(rules)]], np.append(parent, len(parent)))
        rule = np.concatenate(rules)
        again = np.zeros(len(table), np.bool_)
        if counted:
            again[:] = [trace_id in counted for trace_id in table.trace_id.tolist()]
        before_below = _matched_below(chunks, table, above)
        matched = np.flatnonzero(rule != NO_RULE)
        ids = np.concatenate([group.span_id for group in table.groups])[matched]
        below = matched[table.below[matched]]
        missing = _missing(chunks, table, below)
        if len(below := below[missing != 0]):
            higher = list(map(Above, missing[missing != 0].tolist(), rule[below].tolist()))
            above = _grouped(table.trace_id[below].tolist(), higher, above)
        self._closed.add(_grouped(table.trace_id[matched].tolist(), ids.tolist(), counted), above)
        return Assembled(table, rule, again, before_below)

    def _released(self, slots: Ints) -> list[Chunk]:
        """The spans of some traces, in the order in which they came; these are under assembly no more."""
        sizes, state = self._traces.size_bytes[slots], self._traces.state[slots]
        self._waiting -= int((state == WAITING).sum())
        self._hurried_bytes -= int(sizes[state == HURRIED].sum())
        self._spans -= int(self._traces.spans[slots].sum())
        leaving = np.zeros(len(self._traces.state), np.bool_)
        leaving[slots] = True
        for slot in self._counted.keys() & slots.tolist():
            del self._counted[slot]
        self._traces.close(slots)
        self._size_bytes -= TRACE_BYTES * len(slots)
        return self._taken(leaving)

    def _taken(self, leaving: Bools) -> list[Chunk]:
        """The rows of these slots, out of the chunks."""
        if not self._chunks:
            return []
        gone = leaving[np.concatenate([chunk.slot for chunk in self._chunks])]
        ends = np.cumsum([len(chunk.slot) for chunk in self._chunks])
        counts = np.diff(np.append(0, gone.cumsum()[ends - 1]))
        taken: list[Chunk] = []
        left: list[Chunk] = []
        for chunk, end, count in zip(self._chunks, ends.tolist(), counts.tolist(), strict=True):
            if not count:
                left.append(chunk)
                continue
            self._size_bytes -= chunk.size_bytes
            if count == len(chunk.slot):
                taken.append(chunk)
                continue
            mine = gone[end - len(chunk.slot) : end]
            taken.append(chunk.rows(mine))
            left.append(rest := chunk.rows(~mine))
            self._size_bytes += rest.size_bytes
        self._chunks = left
        return taken


def _grouped(trace_ids: list[bytes], told: list[T], before: Mapping[bytes, Sequence[T]]) -> Mapping[bytes, Sequence[T]]:
    """What is told of spans by trace, after what was there before. Most traces have one."""
    if not before and len(single := dict(zip(trace_ids, zip(told, strict=True), strict=True))) == len(trace_ids):
        return single
    grouped = {trace_id: list(ids) for trace_id, ids in before.items()}
    for trace_id, one in zip(trace_ids, told, strict=True):
        grouped.setdefault(trace_id, []).append(one)
    return {trace_id: tuple(dict.fromkeys(ids)) for trace_id, ids in grouped.items()}


def _missing(chunks: Sequence[Chunk], table: Table, rows: Ints) -> Array:
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


def _matched_below(chunks: Sequence[Chunk], table: Table, above: Mapping[bytes, Sequence[Above]]) -> Ints:
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


def _relatives(chunks: Sequence[Chunk]) -> tuple[Ints, Ints]:
    """For each row, of all chunks end to end, the first row of its trace with its id, and that of its parent; where there is none, n.

    A row that is its own parent has none.
    """
    slot = np.concatenate([chunk.slot for chunk in chunks])
    ids = [chunk.spans.span_id for chunk in chunks] + [chunk.spans.parent_id for chunk in chunks]
    known, number = np.unique(np.concatenate(ids), return_inverse=True)
    n = len(slot)
    own, up = slot * len(known) + number[:n], slot * len(known) + number[n:]
    order = np.argsort(own, kind="stable")
    ascending = own[order]
    order = np.append(order, n)

    def row_of(key: Ints) -> Ints:
        place = np.searchsorted(ascending, key)
        return order[np.where(np.append(ascending, -1)[place] == key, place, n)]

    first, parent = row_of(own), row_of(up)
    parent[parent == np.arange(n)] = n
    return first, parent

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
from itertools import compress
from typing import TypeVar

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping.chunks import Chunk, Kept, TraceIds, Waiting, by_batch, matched_below, missing_above, relatives
from infermeter.mapping.columns import Array, end_to_end
from infermeter.mapping.spans import NO_RULE, Table
from infermeter.mapping.traces import HURRIED, TRACE_BYTES, WAITING, Above, Closed, Traces
from infermeter.model import Bools, Ints

T = TypeVar("T")

WAITING_RATIO = 0.8
"""Of `limits.pending_bytes`: so much may wait; the rest is for traces that are complete early, until they are taken."""

SLACK = 64
"""Where there is too much, one part in so many goes with it: not every span has to make room for itself."""

TRACES_AT_ONCE = 4096
"""Complete traces that are handed over as one table."""


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
    def has_room(self, more_bytes: int) -> bool:
        """Whether so much that isn't here yet can wait as well without pushing anything out."""
        return not self._bounded or (
            not self._hurried_bytes and self._size_bytes + more_bytes <= WAITING_RATIO * self._limits.pending_bytes
        )

    def add(self, groups: Sequence[Waiting]) -> None:
        """Takes spans; within a trace a span id counts once. All is as if they had come batch by batch, but they take less memory."""
        kept = [Kept.of(group) for group in groups]
        traces = TraceIds.of(kept)
        slots = self._traces.slots(traces.ids)
        if (leaving := self._leaving(kept, traces, slots)) is not None:
            self._add(kept, traces, slots)
            self._hurry(leaving)
            return
        for batch in by_batch(kept):
            traces = TraceIds.of(batch)
            self._add(batch, traces, self._traces.slots(traces.ids))
            self._make_room()

    def _leaving(self, kept: Sequence[Kept], traces: TraceIds, slots: Ints) -> Ints | None:
        """The slots that make room for these, be they added together or batch by batch; None if that makes a difference.

        It makes none where there may be too many traces but not too many bytes, and those that have waited longest are all complete early:
        none of them is touched now, none is evicted. `slots`: those of `traces`, -1 where it has none.
        """
        fresh = slots < 0
        count = int(fresh.sum())
        if self._bounded and not self.has_room(TRACE_BYTES * count + sum(one.size_bytes for one in kept)):
            return None
        if not self._bounded or self._waiting + count <= self._limits.pending_traces:
            return np.empty(0, np.int64)
        if Closed.EVICTED in self._closed.of(compress(traces.ids, fresh.tolist())):
            return None
        waiting, leaving = self._waiting, 0
        for more in np.unique(traces.first_batches(kept)[fresh], return_counts=True)[1].tolist():
            waiting += more
            over = self._over_traces(waiting)
            waiting -= over
            leaving += over
        oldest = self._traces.waiting()[:leaving]
        if len(oldest) < leaving or not self._traces.matched[oldest].all() or np.isin(oldest, slots).any():
            return None
        return oldest

    def _add(self, kept: Sequence[Kept], traces: TraceIds, slots: Ints) -> None:
        slot = self._opened(traces.ids, slots)[traces.trace]
        here = slot >= 0
        everything_counts = not self._counted and bool(here.all())
        self._touch(kept, slot)
        first = 0
        for one in kept:
            last = first + len(one.spans)
            wanted, mine = here[first:last], slot[first:last]
            first = last
            if one.rule is not None and (patient := one.spans.plan.patient):
                self._traces.patient[mine[np.isin(one.rule, list(patient)) & wanted]] = True
            if everything_counts:
                self._keep(one, mine)
                continue
            if one.rule is not None:
                counted = self._counted_before(one.spans.span_id, mine)
                self._dropped["duplicate"] += int(counted.sum())
                self._dropped["evicted"] += int((~wanted).sum())
                wanted = wanted & ~counted
            if wanted.any():
                rows = np.flatnonzero(wanted)
                self._keep(one.rows(rows), mine[rows])

    def _touch(self, kept: Sequence[Kept], slot: Ints) -> None:
        """The traces that wait were touched, in the order in which the spans came."""
        arrived_ns = end_to_end([one.spans.arrived_ns for one in kept])
        if len(kept) > 1:
            order = np.argsort(end_to_end([one.spans.number for one in kept]), kind="stable")
            slot, arrived_ns = slot[order], arrived_ns[order]
        here = slot >= 0
        if not here.all():
            slot, arrived_ns = slot[here], arrived_ns[here]
        if self._hurried_bytes:
            hurried = np.unique(slot[self._traces.state[slot] == HURRIED])
            self._waiting += len(hurried)
            self._hurried_bytes -= int(self._traces.size_bytes[hurried].sum())
            self._traces.state[hurried] = WAITING
        self._traces.touch(slot, arrived_ns)

    def _opened(self, trace_ids: Sequence[bytes], slots: Ints) -> Ints:
        """The slot of each trace (no two alike), after an assembly was begun of those without (-1); they keep none if they were evicted."""
        missing = np.flatnonzero(slots < 0)
        if not len(missing):
            return slots
        fresh = [trace_ids[row] for row in missing.tolist()]
        before = self._closed.of(fresh)
        if before.count(None) < len(before):
            again = {trace_id: told for trace_id, told in zip(fresh, before, strict=True) if told is not None}
            fresh = [trace_id for trace_id in fresh if again.get(trace_id) != Closed.EVICTED]
            missing = missing[[told != Closed.EVICTED for told in before]]
            opened = self._traces.open(fresh)
            self._counted |= {slot: frozenset(again[trace_id]) for trace_id, slot in zip(fresh, opened, strict=True) if trace_id in again}
        else:
            opened = self._traces.open(fresh)
        slots = slots.copy()
        slots[missing] = opened
        self._waiting += len(fresh)
        self._size_bytes += TRACE_BYTES * len(fresh)
        return slots

    def _counted_before(self, span_id: Array, slot: Ints) -> Bools:
        """Which spans were counted in an earlier assembly of their trace."""
        counted = np.zeros(len(slot), np.bool_)
        for row in np.flatnonzero(np.isin(slot, list(self._counted))).tolist():
            counted[row] = int(span_id[row]) in self._counted[int(slot[row])]
        return counted

    def _keep(self, kept: Kept, slot: Ints) -> None:
        """Keeps spans, with the slots of their traces."""
        chunk = Chunk(kept.spans, slot, kept.rule, kept.row_bytes)
        self._chunks.append(chunk)
        self._size_bytes += chunk.size_bytes
        np.add.at(self._traces.size_bytes, slot, chunk.row_bytes + chunk.shared_bytes // len(slot))
        if kept.rule is not None:
            self._spans += len(slot)
            np.add.at(self._traces.spans, slot, 1)
            self._traces.matched[slot[kept.rule != NO_RULE]] = True

    # --- too much ------------------------------------------------------------------------------------------------------------------
    def _make_room(self) -> None:
        """While too much waits, the traces that have waited longest make room.

        If a rule matched a span of one, it is complete before its grace has passed, and goes with the next that are due: better early
        than lost. If none did, it is evicted.
        """
        while self._bounded and (over := self._over()):
            leaving = self._traces.waiting()[:over]
            matched = self._traces.matched[leaving]
            evicted = leaving[~matched]
            self._hurry(leaving[matched])
            spans = self._traces.spans[evicted]
            self._dropped["evicted"] += int(spans.sum())
            self._closed.add(dict.fromkeys(self._traces.id[evicted[spans > 0]].tolist(), Closed.EVICTED), {})
            self._released(evicted)

    def _hurry(self, slots: Ints) -> None:
        """These traces are complete early."""
        self._traces.state[slots] = HURRIED
        self._waiting -= len(slots)
        self._hurried_bytes += int(self._traces.size_bytes[slots].sum())

    def _over_traces(self, waiting: int) -> int:
        """How many traces must make room where so many wait, for their number alone."""
        surplus = waiting - self._limits.pending_traces
        return surplus + self._limits.pending_traces // SLACK if surplus > 0 else 0

    def _over(self) -> int:
        """How many traces must make room."""
        most_bytes = WAITING_RATIO * self._limits.pending_bytes
        surplus_bytes = self._size_bytes - self._hurried_bytes - most_bytes
        over = self._over_traces(self._waiting)
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
        first, parent = relatives(chunks)
        repeated = first != np.arange(len(first))
        if repeated.any():
            self._dropped["duplicate"] += int(repeated[: sum(map(len, rules))].sum())
            once = np.split(~repeated, np.cumsum([len(chunk.slot) for chunk in chunks])[:-1])
            chunks = [chunk.rows(kept) for chunk, kept in zip(chunks, once, strict=True) if kept.any()]
            rules = [chunk.rule for chunk in chunks if chunk.rule is not None]
            _, parent = relatives(chunks)
        table = Table([chunk.spans for chunk in chunks[: len(rules)]], np.append(parent, len(parent)))
        rule = np.concatenate(rules)
        again = np.zeros(len(table), np.bool_)
        if counted:
            again[:] = [trace_id in counted for trace_id in table.trace_id.tolist()]
        before_below = matched_below(chunks, table, above)
        matched = np.flatnonzero(rule != NO_RULE)
        ids = np.concatenate([group.span_id for group in table.groups])[matched]
        below = matched[table.below[matched]]
        missing = missing_above(chunks, table, below)
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

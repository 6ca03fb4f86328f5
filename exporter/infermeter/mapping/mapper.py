"""Batches of spans in, batches of inferences out: which rule a span fits, which role counts, and what becomes of each span."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping.around import Served
from infermeter.mapping.arrivals import Arrivals
from infermeter.mapping.assembly import Assembled, Assembler
from infermeter.mapping.chunks import Waiting
from infermeter.mapping.evaluate import Matches
from infermeter.mapping.inferences import PartNames, concatenated, inferences, nothing_but
from infermeter.mapping.layouts import Layouts
from infermeter.mapping.rules import ROLES, ServerMapping
from infermeter.mapping.spans import NO_RULE, Spans, Table
from infermeter.model import Bools, InferenceBatch, Ints, PartKey, SpanBatch, SpanFilter

GENERIC = ROLES.index("generic")

ARRIVALS_SPANS = 8192
"""So many spans wait at most until it is found out what becomes of them."""

ARRIVALS_KINDS = 64
"""So many batches that can't be joined wait at most: they gain nothing, and are looked at again while they are at hand."""

HOLD_NS = 30_000_000_000
"""How long generic inferences are held until it is clear that no better mapping speaks for the server."""


class Mapper:
    """From spans to inferences, by the rules of some mappings.

    Every span that `add` is given is counted once: in `spans_mapped` (it is an inference that counts, or part of one), in
    `spans_unmapped` by reason (`no_rule`, `incomplete`: never joined to an inference, `invalid`: its duration can't be right,
    `suppressed`: a better role or a span above it counts), in `spans_dropped` by reason (`future`, `ancient`, `evicted`, `late`,
    `duplicate`), or it is one of `spans_pending`.
    """

    def __init__(self, mappings: Sequence[ServerMapping], *, assembly: Assembly, limits: Limits, bounded: bool = True) -> None:
        """`mappings` in order of precedence. Not `bounded` (a recording): no ages, no future, no limits on what is pending."""
        self.spans_mapped = 0
        self._spans_dropped = Counter(dict.fromkeys(("future", "ancient", "evicted", "late", "duplicate"), 0))
        self._spans_unmapped = Counter(dict.fromkeys(("no_rule", "incomplete", "invalid", "suppressed"), 0))
        self._last_span_ns: int | None = None
        self._layouts = Layouts(mappings)
        self._assembler = Assembler(assembly, limits, self._spans_dropped, bounded=bounded)
        self._limits = limits
        self._bounded = bounded
        self._mappings = mappings
        self._counting: set[str] = set()
        self._part_names = PartNames()
        self._served = Served(limits.pending_traces if bounded else sys.maxsize) if len(mappings) > 1 else None
        self._around_ns: Counter[PartKey] = Counter()
        self._arrivals = Arrivals()
        self._ready: dict[int, list[Spans]] = {}
        self._best_role = len(ROLES)
        self._held: list[_Inferences] = []
        self._held_since_ns = 0
        self._generic_counts = False

    @property
    def wanted(self) -> SpanFilter:
        """What the rules read of spans."""
        return self._layouts

    @property
    def sampled(self) -> bool:
        """Whether spans are a sample: every mapping says so, or one of which an inference was counted."""
        return self._says(lambda mapping: mapping.sampled)

    @property
    def reserves_memory(self) -> bool:
        """Whether the server takes memory before anybody asks: every mapping says so, or one of which an inference was counted."""
        return self._says(lambda mapping: mapping.reserves_memory)

    def _says(self, told: Callable[[ServerMapping], bool]) -> bool:
        return all(map(told, self._mappings)) or any(told(mapping) for mapping in self._mappings if mapping.server in self._counting)

    @property
    def spans_dropped(self) -> Counter[str]:
        """By reason."""
        self._settle()
        return self._spans_dropped

    @property
    def spans_unmapped(self) -> Counter[str]:
        """By reason."""
        self._settle()
        return self._spans_unmapped

    @property
    def last_span_ns(self) -> int | None:
        """The latest end of a span that was neither too old nor in the future."""
        self._settle()
        return self._last_span_ns

    @property
    def traces_pending(self) -> int:
        """Traces under assembly."""
        self._settle()
        return len(self._assembler)

    @property
    def presses(self) -> bool:
        """Whether what is pending takes too much memory to wait: `take` now."""
        return self._assembler.presses  # `add` has settled what doesn't fit beside the traces for certain

    @property
    def spans_pending(self) -> int:
        """Spans of which it isn't clear yet what becomes of them."""
        self._settle()
        ready = sum(len(spans) for groups in self._ready.values() for spans in groups)
        return ready + self._assembler.spans + sum(held.spans for held in self._held)

    # --- in ------------------------------------------------------------------------------------------------------------------------
    def add(self, batches: Iterable[SpanBatch], now_ns: int) -> None:
        """Takes decoded spans that arrived at `now_ns` (unix); their layouts are those that `wanted` gave out."""
        for batch in batches:
            self._arrivals.add(self._layouts.plan(batch.layout), batch, now_ns)
            if self._arrivals.kinds >= ARRIVALS_KINDS:
                self._settle()
        if self._arrivals.spans >= ARRIVALS_SPANS or not self._assembler.has_room(self._arrivals.size_bytes):
            self._settle()

    def unread(self, batch: SpanBatch) -> Bools:
        """Which of decoded spans no rule has a use for: none matches them, and none reads them for another span."""
        spans = Spans.of(self._layouts.plan(batch.layout), batch)
        unread: Bools = (spans.rule() == NO_RULE) & ~spans.selected()
        return unread

    def _settle(self) -> None:
        """Finds out what becomes of the spans that arrived. Whatever somebody reads here is as if that had been done as they came."""
        waiting: list[Waiting] = []
        for spans in self._arrivals.taken():
            if (timely := self._timely(spans)) is None:
                continue
            latest_ns = int(timely.end_ns.max())
            self._last_span_ns = max(self._last_span_ns or latest_ns, latest_ns)
            if timely.plan.on_arrival is not None:
                self._ready.setdefault(timely.plan.on_arrival, []).append(timely)
            else:
                waiting += self._sort(timely)
        if waiting:
            self._assembler.add(waiting)

    def _timely(self, spans: Spans) -> Spans | None:
        """Those that are neither too old nor in the future."""
        if not self._bounded:
            return spans
        future_ns, age_ns = round(self._limits.future * 1e9), round(self._limits.age * 1e9)
        latest_ns, earliest_ns = self._arrivals.earliest_ns + future_ns, self._arrivals.latest_ns - age_ns
        if spans.end_ns.max() <= latest_ns and spans.end_ns.min() >= earliest_ns:  # whenever they came
            return spans
        future, ancient = spans.end_ns > spans.arrived_ns + future_ns, spans.end_ns < spans.arrived_ns - age_ns
        self._spans_dropped["future"] += int(future.sum())
        self._spans_dropped["ancient"] += int(ancient.sum())
        timely = ~(future | ancient)
        return spans.rows(np.flatnonzero(timely)) if timely.any() else None

    def _sort(self, spans: Spans) -> Iterator[Waiting]:
        """Spans that wait for the rest of their trace; those that are inferences now, or that no rule has a use for, are told apart."""
        rule = spans.rule()
        free = rule == NO_RULE
        waits = free & spans.selected() if free.any() else free
        for candidate in spans.plan.candidates:
            mine = rule == candidate.number
            if not candidate.subtree and mine.all():
                self._ready.setdefault(candidate.number, []).append(spans)
                return
            if candidate.subtree:
                waits = waits | mine
            elif mine.any():
                self._ready.setdefault(candidate.number, []).append(spans.rows(np.flatnonzero(mine)))
        if waits.any():
            yield Waiting(spans.rows(np.flatnonzero(waits)), rule[waits])
        useless = free & ~waits
        if useless.any():
            rows = np.flatnonzero(useless)
            self._spans_unmapped["no_rule"] += len(rows)
            if self._layouts.links:
                yield Waiting(spans.rows(rows), None)

    # --- out -----------------------------------------------------------------------------------------------------------------------
    def take(self, now_ns: int) -> InferenceBatch | None:
        """The inferences that are complete at `now_ns`; None if there are none."""
        counted = self._evaluated(now_ns)
        if self._bounded and self._held and abs(now_ns - self._held_since_ns) >= HOLD_NS:
            counted += self._released()
        return self._batch(counted)

    def finish(self) -> InferenceBatch | None:
        """All other inferences: no more spans will come."""
        return self._batch(self._evaluated(None) + self._released())

    def _batch(self, counted: list[InferenceBatch]) -> InferenceBatch | None:
        """All of it, and what was told of the time around."""
        if self._around_ns:
            counted.append(nothing_but(self._around_ns))
            self._around_ns = Counter()
        return concatenated(counted) if counted else None

    def _evaluated(self, now_ns: int | None) -> list[InferenceBatch]:
        """The inferences of complete traces (all, without `now_ns`), and of what arrived and needs no trace; better roles first."""
        self._settle()
        complete = [_Complete(assembled) for assembled in self._assembler.due(now_ns)]
        for one in complete:
            self._spans_unmapped["suppressed"] += one.claimed
            self._spans_unmapped["incomplete"] += one.incomplete
            self._spans_dropped["late"] += one.late
        counted: list[InferenceBatch] = []
        for number in range(len(self._layouts.rules)):
            if groups := self._ready.pop(number, None):
                table = Table(groups)
                counted += self._mapped(number, table, np.arange(len(table)), np.ones(len(table), np.int64), now_ns)
            for one in complete:
                if len(rows := np.flatnonzero(one.rule == number)):
                    rows = self._first_to_count(number, one, rows)
                    counted += self._mapped(number, one.table, rows, one.spans[rows], now_ns)
                if len(rows := np.flatnonzero(one.outranked == number)):
                    self._outranked(number, one.table, rows, one.spans[rows])
        return counted

    def _counts(self, number: int) -> bool:
        """Whether matches of a rule are inferences, as far as anyone knows yet: no better role has matched."""
        return ROLES.index(self._layouts.rules[number][0].role) <= self._best_role

    def _first_to_count(self, number: int, one: _Complete, rows: Ints) -> Ints:
        """Leaves out inferences that came too late: one of the same role below them, or of a better one, has counted in their place."""
        before = one.before[rows]
        if (before == NO_RULE).all() or not self._counts(number):
            return rows
        roles = np.array([ROLES.index(mapping.role) for mapping, _ in self._layouts.rules] + [len(ROLES)])
        late: Bools = roles[np.minimum(before, len(roles) - 1)] <= roles[number]
        self._spans_dropped["late"] += int(one.spans[rows[late]].sum())
        return rows[~late]

    def _mapped(self, number: int, table: Table, rows: Ints, spans: Ints, now_ns: int | None) -> list[InferenceBatch]:
        """The inferences that count among the rows that a rule matched; `spans`: how many spans stand or fall with each row."""
        mapping, rule = self._layouts.rules[number]
        if not self._counts(number):
            self._outranked(number, table, rows, spans)
            return []
        tolerance_ns = round(self._limits.future * 1e9)
        batch, valid = inferences(rule, Matches(table, rows), table.errors(number)[rows], self._part_names, tolerance_ns)
        mapped = int(spans[valid].sum())
        self._spans_unmapped["invalid"] += int(spans.sum()) - mapped
        if not len(batch):
            return []
        self._best_role = ROLES.index(mapping.role)
        if self._served is not None and self._best_role != GENERIC and (below := table.below[rows[valid]]).any():
            self._served.add(batch, below)
        counting = _Inferences(mapping, batch, mapped)
        if self._best_role == GENERIC and not self._generic_counts:
            self._hold(counting, now_ns)
            return []
        self._spans_unmapped["suppressed"] += sum(outranked.spans for outranked in self._held)
        self._held.clear()
        return [self._counted(counting)]

    def _outranked(self, number: int, table: Table, rows: Ints, spans: Ints) -> None:
        """These are no inferences, for better ones are; they may tell of the time around those."""
        self._spans_unmapped["suppressed"] += int(spans.sum())
        if self._served is not None:
            _, rule = self._layouts.rules[number]
            self._around_ns.update(self._served.parts_around(rule, table, rows, self._part_names))

    def _hold(self, generic: _Inferences, now_ns: int | None) -> None:
        """Keeps generic inferences back; of too many the oldest are dropped."""
        if not self._held:
            self._held_since_ns = now_ns or 0
        self._held.append(generic)
        while self._bounded and sum(len(one.batch) for one in self._held) > self._limits.pending_traces and len(self._held) > 1:
            self._spans_dropped["evicted"] += self._held.pop(0).spans

    def _released(self) -> list[InferenceBatch]:
        """Generic inferences that were held: from now on they count."""
        self._generic_counts = True
        held, self._held = self._held, []
        return [self._counted(one) for one in held]

    def _counted(self, counting: _Inferences) -> InferenceBatch:
        self.spans_mapped += counting.spans
        self._counting.add(counting.mapping.server)
        return counting.batch


class _Inferences(NamedTuple):
    """Inferences of a mapping, and the number of spans that they were made of."""

    mapping: ServerMapping
    batch: InferenceBatch
    spans: int


class _Complete:
    """The spans of complete traces, and which of them are inferences.

    `rule` has for each row of `table` the number of its rule, NO_RULE for a span that is no inference of its own; `outranked` that of a
    span which is none because a better one is below it; `spans` how many spans stand or fall with it: itself and those below it down to
    the next inference; `before` as in `Assembled`.
    """

    def __init__(self, assembled: Assembled) -> None:
        self.table = assembled.table
        self.before = assembled.before
        n, nodes = len(self.table), len(self.table.parent)
        matched = np.full(nodes, NO_RULE, np.int64)
        matched[:n] = assembled.rule
        claimed = (matched != NO_RULE) & (self.table.least_above(matched) <= matched)  # a span above it is an inference already
        self.rule = np.where(claimed, NO_RULE, matched)[:n]
        self.outranked = self._contain_better(matched, claimed)[:n]
        self.rule[self.outranked != NO_RULE] = NO_RULE
        inference = self.table.inherited(np.where(claimed | (matched == NO_RULE), -1, np.arange(nodes)))[:n]
        claimed = claimed[:n]
        lost = (inference < 0) & ~claimed
        self.spans = np.bincount(inference[~lost & ~claimed], minlength=n)
        self.claimed = int(claimed.sum())
        self.late = int((lost & assembled.again).sum())
        self.incomplete = int(lost.sum()) - self.late

    def _contain_better(self, matched: Ints, claimed: Bools) -> Ints:
        """The numbers of the rules of those spans below which a better inference is, NO_RULE for all others."""
        counting = np.where(claimed, NO_RULE, matched)
        if len(np.unique(counting[counting != NO_RULE])) < 2:
            return np.full(len(matched), NO_RULE)
        return np.where(self.table.least_below(counting) < counting, counting, NO_RULE)

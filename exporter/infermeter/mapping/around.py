"""Time around inferences that other spans of their trace tell: what a router, gateway or generic span says of the way to the engine.

Such a span is no inference where a better one lies within it. The named parts that it tells, as far as they lie outside of that inference's
time, are seconds of that part, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from infermeter.mapping.evaluate import Matches
from infermeter.mapping.inferences import PartNames, extent, told_stages
from infermeter.mapping.rules import Rule
from infermeter.mapping.spans import Table
from infermeter.mapping.stages import Intervals, disjoint
from infermeter.model import STAGE_PRIORITY, Bools, InferenceBatch, Ints, Names, PartKey

PIECES_LIMIT = 32
"""Inferences of a trace that are remembered, and stretches of time around them; over all traces four times as many as traces."""


class Piece(NamedTuple):
    """A stretch of time in a trace that is somebody's already: an inference's, or (`inference` False) a part's around it."""

    start_ns: int
    end_ns: int
    model: str | None
    inference: bool


class _Fresh(NamedTuple):
    """Inferences as columns, not yet sorted by trace."""

    trace_id: Sequence[bytes]
    start_ns: Ints
    end_ns: Ints
    model: Names


class Served:
    """Where the inferences lie that counted, by trace: of so many traces the latest. They are sorted when somebody asks, which few do."""

    def __init__(self, traces_limit: int) -> None:
        self._limit = traces_limit
        self._pieces: dict[bytes, list[Piece]] = {}
        self._count = 0
        self._fresh: list[_Fresh] = []
        self._fresh_count = 0

    def add(self, batch: InferenceBatch, below: Bools) -> None:
        """Takes inferences whose span is `below` another one: around any other nothing can lie."""
        rows = np.flatnonzero(below)
        trace_id = [batch.trace_id[row] for row in rows.tolist()]
        self._fresh.append(_Fresh(trace_id, batch.start_ns[rows], batch.end_ns[rows], Names.of(batch.model).rows(rows)))
        self._fresh_count += len(rows)
        while self._fresh_count > self._limit and len(self._fresh) > 1:
            self._fresh_count -= len(self._fresh.pop(0).trace_id)

    def _sort(self) -> None:
        for fresh in self._fresh:
            for trace_id, start_ns, end_ns, model in zip(
                fresh.trace_id, fresh.start_ns.tolist(), fresh.end_ns.tolist(), fresh.model, strict=True
            ):
                self._take(trace_id, Piece(start_ns, end_ns, model, inference=True))
        self._fresh, self._fresh_count = [], 0

    def _take(self, trace_id: bytes, piece: Piece) -> None:
        pieces = self._pieces.setdefault(trace_id, [])
        if len(pieces) < PIECES_LIMIT:
            pieces.append(piece)
            self._count += 1
        while len(self._pieces) > self._limit or (self._count > 4 * self._limit and len(self._pieces) > 1):
            self._count -= len(self._pieces.pop(next(iter(self._pieces))))

    def parts_around(self, rule: Rule, table: Table, rows: Ints, part_names: PartNames) -> Counter[PartKey]:
        """Nanoseconds of the parts that `rule` tells of its matches, around the inferences that lie within these; by their model."""
        if not any(part.name for stage in rule.stages for part in stage.parts):
            return Counter()
        self._sort()
        pieces = [self._within(table, row) for row in rows.tolist()]
        around = [n for n, found in enumerate(pieces) if any(piece.inference for piece in found)]
        if not around:
            return Counter()
        return self._parts(rule, table, rows[around], [pieces[n] for n in around], part_names)

    def _within(self, table: Table, row: int) -> list[Piece]:
        """What is known of the time of a span."""
        start_ns, end_ns = table.start_ns[row], table.end_ns[row]
        return [piece for piece in self._pieces.get(bytes(table.trace_id[row]), ()) if piece.start_ns < end_ns and piece.end_ns > start_ns]

    def _parts(self, rule: Rule, table: Table, rows: Ints, pieces: Sequence[Sequence[Piece]], part_names: PartNames) -> Counter[PartKey]:
        inferences = [[piece for piece in found if piece.inference] for found in pieces]
        inner_start_ns = np.array([min(piece.start_ns for piece in found) for found in inferences], np.int64)
        inner_end_ns = np.array([max(piece.end_ns for piece in found) for found in inferences], np.int64)
        matches = Matches(table, rows, inner_start_ns, inner_end_ns)
        start_ns, duration_ns = extent(rule.e2e, matches)
        duration_ns = np.maximum(duration_ns, 0)
        told = [one for one in told_stages(rule, matches, (start_ns, duration_ns), part_names) if one.part is not None]
        told.sort(key=lambda one: STAGE_PRIORITY.index(one.stage))
        flat = [(match, piece.start_ns, piece.end_ns) for match, found in enumerate(pieces) for piece in found]
        taken = Intervals(*np.array(flat, np.int64).T)
        segments, owner = disjoint(start_ns, duration_ns, [taken, *(one.intervals for one in told)])
        parts: Counter[PartKey] = Counter()
        columns = (segments.match, segments.start_ns, segments.end_ns, owner)
        for match, begin_ns, end_ns, code in zip(*(column.tolist() for column in columns), strict=True):
            if 0 < code <= len(told) and (part := told[code - 1].part) is not None:
                model = inferences[match][0].model
                parts[model, told[code - 1].stage, part] += end_ns - begin_ns
                self._take(bytes(table.trace_id[rows[match]]), Piece(begin_ns, end_ns, model, inference=False))
        return parts

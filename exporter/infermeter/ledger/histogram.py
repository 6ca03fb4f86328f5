"""The histograms of every model, counted by columns on one grid of edges and read out on each model's own.

The grid of a signal holds the contract's base edges and every configured target; a model's own histogram has the base edges and its
own target, so that its SLA shares are exact. One search and one addition book a whole batch, however many models it holds. Sums are
nanoseconds in floats: exact for months of them, and never full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from operator import itemgetter
from typing import Final, TypeAlias

import numpy as np

from infermeter.ledger.columns import widened
from infermeter.ledger.edges import Edges
from infermeter.ledger.instants import SECOND_NS, nanoseconds
from infermeter.ledger.sla import targets_ns
from infermeter.model import SIGNALS, STAGES, Exemplar, Histogram, Ints, Signal, SlaTarget, Stage

BASE_EDGES_SECONDS: Final[dict[Signal, tuple[float, ...]]] = {
    "duration": (0.0025, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 163.84),
    "ttft": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24),
    "tpot": (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
}
STAGE_EDGES_SECONDS: Final = (0.0025, 0.01, 0.04, 0.16, 0.64, 2.56)
STAGES_AND_OTHER: Final[tuple[Stage, ...]] = (*STAGES, "other")
"""In the order of the columns of stage arrays, shape (n, 5), in nanoseconds, -1 where the server doesn't tell the stage."""

_FAMILIES: Final = len(SIGNALS) + len(STAGES_AND_OTHER)
_UNKNOWN: Final = -1
"""An edge below all others: what isn't told lies in a bucket of its own, before the first, that nobody reads."""

_Trace: TypeAlias = tuple[bytes, int, int]
"""Of what becomes an exemplar: its trace id, its value and its end, in nanoseconds."""

_NOTHING: Final[tuple[Histogram, Sequence[_Trace | None]]] = (Histogram((), (), 0.0), ())
"""What was told of a histogram before it was told for the first time."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where one family's buckets lie in a row of counts: bucket i holds what is <= edge i and above the one before."""

    edges_ns: Ints
    offset: int

    @property
    def stop(self) -> int:
        return self.offset + len(self.edges_ns) + 1


class Histograms:
    """Counts, sums and exemplars of the signals and stages, by code of the model."""

    def __init__(self, slas: Sequence[SlaTarget | None]) -> None:
        """`slas` are all that are configured: their targets become edges of the grid. Later there can be no other: it has been counted."""
        self._signals: list[_Grid] = []
        offset = 1
        for column, signal in enumerate(SIGNALS):
            targets = {target for sla in slas if (target := targets_ns(sla)[column]) is not None}
            self._signals.append(_Grid(np.array(sorted(targets | set(map(nanoseconds, BASE_EDGES_SECONDS[signal]))), np.int64), offset))
            offset = self._signals[-1].stop + 1
        stage_edges_ns = np.array([nanoseconds(edge) for edge in STAGE_EDGES_SECONDS], np.int64)
        self._stages = [_Grid(stage_edges_ns, offset + i * (len(STAGE_EDGES_SECONDS) + 2)) for i in range(len(STAGES_AND_OTHER))]
        grids = (*self._signals, *self._stages)
        self._edges = Edges([np.concatenate(([_UNKNOWN], grid.edges_ns)) for grid in grids])
        self._first_places = np.array([grid.offset - 1 for grid in grids])[:, None]
        self._width = self._stages[-1].stop
        self._counts = np.zeros((0, self._width), np.int64)
        self._sums_ns = np.zeros((0, _FAMILIES))
        self._latest_ns = np.zeros((0, self._width), np.int64)
        self._exemplars: dict[int, _Trace] = {}
        self._told: dict[tuple[int, int], tuple[Histogram, Sequence[_Trace | None]]] = {}
        self._rows: list[list[int]] | None = None
        self._buckets: dict[tuple[Signal, int | None], tuple[tuple[float, ...], list[int]]] = {}

    def widen(self, models: int) -> None:
        """Makes room for this many models."""
        self._rows = None
        self._counts, self._sums_ns = widened(self._counts, models), widened(self._sums_ns, models)
        self._latest_ns = widened(self._latest_ns, models)

    def add(self, codes: Ints, values_ns: Ints, ends_ns: Ints, trace_of: Callable[[int], bytes]) -> None:
        """Counts inferences: `values_ns` of each family, shape (8, n), -1 where unknown; `ends_ns`, when they ended, since 1970.

        `trace_of` tells the trace id of the i-th, asked only for those that become exemplars.
        """
        self._rows = None
        places = self._edges.buckets(values_ns)
        places += self._first_places
        places += codes * self._width
        np.add.at(self._counts.reshape(-1), places.reshape(-1), 1)
        self._remember(places[: len(SIGNALS)].reshape(-1), values_ns[: len(SIGNALS)].reshape(-1), ends_ns, trace_of)

    def add_sums(self, codes: Ints, sums_ns: Ints) -> None:
        """Adds what the values that were told add up to, of models that are each named once; shape (models, 8)."""
        self._sums_ns[codes] += sums_ns

    def _remember(self, places: Ints, values_ns: Ints, ends_ns: Ints, trace_of: Callable[[int], bytes]) -> None:
        """Keeps for each bucket the inference that ended last, the last one of several; `places` and values of one signal after another."""
        ends_ns = np.tile(ends_ns, len(SIGNALS))
        latest_ns = self._latest_ns.reshape(-1)
        np.maximum.at(latest_ns, places, ends_ns)
        found = np.flatnonzero((latest_ns.take(places) == ends_ns) & (values_ns >= 0))
        chosen = dict(zip(places.take(found).tolist(), found.tolist(), strict=True))
        found = np.fromiter(chosen.values(), np.int64, len(chosen))
        traces = map(trace_of, (found % (len(ends_ns) // len(SIGNALS))).tolist())
        exemplars = zip(traces, values_ns.take(found).tolist(), ends_ns.take(found).tolist(), strict=True)
        self._exemplars.update(zip(chosen, exemplars, strict=True))

    def has(self, code: int, family: Signal | Stage) -> bool:
        """Whether anything was counted for the model in this family."""
        grid = self._signals[SIGNALS.index(family)] if family in SIGNALS else self._stages[STAGES_AND_OTHER.index(family)]
        return any(self._row(code)[grid.offset : grid.stop])

    def signal(self, code: int, signal: Signal, sla: SlaTarget | None) -> Histogram:
        """One model's histogram of a signal, on the base edges and the target of this SLA, one of the configured, with exemplars.

        It is the same object for as long as nothing is counted in it.
        """
        column = SIGNALS.index(signal)
        target = targets_ns(sla)[column]
        if (signal, target) not in self._buckets:
            self._buckets[signal, target] = self._buckets_of(signal, target)
        edges, bounds = self._buckets[signal, target]
        offset, row = self._signals[column].offset, self._row(code)
        if bounds[-1] == len(edges) + 1:  # nobody else's target is among the edges
            counts = tuple(row[offset : offset + bounds[-1]])
        else:
            counts = tuple(sum(row[offset + a : offset + b]) for a, b in pairwise(bounds))
        known, traces = self._told.get((code, column), _NOTHING)
        if known.counts == counts and known.edges_seconds is edges:
            return known
        first = code * self._width + offset
        found = list(map(self._exemplars.get, range(first, first + bounds[-1])))
        if bounds[-1] > len(counts):
            found = [_latest(found[a:b]) for a, b in pairwise(bounds)]
        exemplars = tuple(
            exemplar if trace is of else _exemplar(trace)
            for trace, (of, exemplar) in zip(found, chain(zip(traces, known.exemplars, strict=True), repeat((None, None))), strict=False)
        )
        told = Histogram(edges, counts, float(self._sums_ns[code, column]) / SECOND_NS, exemplars)
        self._told[code, column] = told, found
        return told

    def _buckets_of(self, signal: Signal, target_ns: int | None) -> tuple[tuple[float, ...], list[int]]:
        """The edges with this target among them, and where each of their buckets begins among the grid's; last where the last one ends."""
        edges, grid = BASE_EDGES_SECONDS[signal], self._signals[SIGNALS.index(signal)]
        if target_ns is not None and target_ns not in map(nanoseconds, edges):
            edges = tuple(sorted((*edges, target_ns / SECOND_NS)))
        ends = np.searchsorted(grid.edges_ns, [nanoseconds(edge) for edge in edges]) + 1
        return edges, [0, *ends.tolist(), len(grid.edges_ns) + 1]

    def stage(self, code: int, stage: Stage) -> Histogram:
        """One model's histogram of a stage, or of `other`; the same object for as long as nothing is counted in it."""
        place = STAGES_AND_OTHER.index(stage)
        column = len(SIGNALS) + place
        counts = tuple(self._row(code)[self._stages[place].offset : self._stages[place].stop])
        known, _ = self._told.get((code, column), _NOTHING)
        if known.counts == counts:
            return known
        told = Histogram(STAGE_EDGES_SECONDS, counts, float(self._sums_ns[code, column]) / SECOND_NS)
        self._told[code, column] = told, ()
        return told

    def _row(self, code: int) -> list[int]:
        """A model's counts. All are read out at once: of many models all are asked for, and in pieces too small for numpy."""
        if self._rows is None:
            self._rows = self._counts.tolist()
        return self._rows[code]


def _latest(traces: Iterable[_Trace | None]) -> _Trace | None:
    """The one that ended last."""
    return max((trace for trace in traces if trace is not None), key=itemgetter(2), default=None)


def _exemplar(trace: _Trace | None) -> Exemplar | None:
    return None if trace is None else Exemplar(trace[0].hex(), trace[1] / SECOND_NS, trace[2])

"""The histograms of every model, counted by columns on one grid of edges and read out on each model's own.

The grid of a signal holds the contract's base edges and every configured target; a model's own histogram has the base edges and its
own target, so that its SLA shares are exact. One search and one addition book a whole batch, however many models it holds; one addition
reads all of them out. Sums are nanoseconds in floats: exact for months of them, and never full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Final, NamedTuple

import numpy as np

from infermeter.ledger.columns import widened
from infermeter.ledger.edges import Edges
from infermeter.ledger.exemplars import Exemplars, latest
from infermeter.ledger.instants import SECOND_NS, nanoseconds
from infermeter.ledger.sla import targets_ns
from infermeter.model import SIGNALS, STAGES, Histogram, Ints, Signal, SlaTarget, Stage

BASE_EDGES_SECONDS: Final[dict[Signal, tuple[float, ...]]] = {
    "duration": (0.0025, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 163.84),
    "ttft": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24),
    "tpot": (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
}
STAGE_EDGES_SECONDS: Final = (0.0025, 0.01, 0.04, 0.16, 0.64, 2.56)
STAGES_AND_OTHER: Final[tuple[Stage, ...]] = (*STAGES, "other")
"""In the order of the columns of stage arrays, shape (n, 5), in nanoseconds, -1 where the server doesn't tell the stage."""

FAMILIES: Final[tuple[Signal | Stage, ...]] = (*SIGNALS, *STAGES_AND_OTHER)
_UNKNOWN: Final = -1
"""An edge below all others: what isn't told lies in a bucket of its own, before the first, that nobody reads."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where one family's buckets lie in a row of counts: bucket i holds what is <= edge i and above the one before."""

    edges_ns: Ints
    offset: int

    @property
    def stop(self) -> int:
        return self.offset + len(self.edges_ns) + 1


class _Family(NamedTuple):
    """Of one family and SLA, as a model shows it.

    `bounds`: where each bucket begins among the grid's, last where the last one ends. `first`, `stop`: where its counts lie among those of
    a model that are read out. `nothing`: it, before anything is counted in it.
    """

    edges_seconds: tuple[float, ...]
    bounds: list[int]
    first: int
    stop: int
    nothing: Histogram


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the histograms of models with one SLA lie on the grids: `firsts` are the places of a row at which the counts begin to add up.

    Of each family they begin with the bucket of what isn't told.
    """

    families: tuple[_Family, ...]
    firsts: Ints


@dataclass(frozen=True, slots=True)
class _Readout:
    """What was counted of all models, as lists: all are asked for at once, and in pieces too small for numpy.

    `totals` and `sums_seconds` by code and family; `counts` of one model after another, each as its layout says.
    """

    totals: list[list[int]]
    counts: list[int]
    sums_seconds: list[list[float]]


class ModelHistograms(NamedTuple):
    """One model's, in the order of FAMILIES: how many inferences each holds, and the histograms themselves."""

    inferences: Sequence[int]
    histograms: tuple[Histogram, ...]


class Histograms:
    """Counts, sums and exemplars of the signals and stages, by code of the model."""

    def __init__(self, slas: Sequence[SlaTarget | None]) -> None:
        """`slas` are all that are configured: their targets become edges of the grid. Later there can be no other: it has been counted."""
        self._grids: list[_Grid] = []
        offset = 1
        for column, family in enumerate(FAMILIES):
            own = {target for sla in slas if column < len(SIGNALS) and (target := targets_ns(sla)[column]) is not None}
            edges_ns = np.array(sorted(own | set(map(nanoseconds, _base_edges(family)))), np.int64)
            self._grids.append(_Grid(edges_ns, offset))
            offset = self._grids[-1].stop + 1
        self._edges = Edges([np.concatenate(([_UNKNOWN], grid.edges_ns)) for grid in self._grids])
        self._first_places = np.array([grid.offset - 1 for grid in self._grids])
        self._totalled = [place for grid in self._grids for place in (grid.offset, grid.stop)][:-1]
        self._width = self._grids[-1].stop
        self._counts = np.zeros((0, self._width), np.int64)
        self._sums_ns = np.zeros((0, len(FAMILIES)))
        self._exemplars = Exemplars(self._width, self._first_places.tolist())
        self._layouts: list[_Layout] = []
        self._layout_by_targets: dict[tuple[int | None, ...], _Layout] = {}
        self._firsts = np.zeros(0, np.int64)
        self._begins: list[int] = []
        self._readout: _Readout | None = None
        self._told: list[ModelHistograms] = []

    def know(self, slas: Sequence[SlaTarget | None]) -> None:
        """Takes in models beyond those that are known, in the order of their codes: each with its SLA, one of the configured."""
        self._readout = None
        models = len(self._layouts) + len(slas)
        for code, sla in enumerate(slas, start=len(self._layouts)):
            layout = self._layout(targets_ns(sla))
            self._layouts.append(layout)
            self._begins.append(len(self._firsts))
            self._firsts = np.concatenate((self._firsts, code * self._width + layout.firsts))
            self._told.append(ModelHistograms([0] * len(FAMILIES), tuple(family.nothing for family in layout.families)))
        self._counts, self._sums_ns = widened(self._counts, models), widened(self._sums_ns, models)
        self._exemplars.widen(models)

    def add(self, codes: Ints, values_ns: Ints, ends_ns: Ints, slots: Ints, trace_of: Callable[[int], bytes]) -> None:
        """Counts inferences: `values_ns` of each family, shape (8, n), -1 where unknown; `ends_ns`, when they ended, since 1970.

        `slots` and `trace_of` as in `Exemplars.add`.
        """
        self._readout = None
        places = self._edges.buckets(values_ns)
        places += self._first_places[:, None]
        places += codes * self._width
        np.add.at(self._counts.reshape(-1), places.reshape(-1), 1)
        self._exemplars.add(places[: len(SIGNALS)], values_ns[: len(SIGNALS)], ends_ns, slots, trace_of)

    def add_sums(self, codes: Ints, sums_ns: Ints) -> None:
        """Adds what the values that were told add up to, of models that are each named once; shape (models, 8)."""
        self._sums_ns[codes] += sums_ns

    def of(self, code: int) -> ModelHistograms:
        """One model's; each histogram is the same object for as long as nothing is counted in it."""
        readout, known = self._readout or self._read(), self._told[code]
        inferences = readout.totals[code]
        if inferences == known.inferences:
            return known
        histograms = [
            histogram if now == before else self._histogram(readout, code, column)
            for column, (now, before, histogram) in enumerate(zip(inferences, *known, strict=True))
        ]
        told = self._told[code] = ModelHistograms(inferences, tuple(histograms))
        return told

    def _histogram(self, readout: _Readout, code: int, column: int) -> Histogram:
        """One of a model's, with the exemplars of a signal."""
        family, begin = self._layouts[code].families[column], self._begins[code]
        counts = tuple(readout.counts[begin + family.first : begin + family.stop])
        sum_seconds = readout.sums_seconds[code][column]
        if column >= len(SIGNALS):
            return Histogram(family.edges_seconds, counts, sum_seconds)
        first = code * self._width + self._grids[column].offset
        exemplars = self._exemplars.between(first, first + family.bounds[-1])
        if len(exemplars) > len(counts):  # others' targets are among the edges
            exemplars = [latest(exemplars[a:b]) for a, b in pairwise(family.bounds)]
        return Histogram(family.edges_seconds, counts, sum_seconds, tuple(exemplars))

    def _read(self) -> _Readout:
        """Reads all models at once, each on its own edges."""
        totals = np.add.reduceat(self._counts, self._totalled, axis=1)[:, ::2].tolist()
        counts = np.add.reduceat(self._counts.reshape(-1), self._firsts).tolist()
        self._readout = _Readout(totals, counts, (self._sums_ns / SECOND_NS).tolist())
        return self._readout

    def _layout(self, of_targets: tuple[int | None, ...]) -> _Layout:
        """That of models with these targets, in nanoseconds, in the order of SIGNALS."""
        if of_targets not in self._layout_by_targets:
            families: list[_Family] = []
            firsts: list[int] = []
            for family, grid, target in zip_longest(FAMILIES, self._grids, of_targets):
                edges, bounds = _on_grid(_base_edges(family), target, grid)
                firsts += [grid.offset - 1, *(grid.offset + bound for bound in bounds[:-1])]
                nothing = Histogram(edges, (0,) * (len(edges) + 1), 0.0, (None,) * (len(edges) + 1) if family in SIGNALS else ())
                families.append(_Family(edges, bounds, len(firsts) - len(edges) - 1, len(firsts), nothing))
            self._layout_by_targets[of_targets] = _Layout(tuple(families), np.array(firsts))
        return self._layout_by_targets[of_targets]


def _base_edges(family: Signal | Stage) -> tuple[float, ...]:
    """The edges that every model has."""
    return next((edges for signal, edges in BASE_EDGES_SECONDS.items() if signal == family), STAGE_EDGES_SECONDS)


def _on_grid(edges: tuple[float, ...], target_ns: int | None, grid: _Grid) -> tuple[tuple[float, ...], list[int]]:
    """The edges with this target among them, and the bounds of their buckets as in `_Family`."""
    if target_ns is not None and target_ns not in map(nanoseconds, edges):
        edges = tuple(sorted((*edges, target_ns / SECOND_NS)))
    ends = np.searchsorted(grid.edges_ns, [nanoseconds(edge) for edge in edges]) + 1
    return edges, [0, *ends.tolist(), len(grid.edges_ns) + 1]

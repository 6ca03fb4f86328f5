"""Which bucket a value lies in: a search without a branch, since whether a value is above an edge is what no processor can predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from infermeter.model import Ints

_KEPT_BITS: Final = 5
"""Of a float's fraction; with its exponent they number the cells of the number line: edges 4 % apart share none."""

_SHIFT: Final = 52 - _KEPT_BITS
_FIRST: Final = 1023 << _KEPT_BITS
"""The cell of the least value: -1, as a float moved up by 2, is 1.0."""

_CELLS: Final = (64 << _KEPT_BITS) + 1
_NEVER: Final = np.iinfo(np.int64).max


class Edges:
    """Edges of several rows of values, ascending and >= -1. Bucket i of a row holds what is <= its edge i and above the one before.

    The same as `np.searchsorted`, ten times as fast. A cell lies below an edge's own, or above it, or is the same: only there the value
    itself is compared, once for each edge in the cell.
    """

    def __init__(self, edges: Sequence[Ints]) -> None:
        self._first_cells = np.arange(len(edges))[:, None] * _CELLS
        self._below = np.concatenate([np.searchsorted(_cells(of_row), np.arange(_CELLS)) for of_row in edges])
        self._inside: list[Ints] = []
        for first, of_row in zip(self._first_cells[:, 0].tolist(), edges, strict=True):
            cells = _cells(of_row)
            for cell, edge, place in zip(cells.tolist(), of_row.tolist(), range(len(cells)), strict=True):
                nth = place - int(self._below[first + cell])
                if nth == len(self._inside):
                    self._inside.append(np.full(len(self._below), _NEVER))
                self._inside[nth][first + cell] = edge

    def buckets(self, values: Ints) -> Ints:
        """The bucket of each value, >= -1; shape (rows, n)."""
        cells = _cells(values)
        cells += self._first_cells
        buckets: Ints = self._below.take(cells)
        for edges in self._inside:
            buckets += values > edges.take(cells)
        return buckets


def _cells(values: Ints) -> Ints:
    """The cell of each value; of a greater one it is never less."""
    moved = values.astype(np.float64)
    moved += 2.0
    cells = moved.view(np.int64)
    cells >>= _SHIFT
    cells -= _FIRST
    return cells

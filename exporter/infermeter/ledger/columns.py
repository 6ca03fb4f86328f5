"""Tables with a row for each model, and adding to them by columns."""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from infermeter.model import Ints

_SMALL: Final = 2**16
"""So many distinct keys are sorted by counting, in a tenth of the time."""

Number = TypeVar("Number", np.int64, np.float64)


def widened(table: npt.NDArray[Number], models: int, *, axis: int = 0) -> npt.NDArray[Number]:
    """The table with zeros for models beyond those that it has along `axis`; the same if it has as many."""
    if table.shape[axis] >= models:
        return table
    shape = list(table.shape)
    shape[axis] = models - shape[axis]
    return np.concatenate((table, np.zeros(shape, table.dtype)), axis=axis)


def sums_by(keys: Ints, amounts: Ints) -> tuple[Ints, Ints]:
    """The distinct keys (n >= 1), ascending, and for each the sum of each row of `amounts`, shape (rows, n): shape (distinct, rows)."""
    least = keys.min()
    span = keys.max() - least + 1
    if span == 1:
        return keys[:1], np.add.reduce(amounts, axis=1)[None]
    order = (keys - least).astype(np.uint16).argsort(kind="stable") if span <= _SMALL else keys.argsort()
    ascending = keys.take(order)
    firsts = np.concatenate(([0], np.flatnonzero(ascending[1:] != ascending[:-1]) + 1))
    return ascending[firsts], np.add.reduceat(amounts.take(order, axis=1), firsts, axis=1).T


def runs(ascending: Ints) -> list[tuple[int, int, int]]:
    """Each value (n >= 1) with the first of its places and the one after its last."""
    edges = [0, *(np.flatnonzero(ascending[1:] != ascending[:-1]) + 1).tolist(), len(ascending)]
    return list(zip(ascending[edges[:-1]].tolist(), edges, edges[1:], strict=False))


def portions(amounts: Ints, weights: Ints) -> Ints:
    """Whole amounts, shape (n,), shared out by weights of which some is above 0: shape (weights, n), in sum exact."""
    reached = np.cumsum(weights, dtype=np.float64)
    shared: Ints = np.diff(np.floor(amounts * (reached / reached[-1])[:, None]).astype(np.int64), axis=0, prepend=0)
    return shared

"""Tables with a row for each model, and adding to them by columns."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from infermeter.model import Ints

_SPARSE = 4
"""So many counts for each that is added to: touching all of them costs more than finding the few."""

Number = TypeVar("Number", np.int64, np.float64)


def widened(table: npt.NDArray[Number], models: int, *, axis: int = 0) -> npt.NDArray[Number]:
    """The table with zeros for models beyond those that it has along `axis`; the same if it has as many."""
    if table.shape[axis] >= models:
        return table
    shape = list(table.shape)
    shape[axis] = models - shape[axis]
    return np.concatenate((table, np.zeros(shape, table.dtype)), axis=axis)


def sums_by(keys: Ints, amounts: npt.NDArray[Number]) -> tuple[Ints, npt.NDArray[Number]]:
    """The distinct keys (n >= 1, most often in runs of equal ones), ascending, and for each the sum of its rows of `amounts`."""
    if (keys == keys[0]).all():
        return keys[:1], amounts.sum(axis=0, keepdims=True)
    order = np.argsort(keys, kind="stable")
    ascending = keys[order]
    firsts = np.concatenate(([0], np.flatnonzero(ascending[1:] != ascending[:-1]) + 1))
    sums: npt.NDArray[Number] = np.add.reduceat(amounts[order], firsts, axis=0)
    return ascending[firsts], sums


def tally(table: npt.NDArray[Number], codes: Ints, amounts: npt.NDArray[Number]) -> None:
    """Adds each row of `amounts`, shape (n, columns), n >= 1, to the row of its model; codes may repeat."""
    distinct, sums = sums_by(codes, amounts)
    table[distinct] += sums


def count_in(counts: Ints, places: Ints) -> None:
    """Adds one at each of the places; they may repeat."""
    if len(places) * _SPARSE < len(counts):
        np.add.at(counts, places, 1)
    else:
        counts += np.bincount(places, minlength=len(counts))


def portions(amounts: Ints, weights: Ints) -> Ints:
    """Whole amounts, shape (n,), shared out by weights of which some is above 0: shape (weights, n), in sum exact."""
    reached = np.cumsum(weights, dtype=np.float64)
    shared: Ints = np.diff(np.floor(amounts * (reached / reached[-1])[:, None]).astype(np.int64), axis=0, prepend=0)
    return shared

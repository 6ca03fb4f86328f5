"""Tables with a row for each model, and adding to them by columns."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from infermeter.model import Ints

Number = TypeVar("Number", np.int64, np.float64)


def widened(table: npt.NDArray[Number], models: int, *, axis: int = 0) -> npt.NDArray[Number]:
    """The table with zeros for models beyond those that it has along `axis`; the same if it has as many."""
    if table.shape[axis] >= models:
        return table
    shape = list(table.shape)
    shape[axis] = models - shape[axis]
    return np.concatenate((table, np.zeros(shape, table.dtype)), axis=axis)


def tally(table: npt.NDArray[Number], codes: Ints, amounts: npt.NDArray[Number]) -> None:
    """Adds each row of `amounts`, shape (n, columns), n >= 1, to the row of its model; codes may repeat."""
    if (codes == codes[0]).all():
        table[codes[0]] += amounts.sum(axis=0)
        return
    columns = table.shape[1]
    np.add.at(table.reshape(-1), codes[:, None] * columns + np.arange(columns), amounts)


def portions(amounts: Ints, weights: Ints) -> Ints:
    """Whole amounts, shape (n,), shared out by weights of which some is above 0: shape (weights, n), in sum exact."""
    reached = np.cumsum(weights, dtype=np.float64)
    shared: Ints = np.diff(np.floor(amounts * (reached / reached[-1])[:, None]).astype(np.int64), axis=0, prepend=0)
    return shared

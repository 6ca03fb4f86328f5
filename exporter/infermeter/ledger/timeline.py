"""Columns that run along with time: a row for each tick or slot between the oldest that is kept and the newest that was touched."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", np.int64, np.float64)

_LEAST_ROWS = 64


class Timeline(Generic[Number]):
    """Rows of one shape for consecutive integers from `first` on, zero until written.

    `first` only grows (`drop`), `stop` is one past the last row in use (`reach`). Memory is bounded by what lies between them.
    """

    def __init__(self, first: int, shape: tuple[int, ...], dtype: type[Number], *, least_rows: int = _LEAST_ROWS) -> None:
        """There is memory for `least_rows` at any time, and it is the process's from the beginning, not from when they are written."""
        self.first = first
        self.stop = first
        self._origin = first
        self._least_rows = least_rows
        self._data: npt.NDArray[Number] = _zeros((least_rows, *shape), dtype, touched=True)

    @property
    def width(self) -> int:
        """Length of a row along its first axis."""
        return int(self._data.shape[1])

    def reach(self, stop: int) -> None:
        """Rows up to `stop` (exclusive) exist from now on."""
        if stop <= self.stop:
            return
        needed = stop - self._origin
        if needed > len(self._data):
            self._move(max((stop - self.first) * 5 // 4 + _LEAST_ROWS, self._least_rows), self.width)
        self.stop = stop

    def widen(self, width: int) -> None:
        """Rows are at least `width` long from now on, along their first axis: a quarter longer than they were, once they are long."""
        if width > self.width:
            self._move(len(self._data), max(width, self.width * 5 // 4))

    def drop(self, first: int) -> None:
        """Rows before `first` are forgotten."""
        if first <= self.first:
            return
        self._data[self.first - self._origin : min(first, self.stop) - self._origin] = 0
        self.first = first
        if first >= self.stop:
            self._origin = self.stop = first

    def rows(self, first: int, stop: int) -> npt.NDArray[Number]:
        """A view of the rows in [first, stop) that exist: to read, or to write in place."""
        return self._data[max(first, self.first) - self._origin : max(min(stop, self.stop), self.first) - self._origin]

    def row(self, index: int) -> npt.NDArray[Number]:
        """A view of the row of `index`, which is made if it is new; not before `first`."""
        self.reach(index + 1)
        row: npt.NDArray[Number] = self._data[index - self._origin]
        return row

    def book(self, index: npt.NDArray[np.int64], within: npt.NDArray[np.int64], amounts: npt.NDArray[Number] | float) -> None:
        """Adds `amounts` at rows `index` (each at least `first`) and flat positions `within` the row; positions may repeat."""
        if len(index):
            self.reach(int(index.max()) + 1)
            np.add.at(self._data.reshape(-1), (index - self._origin) * self._data[0].size + within, amounts)

    def _move(self, rows: int, width: int) -> None:
        kept = self._data[self.first - self._origin : self.stop - self._origin]
        data = _zeros((rows, width, *self._data.shape[2:]), self._data.dtype.type, touched=rows <= self._least_rows)
        data[: len(kept), : self.width] = kept
        self._data, self._origin = data, self.first


def _zeros(shape: tuple[int, ...], dtype: type[Number], *, touched: bool) -> npt.NDArray[Number]:
    """Zeros; where they aren't `touched`, the kernel may give the memory for them only once they are written."""
    zeros = np.zeros(shape, dtype)
    if touched:
        zeros.fill(0)
    return zeros

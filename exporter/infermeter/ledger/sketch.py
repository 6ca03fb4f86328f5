"""Quantiles from logarithmic buckets: relative error below 1 %, mergeable by addition.

Source: Masson, Rim and Lee 2019 (DDSketch). A value v lies in bucket ceil(log v / log g), g = 1.0198; the bucket's estimate, between its
edges, is off by at most (g - 1) / (g + 1) = 0.98 %.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from infermeter.ledger.instants import SECOND_NS
from infermeter.model import Bools, Ints

_GROWTH: Final = 1.0198
_LEAST_NS: Final = 1_000
_MOST_NS: Final = 10**15
_LOG_GROWTH: Final = math.log(_GROWTH)
BUCKETS: Final = math.ceil(math.log(_MOST_NS / _LEAST_NS) / _LOG_GROWTH) + 1
"""From a microsecond to eleven days; what lies outside counts as the nearest."""


def bucket_of(values_ns: Ints) -> Ints:
    """The bucket of each value."""
    values = np.maximum(values_ns, _LEAST_NS) / _LEAST_NS
    np.log(values, out=values)
    values /= _LOG_GROWTH
    buckets: Ints = np.ceil(values, out=values).astype(np.int64)
    return np.minimum(buckets, BUCKETS - 1, out=buckets)


def upper_edge_ns(bucket: int) -> int:
    """No value of the bucket is above this."""
    return math.ceil(_LEAST_NS * _GROWTH**bucket)


def estimate_seconds(bucket: int) -> float:
    """The value that is off by the same ratio from both edges of the bucket."""
    return _LEAST_NS * _GROWTH**bucket * 2 / (1 + _GROWTH) / SECOND_NS


def quantile_bucket(counts: Ints, quantile: float, *, least: int = 1) -> int | None:
    """The bucket of the ceil(quantile x n)-th smallest value; None with fewer values than `least`."""
    cumulative = counts.cumsum()
    total = int(cumulative[-1])
    if total < least:
        return None
    exactly = _exactly(quantile)
    rank = max(1, -(-exactly.numerator * total // exactly.denominator))
    return int(cumulative.searchsorted(rank))


@lru_cache(64)
def _exactly(quantile: float) -> Fraction:
    """As it is written in decimals."""
    return Fraction(repr(quantile))


_NONE: Final = np.empty(0, np.int64)
_NO_COUNTS: Final = np.empty(0, np.int32)
_ONE: Final = np.int32(1)
"""Of the type of what it is added to: adding a number of another type takes a hundred times as long."""

_PAGE: Final = 4096
_MOST_FILLING: Final = 6


Packed: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Keys and their counts, as integers of the smallest type that holds them: an hour of slots is kept."""

Counts: TypeAlias = npt.NDArray[np.int32]
"""Of a slot that fills: one of many models is far larger than a processor's cache, and nobody ends two billion inferences in one."""


class SlotSketches:
    """Counts by key (any small integer) for each slot of time: dense while a slot fills, only what isn't zero afterwards."""

    def __init__(self) -> None:
        self._filling: dict[int, Counts] = {}
        self._packed: dict[int, Packed] = {}

    def add(self, slots: Ints, keys: Ints, counted: Bools) -> None:
        """Counts the keys, shape (rows, n), that are to be `counted`, in the slots of their columns."""
        distinct = _distinct(slots)
        for slot in distinct:
            here = counted if len(distinct) == 1 else counted & (slots == slot)
            chosen = keys.reshape(-1) if here.all() else keys[here]
            if len(chosen):
                self._dense(slot, int(chosen.max()) + 1)
                np.add.at(self._filling[slot], chosen, _ONE)

    def take(self, slot: int) -> Packed:
        """The keys of a slot that has closed, and their counts; the slot is forgotten."""
        self._pack(slot)
        return self._packed.pop(slot, (_NONE, _NONE))

    def drop(self, before: int) -> None:
        """Slots before this one are forgotten."""
        for slots in (self._filling, self._packed):
            for slot in [slot for slot in slots if slot < before]:
                del slots[slot]

    def _dense(self, slot: int, length: int) -> None:
        self._filling[slot] = _at_least(self._filling.pop(slot, _NO_COUNTS), length)
        if len(self._filling) > _MOST_FILLING:
            self._pack(next(iter(self._filling)))

    def _pack(self, slot: int) -> None:
        counts = self._filling.pop(slot, None)
        if counts is None:
            return
        keys, packed = self._packed.get(slot, (_NONE, _NONE))
        counts = _at_least(counts, int(keys.max(initial=0)) + 1)
        counts[keys] += packed
        keys = np.flatnonzero(counts)
        self._packed[slot] = _small(keys), _small(counts[keys])


def _distinct(slots: Ints) -> list[int]:
    """The slots that there are, ascending; almost always one or two that follow each other."""
    if not len(slots):
        return []
    first, last = int(slots.min()), int(slots.max())
    if first == last:
        return [first]
    if last - first > len(slots):
        return np.unique(slots).tolist()  # type: ignore[no-any-return]  # integers, says the array
    return [first + offset for offset in np.flatnonzero(np.bincount(slots - first)).tolist()]


def _small(values: Ints | Counts) -> npt.NDArray[Any]:
    """Values (>= 0) as the smallest integers that hold them all."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _at_least(counts: Counts, length: int) -> Counts:
    """Counts with zeros behind them up to a whole page beyond `length`, or as they are if they are long enough."""
    if length <= len(counts):
        return counts
    return np.concatenate((counts, np.zeros(-(-length // _PAGE) * _PAGE - len(counts), np.int32)))

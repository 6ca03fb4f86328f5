"""The traces under assembly as columns: when each was last touched, and what is known of it. No spans, no limits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice, repeat
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from infermeter.model import Bools, Ints

TRACE_BYTES: Final = 450
"""What a trace takes in memory without its spans; rounded up."""

FREE, WAITING, HURRIED = range(3)
"""States: no trace is here; it waits for more spans; it is complete early, for want of room."""

_FEWEST: Final = 64


@dataclass(slots=True, eq=False)
class _Columns:
    """One entry a slot."""

    id: npt.NDArray[np.object_]
    state: npt.NDArray[np.int8]
    matched: Bools
    patient: Bools
    touched: Ints
    last_ns: Ints
    spans: Ints
    size_bytes: Ints


_TYPES: Final[dict[str, type[Any]]] = {"id": np.object_, "state": np.int8, "matched": np.bool_, "patient": np.bool_}


class Traces(_Columns):
    """A trace has a slot as long as it is under assembly; then another one takes it.

    `matched`: a rule matched a span of it; `patient`: it is complete only after the longer time; `touched` ascends with each touch.
    """

    def __init__(self) -> None:
        super().__init__(*(np.empty(0, _TYPES.get(field.name, np.int64)) for field in fields(_Columns)))
        self._slot_of: dict[bytes, int] = {}
        self._free: list[int] = []
        self._touches = 0

    def slots(self, trace_ids: Sequence[bytes]) -> Ints:
        """The slot of each, -1 where it has none."""
        return np.fromiter(map(self._slot_of.get, trace_ids, repeat(-1)), np.int64, len(trace_ids))

    def open(self, trace_ids: Sequence[bytes]) -> list[int]:
        """Gives slots to traces (no two alike) that have none; which ones."""
        while len(self._free) < len(trace_ids):
            self._grow()
        first = len(self._free) - len(trace_ids)
        slots = self._free[first:]
        del self._free[first:]
        self._slot_of.update(zip(trace_ids, slots, strict=True))
        self.id[slots] = np.array(trace_ids, np.object_)
        self.matched[slots] = self.patient[slots] = False
        self.spans[slots] = 0
        self.size_bytes[slots] = TRACE_BYTES
        self.state[slots] = WAITING
        return slots

    def _grow(self) -> None:
        have, more = len(self.id), max(len(self.id), _FEWEST)
        for field in fields(_Columns):
            column = getattr(self, field.name)
            setattr(self, field.name, np.concatenate([column, np.zeros(more, column.dtype)]))
        self._free += range(have + more - 1, have - 1, -1)

    def touch(self, slots: Ints, arrived_ns: Ints) -> None:
        """Something came for these traces, in this order, each at its time."""
        self.touched[slots] = np.arange(self._touches, self._touches + len(slots))
        self._touches += len(slots)
        self.last_ns[slots] = arrived_ns

    def close(self, slots: Ints) -> None:
        """These traces are no longer under assembly."""
        for trace_id in self.id[slots].tolist():
            del self._slot_of[trace_id]
        self.id[slots] = None
        self.state[slots] = FREE
        self._free += slots.tolist()

    def waiting(self) -> Ints:
        """Slots of those that wait, the one that has waited longest first."""
        return self._in_order(self.state == WAITING)

    def due(self, now_ns: int | None, grace_ns: int, idle_ns: int) -> Ints:
        """Slots of those that are complete, by the order of their last touch: all of them without `now_ns`.

        A clock that was set back completes what it left behind.
        """
        if now_ns is None:
            return self._in_order(self.state != FREE)
        wait_ns = np.where(self.matched & ~self.patient, grace_ns, idle_ns)
        return self._in_order((self.state == HURRIED) | ((self.state == WAITING) & (np.abs(now_ns - self.last_ns) >= wait_ns)))

    def _in_order(self, chosen: Bools) -> Ints:
        slots = np.flatnonzero(chosen)
        return slots[np.argsort(self.touched[slots])]


class Above(NamedTuple):
    """The nearest ancestor, of a span that a rule matched, that hadn't come when its trace was complete."""

    span_id: int
    rule: int


class Closed:
    """What became of traces that were complete, or evicted: of so many traces the latest, and four ids of spans of each."""

    EVICTED: Final = ()

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._matched: dict[bytes, Sequence[int]] = {}
        self._above: dict[bytes, Sequence[Above]] = {}
        self._count = 0

    def of(self, trace_ids: Iterable[bytes]) -> list[Sequence[int] | None]:
        """The ids of the spans of each trace that a rule matched, EVICTED if it was; None: it isn't known."""
        return list(map(self._matched.get, trace_ids))

    def above(self, trace_id: bytes) -> Sequence[Above]:
        """What was missing above the spans of a trace that a rule matched."""
        return self._above.get(trace_id, ())

    def add(self, matched: Mapping[bytes, Sequence[int]], above: Mapping[bytes, Sequence[Above]]) -> None:
        """Takes traces, each with what `of` tells of it from now on, and what `above` tells of some of them."""
        self._forget(matched.keys() & self._matched.keys())
        self._matched.update(matched)
        self._above.update(above)
        self._count += sum(map(len, matched.values())) + sum(map(len, above.values()))
        self._forget(list(islice(self._matched, max(len(self._matched) - self._limit, 0))))
        while self._count > 4 * self._limit:
            self._forget([next(iter(self._matched))])

    def _forget(self, trace_ids: Collection[bytes]) -> None:
        self._count -= sum(map(len, map(self._matched.pop, trace_ids)))
        if self._above:
            self._count -= sum(map(len, map(self._above.pop, self._above.keys() & trace_ids)))

"""The exemplars of buckets: one inference each, whose trace may be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Final

import numpy as np

from infermeter.ledger.instants import SECOND_NS
from infermeter.model import Exemplar, Ints

_NONE: Final = -2
"""The slot of an exemplar that isn't there: before that of those which came too late for one."""

_NEVER: Final = np.iinfo(np.int32).max
"""The same where there shall be none."""


class Exemplars:
    """Those of rows of buckets, by place: row x width + bucket.

    A bucket's is of the newest slot (ten seconds) of which there is anything in it, and of that slot the first to come. So it stays for as
    long as nobody asks again, and of most batches nothing has to be remembered, however many buckets there are.
    """

    def __init__(self, width: int, without: Sequence[int]) -> None:
        """`without`: the buckets of a row that shall have none."""
        self._new_row = np.full((1, width), _NONE, np.int32)
        self._new_row[:, without] = _NEVER
        self._slots = self._new_row[:0]
        self._kept: list[Exemplar | None] = []

    def widen(self, rows: int) -> None:
        """Makes room for this many rows, at least as many as there are."""
        more = rows - len(self._slots)
        self._slots = np.concatenate((self._slots, self._new_row.repeat(more, axis=0)))
        self._kept.extend([None] * (more * self._new_row.size))

    def add(self, places: Ints, values_ns: Ints, ends_ns: Ints, slots: Ints, trace_of: Callable[[int], bytes]) -> None:
        """Takes in inferences by columns: their places and values, shape (rows, n); `ends_ns` and the `slots` of these, shape (n,).

        `slots` may be -1: it came too late for one. `trace_of` tells the trace id of the i-th, asked only for those that are kept.
        """
        slots = slots.astype(np.int32)
        found = np.flatnonzero(self._slots.take(places) < slots)
        if not len(found):
            return
        places, of = places.take(found), found % len(slots)
        kept_slots, slots = self._slots.reshape(-1), slots.take(of)
        np.maximum.at(kept_slots, places, slots)
        last_first = np.flatnonzero(kept_slots.take(places) == slots)[::-1]
        firsts = np.fromiter(dict(zip(places.take(last_first).tolist(), last_first.tolist(), strict=True)).values(), np.int64)
        of = of.take(firsts)
        values_seconds = (values_ns.take(found.take(firsts)) / SECOND_NS).tolist()
        told = zip(places.take(firsts).tolist(), map(trace_of, of.tolist()), values_seconds, ends_ns.take(of).tolist(), strict=True)
        for place, trace_id, seconds, end_ns in told:
            self._kept[place] = Exemplar(trace_id.hex(), seconds, end_ns)

    def between(self, first: int, stop: int) -> list[Exemplar | None]:
        """Those of the places [first, stop)."""
        return self._kept[first:stop]


def latest(exemplars: Iterable[Exemplar | None]) -> Exemplar | None:
    """Of several buckets that are told as one: that of the inference which ended last."""
    return max(filter(None, exemplars), key=attrgetter("time_ns"), default=None)

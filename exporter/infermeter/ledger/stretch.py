"""The time between two readings of the server's own metrics, slot by slot: what they tell of it goes into slots that are still open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from infermeter.ledger.columns import portions
from infermeter.ledger.instants import DAY_SLOTS, SLOT_NS
from infermeter.model import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """From `since_ns` to a reading. `parts_ns`: how much of it lies in each slot from `first_slot` on; slots from `open_slot` on are open.

    There is an open slot, though nothing of the stretch may lie in it.
    """

    first_slot: int
    open_slot: int
    parts_ns: Ints

    def spread(self, amounts: Ints, weights: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """Whole amounts, shape (n,), by slot, shared out by weights: each open slot, its share, and what of it belongs to closed slots."""
        shares, closed = portions(amounts, weights), self.open_slot - self.first_slot
        late = shares[:closed].sum(axis=0)
        for slot, share in enumerate(shares[closed:], start=self.open_slot):
            yield slot, share + late, late
            late = np.zeros_like(late)


def stretch(since_ns: int, time_ns: int, *, open_slot: int) -> Stretch:
    """What lies between two readings, of a day at most."""
    stop = max((time_ns - 1) // SLOT_NS, open_slot) + 1
    since_ns = max(min(since_ns, time_ns - 1), (stop - DAY_SLOTS) * SLOT_NS)
    first = min(since_ns // SLOT_NS, open_slot)
    edges_ns: Ints = np.clip(np.arange(first, stop + 1) * SLOT_NS, since_ns, max(time_ns, since_ns + 1))
    return Stretch(first, open_slot, np.diff(edges_ns))

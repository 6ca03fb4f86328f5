"""What the server estimates that one of its GPUs did: floating-point operations, and bytes of its memory. By slot, increases only."""

from __future__ import annotations

from typing import Final

import numpy as np

from infermeter.ledger.instants import DAY_SLOTS, SECOND_NS
from infermeter.ledger.slots import Slots
from infermeter.ledger.stretch import stretch
from infermeter.ledger.timeline import Timeline
from infermeter.model import ServerReading

_LEAST_TOLD: Final = 0.99
"""Of a window's time: with less of it told, its sum would be too low."""


class Work:
    """FLOP and bytes of the slots of a day, each beside the nanoseconds that readings told of it."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._placed: Timeline[np.float64] = Timeline(slots.first_slot, (2, 2), np.float64)

    def read(self, reading: ServerReading) -> None:
        """Spreads what is told evenly over the slots of its time; what belongs to slots that have closed goes to the oldest open one."""
        told = reading.flops_per_gpu, reading.memory_bytes_per_gpu
        if reading.since_ns is None or told == (None, None):
            return
        between = stretch(reading.since_ns, reading.time_ns, open_slot=self._slots.closed)
        ratios = between.parts_ns / between.parts_ns.sum()
        closed = between.open_slot - between.first_slot
        ratios[closed] += ratios[:closed].sum()
        for place in range(closed, len(ratios)):
            row = self._placed.row(between.first_slot + place)
            for column, amount in enumerate(told):
                if amount is not None:
                    row[column] += amount * ratios[place], between.parts_ns[place]

    def close(self, stop: int) -> None:
        """Slots before `stop` have closed."""
        self._placed.drop(stop - DAY_SLOTS)

    def sums(self, first: int, stop: int, *, seconds: float) -> tuple[float | None, float | None]:
        """FLOP and bytes in the slots [first, stop), which lasted so many `seconds`; None unless told for all of them, and above 0.

        A server that doesn't estimate them may tell 0 (vLLM without --enable-mfu-metrics).
        """
        (flops, flops_ns), (moved, moved_ns) = self._placed.rows(first, stop).sum(axis=0).tolist()
        least_ns = _LEAST_TOLD * seconds * SECOND_NS
        return flops if flops > 0 and flops_ns >= least_ns else None, moved if moved > 0 and moved_ns >= least_ns else None

"""The ledger's grid in time: ticks of a second for energy and money, slots of ten seconds for windows; both numbered since the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

SECOND_NS: Final = 1_000_000_000
TICK_NS: Final = SECOND_NS
SLOT_TICKS: Final = 10
SLOT_NS: Final = SLOT_TICKS * TICK_NS
SLOT_SECONDS: Final = 10
HOUR_SECONDS: Final = 3600
DAY_SLOTS: Final = 24 * HOUR_SECONDS // SLOT_SECONDS


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds, to the nearest: all comparisons with a target are made between these."""
    return round(seconds * SECOND_NS)


def ticks_between(start_ns: int, end_ns: int, first_tick: int) -> Iterator[tuple[int, int]]:
    """The ticks from start to end and the nanoseconds in each, from `first_tick` on."""
    start_ns = max(start_ns, first_tick * TICK_NS)
    while start_ns < end_ns:
        tick = start_ns // TICK_NS
        stop_ns = min((tick + 1) * TICK_NS, end_ns)
        yield tick, stop_ns - start_ns
        start_ns = stop_ns

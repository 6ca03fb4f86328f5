"""Closed slots are told as they are read: what is forgotten meanwhile isn't told, and never told empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from infermeter.ledger.instants import DAY_SLOTS
from infermeter.ledger.slots import FIRST_MISSED_STAGE, Slots, Told
from infermeter.model import Ints

FILLED = 3


def with_slots() -> Slots:
    """The first three slots of a ledger with one model: inferences counted and joules booked in each."""
    slots = Slots(0)
    for slot in range(FILLED):
        slots.count(slot, np.array([0]), np.full((1, FIRST_MISSED_STAGE), slot + 1))
        slots.settle(slot, np.array([[0.0, 5.0, 1.0]]), np.array([10.0, 1.0, 9.0]))
    slots.close(FILLED)
    return slots


def untold(_first: int, _stop: int) -> Ints | None:
    return None


def seven_each(first: int, stop: int) -> Ints | None:
    return np.full((stop - first, 1), 7)


@pytest.mark.parametrize("served", [untold, seven_each])
def test_a_slot_that_is_forgotten_between_two_is_left_out(served: Callable[[int, int], Ints | None]) -> None:
    slots = with_slots()
    closed = slots.closed_rows({0: Told("m", None, tokens_input=True, tokens_output=True)}, served, start_ns=0, priced=(), metered=True)
    assert [(slot.observed, slot.joules, slot.seconds) for slot in closed] == [(1, 5.0, 10.0), (2, 5.0, 10.0), (3, 5.0, 10.0)]
    reading = iter(closed)
    assert next(reading).observed == 1
    slots.close(DAY_SLOTS + 2)
    assert [(slot.observed, slot.joules, slot.seconds) for slot in reading] == [(3, 5.0, 10.0)]

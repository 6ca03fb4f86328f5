"""The time between two readings, slot by slot."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from infermeter.ledger.instants import DAY_SLOTS, SLOT_NS
from infermeter.ledger.stretch import stretch


def test_a_stretch_lies_in_the_slots_between_two_readings() -> None:
    between = stretch(5 * SLOT_NS // 2, 5 * SLOT_NS, open_slot=1)
    assert between.first_slot == 1
    assert between.parts_ns.tolist() == [0, SLOT_NS // 2, SLOT_NS, SLOT_NS]


def test_what_belongs_to_closed_slots_is_late_and_goes_to_the_first_that_is_open() -> None:
    between = stretch(0, 4 * SLOT_NS, open_slot=3)
    assert [(slot, share.tolist(), late.tolist()) for slot, share, late in between.spread(np.array([80, 4]), between.parts_ns)] == [
        (3, [80, 4], [60, 3])
    ]


def test_a_stretch_that_has_passed_is_wholly_late() -> None:
    between = stretch(0, SLOT_NS, open_slot=7)
    ((slot, share, late),) = between.spread(np.array([8]), between.parts_ns)
    assert (slot, share.tolist(), late.tolist()) == (7, [8], [8])


@given(st.integers(0, 20 * SLOT_NS), st.integers(1, 20 * SLOT_NS), st.integers(0, 25), st.integers(0, 10**6))
def test_amounts_are_shared_out_exactly(since_ns: int, length_ns: int, open_slot: int, amount: int) -> None:
    between = stretch(since_ns, since_ns + length_ns, open_slot=open_slot)
    assert between.parts_ns.sum() == length_ns
    shares = list(between.spread(np.array([amount]), between.parts_ns))
    assert sum(int(share[0]) for _, share, _ in shares) == amount
    assert [slot for slot, _, _ in shares] == list(range(open_slot, between.first_slot + len(between.parts_ns)))


def test_a_stretch_of_more_than_a_day_is_of_a_day_and_one_of_no_length_of_a_nanosecond() -> None:
    assert len(stretch(0, 3 * DAY_SLOTS * SLOT_NS, open_slot=0).parts_ns) <= 3 * DAY_SLOTS
    assert stretch(0, 3 * DAY_SLOTS * SLOT_NS, open_slot=0).parts_ns.sum() == DAY_SLOTS * SLOT_NS
    assert stretch(10, 10, open_slot=0).parts_ns.sum() == 1

"""What a window holds is what was counted in its slots, whatever is kept of them in the meantime."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.ledger.window_sketches import WindowSketches
from infermeter.model import Ints, Window

WIDTH = 1_000
MODELS = 3
WINDOWS = (Window("1m", 60.0), Window("2m", 120.0))
LENGTHS = {"1m": 6, "2m": 12}

keys = st.integers(0, MODELS * WIDTH - 1)
slots = st.lists(st.dictionaries(keys, st.sampled_from((1, 2, 300, 70_000)), max_size=8), min_size=1, max_size=20)


def add(sketches: WindowSketches, slot: int, counted: Ints) -> None:
    sketches.add(np.full(len(counted), slot), counted[None], np.ones((1, len(counted)), np.bool_))


@settings(max_examples=50, deadline=None)
@given(slots)
def test_a_window_holds_what_was_counted_in_its_last_slots(life: list[dict[int, int]]) -> None:
    sketches = WindowSketches(WINDOWS, WIDTH)
    for slot, counted in enumerate(life):
        for key, count in counted.items():
            add(sketches, slot, np.full(count, key))
        told = dict(zip(*(column.tolist() for column in sketches.close(slot, MODELS)), strict=True))
        assert told == counted
        for window in WINDOWS:
            inside = sum((Counter(one) for one in life[max(slot + 1 - LENGTHS[window.label], 0) : slot + 1]), Counter())
            held = np.concatenate([sketches.row(window, code) for code in range(MODELS)])
            assert {key: held[key] for key in np.flatnonzero(held).tolist()} == inside


def test_what_all_windows_have_left_is_forgotten() -> None:
    sketches = WindowSketches(WINDOWS, WIDTH)
    add(sketches, 3, np.array([5, 700]))
    sketches.close(3, 1)
    assert sketches.row(WINDOWS[1], 0).sum() == 2
    sketches.skip(10)
    assert [int(sketches.row(window, 0).sum()) for window in WINDOWS] == [0, 2]
    sketches.skip(16)
    assert [int(sketches.row(window, 0).sum()) for window in WINDOWS] == [0, 0]

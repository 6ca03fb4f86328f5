"""Rows that are alike are found by a number made of them, and found all the same where a sender makes different ones give that number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infermeter.mapping.columns import places

WORDS = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
MIXER = 0x9E3779B97F4A7C15


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12), st.lists(st.integers(0, 11), max_size=12), st.booleans())
def test_rows_have_one_place_if_and_only_if_they_are_alike(rows: list[tuple[int, int]], again: Sequence[int], hostile: bool) -> None:
    rows += [rows[n % len(rows)] for n in again]
    if hostile:
        (first, second), other = rows[0], rows[0][0] ^ 5
        rows += [(other, (other * MIXER) % 2**64 ^ (first * MIXER) % 2**64 ^ second), rows[0]]
    first_of, place = places(*np.array(rows, np.uint64).T)
    assert [rows[first_of[n]] for n in place.tolist()] == rows
    assert len(first_of) == len(set(rows))

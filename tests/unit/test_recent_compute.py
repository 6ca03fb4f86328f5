"""The share of recent time in which something computed, which a simulated GPU follows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infermeter.meter import RecentCompute, union

SECOND = 1_000_000_000


def computed(*intervals: tuple[int, int]) -> RecentCompute:
    recent = RecentCompute(0)
    for begin, end in intervals:
        recent.add(np.array([[begin, end]], dtype=np.int64), now_ns=end)
    return recent


def test_nothing_computed_is_a_share_of_nothing() -> None:
    assert computed().share(0, SECOND) == 0


def test_half_a_second_is_half_of_a_second() -> None:
    assert computed((0, SECOND // 2)).share(0, SECOND) == 0.5


def test_what_overlaps_counts_once() -> None:
    assert computed((0, SECOND // 2), (SECOND // 4, SECOND // 2)).share(0, SECOND) == 0.5


def test_only_what_lies_between_the_instants_counts() -> None:
    assert computed((0, 4 * SECOND)).share(3 * SECOND, 5 * SECOND) == 0.5


def test_no_time_has_no_share() -> None:
    assert computed((0, SECOND)).share(5, 5) == 0
    assert computed((0, SECOND)).share(5, 4) == 0


def test_what_ended_long_ago_is_forgotten() -> None:
    assert computed((0, SECOND), (100 * SECOND, 101 * SECOND)).share(0, SECOND) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: tuple(sorted(pair))), max_size=8))
def test_a_union_covers_the_same_instants_without_overlap(intervals: list[tuple[int, int]]) -> None:
    covered = {instant for begin, end in intervals for instant in range(begin, end)}
    disjoint = union(np.array(intervals, dtype=np.int64).reshape(-1, 2)).tolist()

    assert {instant for begin, end in disjoint for instant in range(begin, end)} == covered
    assert sum(end - begin for begin, end in disjoint) == len(covered)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)).map(lambda told: (told[0], sum(told))), max_size=5),
        min_size=1,
        max_size=8,
    )
)
def test_what_comes_in_parts_and_in_any_order_is_what_came_at_once(parts: list[list[tuple[int, int]]]) -> None:
    recent = RecentCompute(0)
    for part in parts:
        recent.add(np.array(part, dtype=np.int64).reshape(-1, 2), now_ns=400)
    covered = {instant for part in parts for begin, end in part for instant in range(begin, end)}
    for begin, end in ((0, 400), (50, 150), (399, 400)):
        assert round(recent.share(begin, end) * (end - begin)) == len(covered & set(range(begin, end)))

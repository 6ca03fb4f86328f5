import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.sketch import BUCKETS, Packed, SlotSketches, bucket_of, estimate_seconds, quantile_bucket, upper_edge_ns


@given(st.lists(st.integers(1_000, 10**15 - 1), min_size=1, max_size=200), st.sampled_from((0.5, 0.9, 0.99, 0.999, 1.0)))
def test_a_quantile_is_off_by_at_most_1_percent(values: list[int], quantile: float) -> None:
    counts = np.bincount(bucket_of(np.array(values)), minlength=BUCKETS)
    bucket = quantile_bucket(counts, quantile)
    assert bucket is not None
    exact = sorted(values)[max(0, -(-round(quantile * 1000) * len(values) // 1000) - 1)]
    assert estimate_seconds(bucket) * 1e9 == pytest.approx(exact, rel=0.01)
    assert upper_edge_ns(bucket) >= exact * 0.999999


def test_what_lies_outside_counts_as_the_nearest() -> None:
    assert bucket_of(np.array([0, 1, 999, 10**18])).tolist() == [0, 0, 0, BUCKETS - 1]


def test_no_values_have_no_quantile() -> None:
    assert quantile_bucket(np.zeros(BUCKETS, np.int64), 0.99) is None
    assert quantile_bucket(np.array([0, 29]), 0.99, least=30) is None
    assert quantile_bucket(np.array([0, 30]), 0.99, least=30) == 1


def add(sketches: SlotSketches, slots: list[int], keys: list[int]) -> None:
    sketches.add(np.array(slots), np.array([keys]), np.ones((1, len(keys)), np.bool_))


def counted(packed: Packed) -> dict[int, int]:
    keys, counts = packed
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def test_slots_are_taken_once_and_hold_what_came_at_any_time() -> None:
    sketches = SlotSketches()
    add(sketches, [1, 2, 1], [9000, 5, 7])
    for other in range(100, 130):
        add(sketches, [other], [1])
    add(sketches, [1, 1], [7, 6])
    assert counted(sketches.take(1)) == {6: 1, 7: 2, 9000: 1}
    assert sketches.take(1)[0].tolist() == []
    assert sketches.take(2)[0].tolist() == [5]


def test_dropped_slots_are_empty() -> None:
    sketches = SlotSketches()
    add(sketches, [1, 50], [1, 1])
    for other in range(100, 130):
        add(sketches, [other], [1])
    sketches.drop(120)
    assert [len(sketches.take(slot)[0]) for slot in (1, 50, 119, 120)] == [0, 0, 0, 1]


def test_each_key_of_a_column_is_in_the_slot_of_it_but_those_that_do_not_count() -> None:
    sketches = SlotSketches()
    counts = np.array([[True, False, True], [True, False, False]])
    sketches.add(np.array([3, 4, 5]), np.array([[1, 2, 3], [7, 8, 1]]), counts)
    assert [counted(sketches.take(slot)) for slot in (3, 4, 5)] == [{1: 1, 7: 1}, {}, {3: 1}]
    sketches.add(np.array([3, 3, 3]), np.array([[1, 2, 3], [7, 8, 1]]), counts)
    assert counted(sketches.take(3)) == {1: 1, 3: 1, 7: 1}

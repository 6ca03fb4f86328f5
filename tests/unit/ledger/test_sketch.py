import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.sketch import BUCKETS, SlotSketches, bucket_of, estimate_seconds, quantile_bucket, upper_edge_ns


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


def test_slots_are_taken_once_and_hold_what_came_at_any_time() -> None:
    sketches = SlotSketches()
    sketches.add(np.array([1, 2, 1]), np.array([9000, 5, 7]))
    for other in range(100, 130):
        sketches.add(np.array([other]), np.array([1]))
    sketches.add(np.array([1, 1]), np.array([7, 6]))
    keys, counts = sketches.take(1)
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == {6: 1, 7: 2, 9000: 1}
    assert sketches.take(1)[0].tolist() == []
    assert sketches.take(2)[0].tolist() == [5]


def test_dropped_slots_are_empty() -> None:
    sketches = SlotSketches()
    sketches.add(np.array([1, 50]), np.array([1, 1]))
    for other in range(100, 130):
        sketches.add(np.array([other]), np.array([1]))
    sketches.drop(120)
    assert [len(sketches.take(slot)[0]) for slot in (1, 50, 119, 120)] == [0, 0, 0, 1]

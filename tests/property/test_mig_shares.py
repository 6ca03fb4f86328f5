"""MIG instances share their device's power: what they are given together is never more than the device drew."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.gpu.mig_shares import ACTIVE_RATIO_LEAST, shares_of

NAMES = ("GPU-1/3", "GPU-1/7", "GPU-1/8", "GPU-1/9")
SLICES = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 7))
RATIOS = st.none() | st.floats(allow_nan=True) | st.floats(0, 1)
ACTIVITY = st.dictionaries(st.sampled_from(NAMES), RATIOS)


@given(SLICES, ACTIVITY, st.integers(1, 8))
def test_shares_are_of_all_instances_within_0_to_1_and_together_at_most_1(
    slices: dict[str, int], activity: dict[str, float | None], total: int
) -> None:
    shares = shares_of(slices, activity, total)

    assert shares.keys() == slices.keys()
    assert all(0 <= share <= 1 for share in shares.values())
    assert math.fsum(shares.values()) <= 1 + 1e-12


@given(SLICES.filter(bool), st.data(), st.integers(1, 8))
def test_where_one_is_active_and_each_tells_it_the_whole_is_shared_by_work(slices: dict[str, int], data: st.DataObject, total: int) -> None:
    activity: dict[str, float | None] = {name: data.draw(st.floats(ACTIVE_RATIO_LEAST, 1)) for name in slices}

    shares = shares_of(slices, activity, total)

    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    for name, share in shares.items():
        for other, others_share in shares.items():
            ratio = (slices[name] * (activity[name] or 0)) / (slices[other] * (activity[other] or 1))
            assert share == pytest.approx(ratio * others_share, rel=1e-9)


def test_a_known_split_by_slices_times_activity() -> None:
    shares = shares_of({"a": 3, "b": 2, "c": 1}, {"a": 0.5, "b": 0.25, "c": 0.0}, 7)

    assert shares == {"a": 0.75, "b": 0.25, "c": 0.0}


@pytest.mark.parametrize(
    "activity",
    [
        {},
        {"a": 0.0, "b": 0.0},
        {"a": 0.0099, "b": 0.0},
        {"a": 1.0, "b": None},
        {"a": 1.0, "b": math.nan},
        {"a": 1.0, "b": 1.5},
        {"a": 1.0, "b": -0.5},
    ],
)
def test_without_activity_that_can_be_compared_slices_decide_and_what_nobody_was_given_is_nobodys(
    activity: dict[str, float | None],
) -> None:
    assert shares_of({"a": 3, "b": 2}, activity, 7) == {"a": 3 / 7, "b": 2 / 7}


def test_more_slices_than_the_device_is_said_to_have_are_still_one_device() -> None:
    assert shares_of({"a": 4, "b": 4}, {}, 7) == {"a": 0.5, "b": 0.5}


def test_no_instance_has_no_share() -> None:
    assert shares_of({}, {}, 7) == {}

"""Intervals over slots that depend on one another: as wide as they must be, and always the same."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from infermeter.comparison.bootstrap import (
    BLOCKS_LEAST,
    CONFIDENCE,
    SLOTS_LEAST,
    block_lengths,
    drawn_sums,
    interval,
    student_quantile,
    widened_tail,
    widest,
)
from infermeter.model import Floats
from support.simulated_servers import one_at_a_time


def slots_of_a_queue(rng: np.random.Generator, slots: int, *, load: float) -> dict[str, Floats]:
    """Inferences and those within 2 s, of a server that is busy for this share of the time, in slots of 10 s."""
    count = round(slots * 26)
    served = one_at_a_time(np.cumsum(rng.exponential(0.5, count)), rng.exponential(load / 2, count))
    ended = served.ended < slots * 10
    slot = (served.ended[ended] // 10).astype(int)
    within = (served.durations[ended] <= 2).astype(float)
    return {"all": np.bincount(slot, minlength=slots).astype(float), "within": np.bincount(slot, weights=within, minlength=slots)}


def interval_of_two(first: dict[str, Floats], second: dict[str, Floats]) -> tuple[float, float]:
    slots = len(first["all"])
    found = []
    for length in block_lengths(slots):
        before, after = drawn_sums(first, length=length, side=0), drawn_sums(second, length=length, side=1)
        found.append(interval(after["within"] / after["all"] - before["within"] / before["all"], blocks=slots / length))
    return widest(found)


@pytest.mark.parametrize(("slots", "load"), [(SLOTS_LEAST, 0.5), (360, 0.5), (360, 0.8)])
def test_two_equal_queues_are_told_apart_as_seldom_as_promised(slots: int, load: float) -> None:
    pairs = 60
    held = 0
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        low, high = interval_of_two(slots_of_a_queue(rng, slots, load=load), slots_of_a_queue(rng, slots, load=load))
        held += low <= 0 <= high
    assert held / pairs >= CONFIDENCE - 2 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / pairs)


def test_slots_that_depend_on_one_another_make_the_interval_wider() -> None:
    slots = np.repeat(np.random.default_rng(1).normal(10, 2, 40), 9)
    columns = {"all": np.ones(360), "within": slots}
    shuffled = {"all": np.ones(360), "within": np.random.default_rng(2).permutation(slots)}
    low, high = interval_of_two(columns, columns)
    narrow, wide = interval_of_two(shuffled, shuffled)
    assert high - low > 1.8 * (wide - narrow)


def test_independent_slots_have_the_interval_of_their_standard_error() -> None:
    columns = {"all": np.ones(3600), "within": np.random.default_rng(3).normal(0, 1, 3600)}
    drawn = drawn_sums(columns, length=60, side=0)
    low, high = interval(drawn["within"] / drawn["all"], blocks=60)
    assert high - low == pytest.approx(2 * 2.0 * math.sqrt(60 / 59) / math.sqrt(3600), rel=0.15)


def test_the_same_slots_have_the_same_draws_and_two_sides_have_their_own() -> None:
    columns = {"a": np.random.default_rng(4).random(200)}
    first = drawn_sums(columns, length=20, side=0)["a"]
    assert np.array_equal(first, drawn_sums(columns, length=20, side=0)["a"])
    other = drawn_sums(columns, length=20, side=1)["a"]
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.1


def test_every_slot_is_drawn_as_often_also_the_last_ones() -> None:
    draws = [drawn_sums({"a": np.eye(60)[slot]}, length=8, side=0)["a"].mean() for slot in range(60)]
    assert np.mean(draws) == pytest.approx(64 / 60)
    assert np.ptp(draws) < 0.15


def test_columns_are_drawn_together() -> None:
    column = np.random.default_rng(5).random(100)
    drawn = drawn_sums({"a": column, "b": 3 * column}, length=10, side=0)
    assert drawn["b"] == pytest.approx(3 * drawn["a"])


@pytest.mark.parametrize("slots", [7, 60, 120, 359, 360, 8640])
def test_blocks_are_doubled_while_there_are_enough(slots: int) -> None:
    lengths = block_lengths(slots)
    assert lengths[0] == max(6, math.ceil(math.sqrt(slots)))
    assert all(later == 2 * sooner for sooner, later in pairwise(lengths))
    assert all(slots / length >= BLOCKS_LEAST for length in lengths[1:])
    assert slots / (2 * lengths[-1]) < BLOCKS_LEAST


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.1824), (5, 2.5706), (10, 2.2281), (30, 2.0423), (1000, 1.9623)])
def test_student_s_quantile_is_that_of_the_tables(freedom: float, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.012)


def test_few_blocks_leave_less_out() -> None:
    assert widened_tail(4) < widened_tail(10) < widened_tail(1e6) == pytest.approx(0.025, rel=1e-3)


def test_draws_may_be_infinite_and_the_ends_then_are() -> None:
    draws = np.concatenate((np.arange(95.0), np.full(5, np.inf)))
    assert interval(draws, blocks=1e6) == (2.0, math.inf)

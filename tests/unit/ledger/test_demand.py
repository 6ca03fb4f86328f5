from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.demand import DAY_MINUTES, KEPT_MINUTES, MINUTE_NS, Demand

START_NS = 1_784_548_800 * 10**9
MODELS = ["a", "b"]


def started(demand: Demand, minute: int, code: int = 0, n: int = 60, *, per_observed: float = 1.0) -> None:
    demand.add(np.full(n, START_NS + minute * MINUTE_NS), np.full(n, code), per_observed=per_observed)


def at(minute: int) -> int:
    return START_NS + minute * MINUTE_NS


def fresh(start_ns: int = START_NS) -> Demand:
    demand = Demand(start_ns)
    demand.widen(MODELS)
    return demand


def followed(minutes: int) -> Demand:
    demand = fresh()
    for minute in range(minutes):
        started(demand, minute)
    demand.close(at(minutes))
    return demand


def test_the_load_of_a_minute_is_the_sum_over_the_models_of_demand_over_capacity() -> None:
    demand = followed(3)
    started(demand, 1, code=1, n=30)
    loads = demand.loads({0: 4.0, 1: 1.0}, minutes=3)
    assert loads is not None
    assert loads.tolist() == [0.25, 0.75, 0.25]


def test_the_peak_is_what_99_per_cent_of_the_minutes_do_not_exceed() -> None:
    demand = followed(200)
    for minute in (7, 70):
        started(demand, minute, n=540)
    started(demand, 100, n=60)
    assert demand.minutes == 200
    assert demand.peak_load({0: 10.0}, minutes=200) == pytest.approx(0.2)
    assert demand.peak_load({0: 10.0}, minutes=201) is None


def test_a_sample_stands_for_more() -> None:
    demand = fresh()
    started(demand, 0, n=6, per_observed=10.0)
    demand.close(at(1))
    assert demand.peak_load({0: 10.0}, minutes=1) == pytest.approx(0.1)


def test_without_a_capacity_of_a_model_with_demand_or_without_the_history_there_is_no_load() -> None:
    assert followed(3).loads({1: 1.0}, minutes=3) is None
    assert followed(3).loads({0: 1.0}, minutes=4) is None
    assert followed(3).peak_load({0: 1.0}, minutes=4) is None


def test_a_model_without_demand_needs_no_capacity() -> None:
    assert followed(3).loads({0: 1.0}, minutes=2) is not None


def test_a_minute_that_began_before_the_start_does_not_count() -> None:
    demand = fresh(START_NS + 1)
    started(demand, 0)
    started(demand, 1)
    demand.close(at(2))
    demand.close(at(1))
    assert demand.minutes == 1
    loads = demand.loads({0: 1.0}, minutes=1)
    assert loads is not None
    assert loads.tolist() == [1.0]


def test_what_started_a_week_ago_is_no_demand() -> None:
    demand = fresh()
    started(demand, -1)
    demand.close(at(KEPT_MINUTES + 10))
    started(demand, 5)
    started(demand, 11)
    loads = demand.loads({0: 1.0}, minutes=KEPT_MINUTES)
    assert loads is not None
    assert (loads.sum(), loads[1]) == (1.0, 1.0)
    assert demand.loads({0: 1.0}, minutes=KEPT_MINUTES + 1) is None


def restarted(before: Demand, minute: int, **changes: Any) -> Demand:
    again = Demand(at(minute))
    again.widen(MODELS)
    again.recall(json.loads(json.dumps(before.remember() | changes)))
    return again


DAY = str(START_NS // MINUTE_NS // DAY_MINUTES)


def test_the_peak_survives_a_restart_and_the_time_between_does_not_count() -> None:
    before = followed(200)
    for minute in (7, 70, 71):
        started(before, minute, n=540)
    again = restarted(before, 1000)
    assert again.minutes == 200
    assert again.peak_load({0: 10.0}, minutes=200) == pytest.approx(1.0, rel=0.05)
    assert again.peak_load({0: 10.0}, minutes=201) is None
    for minute in range(1000, 1200):
        started(again, minute, n=30)
    again.close(at(1200))
    assert again.minutes == 400
    assert again.peak_load({0: 10.0}, minutes=400) == pytest.approx(0.1, rel=0.05), "three of 400 minutes are no longer one in a hundred"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(1, 3))
def test_after_a_restart_the_peak_is_never_lower_and_at_most_a_twentieth_higher(rates: list[int], restarts: int) -> None:
    demand = fresh()
    for minute, n in enumerate(rates):
        demand.add(np.array([at(minute)]), np.array([0]), per_observed=float(n))
    demand.close(at(len(rates)))
    peak = demand.peak_load({0: 7.0}, minutes=1)
    for i in range(restarts):
        demand = restarted(demand, len(rates) + i)
    again = demand.peak_load({0: 7.0}, minutes=1)
    assert peak is not None
    assert again is not None
    assert peak * (1 - 1e-9) <= again <= peak * 1.05 * (1 + 1e-9)


def test_busy_minutes_of_several_models_are_taken_to_be_the_same_ones() -> None:
    before = fresh()
    started(before, 0, code=0, n=600)
    started(before, 1, code=1, n=600)
    before.close(at(2))
    assert before.peak_load({0: 10.0, 1: 10.0}, minutes=2) == pytest.approx(1.0)
    assert restarted(before, 5).peak_load({0: 10.0, 1: 10.0}, minutes=2) == pytest.approx(2.0, rel=0.05)


def test_a_remembered_model_with_demand_needs_a_capacity_too() -> None:
    again = restarted(followed(3), 10)
    assert again.peak_load({1: 1.0}, minutes=3) is None
    other = Demand(at(10))
    other.widen(["b"])
    other.recall(followed(3).remember())
    assert other.peak_load({0: 1.0}, minutes=3) is None, "the model isn't known yet"
    other.widen(["b", "a"])
    assert other.peak_load({1: 1.0}, minutes=3) == pytest.approx(1.0, rel=0.05)


def test_the_load_of_the_last_minutes_is_of_this_run() -> None:
    again = restarted(followed(3), 10)
    assert again.loads({0: 1.0}, minutes=1) is None
    started(again, 10, n=30)
    again.close(at(11))
    loads = again.loads({0: 1.0}, minutes=1)
    assert loads is not None
    assert loads.tolist() == [0.5]


def test_a_week_is_kept_in_whole_days_and_takes_little_room() -> None:
    demand = fresh()
    for minute in range(KEPT_MINUTES):
        started(demand, minute, n=1 + minute % 1000)
    demand.close(at(KEPT_MINUTES))
    assert len(json.dumps(demand.remember())) < 20_000, "a histogram a day, not 10,080 numbers"
    again = restarted(demand, KEPT_MINUTES)
    assert again.minutes == KEPT_MINUTES
    again.close(at(KEPT_MINUTES + DAY_MINUTES))
    assert again.minutes == KEPT_MINUTES + DAY_MINUTES // 2, "it began at noon: the first half day is a week ago"
    assert restarted(demand, 3 * KEPT_MINUTES).minutes == 0


def test_what_is_of_a_time_to_come_is_forgotten() -> None:
    assert restarted(followed(3), -DAY_MINUTES).minutes == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"x": {"minutes": 1, "rates": {}}},
        {DAY: {"minutes": -1, "rates": {}}},
        {DAY: {"minutes": DAY_MINUTES + 1, "rates": {}}},
        {DAY: {"minutes": 3}},
        {DAY: {"minutes": 3, "rates": {"a": [[1, 4]]}}},
        {DAY: {"minutes": 3, "rates": {"a": [[1, 0]]}}},
        {DAY: {"minutes": 3, "rates": {"a": [[10**9, 1]]}}},
        {DAY: {"minutes": 3, "rates": {"a": [1]}}},
    ],
)
def test_what_was_never_remembered_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        restarted(followed(3), 10, **broken)

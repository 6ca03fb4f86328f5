from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from infermeter.ledger.demand import KEPT_MINUTES, MINUTE_NS, Demand

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
    assert demand.peak_load({0: 10.0}, minutes=100) == pytest.approx(0.1)


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
    again.recall(json.loads(json.dumps(before.remember(MODELS) | changes)))
    return again


def test_what_is_remembered_goes_on_and_the_time_between_does_not_count() -> None:
    again = restarted(followed(3), 10)
    assert again.loads({0: 1.0}, minutes=3) is None, "the models aren't known yet"
    again.widen(["b", "a"])
    started(again, 10, code=1, n=30)
    again.close(at(11))
    loads = again.loads({1: 1.0}, minutes=4)
    assert loads is not None
    assert loads.tolist() == [1.0, 1.0, 1.0, 0.5]
    assert again.minutes == 4


def test_a_model_that_never_comes_back_is_still_remembered() -> None:
    again = restarted(followed(3), 10)
    again.widen(["b"])
    again.close(at(11))
    assert again.remember(["b"])["starts"]["a"] == [60.0, 60.0, 60.0, *[0.0] * 8]


def test_of_what_is_remembered_a_week_is_kept() -> None:
    again = restarted(followed(3), KEPT_MINUTES + 2)
    again.widen(MODELS)
    assert again.minutes == 1
    assert restarted(followed(3), KEPT_MINUTES + 3).minutes == 0
    later = restarted(followed(3), 10)
    later.close(at(KEPT_MINUTES + 20))
    later.widen(MODELS)
    assert later.remember(MODELS)["starts"]["a"] == [0.0] * KEPT_MINUTES


def test_what_is_of_a_time_to_come_is_forgotten() -> None:
    assert restarted(followed(3), 2).minutes == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"watched": [1, 2, 1]},
        {"watched": [[1], [1], [1]]},
        {"starts": {"a": [1.0]}},
        {"starts": {"a": [1.0, -1.0, 1.0]}},
        {"starts": {"a": [1.0, float("nan"), 1.0]}},
        {"starts": {"a": ["x", 1.0, 1.0]}},
        {"starts": {"a": [[1.0], [1.0], [1.0]]}},
        {"first_minute": "x"},
    ],
)
def test_what_was_never_remembered_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is of no interest
        restarted(followed(3), 10, **broken)

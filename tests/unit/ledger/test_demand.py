from __future__ import annotations

import numpy as np
import pytest

from infermeter.ledger.demand import KEPT_MINUTES, MINUTE_NS, Demand

START_NS = 1_784_548_800 * 10**9


def started(demand: Demand, minute: int, code: int = 0, n: int = 60, *, per_observed: float = 1.0) -> None:
    demand.add(np.full(n, START_NS + minute * MINUTE_NS), np.full(n, code), per_observed=per_observed)


def at(minute: int) -> int:
    return START_NS + minute * MINUTE_NS


def followed(minutes: int) -> Demand:
    demand = Demand(START_NS)
    demand.widen(2)
    for minute in range(minutes):
        started(demand, minute)
    demand.close(at(minutes))
    return demand


def test_the_load_of_a_minute_is_the_sum_over_the_models_of_demand_over_capacity() -> None:
    demand = followed(3)
    started(demand, 1, code=1, n=30)
    loads = demand.loads({0: 4.0, 1: 1.0}, stop_ns=at(3), minutes=3)
    assert loads is not None
    assert loads.tolist() == [0.25, 0.75, 0.25]


def test_the_peak_is_what_99_per_cent_of_the_minutes_do_not_exceed() -> None:
    demand = followed(200)
    for minute in (7, 70):
        started(demand, minute, n=540)
    started(demand, 100, n=60)
    assert demand.peak_load({0: 10.0}, stop_ns=at(200), minutes=200) == pytest.approx(0.2)
    assert demand.peak_load({0: 10.0}, stop_ns=at(200), minutes=100) == pytest.approx(0.1)
    assert followed(100).peak_load({0: 10.0}, stop_ns=at(100), minutes=100) == pytest.approx(0.1)


def test_a_sample_stands_for_more() -> None:
    demand = Demand(START_NS)
    started(demand, 0, n=6, per_observed=10.0)
    demand.close(at(1))
    assert demand.peak_load({0: 10.0}, stop_ns=at(1), minutes=1) == pytest.approx(0.1)


def test_without_a_capacity_of_a_model_with_demand_or_without_the_history_there_is_no_load() -> None:
    assert followed(3).loads({1: 1.0}, stop_ns=at(3), minutes=3) is None
    assert followed(3).loads({0: 1.0}, stop_ns=at(3), minutes=4) is None
    assert followed(3).peak_load({0: 1.0}, stop_ns=at(3), minutes=4) is None


def test_a_model_without_demand_needs_no_capacity() -> None:
    assert followed(3).loads({0: 1.0}, stop_ns=at(3), minutes=2) is not None


def test_what_started_before_the_beginning_or_a_week_ago_is_no_demand() -> None:
    demand = Demand(START_NS)
    started(demand, -1)
    demand.close(at(KEPT_MINUTES + 10))
    started(demand, 5)
    started(demand, 11)
    loads = demand.loads({0: 1.0}, stop_ns=at(KEPT_MINUTES + 10), minutes=KEPT_MINUTES)
    assert loads is not None
    assert (loads.sum(), loads[1]) == (1.0, 1.0)
    assert demand.loads({0: 1.0}, stop_ns=at(KEPT_MINUTES + 10), minutes=KEPT_MINUTES + 1) is None

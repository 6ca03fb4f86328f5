from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice.waiting import WAITING_RATIO, longest_wait, slowdown_at
from support.simulated_servers import Floats, one_at_a_time
from support.sizing import MODEL

loads = st.floats(0.0, 1.0, exclude_max=True)
late = st.floats(1e-5, 0.5)


@given(loads, loads, late)
def test_a_higher_load_never_shortens_the_wait(one: float, other: float, ratio: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= longest_wait(low, ratio) <= longest_wait(high, ratio) * (1 + 1e-6) < math.inf


@given(loads, late, late)
def test_to_be_surer_never_shortens_it(load: float, one: float, other: float) -> None:
    strict, lax = sorted((one, other))
    assert longest_wait(load, lax) <= longest_wait(load, strict) * (1 + 1e-6)


@pytest.mark.parametrize("load", [0.02, 0.1, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("services", ["constant", "two lengths", "any length"])
def test_fewer_are_late_in_a_simulated_queue_than_the_bound_says(load: float, services: str) -> None:
    """Services of at most 1: constant ones come close to the bound."""
    rng = np.random.default_rng(7)
    count = 300_000
    lengths: Floats = {
        "constant": np.ones(count),
        "two lengths": np.where(rng.uniform(size=count) < 0.1, 1.0, 0.05),
        "any length": rng.uniform(0.0, 1.0, count),
    }[services]
    served = one_at_a_time(np.cumsum(rng.exponential(lengths.mean() / load, count)), lengths)
    for ratio in (0.001, 0.01):
        waited = float((served.began - served.arrived > longest_wait(load, ratio) + 1e-9).mean())
        assert waited <= ratio * 1.3
        if services == "constant" and load in (0.02, 0.1) and ratio == 0.01:
            assert waited >= 0.5 * ratio


def test_nobody_waits_for_a_device_that_is_seldom_busy() -> None:
    assert longest_wait(0.01, 0.01) == 0
    assert longest_wait(0.0101, 0.01) > 0


def test_a_slowdown_holds_the_bound_the_wait_and_what_runs_at_a_time() -> None:
    assert slowdown_at(0.0, 0.5, [MODEL]) == 2
    assert slowdown_at(0.5, 0.5, [MODEL]) == pytest.approx(2 * (1 + longest_wait(0.5, WAITING_RATIO * 0.01)))
    assert slowdown_at(0.5, 0.5, [replace(MODEL, has_sla=False)]) == pytest.approx(2 * (1 + longest_wait(0.5, WAITING_RATIO)))
    assert slowdown_at(0.0005, 0.5, [MODEL]) == pytest.approx(2 / (1 - 0.0005))


def test_a_device_that_is_full_has_no_slowdown() -> None:
    assert slowdown_at(1.0, 0.5, [MODEL]) is None


@pytest.mark.parametrize("load", [0.2, 0.7, 0.99])
def test_the_decay_is_that_of_constant_services(load: float) -> None:
    """Beyond a first service the wait is told by the rate r at which load (e^r - 1) = r, wherever that is the shorter one."""
    sure = 1e-12
    rate = math.log(1 / sure) / longest_wait(load, sure)
    assert load * math.expm1(rate) == pytest.approx(rate, rel=1e-6)

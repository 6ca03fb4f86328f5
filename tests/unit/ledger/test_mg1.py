from __future__ import annotations

import math

import numpy as np
import pytest

from infermeter.ledger.mg1 import MOST_BUSY, highest_rate
from support.simulated_servers import highest_held_rate, one_at_a_time


def rate_of(seconds: float, *, target: float, quantile: float = 0.99) -> float | None:
    return highest_rate(np.array([seconds]), np.array([1.0]), target_seconds=target, quantile_ratio=quantile)


def test_ten_a_minute_of_50_ms_are_a_small_part_of_what_the_server_can_do() -> None:
    capacity = rate_of(0.05, target=0.5)
    assert capacity is not None
    assert capacity / (10 / 60) > 90


def test_never_more_than_the_highest_share_of_time_that_is_trusted() -> None:
    assert rate_of(0.05, target=60.0) == pytest.approx(MOST_BUSY / 0.05)


def test_a_service_that_misses_the_target_by_itself_has_no_rate() -> None:
    assert rate_of(0.6, target=0.5) is None


def test_a_target_that_is_just_kept_allows_next_to_nothing() -> None:
    rate = highest_rate(np.array([0.1, 0.6]), np.array([99.0, 1.0]), target_seconds=0.5, quantile_ratio=0.99)
    assert rate is not None
    assert rate < 1e-6


@pytest.mark.parametrize("sigma", [0.25, 0.5, 0.75])
def test_the_rate_is_close_to_that_of_a_simulated_queue(sigma: float) -> None:
    def held(rate: float) -> bool:
        rng = np.random.default_rng(1)
        service = rng.lognormal(math.log(0.05) - sigma**2 / 2, sigma, 200_000)
        served = one_at_a_time(np.cumsum(rng.exponential(1 / rate, 200_000)), service)
        return bool((served.durations <= 0.5).mean() >= 0.99)

    truth = min(highest_held_rate(held, 1.0, 19.9, tries=8), MOST_BUSY / 0.05)
    service = np.random.default_rng(2).lognormal(math.log(0.05) - sigma**2 / 2, sigma, 20_000)
    told = highest_rate(service, np.ones_like(service), target_seconds=0.5, quantile_ratio=0.99)
    assert told == pytest.approx(truth, rel=0.1)

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice.waiting import WAITING_RATIO, Slowing, busiest, longest_wait
from infermeter.ledger.slowdown import most_misses
from infermeter.model import ModelEvidence, SlaTarget, Slowdown
from support.simulated_servers import Floats, one_at_a_time
from support.sizing import EVIDENCE, MODEL, tried

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


def needed(load: float, low: float, model: ModelEvidence = MODEL) -> float | None:
    found = Slowing(replace(EVIDENCE, peak_load_ratio=load * low, models=(model,))).by(low)
    return None if found is None else found.needed_ratio


def test_a_slowdown_holds_the_bound_the_wait_and_what_runs_at_a_time() -> None:
    assert needed(0.0, 0.5) == 2
    assert needed(0.5, 0.5) == pytest.approx(2 * (1 + longest_wait(0.5, WAITING_RATIO * 0.01)))
    assert needed(0.5, 0.5, replace(MODEL, has_sla=False)) == pytest.approx(2 * (1 + longest_wait(0.5, WAITING_RATIO)))
    assert needed(0.0005, 0.5) == pytest.approx(2 / (1 - 0.0005))


def test_a_device_that_is_full_has_no_slowdown() -> None:
    assert needed(1.0, 0.5) is None


def test_without_a_window_that_is_known_the_peak_is_what_lasts() -> None:
    assert busiest(replace(EVIDENCE, peak_load_ratio=None)) is None
    assert busiest(EVIDENCE) == (0.05, 0.05)
    assert busiest(replace(EVIDENCE, load_ratio=0.03, busy_ratio=None)) == (0.05, 0.05)


@pytest.mark.parametrize("per_minute", [3, 10, 100, 1000])
def test_of_a_peak_by_chance_alone_little_more_than_the_mean_lasts(per_minute: int) -> None:
    """A day at a constant rate: the busiest minutes are those in which more came at random."""
    counts = np.random.default_rng(3).poisson(per_minute, 1440)
    model = replace(MODEL, inferences=int(counts.sum()))
    evidence = replace(
        EVIDENCE, window_seconds=86_400.0, load_ratio=0.1, busy_ratio=0.08, peak_load_ratio=0.1 * np.quantile(counts, 0.99) / counts.mean()
    )
    loads = busiest(replace(evidence, models=(model,)))
    assert loads is not None
    assert loads.demand_ratio == pytest.approx(0.1, rel=0.25 if per_minute == 3 else 0.1)
    assert loads.busy_ratio == pytest.approx(0.8 * loads.demand_ratio)


@given(st.floats(0.001, 2.0), st.floats(0.001, 2.0), st.integers(1, 10**7))
def test_what_lasts_is_between_the_window_s_load_and_the_peak(peak: float, mean: float, count: int) -> None:
    loads = busiest(replace(EVIDENCE, peak_load_ratio=peak, load_ratio=mean, models=(replace(MODEL, inferences=count),)))
    assert loads is not None
    assert mean <= loads.demand_ratio <= max(peak, mean)


def test_a_quiet_window_does_not_hide_a_busy_day() -> None:
    """300 a minute at the peak and 3 by night: what lasts is nearly all of the peak."""
    night = replace(EVIDENCE, peak_load_ratio=0.5, load_ratio=0.005, busy_ratio=0.004, models=(replace(MODEL, inferences=180),))
    loads = busiest(night)
    assert loads is not None
    assert loads.demand_ratio > 0.43
    assert loads.busy_ratio == pytest.approx(0.8 * loads.demand_ratio)


def test_a_window_that_is_busier_than_the_peak_of_a_long_history_counts() -> None:
    """An hour of a week is less than what its 99th percentile leaves out."""
    assert Slowing(replace(EVIDENCE, peak_load_ratio=0.1, load_ratio=0.6, busy_ratio=0.5)).by(0.5) is None
    told = tried(replace(EVIDENCE, peak_load_ratio=0.1, load_ratio=0.6, busy_ratio=0.5))
    assert (told.verdict, told.blocked_by) == ("no", ("load",))


def test_where_longer_services_leave_nothing_to_waiting_no_slowdown_is_allowed() -> None:
    none_left = replace(MODEL, slowdowns=(Slowdown(0.02, 20.0),), longest_service_ratio=1.0)
    found = Slowing(replace(EVIDENCE, models=(none_left,))).by(0.5)
    assert found is not None
    assert found.allowed_ratio == 0


def test_models_that_wait_for_longer_ones_need_as_much_longer() -> None:
    short = replace(MODEL, slowdowns=(Slowdown(0.0, 20.0),), longest_service_ratio=50.0)
    both = replace(EVIDENCE, models=(short, replace(short, model="n", longest_service_ratio=1.0)))
    alone = Slowing(replace(EVIDENCE, models=(short,))).by(0.5)
    beside = Slowing(both).by(0.5)
    assert alone is not None
    assert beside is not None
    assert beside.needed_ratio > 2 * alone.needed_ratio
    assert Slowing(replace(both, models=(short, MODEL))).by(0.5) is None


SERVICES = {
    "constant": lambda _, count: np.ones(count),
    "two lengths": lambda rng, count: np.where(rng.uniform(size=count) < 0.1, 5.5, 0.5),
    "exponential": lambda rng, count: rng.exponential(1.0, count),
    "lognormal": lambda rng, count: rng.lognormal(-0.5, 1.0, count),
    "long tail": lambda rng, count: rng.lognormal(-2.0, 2.0, count),
}


def strictest(services: str, busy: float, low: float, *, seed: int) -> tuple[float, float]:
    """The least target that a slower device is said to meet at p99: over the truth there, and how many are late there."""
    rng, seen = np.random.default_rng(seed), 14_400
    lengths = SERVICES[services](rng, seen)
    here = one_at_a_time(np.cumsum(rng.exponential(1 / busy, seen)), lengths)
    seconds = float(here.arrived[-1])
    minutes = np.histogram(here.arrived, bins=144)[0]
    capacity = 0.8
    longest = np.sort(lengths)[::-1]
    waited = np.sort(here.durations)[::-1]
    most = most_misses(SlaTarget(0.99, 1.0), observed=seen, confidence=0.95) or 0
    evidence = replace(
        EVIDENCE,
        peak_load_ratio=float(np.quantile(minutes, 0.99)) / (seconds / 144) / capacity,
        load_ratio=seen / seconds / capacity,
        busy_ratio=float(lengths.sum()) / seconds,
        window_seconds=8640.0,
    )

    def fits(target: float) -> bool:
        model = replace(
            MODEL,
            inferences=seen,
            slowdown_at_sla_ratio=target / waited[most],
            slowdowns=tuple(Slowdown(late / seen, target / longest[late]) for late in (0, most // 10, most // 4, most // 2, most)),
            longest_service_ratio=float(np.quantile(here.durations, 0.99) / lengths.mean()),
        )
        found = Slowing(replace(evidence, models=(model,))).by(low)
        return found is not None and found.allowed_ratio is not None and found.needed_ratio <= found.allowed_ratio

    there = one_at_a_time(np.cumsum(rng.exponential(1 / busy, 150_000)), SERVICES[services](rng, 150_000) / low).durations
    true = float(np.quantile(there, 0.99))
    below, above = true / 100, true * 100
    for _ in range(40):
        middle = math.sqrt(below * above)
        below, above = (below, middle) if fits(middle) else (middle, above)
    return above / true, float((there > above).mean())


@pytest.mark.parametrize("services", SERVICES)
@pytest.mark.parametrize(("busy", "low"), [(0.0017, 0.165), (0.02, 0.165), (0.05, 0.165), (0.2, 0.5)])
def test_whatever_fits_meets_its_sla_on_a_simulated_slower_device(services: str, busy: float, low: float) -> None:
    for seed in (1, 2):
        over, late = strictest(services, busy, low, seed=seed)
        assert late <= 0.0115
        if services == "constant" and busy <= 0.02:
            assert over <= 1.15


@pytest.mark.parametrize("load", [0.2, 0.7, 0.99])
def test_the_decay_is_that_of_constant_services(load: float) -> None:
    """Beyond a first service the wait is told by the rate r at which load (e^r - 1) = r, wherever that is the shorter one."""
    sure = 1e-12
    rate = math.log(1 / sure) / longest_wait(load, sure)
    assert load * math.expm1(rate) == pytest.approx(rate, rel=1e-6)

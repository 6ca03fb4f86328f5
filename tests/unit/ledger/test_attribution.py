import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.attribution import NO_GPU, Lane, Split, shares, tick_use
from infermeter.ledger.running import Running

IDLE = Lane(1.0, 100.0, 0.0, 1.0, 1.0, 0.0, 60.0)


def use(busy: float, *lanes: Lane, sampled: bool = False) -> tuple[tuple[float, ...], tuple[float, ...]]:
    split = tick_use(busy, lanes, sampled=sampled)
    return tuple(map(pytest.approx, split.time)), tuple(map(pytest.approx, split.joules))


def test_nothing_computing_and_no_utilisation_is_idle() -> None:
    assert use(0.0, IDLE) == ((0, 1, 0), (0, 100, 0))


@pytest.mark.parametrize("utilisation", [0.3, None])
def test_a_gpu_that_is_busy_for_nobody_or_does_not_say_is_unattributed(utilisation: float | None) -> None:
    assert use(0.0, IDLE._replace(utilisation_ratio=utilisation)) == ((0, 0, 1), (0, 0, 100))


def test_while_something_computes_the_baseline_of_the_rest_is_idle() -> None:
    assert use(0.25, IDLE._replace(utilisation_ratio=1.0)) == ((0.25, 0.75, 0), (55, 45, 0))
    assert use(1.0, IDLE._replace(utilisation_ratio=1.0)) == ((1, 0, 0), (100, 0, 0))


def test_without_a_baseline_no_energy_of_a_touched_tick_is_idle() -> None:
    assert use(0.1, IDLE._replace(baseline_watts=None)) == ((0.1, 0.9, 0), (100, 0, 0))


def test_idle_energy_is_never_more_than_there_was() -> None:
    assert use(0.5, IDLE._replace(joules=10.0)) == ((0.5, 0.5, 0), (0, 10, 0))


def test_what_no_sample_covers_is_not_idle() -> None:
    assert use(0.0, IDLE._replace(seen_ratio=0.25)) == ((0, 0.25, 0.75), (0, 100, 0))
    assert use(0.5, IDLE._replace(seen_ratio=0.5)) == ((0.5, 0.25, 0.25), (70, 30, 0))


def test_energy_across_a_gap_is_unattributed() -> None:
    assert use(0.0, IDLE._replace(stray_joules=7.0))[1] == (0, 100, 7)
    assert use(0.5, IDLE._replace(stray_joules=7.0))[1] == (70, 30, 7)


def test_without_a_gpu_the_spans_of_a_server_that_tells_all_speak() -> None:
    assert use(0.25) == ((0.25, 0.75, 0), (0, 0, 0))
    assert use(0.0) == ((0, 1, 0), (0, 0, 0))
    assert NO_GPU.weight == 1.0


def test_a_sample_of_spans_never_proves_idleness() -> None:
    assert use(0.25, sampled=True) == ((0.25, 0, 0.75), (0, 0, 0))
    assert use(0.0, sampled=True) == ((0, 0, 1), (0, 0, 0))
    assert use(0.25, IDLE._replace(utilisation_ratio=None), sampled=True) == ((0.25, 0, 0.75), (25, 0, 75))


def test_of_a_sample_of_spans_the_gpus_utilisation_says_what_was_busy() -> None:
    assert use(0.0, IDLE, sampled=True) == ((0, 1, 0), (0, 100, 0))
    assert use(0.01, IDLE._replace(utilisation_ratio=0.9), sampled=True) == ((0.9, 0.1, 0), (94, 6, 0))


def test_a_gpu_that_stood_still_while_another_worked_was_not_computing() -> None:
    first, second = IDLE._replace(weight=0.75, utilisation_ratio=0.5), IDLE._replace(weight=0.25)
    split = tick_use(0.8, (first, second), sampled=False)
    assert split.time == pytest.approx((0.6, 0.4, 0.0))
    assert split.lanes == (pytest.approx((0.8, 0.2, 0.0)), pytest.approx((0.0, 1.0, 0.0)))
    assert split.joules == pytest.approx((88.0, 112.0, 0.0))


def test_two_gpus_that_both_say_0_follow_the_spans() -> None:
    half = IDLE._replace(weight=0.5)
    assert tick_use(0.8, (half, half), sampled=False).time == pytest.approx((0.8, 0.2, 0.0))


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=20).filter(any),
    st.floats(0, 1e6, allow_subnormal=False),
)
def test_shares_are_never_negative_and_leave_no_remainder(weights: list[int], amount: float) -> None:
    portions = shares(np.array([[amount, 1.0], [0.0, 0.0]]), np.array([weights, [0] * len(weights)]))
    assert (portions >= 0).all()
    assert portions[0].sum(axis=1) == pytest.approx([amount, 1.0], rel=1e-12)
    assert portions[0, 1] == pytest.approx(np.array(weights) / sum(weights), abs=1e-12)
    assert not portions[1].any()


def test_a_split_knows_its_total_and_its_ratios() -> None:
    assert Split(1, 2, 5).total == 8
    assert Split(1, 2, 5).ratios == (0.125, 0.25, 0.625)


BLIND = IDLE._replace(utilisation_ratio=None)
RUNS, RESTS = Running(1.0, 1.0, 2.0), Running(1.0, 0.0, 0.0)


def by_running(busy: float, *lanes: Lane, running: Running, sampled: bool = True) -> tuple[tuple[float, ...], tuple[float, ...]]:
    split = tick_use(busy, lanes, sampled=sampled, pooled=sampled, running=running)
    assert split.time.total == pytest.approx(1)
    assert split.joules.total == pytest.approx(sum(lane.joules + lane.stray_joules for lane in lanes))
    return tuple(map(pytest.approx, split.time)), tuple(map(pytest.approx, split.joules))


def test_where_the_gpu_cannot_tell_the_server_says_what_was_busy() -> None:
    assert by_running(0.01, BLIND, running=RUNS) == ((1, 0, 0), (100, 0, 0))
    assert by_running(0.01, BLIND, running=RESTS) == ((0.01, 0.99, 0), (100 - 59.4, 59.4, 0))
    assert by_running(0.0, BLIND, running=RESTS) == ((0, 1, 0), (0, 100, 0))
    assert by_running(0.0, running=RESTS) == ((0, 1, 0), (0, 0, 0))
    assert by_running(0.0, running=RUNS) == ((1, 0, 0), (0, 0, 0))


def test_where_the_gpu_tells_its_word_goes() -> None:
    assert by_running(0.0, IDLE, running=RUNS) == ((0, 1, 0), (0, 100, 0))
    assert by_running(0.0, IDLE._replace(utilisation_ratio=0.5), running=RESTS) == ((0.5, 0.5, 0), (70, 30, 0))


def test_what_neither_the_server_nor_the_gpu_tells_is_not_idle() -> None:
    assert by_running(0.0, BLIND, running=Running(0.25, 0.0, 0.0)) == ((0, 0.25, 0.75), (0, 25, 75))
    assert by_running(0.0, BLIND._replace(seen_ratio=0.0, joules=0.0, stray_joules=9.0), running=RESTS) == ((0, 0, 1), (0, 0, 9))
    assert by_running(0.5, BLIND._replace(baseline_watts=None), running=Running(0.5, 0.25, 0.0)) == ((0.5, 0.25, 0.25), (75, 0, 25))


def test_a_server_that_says_it_rests_is_idle_where_its_gpu_does_not_say() -> None:
    assert by_running(0.0, BLIND, running=RESTS, sampled=False) == ((0, 1, 0), (0, 100, 0))
    assert by_running(0.5, BLIND, running=RUNS, sampled=False) == ((0.5, 0.5, 0), (70, 30, 0))


def test_a_server_that_says_it_works_is_not_idle_by_its_spans_alone() -> None:
    half = Running(0.5, 0.5, 1.0)
    assert by_running(0.0, running=half, sampled=False) == ((0.5, 0.5, 0), (0, 0, 0))
    assert tick_use(0.0, (), sampled=False, running=half).disowned(1.0).time == (0, 0.5, 0.5)


def test_in_a_pool_a_working_gpu_is_active_without_a_span() -> None:
    worked = IDLE._replace(utilisation_ratio=0.9)
    split = tick_use(0.0, (worked._replace(weight=0.5), IDLE._replace(weight=0.5)), sampled=True, pooled=True)
    assert split.time == pytest.approx((0.45, 0.55, 0))
    assert tick_use(0.0, (worked,), sampled=True, pooled=True).joules == pytest.approx((94, 6, 0))


def test_what_is_disowned_was_active() -> None:
    split = tick_use(0.5, (IDLE._replace(utilisation_ratio=1.0),), sampled=False).disowned(0.25)
    assert split.time == pytest.approx((0.375, 0.5, 0.125))
    assert split.joules == pytest.approx((52.5, 30, 17.5))
    assert split.lanes == (pytest.approx((0.5, 0.5, 0)),)

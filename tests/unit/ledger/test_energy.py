import math

import pytest

from infermeter.ledger.energy import EnergyMeter, Reading, Step, gap_limit_ns
from infermeter.model import GpuSample

S = 1_000_000_000


def sample(second: float, watts: float | None = None, joules: float | None = None, **keys: float) -> GpuSample:
    return GpuSample("g", round(second * S), power_watts=watts, energy_joules=joules, **keys)


def meter() -> EnergyMeter:
    return EnergyMeter(gap_limit_ns(1.0))


def test_a_gap_is_3_seconds_or_3_intervals() -> None:
    assert gap_limit_ns(0.5) == 3 * S
    assert gap_limit_ns(5.0) == 15 * S


def test_the_counter_goes_before_the_power() -> None:
    book = meter()
    book.read(sample(0, 100, 1000))
    step = book.read(sample(1, 100, 1150)).step
    assert step is not None
    assert step.joules == pytest.approx(150)


def test_without_a_counter_the_power_is_integrated_evenly() -> None:
    book = meter()
    book.read(sample(0.5, 100))
    step = book.read(sample(2.5, 300)).step
    assert step == Step(S // 2, 5 * S // 2, 100, 300, watched=True)
    assert list(step.by_tick(0)) == [(0, S // 2, pytest.approx(62.5)), (1, S, pytest.approx(200)), (2, S // 2, pytest.approx(137.5))]


def test_a_counter_that_moves_every_third_reading_is_spread_over_all_three() -> None:
    book = meter()
    readings = [book.read(sample(i, None, joules)) for i, joules in enumerate((0, 0, 0, 300, 300, 300, 600))]
    steps = [reading.step for reading in readings if reading.step is not None]
    assert [(step.start_ns // S, step.end_ns // S, step.joules) for step in steps] == [
        (0, 3, pytest.approx(300)),
        (3, 6, pytest.approx(300)),
    ]
    assert all(reading.watched_from_ns is not None for reading in readings[1:])


def test_a_counter_that_stands_still_for_a_minute_is_believed() -> None:
    book = meter()
    steps = [step for i in range(62) if (step := book.read(sample(i, None, 5.0)).step) is not None]
    assert steps == [Step(0, 60 * S, 0, 0, watched=True)]


def test_over_a_gap_the_counter_still_counts_but_nobody_watched() -> None:
    book = meter()
    book.read(sample(0, 100, 0))
    reading = book.read(sample(10, 100, 1000))
    assert reading.watched_from_ns is None
    assert reading.rejected is None
    assert reading.step == Step(0, 10 * S, 100, 100, watched=False)


def test_over_a_gap_the_power_says_nothing() -> None:
    book = meter()
    book.read(sample(0, 100))
    reading = book.read(sample(3.5, 100))
    assert (reading.step, reading.rejected) == (None, "gap")


def test_a_counter_that_fell_was_reset_and_the_power_speaks() -> None:
    book = meter()
    book.read(sample(0, 100, 1000))
    reading = book.read(sample(1, 100, 10))
    assert reading.rejected == "reset"
    assert reading.step is not None
    assert reading.step.joules == pytest.approx(100)
    after = book.read(sample(2, 100, 110)).step
    assert after is not None
    assert after.joules == pytest.approx(100)


def test_a_counter_that_leaps_is_an_outlier_and_loses_no_later_energy() -> None:
    book = meter()
    book.read(sample(0, None, 0))
    reading = book.read(sample(1, None, 1e9))
    assert (reading.rejected, reading.step, reading.watched_from_ns) == ("outlier", None, 0)
    after = book.read(sample(2, None, 1e9 + 50)).step
    assert after is not None
    assert after.joules == pytest.approx(50)


@pytest.mark.parametrize(
    "absurd",
    [
        sample(1, -1),
        sample(1, 10_001),
        sample(1, math.nan),
        sample(1, None, -5),
        sample(1, None, math.inf),
        sample(1, None, math.nan),
        sample(1, 100, utilisation_ratio=1.5),
        sample(1, 100, memory_used_bytes=-1),
        sample(0, 100),
    ],
)
def test_absurd_values_are_rejected_and_never_clipped(absurd: GpuSample) -> None:
    book = meter()
    book.read(sample(0, 100))
    assert book.read(absurd).rejected == "outlier"
    step = book.read(sample(2, 100)).step
    assert step is not None
    assert step.joules == pytest.approx(200)


def test_time_that_goes_back_begins_anew() -> None:
    book = meter()
    book.read(sample(100, 100, 1000))
    assert book.read(sample(50, 100, 1100)).rejected == "reset"
    assert book.read(sample(51, 100, 1200)).step == Step(50 * S, 51 * S, 100, 100, watched=True)


def test_a_sample_that_tells_neither_power_nor_energy_still_watches() -> None:
    book = meter()
    book.read(sample(0))
    assert book.read(sample(1)).watched_from_ns == 0
    assert book.read(sample(1.5, 5)).step is None


def test_energy_goes_on_over_a_sample_that_tells_none() -> None:
    by_power, by_counter = meter(), meter()
    by_power.read(sample(0, 100))
    by_counter.read(sample(0, None, 1000))
    for book in (by_power, by_counter):
        assert book.read(sample(1)) == Reading(watched_from_ns=0)
    assert by_power.read(sample(2, 300)) == Reading(S, Step(0, 2 * S, 100, 300, watched=True))
    assert by_counter.read(sample(2, None, 1400)) == Reading(S, Step(0, 2 * S, 200, 200, watched=True))


def test_a_reading_without_the_counter_costs_nothing_and_books_nothing_twice() -> None:
    """A counter that moves once a second, read ten times: half of what it tells next would be booked already."""
    book = meter()
    told = [sample(i / 10, 100, None if i % 10 == 5 else 100.0 * (i // 10)) for i in range(101)]
    steps = [step for one in told if (step := book.read(one).step) is not None]
    assert sum(step.joules for step in steps) == pytest.approx(1000)
    assert [step.end_ns // S for step in steps] == list(range(1, 11))


def test_a_counter_that_falls_silent_is_waited_for_as_long_as_a_gap_and_then_power_speaks_for_all_of_it() -> None:
    book = meter()
    readings = [book.read(sample(i, 100, 100.0 * i if i < 3 else None)) for i in range(9)]
    steps = [reading.step for reading in readings if reading.step is not None]
    assert [(step.start_ns // S, step.end_ns // S) for step in steps] == [(0, 1), (1, 2), (2, 6), (6, 7), (7, 8)]
    assert sum(step.joules for step in steps) == pytest.approx(800)


def test_samples_that_tell_no_energy_for_too_long_are_a_gap_in_it() -> None:
    by_power, by_counter = meter(), meter()
    by_power.read(sample(0, 100))
    by_counter.read(sample(0, None, 1000))
    for i in range(1, 4):
        by_power.read(sample(i))
        by_counter.read(sample(i))
    assert by_power.read(sample(4, 100)) == Reading(3 * S, None, "gap")
    assert by_counter.read(sample(4, None, 1400)) == Reading(3 * S, Step(0, 4 * S, 100, 100, watched=False))


def test_energy_before_the_first_tick_that_is_kept_comes_in_one_piece() -> None:
    pieces = list(Step(0, 4 * S, 100, 100, watched=True).by_tick(3))
    assert pieces == [(3, 0, pytest.approx(300)), (3, S, pytest.approx(100))]
    assert list(Step(0, 4 * S, 100, 100, watched=True).by_tick(9)) == [(9, 0, pytest.approx(400))]


def judged(limit: float | None = None) -> EnergyMeter:
    return EnergyMeter(gap_limit_ns(1.0), limit_watts=limit, judged=True)


def test_more_than_the_power_limit_allows_is_an_outlier_and_the_power_speaks() -> None:
    book = judged(72.0)
    book.read(sample(0, 60, 0))
    reading = book.read(sample(1, 70, 200))
    assert reading.rejected == "outlier"
    assert reading.step == Step(0, S, 60, 70, watched=True)


def test_energy_that_a_counter_tells_a_little_early_is_no_outlier() -> None:
    book = judged(72.0)
    book.read(sample(0, 70, 0))
    reading = book.read(sample(0.02, 70, 9.0))
    assert (reading.rejected, reading.step.joules if reading.step else None) == (None, pytest.approx(9.0))


def test_a_power_above_the_limit_that_was_told_widens_what_is_possible() -> None:
    book = judged(72.0)
    book.read(sample(0, 300, 0))
    assert book.read(sample(1, 300, 310)).rejected is None


def test_a_limit_that_a_sample_tells_is_the_limit_from_there_on() -> None:
    book = judged(72.0)
    book.read(sample(0, 60, 0, power_limit_watts=300.0))
    assert book.read(sample(1, 60, 310)).rejected is None
    book.read(sample(2, 60, 370, power_limit_watts=-1.0))
    assert book.read(sample(3, 60, 680)).rejected is None


def test_after_a_minute_of_a_counter_that_hangs_the_power_speaks_until_it_moves_and_nothing_is_booked_twice() -> None:
    book = judged()
    steps = [step for i in range(90) if (step := book.read(sample(i, 100, 5.0)).step) is not None]
    assert steps[0] == Step(0, 60 * S, 100, 100, watched=True)
    assert [step.joules for step in steps[1:]] == [pytest.approx(100)] * 29
    moved = book.read(sample(90, 100, 9005.0))
    assert (moved.step, moved.rejected) == (Step(89 * S, 90 * S, 100, 100, watched=True), None)
    after = book.read(sample(91, 100, 9155.0)).step
    assert after is not None
    assert after.joules == pytest.approx(150)


def test_a_counter_that_hangs_and_then_falls_was_reset() -> None:
    book = judged()
    for i in range(62):
        book.read(sample(i, 100, 5.0))
    assert book.read(sample(62, 100, 0.0)).rejected == "reset"


def test_a_reset_after_readings_without_a_change_is_bridged_by_all_the_power_since_the_last_change() -> None:
    book = judged()
    for i in range(4):
        book.read(sample(i, 100, 1000.0))
    reading = book.read(sample(4, 100, 3.0))
    assert reading.rejected == "reset"
    assert reading.step == Step(0, 4 * S, 100, 100, watched=True)


def test_where_power_is_missing_in_a_part_only_the_last_trapezoid_is_known() -> None:
    book = judged()
    for reading in (sample(0, None, 1000), sample(1, 100, 1000), sample(2, 100, 1000)):
        book.read(reading)
    assert book.read(sample(3, 100, 1)).step == Step(2 * S, 3 * S, 100, 100, watched=True)


def test_a_counter_that_is_not_believed_says_nothing_over_a_gap_and_its_reset_is_still_told() -> None:
    book = judged()
    for i in range(200):
        book.read(sample(i, 300, 0.3 * i))
    assert not book.believed
    gap = book.read(sample(210, 300, 70))
    assert (gap.step, gap.rejected) == (None, "gap")
    assert book.read(sample(211, 300, 1)).rejected == "reset"


def test_a_coarse_counter_that_was_doubted_can_win_back_its_trust() -> None:
    book = judged(400.0)
    for i in range(200):
        book.read(sample(i, 300, 0.3 * i))
    assert not book.believed
    for i in range(200, 1000):
        book.read(sample(i, 300, 60.0 + 300 * ((i - 200) // 30) * 30))
    assert book.believed


@pytest.mark.parametrize("burst", [10, 120])
def test_bursts_of_history_are_integrated_as_if_they_had_come_one_by_one(burst: int) -> None:
    book, joules = meter(), 0.0
    for i in range(burst * 5):
        step = book.read(sample(i / burst, 100.0 + (i % 2) * 200)).step
        joules += 0.0 if step is None else step.joules
    assert joules == pytest.approx(200 * (5 - 1 / burst))


def test_a_reading_that_comes_after_later_ones_is_left_out_and_counts_nothing_twice() -> None:
    book = meter()
    for second in (0.0, 0.5, 1.0):
        book.read(sample(second, 100))
    late = book.read(sample(0.9, 500))
    assert (late.step, late.rejected, late.accepted) == (None, "read", False)
    assert book.read(sample(2, 100)) == Reading(S, Step(S, 2 * S, 100, 100, watched=True))


def test_history_that_begins_after_a_gap_says_nothing_of_the_gap() -> None:
    book = meter()
    book.read(sample(0, 100))
    assert book.read(sample(10, 100)).rejected == "gap"
    step = book.read(sample(10.1, 200)).step
    assert step is not None
    assert step.joules == pytest.approx(15)

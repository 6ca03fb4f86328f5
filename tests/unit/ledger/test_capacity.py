from __future__ import annotations

import json
import math

import numpy as np
import pytest

from infermeter.ledger.capacity import Capacity, ObservedCapacity, Stretch, pooled_capacity, stretch_slots
from infermeter.model import SlaTarget
from support.simulated_servers import Floats, Served, arrivals, highest_held_rate, one_at_a_time

SLA = SlaTarget(0.99, duration_seconds=0.5)
DAY = 86_400.0
SLOTS = 30


def stretch(number: int, per_second: float = 10.0, *, misses: int = 0, work: float = 100.0) -> Stretch:
    return Stretch(number * SLOTS, 300.0, per_second, round(per_second * 300), misses, work)


def of(*stretches: Stretch, sla: SlaTarget = SLA) -> Capacity | None:
    return pooled_capacity(stretches, sla, confidence=0.95)


def edge(per_second: float, served: float, *, reached: bool = False) -> object:
    """The last eighth of a tenth that isn't above a load, less half a standard error of what one stretch served."""
    below = 1.1 ** (math.floor(8 * math.log(per_second, 1.1)) / 8)
    return pytest.approx((math.sqrt(below * per_second) if reached else below) * (1 - 0.5 / math.sqrt(served)))


def following(horizon_seconds: float = 7 * DAY) -> ObservedCapacity:
    return ObservedCapacity(SLA, confidence=0.95, horizon_seconds=horizon_seconds)


def test_a_load_that_held_in_five_stretches_is_a_capacity() -> None:
    assert of(*(stretch(i) for i in range(4))) is None
    assert of(*(stretch(i) for i in range(5))) == Capacity(edge(10.0, 3000), stretches=5, inferences=15_000)


def test_a_higher_load_that_is_proven_to_miss_is_the_end() -> None:
    low = [stretch(i, 10.0) for i in range(5)]
    high = [stretch(i, 14.0, misses=420 + i) for i in range(5)]
    higher = [stretch(i, 20.0) for i in range(5)]
    found = of(*low, *high, *higher)
    assert found is not None
    assert (found.per_second, found.reached) == (edge(10.0, 3000, reached=True), True)
    assert found.missed_per_second == pytest.approx(14.0)


def test_a_load_without_enough_evidence_says_nothing() -> None:
    low = [stretch(i, 10.0) for i in range(5)]
    few = [stretch(i, 14.0, misses=420) for i in range(4)]
    scattered = [stretch(i, 17.0, misses=misses) for i, misses in enumerate((0, 0, 0, 0, 400))]
    found = of(*low, *few, *scattered)
    assert found is not None
    assert (found.per_second, found.reached) == (edge(10.0, 3000), False)


def test_too_few_inferences_prove_nothing_even_without_a_miss() -> None:
    assert of(*(Stretch(i * SLOTS, 300.0, 0.1, 30, 0, 1.0) for i in range(9))) is None
    assert of(*(Stretch(i * SLOTS, 300.0, 0.1, 30, 0, 1.0) for i in range(10))) is not None


def test_pools_overlap_so_that_little_is_lost_below_a_load_that_fails() -> None:
    low = [stretch(i, 9.9 + i / 100) for i in range(5)]
    high = [stretch(i, 10.8, misses=200 + i) for i in range(5)]
    found = of(*low, *high)
    assert found is not None
    assert 9.5 < found.per_second < 9.8
    assert found.reached


def test_a_quantile_of_one_can_never_be_shown_to_hold() -> None:
    assert of(*(stretch(i) for i in range(50)), sla=SlaTarget(1.0, duration_seconds=0.5)) is None


def test_a_stretch_without_a_good_inference_counts_for_no_load() -> None:
    assert of(*(stretch(i) for i in range(5)), Stretch(9, 300.0, 0.0, 10, 10, 1.0)) == of(*(stretch(i) for i in range(5)))


def test_a_stretch_is_twenty_times_the_duration_target_if_that_is_more() -> None:
    assert stretch_slots(SLA) == 30
    assert stretch_slots(SlaTarget(0.99, duration_seconds=60.0)) == 120
    assert stretch_slots(SlaTarget(0.99, ttft_seconds=60.0)) == 30


def test_the_first_ten_minutes_of_an_epoch_do_not_count() -> None:
    seen = following()
    for i in range(1, 8):
        seen.add(stretch(i))
    assert seen.capacity is not None
    assert seen.capacity.stretches == 5


def test_an_hour_of_shorter_answers_sets_no_capacity_for_the_longer_ones() -> None:
    seen = following()
    for i in range(1, 31):
        seen.add(stretch(i, 10.0))
    before = seen.capacity
    for i in range(31, 51):
        seen.add(stretch(i, 32.0, work=10.0))
    assert seen.capacity is not None
    assert before is not None
    assert seen.capacity.per_second == edge(32.0, 9600)
    for i in range(51, 70):
        seen.add(stretch(i, 10.0))
    assert seen.capacity is not None
    assert seen.capacity.per_second == before.per_second
    assert seen.capacity.stretches > before.stretches


def test_a_fifth_kind_of_work_ends_the_first() -> None:
    seen = following()
    for kind in range(5):
        for i in range(20):
            seen.add(stretch(kind * 20 + i + 1, 10.0, work=10.0**kind))
    assert len(seen.remember()) == 4
    assert min(epoch["work"] for epoch in seen.remember()) == 10.0


def test_what_is_older_than_the_horizon_is_forgotten() -> None:
    seen = following(horizon_seconds=3600.0)
    for i in range(1, 101):
        seen.add(stretch(i))
    assert seen.capacity is not None
    assert seen.capacity.stretches == 12


def test_a_server_that_changed_starts_anew() -> None:
    seen = following()
    for i in range(1, 20):
        seen.add(stretch(i))
    seen.restart()
    assert seen.capacity is None
    assert seen.steps == ()


def test_what_is_remembered_is_taken_up_again() -> None:
    seen, again = following(), following()
    for i in range(1, 20):
        seen.add(stretch(i))
    again.recall(json.loads(json.dumps(seen.remember())))
    assert again.capacity == seen.capacity
    assert again.remember() == seen.remember()


@pytest.mark.parametrize("broken", [{"misses": 9000}, {"work": -1.0}, {"work": math.inf}, {"work": "x"}])
def test_what_was_never_remembered_is_refused(broken: dict[str, object]) -> None:
    told = {"stop_slot": 30, "seconds": 300.0, "per_second": 1.0, "observed": 300, "misses": 0, "work": 1.0} | broken
    with pytest.raises(ValueError):  # noqa: PT011 - the text is of no interest
        following().recall([{"work": 1.0, "since_slot": 0, "stretches": [list(told.values())]}])


# --- against a server whose truth is known -----------------------------------------------------------------------------------------
def service(rng: np.random.Generator, n: int) -> Floats:
    return rng.lognormal(math.log(0.05) - 0.125, 0.5, n)


def truth() -> float:
    """The highest constant rate at which 99 % are done within half a second."""

    def held(rate: float) -> bool:
        rng = np.random.default_rng(1)
        served = one_at_a_time(np.cumsum(rng.exponential(1 / rate, 300_000)), service(rng, 300_000))
        return bool((served.durations <= 0.5).mean() >= 0.99)

    return highest_held_rate(held, 5.0, 19.9, tries=9)


def stretches_of(served: Served) -> list[Stretch]:
    number = (served.ended // 300).astype(int)
    ended, misses = np.bincount(number), np.bincount(number, served.durations > 0.5).astype(int)
    return [Stretch((i + 1) * SLOTS, 300.0, n / 300, n, misses[i], 0.05) for i, n in enumerate(ended.tolist()) if n]


@pytest.mark.parametrize(("middle", "swing"), [(0.525, 0.425), (0.65, 0.55)], ids=["diurnal", "daily overload"])
@pytest.mark.parametrize("seed", [1, 2])
def test_observed_capacity_is_within_a_tenth_below_the_truth(middle: float, swing: float, seed: int) -> None:
    capacity, rng = truth(), np.random.default_rng(seed)
    arrived = arrivals(
        lambda time: capacity * (middle + swing * math.sin(2 * math.pi * time / DAY)),
        most_per_second=capacity * 1.2,
        seconds=3 * DAY,
        rng=rng,
    )
    seen = following()
    for one in stretches_of(one_at_a_time(arrived, service(rng, len(arrived)))):
        seen.add(one)
    assert seen.capacity is not None
    assert 0.9 * capacity <= seen.capacity.per_second <= capacity
    assert seen.capacity.reached is (middle + swing > 1)

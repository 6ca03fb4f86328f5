from __future__ import annotations

import math

import numpy as np
import pytest

from infermeter.ledger.sketch import BUCKETS, bucket_of
from infermeter.ledger.steptime import EXTRAPOLATION, ROWS, Line, Step, StepBins, fitted, modelled_capacity, step_time, targets_of
from infermeter.model import Ints, SlaTarget, StepTime
from support.simulated_servers import Floats, Served, arrivals, continuous_batching, highest_held_rate

TPOT = SlaTarget(0.99, tpot_seconds=0.04)
HOUR_SLOTS = 360


def step(batch: float, *, tpot: float | None = None, inferences: int = 1000) -> Step:
    """A server that needs 2 s + 0.1 s x batch, and 20 ms + 1 ms x batch a token."""
    return Step(batch, 2.0 + 0.1 * batch, inferences, {"tpot": 0.02 + 0.001 * batch if tpot is None else tpot})


def test_a_line_that_is_known_is_found_and_the_batch_at_which_it_meets_the_target() -> None:
    capacity = modelled_capacity([step(8), step(10), step(12)], TPOT)
    assert capacity == pytest.approx(20 / 4.0)


def test_the_line_of_compute_time_is_told_with_the_batches_behind_it() -> None:
    found = step_time([step(8), step(10, inferences=3000), step(12)])
    assert found == StepTime(pytest.approx(2.0), pytest.approx(0.1), pytest.approx(10.0), 12.0)
    assert step_time([step(8), step(12)]) is None
    assert step_time([step(8), step(8.5), step(9)]) is None


def test_no_further_than_twice_the_largest_batch_is_told() -> None:
    capacity = modelled_capacity([step(2), step(3), step(4)], TPOT)
    assert capacity == pytest.approx(EXTRAPOLATION * 4 / 2.8)


def test_the_limit_of_the_server_is_kept_clear_of() -> None:
    assert modelled_capacity([step(8), step(10), step(12)], TPOT, max_batch=16) == pytest.approx(14.4 / 3.44)
    assert modelled_capacity([step(8), step(10), step(12)], TPOT, max_batch=1) == pytest.approx(1 / 2.1)


@pytest.mark.parametrize(
    "steps",
    [
        [step(8), step(12)],
        [step(8.0), step(8.5), step(9.0)],
        [Step(8, 2.8, 1000), Step(10, 3.0, 1000), step(12), step(14)],
        [step(8, tpot=0.05), step(10, tpot=0.05), step(12, tpot=0.05)],
        [step(8, tpot=0.05), step(10, tpot=0.051), step(12, tpot=0.052)],
    ],
    ids=["too few", "too much alike", "target not measured", "level, above the target", "above the target at any batch"],
)
def test_what_cannot_be_told_is_absent(steps: list[Step]) -> None:
    assert modelled_capacity(steps, TPOT) is None


def test_a_line_never_falls() -> None:
    line = fitted(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0]), np.ones(3))
    assert line == Line(2.0, 0.0)
    assert line.batch_at(2.0) == np.inf
    assert fitted(np.array([2.0]), np.array([3.0]), np.ones(1)) == Line(3.0, 0.0)


def test_the_targets_are_those_that_are_set() -> None:
    assert targets_of(SlaTarget(0.9, ttft_seconds=1.0)) == {"ttft": 1.0}


def counted(*durations_seconds: float) -> Ints:
    counts = np.zeros((ROWS, BUCKETS), np.int64)
    np.add.at(counts[0], bucket_of(np.array([round(seconds * 1e9) for seconds in durations_seconds])), 1)
    counts[-1] = counts[0]
    return counts


def test_bins_merge_what_was_seen_at_about_one_batch() -> None:
    bins = StepBins(HOUR_SLOTS)
    bins.add(30, batch=4.0, compute_seconds=300.0, latencies=counted(*[1.0] * 150))
    bins.add(60, batch=4.2, compute_seconds=450.0, latencies=counted(*[2.0] * 150))
    bins.add(90, batch=9.0, compute_seconds=450.0, latencies=counted(*[2.0] * 10))
    (found,) = bins.steps(0.99)
    assert (found.batch, found.compute_seconds, found.inferences) == (pytest.approx(4.1), 2.5, 300)
    assert found.latency_seconds == {"duration": pytest.approx(2.0, rel=0.01)}
    assert bins.services.sum() == 310
    assert StepBins(HOUR_SLOTS).services.sum() == 0


def test_bins_forget_after_one_to_two_horizons() -> None:
    bins = StepBins(HOUR_SLOTS)
    for hour in range(3):
        for part in range(6):
            bins.add(hour * HOUR_SLOTS + part * 60, batch=4.0 if hour else 2.0, compute_seconds=1.0, latencies=counted(*[1.0] * 100))
    assert [round(found.batch) for found in bins.steps(0.99)] == [4]


# --- against a server whose truth is known -----------------------------------------------------------------------------------------
def tokens(rng: np.random.Generator, n: int) -> Floats:
    return np.maximum(1.0, rng.geometric(1 / 150, n).astype(float))


def tpot_of(served: Served) -> Floats:
    return np.asarray(served.compute / served.steps)


def bins_of(served: Served, *, seconds: float = 300.0) -> StepBins:
    """What the product sees: in each five minutes the mean batch while any inference computed, and the inferences that ended."""
    bins = StepBins(10**6)
    for number in range(int(served.ended.max() // seconds)):
        low, high = number * seconds, (number + 1) * seconds
        began, ended = np.maximum(served.began, low), np.minimum(served.ended, high)
        here = ended > began
        order = np.argsort(began[here])
        reach = np.maximum.accumulate(ended[here][order])
        before = np.concatenate(([low], reach[:-1]))
        busy = float((reach - np.maximum(began[here][order], before)).clip(0).sum())
        done = (served.ended >= low) & (served.ended < high)
        if not done.any():
            continue
        counts = np.zeros((ROWS, BUCKETS), np.int64)
        np.add.at(counts[0], bucket_of((served.durations[done] * 1e9).astype(np.int64)), 1)
        np.add.at(counts[2], bucket_of((tpot_of(served)[done] * 1e9).astype(np.int64)), 1)
        together = float((ended - began)[here].sum()) / busy
        bins.add((number + 1) * 30, batch=together, compute_seconds=float(served.compute[done].sum()), latencies=counts)
    return bins


@pytest.mark.parametrize(
    ("step_seconds", "per_sequence_seconds", "target"),
    [(0.02, 0.0004, 0.035), (0.002, 0.002, 0.045), (0.01, 0.001, 0.03)],
    ids=["weights bind", "sequences bind", "between"],
)
def test_a_capacity_within_twice_the_batch_seen_is_within_15_per_cent(
    step_seconds: float, per_sequence_seconds: float, target: float
) -> None:
    sla = SlaTarget(0.99, tpot_seconds=target)

    def serve(arrived: Floats, rng: np.random.Generator) -> Served:
        steps = tokens(rng, len(arrived))
        return continuous_batching(arrived, steps, step_seconds=step_seconds, per_sequence_seconds=per_sequence_seconds, most=64)

    def held(rate: float) -> bool:
        rng = np.random.default_rng(1)
        served = serve(np.cumsum(rng.exponential(1 / rate, 30_000)), rng)
        return bool((tpot_of(served) <= target).mean() >= 0.99)

    truth = highest_held_rate(held, 0.05, 20.0, tries=8)
    rng = np.random.default_rng(5)
    arrived = arrivals(
        lambda time: 0.65 * truth * (0.55 + 0.45 * math.sin(2 * math.pi * time / 43_200)),
        most_per_second=0.66 * truth,
        seconds=86_400,
        rng=rng,
    )
    modelled = modelled_capacity(bins_of(serve(arrived, rng)).steps(0.99), sla, max_batch=64)
    assert modelled is not None
    assert 0.85 * truth <= modelled <= 1.05 * truth

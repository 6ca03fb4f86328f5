"""Counters that are right and counters that are wrong, under loads that make the difference hard to see."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from infermeter.ledger.energy import EnergyMeter, gap_limit_ns
from infermeter.ledger.trust import Trust
from infermeter.model import GpuSample

S = 1_000_000_000
DATA_CENTRE, DESKTOP, INFERENCE_CARD = (70.0, 700.0), (15.0, 450.0), (16.0, 72.0)


@dataclass(frozen=True)
class Outcome:
    doubted_at: float | None
    believed: bool
    failed: int
    booked: float
    true: float


def metered(
    *,
    board: tuple[float, float] = DATA_CENTRE,
    duty: float,
    period: float = 3.0,
    regular: bool = False,
    counter: Callable[[float, float], float] = lambda _, joules: joules,
    seconds: int = 3600,
    interval: float = 1.0,
    limit: bool = True,
    utilisation: float | None = None,
    seed: int = 7,
) -> Outcome:
    """A device that is idle or at full power, in bursts of random length or as regular as a clock, read as power at one instant.

    Both are brought up to date every 100 ms; the counter is `counter(second, true joules)`.
    """
    (idle, peak), rng = board, Random(seed)
    meter = EnergyMeter(gap_limit_ns(interval), limit_watts=peak if limit else None, judged=True)
    begin, end, worked = 0.0, 0.0, 0.0
    doubted_at, failed, booked, joules = None, 0, 0.0, 0.0
    for i in range(int(seconds / interval)):
        now = i * interval
        told = math.floor(now * 10 + 1e-6) / 10
        while end <= told:
            worked += end - begin
            begin = end + period * (1 - duty) * (1 if regular else rng.expovariate(1))
            end = begin + period * duty * (1 if regular else rng.expovariate(1))
        joules = idle * told + (peak - idle) * (worked + max(0.0, told - begin))
        watts = max(0.0, (peak if begin <= told else idle) + rng.gauss(0, 1))
        reading = meter.read(GpuSample("g", round(now * S), watts, counter(now, joules), utilisation_ratio=utilisation))
        failed += reading.rejected == "outlier"
        booked += 0.0 if reading.step is None else reading.step.joules
        doubted_at = now if doubted_at is None and not meter.believed else doubted_at
    return Outcome(doubted_at, meter.believed, failed, booked, joules)


@pytest.mark.parametrize("board", [DATA_CENTRE, DESKTOP, INFERENCE_CARD])
@pytest.mark.parametrize("limit", [True, False])
@pytest.mark.parametrize(("duty", "period"), [(0.02, 1.0), (0.05, 0.3), (0.1, 3.0), (0.25, 10.0), (0.5, 60.0), (0.9, 3.0)])
def test_a_counter_that_is_right_is_believed_under_every_burst_and_counts_to_the_joule(
    board: tuple[float, float], limit: bool, duty: float, period: float
) -> None:
    outcome = metered(board=board, duty=duty, period=period, limit=limit)
    assert outcome.doubted_at is None
    assert outcome.booked == pytest.approx(outcome.true, rel=5e-3)


@pytest.mark.parametrize("interval", [0.1, 5.0])
def test_a_counter_that_is_right_is_believed_however_often_it_is_read(interval: float) -> None:
    assert metered(duty=0.3, interval=interval).doubted_at is None


@pytest.mark.parametrize(
    ("factor", "within_seconds"), [(0.5, 181), (2.0, 420), (1000.0, 181), (0.001, 61)], ids=["half", "twice", "thousand", "thousandth"]
)
@pytest.mark.parametrize("duty", [1e-6, 0.3, 0.999])
def test_a_counter_in_wrong_units_or_at_a_wrong_speed_is_found_out_and_power_speaks_instead(
    factor: float, within_seconds: float, duty: float
) -> None:
    outcome = metered(duty=duty, counter=lambda _, joules: joules * factor)
    assert outcome.doubted_at is not None
    assert outcome.doubted_at <= within_seconds
    assert outcome.booked == pytest.approx(outcome.true, rel=0.12)


def test_without_a_known_limit_it_takes_no_leap_of_a_thousandfold_counter_in() -> None:
    outcome = metered(duty=1e-6, board=DESKTOP, counter=lambda _, joules: joules * 1000, limit=False)
    assert outcome.booked == pytest.approx(outcome.true, rel=0.05)


def test_a_frozen_counter_loses_no_energy() -> None:
    outcome = metered(duty=0.3, counter=lambda *_: 5.0)
    assert outcome.doubted_at == 120
    assert outcome.booked == pytest.approx(outcome.true, rel=0.05)


def test_each_stretch_that_failed_is_counted_once() -> None:
    outcome = metered(duty=1e-6, counter=lambda _, joules: joules / 2, seconds=601)
    assert (outcome.doubted_at, outcome.failed) == (180, 10)


def test_a_counter_that_was_wrong_for_a_while_is_believed_again_and_nothing_is_booked_twice() -> None:
    outcome = metered(duty=0.999, counter=lambda now, joules: joules if now < 600 or now > 1800 else joules - 350 * (now - 600))
    assert outcome.doubted_at is not None
    assert outcome.believed
    assert outcome.booked == pytest.approx(outcome.true, rel=0.04)


def test_a_load_as_regular_as_the_readings_convicts_nobody_while_the_device_tells_that_it_is_partly_busy() -> None:
    blind = metered(duty=0.3, period=1.0, regular=True)
    seeing = metered(duty=0.3, period=1.0, regular=True, utilisation=0.3)
    assert blind.doubted_at == 180
    assert (seeing.doubted_at, seeing.failed) == (None, 0)
    assert seeing.booked == pytest.approx(seeing.true, rel=1e-3)


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_what_no_phase_explains_convicts_a_partly_busy_device_too(factor: float) -> None:
    assert metered(duty=0.3, counter=lambda _, joules: joules * factor, utilisation=0.5).doubted_at == 180


def test_doubts_of_opposite_directions_are_no_doubt() -> None:
    trust = Trust()
    for stretch in range(10):
        counted = 700.0 if stretch % 2 else 150.0
        for _ in range(60):
            trust.take(1.0, counted=counted, watts=(320.0, 320.0), limit_watts=350.0, busy_ratio=1.0)
    assert trust.believed


def test_what_is_neither_agreement_nor_proof_grows_to_ten_minutes_and_is_forgotten() -> None:
    trust = Trust()
    verdicts = [trust.take(10.0, counted=160.0, watts=(11.0, 11.0), limit_watts=None, busy_ratio=None) for _ in range(600)]
    assert not any(verdicts)
    assert trust.believed


def test_readings_faster_than_the_device_measures_prove_no_more() -> None:
    def failed(readings_a_second: int) -> bool:
        trust, seconds = Trust(), 1 / readings_a_second
        trust.take(seconds, counted=10.0 * seconds, watts=(10.0, 10.0), limit_watts=700.0, busy_ratio=None)
        return any(
            trust.take(seconds, counted=21.0 * seconds, watts=(10.0, 10.0), limit_watts=700.0, busy_ratio=None)
            for _ in range(61 * readings_a_second)
        )

    assert not failed(10)
    assert not failed(100)


def test_a_counter_that_moves_once_in_half_a_minute_is_believed() -> None:
    outcome = metered(duty=0.3, counter=lambda now, _: 259.0 * (now - now % 30))
    assert outcome.doubted_at is None
    assert outcome.believed


def test_a_module_that_tells_no_power_of_the_gpu_alone_is_not_judged() -> None:
    meter = EnergyMeter(gap_limit_ns(1.0))
    for i in range(600):
        meter.read(GpuSample("g", i * S, 500.0, 100.0 * i))
    assert meter.believed

"""The counterexamples that shaped the ledger's rules: each is a way in which a simpler rule goes wrong."""

import random

import pytest

from infermeter.config import Sla
from infermeter.model import GpuSample
from support.ledgers import GPU, Inference, S, at, batch, config, ledger, of_model, replayed, samples


def test_requests_of_60_seconds_get_their_own_energy_though_their_spans_come_last() -> None:
    """Settled too early, a late span enriches the others: the longest got 0.45 of its energy, the rest 1.25."""
    book = ledger(config(baseline_watts=0.0), offline=False)
    short = [Inference(i, i + 1, model="short") for i in range(400)]
    long = [Inference(60.0 * i, 60.0 * i + 60, model="long") for i in range(1, 7)]
    arrivals = sorted([*short, *long], key=lambda one: one.end)
    readings = samples(700, watts=300.0, utilisation=1.0)
    for second in range(1, 700):
        book.add_samples(readings[second : second + 1] if second > 1 else readings[:2])
        now = [one for one in arrivals if second - 1 < one.end <= second]
        if now:
            book.add(batch(now), at(second))
        book.advance(at(second), S)
    snapshot = book.snapshot(at(700))
    assert snapshot.late_for_energy == 0
    assert of_model(snapshot, "long").energy_joules["active"] == pytest.approx((340 * 150) + 20 * 300, rel=0.01)
    assert of_model(snapshot, "short").energy_joules["active"] == pytest.approx((340 * 150) + 60 * 300, rel=0.01)


def test_a_gpu_that_is_busy_all_the_time_has_no_idle_energy() -> None:
    """min(energy, baseline) in every tick called 17 % of it idle."""
    facts = of_model(replayed([Inference(0, 60)], samples(60, watts=350.0, utilisation=1.0), end=60, config_=config(baseline_watts=60.0)))
    assert facts.energy_joules == {"active": pytest.approx(21_000), "idle": 0.0, "unattributed": 0.0}


def test_noise_of_an_idle_gpu_is_not_called_busy() -> None:
    """Energy above a baseline that was taken for a constant made 2 to 10 % of idle energy look busy."""
    random.seed(1)
    readings = [GpuSample(GPU, at(i), random.gauss(60, 8), utilisation_ratio=0.0, memory_used_bytes=2**34) for i in range(301)]
    facts = of_model(replayed([], readings, end=300), "unknown")
    assert facts.energy_joules["active"] == facts.energy_joules["unattributed"] == 0.0
    assert facts.energy_joules["idle"] > 0


def test_at_low_load_time_is_busy_for_a_tenth_and_not_for_every_tick_that_is_touched() -> None:
    """5 requests a second of 20 ms: 10 % of the time is busy, 99 % of the ticks are touched."""
    work = [Inference(i / 5, i / 5 + 0.02) for i in range(1500)]
    snapshot = replayed(work, samples(300, watts=80.0, utilisation=0.1), end=300, config_=config(baseline_watts=70.0))
    facts = of_model(snapshot)
    assert snapshot.busy_seconds == pytest.approx(30)
    assert facts.cost["active"] == pytest.approx(30)
    assert facts.energy_joules["active"] == pytest.approx(300 * (80 - 63))
    assert snapshot.gpus[0].state_seconds["held_idle"] == pytest.approx(270)


def test_a_backlog_that_is_flushed_at_the_start_does_not_make_inferences_cheap() -> None:
    """Ten minutes of backlog made the cost of an inference 11 x too low."""
    book = ledger(config(sla=Sla(0.99, 0.5), windows=(("5m", 300.0),)), gpus=(), offline=False)
    book.add(batch([Inference(-600 + i / 2, -600 + i / 2 + 0.1) for i in range(1190)]), at(1))
    for second in range(1, 301):
        if second <= 200:
            book.add(batch([Inference(second - 0.5, second - 0.4)]), at(second))
        book.advance(at(second), S)
    facts = of_model(book.snapshot(at(300)))
    assert facts.late == 1190
    assert facts.observed_ok == 1390
    cost = facts.windows[0].cost_per_inference
    assert cost is not None
    assert cost == pytest.approx(1.0, rel=0.06)


def test_money_and_inferences_of_a_window_speak_of_the_same_seconds() -> None:
    """Cost up to now against inferences that settle later biased a window of 5 minutes by 11 to 25 %."""
    book = ledger(config(windows=(("5m", 300.0),)), gpus=(), offline=False)
    for second in range(1, 601):
        if second > 20:
            book.add(batch([Inference(second - 20.5, second - 20.4)]), at(second))
        book.advance(at(second), S)
    window = of_model(book.snapshot(at(600))).windows[0]
    assert window.cost_per_inference == pytest.approx(1.0, rel=0.01)


def test_sampled_one_in_a_hundred_a_full_gpu_is_not_idle() -> None:
    """A GPU that is 99.5 % busy looked 5.2 % busy: the product would have paged "idle" on a full GPU."""
    work = [Inference(i * 10.0, i * 10.0 + 0.5) for i in range(30)]
    snapshot = replayed(work, samples(300, watts=350.0, utilisation=0.995), end=300, config_=config(baseline_watts=60.0), sampled=True)
    facts = of_model(snapshot)
    assert facts.cost["idle"] <= 0.005 * 30 + 1e-9
    assert facts.energy_joules["idle"] <= 0.005 * 60 * 30 + 1e-6
    assert snapshot.windows[0].waterfall_cost["idle"] <= 0.005 * 30 + 1e-9


def test_every_inference_within_the_sla_reads_so_at_every_look() -> None:
    """Totals that don't wait beside shares that do made 1 - within / total read 0.40."""
    book = ledger(config(sla=Sla(0.99, 0.5)), gpus=(), offline=False)
    for second in range(1, 100):
        book.add(batch([Inference(second - 0.3, second - 0.1)]), at(second))
        book.advance(at(second), S)
        facts = of_model(book.snapshot(at(second)))
        assert facts.within_sla == facts.observed_ok == second


def test_a_counter_that_moves_every_other_second_shows_even_power() -> None:
    """0 and then 2 x: half the ticks would have been below any baseline."""
    readings = [GpuSample(GPU, at(i), energy_joules=200.0 * (i // 2), utilisation_ratio=1.0) for i in range(61)]
    facts = of_model(replayed([Inference(i, i + 0.5) for i in range(60)], readings, end=60, config_=config(baseline_watts=80.0)))
    assert facts.energy_joules["idle"] == pytest.approx(60 * 40)
    assert facts.energy_joules["active"] == pytest.approx(60 * 60)

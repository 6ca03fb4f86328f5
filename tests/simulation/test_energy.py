"""Energy beside a simulated server that batches: every joule of the device is somebody's, and each model's own are its own."""

from __future__ import annotations

import numpy as np
import pytest

from infermeter.model import LedgerSnapshot
from support.ledgers import START_NS, S, at, config, ledger, of_model
from support.simulated_lives import DELIVERIES, Delivery, Device, Spans, arriving, device, live, together
from support.simulated_servers import Served, continuous_batching

IDLE_WATTS = 80.0
CONFIG = config(baseline_watts=IDLE_WATTS)


def served(since: float, until: float, *, per_second: float, seed: int, tokens: float = 80.0) -> Served:
    """A busy time of a server that makes a token in about 25 ms for each of at most 16 sequences."""
    rng = np.random.default_rng(seed)
    arrived = np.sort(rng.uniform(since, until, rng.poisson(per_second * (until - since))))
    return continuous_batching(
        arrived,
        np.maximum(1.0, rng.geometric(1 / tokens, len(arrived)).astype(float)),
        step_seconds=0.02,
        per_sequence_seconds=0.0006,
        most=16,
    )


def drawn(work: Served, *, seconds: int) -> Device:
    return device(work, seconds=seconds, idle_watts=IDLE_WATTS, step_watts=220.0, per_sequence_watts=4.0)


def booked(snapshot: LedgerSnapshot) -> float:
    return sum(sum(facts.energy_joules.values()) for facts in snapshot.models)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_energy_of_a_model_that_is_alone_is_what_its_inferences_drew(delivery: Delivery) -> None:
    seconds, work = 600, served(10, 520, per_second=0.6, seed=1)
    gpu, book = drawn(work, seconds=seconds), ledger(CONFIG, offline=False)
    spans = Spans(work, ["m"] * len(work.arrived))
    live(book, spans, arriving(work.ended, delivery, np.random.default_rng(2)), seconds=seconds, step_seconds=1, samples=gpu.samples())
    book.finish(at(seconds))
    snapshot = book.snapshot(at(seconds))
    used = of_model(snapshot, "m").energy_joules
    assert 0.2 < gpu.busy.mean() < 0.9
    assert used["active"] == pytest.approx(gpu.running_joules.sum(), rel=1e-6)
    assert booked(snapshot) == pytest.approx(gpu.joules.sum(), rel=1e-9)
    assert snapshot.gpus[0].energy_joules == pytest.approx(gpu.joules.sum(), rel=1e-9)
    assert snapshot.busy_seconds == pytest.approx(gpu.busy.sum(), rel=1e-6)
    assert sum(slot.joules or 0.0 for slot in snapshot.slots) == pytest.approx(gpu.joules.sum(), rel=1e-9)
    assert of_model(snapshot, "m").late == 0


def test_each_of_two_models_gets_what_the_device_drew_while_it_was_alone_and_together_they_get_it_all() -> None:
    first, second = served(5, 300, per_second=0.8, seed=3), served(505, 800, per_second=1.5, seed=4, tokens=40.0)
    both = served(1005, 1300, per_second=0.5, seed=5), served(1005, 1300, per_second=1.0, seed=6)
    spans = together(*(Spans(work, [name] * len(work.arrived)) for work, name in zip((first, second, *both), "abab", strict=True)))
    seconds = 1500
    gpu, book = drawn(spans.served, seconds=seconds), ledger(CONFIG, offline=False)
    readings, shares = gpu.samples(), []
    for since, until in ((0, 500), (500, 1000), (1000, seconds)):
        snapshot = live(book, spans, spans.served.ended, since=since, seconds=until, step_seconds=1, samples=readings)
        shares.append({facts.model: facts.energy_joules["active"] for facts in snapshot.models})
    assert shares[0]["a"] == pytest.approx(gpu.running_joules[:500].sum(), rel=1e-6)
    assert shares[1]["a"] == shares[0]["a"]
    assert shares[1]["b"] == pytest.approx(gpu.running_joules[500:1000].sum(), rel=1e-6)
    assert shares[2]["a"] > 1.1 * shares[1]["a"]
    assert shares[2]["b"] > 1.1 * shares[1]["b"]
    assert sum(shares[2].values()) == pytest.approx(gpu.running_joules.sum(), rel=1e-6)
    book.finish(at(seconds))
    assert booked(book.snapshot(at(seconds))) == pytest.approx(gpu.joules.sum(), rel=1e-9)


def test_what_an_idle_device_draws_is_learnt_well_enough_to_tell_work_from_rest() -> None:
    seconds, rng = 900, np.random.default_rng(7)
    work = served(300, 800, per_second=0.4, seed=8)
    gpu = drawn(work, seconds=seconds)
    noise = rng.normal(0.0, 2.0, seconds)
    noisy = Device(gpu.joules + noise, gpu.running_joules, gpu.busy)
    book = ledger(config(), offline=False)
    live(book, Spans(work, ["m"] * len(work.arrived)), work.ended, seconds=seconds, step_seconds=1, samples=noisy.samples())
    book.finish(at(seconds))
    snapshot = book.snapshot(at(seconds))
    assert snapshot.gpus[0].baseline_watts == pytest.approx(IDLE_WATTS, abs=4.0)
    used = of_model(snapshot, "m").energy_joules
    assert used["active"] == pytest.approx(gpu.running_joules.sum(), rel=0.02)
    assert booked(snapshot) == pytest.approx(noisy.joules.sum(), rel=1e-9)


def test_how_often_one_looks_and_how_spans_come_changes_no_joule() -> None:
    seconds, work = 400, served(3, 330, per_second=0.7, seed=9)
    spans, readings = Spans(work, ["m"] * len(work.arrived)), drawn(work, seconds=seconds).samples()
    found = []
    for delivery, step in (("in order", 1), ("shuffled", 5), ("delayed", 10)):
        book = ledger(CONFIG, offline=False)
        came = arriving(work.ended, delivery, np.random.default_rng(step))
        live(book, spans, came, seconds=seconds, step_seconds=step, samples=readings)
        book.finish(START_NS + seconds * S)
        found.append(of_model(book.snapshot(at(seconds)), "m").energy_joules)
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert found[2] == pytest.approx(found[0], rel=1e-9)

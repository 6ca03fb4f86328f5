from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from infermeter.ledger.capacities import ClosedSlot, ModelCapacity
from infermeter.ledger.sketch import BUCKETS, bucket_of
from infermeter.ledger.steptime import ROWS
from infermeter.model import CapacityFacts, SlaTarget

SLA = SlaTarget(0.99, duration_seconds=0.5)


def closed(slot: int, n: int = 100, *, seconds: float = 0.05, batch: float = 1.0, services: bool = True) -> ClosedSlot:
    """Ten seconds in which `n` inferences of this length were served, all within, `batch` at a time."""
    buckets, counts = np.unique(bucket_of(np.full(n, round(seconds * 1e9))), return_counts=True)
    if services:
        buckets, counts = np.concatenate((buckets, (ROWS - 1) * BUCKETS + buckets)), np.concatenate((counts, counts))
    return ClosedSlot(
        slot=slot,
        accrued_seconds=10.0,
        known_seconds=10.0,
        active_seconds=n * seconds / batch,
        busy_seconds=n * seconds / batch,
        served=n,
        observed=n,
        ok=n,
        within=n,
        tokens=0,
        stage_compute_seconds=n * seconds,
        compute_seconds=n * seconds,
        computing_seconds=n * seconds / batch,
        latencies=(buckets, counts),
    )


def following(sla: SlaTarget = SLA, *, max_batch: int | None = None) -> ModelCapacity:
    return ModelCapacity(sla, confidence=0.95, horizon_seconds=7 * 86_400.0, max_batch=max_batch)


def after(slots: int, *, sla: SlaTarget = SLA, **changes: float) -> CapacityFacts:
    model = following(sla)
    for slot in range(slots):
        model.close(replace(closed(slot), **changes))
    return model.facts


def test_nothing_is_known_at_first() -> None:
    assert following().facts == CapacityFacts()
    assert following().facts.best_per_second is None


def test_a_load_that_held_for_half_an_hour_and_more_is_a_capacity() -> None:
    assert after(209).observed_per_second is None
    facts = after(210)
    assert facts.observed_per_second == pytest.approx(9.877, abs=0.001)
    assert (facts.reached, facts.inferences) == (False, 5 * 3000)


def test_few_inferences_make_longer_stretches_an_hour_at_most() -> None:
    for per_slot, slots in ((2, 150), (1, 300)):
        model = following()
        for slot in range(slots * 6 - 1):
            model.close(closed(slot, per_slot))
        assert model.facts.observed_per_second is None
        model.close(closed(slots * 6 - 1, per_slot))
        assert model.facts.observed_per_second is not None
        assert model.facts.inferences == 5 * 300
    sparse = following()
    for slot in range(360 * 6):
        sparse.close(closed(slot, int(slot % 5 == 0)))
    assert sparse.facts.inferences == 5 * 72


def test_minutes_that_speak_of_something_else_do_not_wait_for_more() -> None:
    model = following()
    for slot in range(30):
        model.close(replace(closed(slot, 2), active_seconds=6.0))
    for slot in range(30, 930):
        model.close(closed(slot, 2))
    assert model.facts.inferences == 5 * 300


def test_what_the_server_counts_is_the_load_where_spans_are_a_sample() -> None:
    assert after(210, served=1000.0).observed_per_second == pytest.approx(99.07, abs=0.01)


def test_a_model_that_shares_the_time_with_another_has_no_capacity() -> None:
    assert after(210, active_seconds=6.0).observed_per_second is None


def test_time_of_which_too_much_is_unknown_says_nothing() -> None:
    assert after(210, known_seconds=9.4).observed_per_second is None
    assert after(210, known_seconds=9.6).observed_per_second is not None


@pytest.mark.parametrize("nothing", ["accrued_seconds", "served", "ok", "stage_compute_seconds"])
def test_a_stretch_without_anything_in_it_is_left_out(nothing: str) -> None:
    assert after(210, **{nothing: 0}).observed_per_second is None


def test_a_server_that_does_one_at_a_time_is_modelled_by_its_queue() -> None:
    model = following()
    for slot in range(900):
        model.close(closed(slot, 2))
    facts = model.facts
    assert facts.modelled_per_second == pytest.approx(15.33, rel=0.01)
    assert facts.observed_per_second == pytest.approx(0.2, rel=0.1)
    assert facts.best_per_second == facts.modelled_per_second
    assert model.facts is facts, "worked out once"


@pytest.mark.parametrize(
    ("sla", "told"),
    [(SLA, False), (SlaTarget(0.99, duration_seconds=0.5, ttft_seconds=0.1), True), (SlaTarget(0.99, ttft_seconds=0.1), True)],
)
def test_without_enough_services_or_with_another_target_the_queue_tells_nothing(sla: SlaTarget, *, told: bool) -> None:
    model = following(sla)
    for slot in range(900):
        model.close(closed(slot, 2, services=told))
    assert model.facts.modelled_per_second is None


def test_a_server_that_batches_is_modelled_by_its_step_time() -> None:
    model = following(max_batch=16)
    slot = 0
    for batch in (4, 5, 6, 8):
        for _ in range(150):
            seconds = 0.1 + 0.01 * batch
            model.close(closed(slot, round(batch * 10 / seconds), seconds=seconds, batch=batch))
            slot += 1
    modelled = model.facts.modelled_per_second
    assert modelled == pytest.approx(14.4 / (0.1 + 0.01 * 14.4), rel=0.03)


def test_no_model_is_above_a_load_that_was_proven_to_miss() -> None:
    model = following()
    for slot in range(240):
        model.close(closed(slot, 50))
    assert model.facts.modelled_per_second == pytest.approx(15.33, rel=0.01)
    for slot in range(240, 480):
        model.close(replace(closed(slot, 100), within=90 - slot // 30))
    facts = model.facts
    assert facts.reached
    assert facts.modelled_per_second == pytest.approx(10.0)


def test_where_spans_are_a_sample_no_batch_is_told() -> None:
    assert after(210, computing_seconds=0.0).modelled_per_second is None


def test_longer_work_one_at_a_time_is_an_epoch_of_its_own() -> None:
    model = following()
    for slot in range(210):
        model.close(closed(slot))
    for slot in range(210, 720):
        model.close(closed(slot, 50, seconds=0.1))
    assert model.facts.observed_per_second == pytest.approx(5.0, rel=0.1)


def test_shorter_work_one_at_a_time_says_nothing_of_how_long_the_longer_takes() -> None:
    model = following()
    for slot in range(720):
        model.close(closed(slot, 50))
    before = model.facts.modelled_per_second
    for slot in range(720, 1080):
        model.close(closed(slot, 1000, seconds=0.005))
    assert model.facts.modelled_per_second > 100
    for slot in range(1080, 1800):
        model.close(closed(slot, 50))
    assert model.facts.modelled_per_second == before == pytest.approx(15.33, rel=0.01)


def test_tokens_tell_the_work_of_a_server_that_batches() -> None:
    model = following()
    for slot in range(210):
        model.close(replace(closed(slot, batch=4.0), tokens=1000))
    for slot in range(210, 720):
        model.close(replace(closed(slot, 50, batch=4.0), tokens=5000))
    assert model.facts.observed_per_second == pytest.approx(5.0, rel=0.1)


def test_what_changed_starts_anew_and_what_is_remembered_goes_on() -> None:
    model, again = following(), following()
    for slot in range(210):
        model.close(closed(slot, 2))
    again.recall(json.loads(json.dumps(model.remember())))
    assert again.facts.observed_per_second == model.facts.observed_per_second
    model.restart()
    assert model.facts == CapacityFacts()


def test_demand_is_held_against_what_was_reached_or_modelled_and_never_less_than_was_seen() -> None:
    assert CapacityFacts(observed_per_second=5.0).best_per_second is None
    assert CapacityFacts(observed_per_second=5.0, reached=True, modelled_per_second=9.0).best_per_second == 5.0
    assert CapacityFacts(observed_per_second=5.0, modelled_per_second=4.0).best_per_second == 5.0
    assert CapacityFacts(modelled_per_second=4.0).best_per_second == 4.0


def test_buckets_of_every_signal_have_a_place() -> None:
    model = following()
    keys = np.array([ROWS * BUCKETS - 1])
    model.close(replace(closed(0), latencies=(keys, np.ones(1, np.int64))))
    assert model.facts == CapacityFacts()

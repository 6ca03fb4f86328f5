from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.advice.batching import batch_too_large, queue_bound
from infermeter.config import Config, Server
from infermeter.model import HardwareWindow, LedgerSnapshot, ModelFacts, ServerGauges, SlaTarget, StepTime
from unit.advice.premised import ledger, model, one, premises, window

WAITS = window({"queue": 600.0, "compute": 400.0})
CHEAP, DEAR = StepTime(0.02, 0.0004, 10.0, 16.0), StepTime(0.002, 0.002, 10.0, 16.0)
EIGHT = Config(server=Server(max_batch=8))
DEAR_AND_LATE = model(window({"queue": 10.0, "compute": 990.0}, late={"queue": 1.0, "compute": 99.0}), step=DEAR)


def told(snapshot: LedgerSnapshot, config: Config | None = None) -> bool:
    return bool(queue_bound(premises(snapshot, config)))


def seen(
    of: ModelFacts, *, utilisation: float | None = 0.5, batch: float | None = 1.0, gauges: ServerGauges | None = None
) -> LedgerSnapshot:
    return ledger(of, hardware=HardwareWindow(utilisation_ratio=utilisation), server={"batch_mean": batch}, gauges=gauges)


def test_waiting_beside_gpus_with_room_is_a_finding_with_its_evidence() -> None:
    finding = one(queue_bound(premises(seen(model(WAITS, step=CHEAP)), EIGHT)))
    assert (finding.code, finding.level, finding.model) == ("queue_bound", "warning", "m")
    assert finding.evidence == {
        "queue_ratio": 0.6,
        "window": "1h",
        "utilisation_ratio": 0.5,
        "batch_mean": 1.0,
        "max_batch": 8,
        "throughput_gain_ratio": 1.0,
    }


@pytest.mark.parametrize(("utilisation", "expected"), [(0.69, True), (0.7, False), (None, False)])
def test_of_an_unknown_limit_there_is_room_only_below_moderate_utilisation(utilisation: float | None, *, expected: bool) -> None:
    assert told(seen(model(WAITS), utilisation=utilisation)) is expected


@pytest.mark.parametrize(("batch", "expected"), [(3.9, True), (4.0, False), (None, False)])
def test_a_batch_below_half_of_its_limit_has_room_on_a_gpu_that_looks_full(batch: float | None, *, expected: bool) -> None:
    assert told(seen(model(WAITS), utilisation=0.99, batch=batch), EIGHT) is expected


def test_at_half_of_its_limit_a_batch_is_full_however_idle_the_gpu() -> None:
    assert not told(seen(model(WAITS), utilisation=0.1, batch=4.0), EIGHT)


def test_the_servers_own_batch_speaks_where_spans_do_not() -> None:
    gauges = ServerGauges(running=None, waiting=None, batch_size=6.0, kv_cache_used_ratio=None)
    assert not told(seen(model(WAITS), batch=None, gauges=gauges), EIGHT)
    assert told(seen(model(WAITS), batch=None, gauges=replace(gauges, batch_size=1.0)), EIGHT)


def test_a_full_kv_cache_leaves_no_room_for_a_larger_batch() -> None:
    gauges = ServerGauges(running=None, waiting=None, batch_size=None, kv_cache_used_ratio=0.9)
    assert not told(seen(model(WAITS), gauges=gauges), EIGHT)
    assert told(seen(model(WAITS), gauges=replace(gauges, kv_cache_used_ratio=0.89)), EIGHT)


def test_a_batch_that_costs_what_it_brings_is_no_way_out() -> None:
    assert not told(seen(model(WAITS, step=DEAR)), EIGHT)


@pytest.mark.parametrize("queue", [500.0, 0.0])
def test_what_waits_no_more_than_half_of_its_time_is_not_bound_by_its_queue(queue: float) -> None:
    assert not told(seen(model(window({"queue": queue, "compute": 500.0}))))
    assert not told(replace(seen(model(window({"compute": 500.0}))), stage_quality={}))


def test_the_few_that_are_late_may_be_those_that_wait() -> None:
    rarely = window({"queue": 100.0, "compute": 900.0}, late={"queue": 90.0, "compute": 10.0})
    assert one(queue_bound(premises(seen(model(rarely))))).evidence["queue_ratio"] == 0.9
    assert not told(seen(model(replace(rarely, sla_state="insufficient")))), "a few late ones prove nothing"


@pytest.mark.parametrize(("most", "gain"), [(None, 32 / 0.0328 / (10 / 0.024)), (20, 20 / 0.028 / (10 / 0.024)), (4, 1.0)])
def test_what_a_larger_batch_would_bring_is_told_up_to_twice_the_largest_seen_or_the_limit(most: int | None, gain: float) -> None:
    finding = queue_bound(premises(seen(model(WAITS, step=CHEAP)), Config(server=Server(max_batch=most))))
    assert one(finding).evidence["throughput_gain_ratio"] == pytest.approx(gain)


def test_late_by_large_batches_is_a_finding() -> None:
    finding = one(batch_too_large(premises(ledger(DEAR_AND_LATE))))
    assert (finding.code, finding.model) == ("batch_too_large", "m")
    assert finding.evidence == {
        "batch_mean": 10.0,
        "batch_largest": 16.0,
        "compute_seconds": pytest.approx(0.022),
        "of_it_by_batch_seconds": pytest.approx(0.02),
        "queue_ratio": 0.01,
        "window": "1h",
        "mean_duration_seconds": 1.0,
    }


@pytest.mark.parametrize(
    "other",
    [
        model(window({"queue": 10.0, "compute": 990.0}), step=DEAR),
        model(DEAR_AND_LATE.windows[0], step=CHEAP),
        model(DEAR_AND_LATE.windows[0], step=replace(DEAR, batch_mean=1.9)),
        model(DEAR_AND_LATE.windows[0]),
        replace(DEAR_AND_LATE, capacity=None),
        replace(DEAR_AND_LATE, sla=None),
        replace(DEAR_AND_LATE, sla=SlaTarget(0.99, 0.99)),
        replace(DEAR_AND_LATE, windows=(replace(DEAR_AND_LATE.windows[0], signal_inferences={}),)),
        model(window({"queue": 10.0, "compute": 990.0}, late={"queue": 21.0, "compute": 79.0}), step=DEAR),
    ],
    ids=["met", "cheap", "small", "no step", "no capacity", "no SLA", "late on the mean", "no mean", "waits"],
)
def test_batches_are_not_too_large_where_something_else_is_the_matter(other: ModelFacts) -> None:
    assert batch_too_large(premises(ledger(other))) == ()


def test_without_a_target_for_durations_the_mean_need_not_be_known() -> None:
    silent = replace(DEAR_AND_LATE.windows[0], signal_inferences={})
    finding = one(batch_too_large(premises(ledger(replace(DEAR_AND_LATE, sla=SlaTarget(0.99, None, None, 0.03), windows=(silent,))))))
    assert "mean_duration_seconds" not in finding.evidence


def test_where_the_server_does_not_tell_its_queue_nothing_says_that_nobody_waits() -> None:
    silent = model(window({"compute": 1000.0}, late={"compute": 100.0}), step=DEAR)
    assert batch_too_large(premises(ledger(silent, stage_quality={"compute": "measured"}))) == ()
    assert batch_too_large(premises(ledger(silent))), "its queue is told, and nobody was in it"

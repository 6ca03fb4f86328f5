from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.advice.capacity import over_provisioned, scale_out, scale_out_useless, sla_missed
from infermeter.config import Advice, Config, Server
from infermeter.model import CoverageBias, HardwareWindow, LedgerSnapshot, ModelFacts, Signal, SlaTarget, Stage
from unit.advice.premised import S, ledger, model, one, premises, window

LATE = window({"queue": 100.0, "compute": 900.0}, late={"queue": 90.0, "compute": 10.0}, latency_at_sla_quantile_seconds={"duration": 3.0})
SLOW = window({"queue": 100.0, "compute": 900.0}, late={"queue": 10.0, "compute": 90.0})
FINE = window({"queue": 100.0, "compute": 900.0})
FAILING = window({"compute": 900.0}, late={"queue": 90.0, "compute": 10.0}, errors=51)


def seen(*models: ModelFacts, utilisation: float | None = 0.9, **keys: object) -> LedgerSnapshot:
    return ledger(*models, hardware=HardwareWindow(utilisation_ratio=utilisation), **keys)


def test_a_low_peak_load_is_a_finding_with_what_is_never_needed_as_its_saving() -> None:
    finding = one(over_provisioned(premises(ledger(model(FINE), peak_load_ratio=0.25))))
    assert (finding.code, finding.level, finding.model) == ("over_provisioned", "warning", None)
    assert finding.evidence == {"peak_load_ratio": 0.25, "over_provisioning_ratio": 4.0, "needed_ratio": 0.325, "headroom": 1.3}
    assert finding.saving_per_hour == pytest.approx(2.25 * 0.675)


def test_without_a_price_there_is_no_saving() -> None:
    assert one(over_provisioned(premises(ledger(model(FINE), peak_load_ratio=0.25, cost_per_hour={})))).saving_per_hour is None


@pytest.mark.parametrize("peak", [None, 0.0, 0.501])
def test_without_a_low_peak_load_nothing_is_over_provisioned(peak: float | None) -> None:
    assert over_provisioned(premises(ledger(model(FINE), peak_load_ratio=peak))) == ()


def test_where_headroom_leaves_less_than_the_least_saving_nothing_is_told() -> None:
    config = Config(advice=Advice(headroom=1.9))
    assert over_provisioned(premises(ledger(model(FINE), peak_load_ratio=0.5), config)) == ()


@pytest.mark.parametrize(("busy", "idle", "found"), [(1000.0, 1880.0, True), (1000.0, 1879.0, False), (0.0, None, False)])
def test_gpus_that_work_for_nobody_who_is_seen_are_no_spare(busy: float, idle: float | None, *, found: bool) -> None:
    snapshot = ledger(model(FINE), peak_load_ratio=0.25, server={"busy_seconds": busy, "idle_seconds": idle})
    assert bool(over_provisioned(premises(snapshot))) is found


def test_while_an_sla_is_missed_nothing_is_too_large() -> None:
    assert over_provisioned(premises(ledger(model(FINE), model(SLOW), peak_load_ratio=0.25))) == ()


def test_a_window_of_no_length_explains_nothing() -> None:
    assert over_provisioned(premises(ledger(model(FINE), peak_load_ratio=0.25, server={"accrued_seconds": 0.0}))) == ()
    assert over_provisioned(premises(ledger(model(FINE), peak_load_ratio=0.25, windows=()))) == ()


def test_an_sla_that_is_missed_is_a_finding_with_where_the_time_of_the_late_ones_went() -> None:
    finding = one(sla_missed(premises(seen(model(LATE), replace(model(FINE), model="b")))))
    assert (finding.code, finding.model) == ("sla_missed", "m")
    assert finding.evidence == {
        "window": "1h",
        "inferences_observed": 1000,
        "duration_at_quantile_seconds": 3.0,
        "duration_target_seconds": 2.0,
        "quantile_ratio": 0.99,
        "within_ratio": 0.95,
        "error_ratio": 0.0,
        "dominant_stage": "queue",
        "dominant_ratio": 0.9,
    }
    assert finding.what_to_do.startswith("Shorten queue, the largest part of what makes the late ones late (duration);")


def test_only_targets_that_are_missed_at_the_quantile_are_named() -> None:
    sla = SlaTarget(0.99, duration_seconds=2.0, ttft_seconds=0.5, tpot_seconds=0.1)
    at_quantile: dict[Signal, float] = {"duration": 2.0, "ttft": 0.51, "tpot": 0.11}
    finding = one(sla_missed(premises(seen(model(replace(LATE, latency_at_sla_quantile_seconds=at_quantile), sla=sla)))))
    assert "(time to first token, time per output token)" in finding.what_to_do
    alone = replace(LATE, latency_at_sla_quantile_seconds={"duration": 1.9})
    assert "(" not in one(sla_missed(premises(seen(model(alone, sla=sla))))).what_to_do


def test_where_no_stage_is_known_to_make_them_late_nobody_is_told_to_shorten_one() -> None:
    told = window({"compute": 900.0}, late={"queue": 10.0, "other": 90.0})
    (missed,), (useless,) = (rule(premises(seen(model(told), utilisation=0.15))) for rule in (sla_missed, scale_out_useless))
    assert missed.what_to_do.startswith("Look at traces of the late ones")
    assert "Look at traces" in useless.what_to_do


@pytest.mark.parametrize(("stage", "faster"), [("compute", True), ("serialisation", False), ("transfer", False), ("other", True)])
def test_a_faster_device_is_named_where_it_may_help(stage: Stage, *, faster: bool) -> None:
    told = window({"compute": 900.0}, late={"queue": 10.0, stage: 90.0})
    assert ("faster device" in one(scale_out_useless(premises(seen(model(told), utilisation=0.15)))).what_to_do) is faster


def test_where_errors_miss_it_nobody_is_sent_after_a_stage() -> None:
    finding = one(sla_missed(premises(seen(model(FAILING)))))
    assert finding.evidence["error_ratio"] == pytest.approx(0.051)
    assert "dominant_stage" not in finding.evidence
    assert "errors" in finding.what_to_do
    assert scale_out(premises(seen(model(FAILING)))) == ()
    assert scale_out_useless(premises(seen(model(FAILING), utilisation=0.1))) == ()


def test_a_model_of_which_too_little_is_known_misses_its_sla_all_the_same() -> None:
    few = replace(LATE, inferences_ok=20, misses=None)
    finding = one(sla_missed(premises(seen(replace(model(few), sla=None)))))
    assert finding.evidence == {"window": "1h", "inferences_observed": 1000, "duration_at_quantile_seconds": 3.0}
    assert finding.what_to_do.startswith("Look at what is late")


def test_nothing_is_missed_without_proof_or_a_window() -> None:
    assert sla_missed(premises(seen(model(FINE), model(replace(LATE, sla_state="insufficient")), replace(model(LATE), windows=())))) == ()


def test_a_full_server_whose_late_ones_wait_should_scale_out() -> None:
    finding = one(scale_out(premises(seen(model(LATE)))))
    assert finding.evidence == {"queue_ratio": 0.9, "utilisation_ratio": 0.9, "window": "1h"}


@pytest.mark.parametrize(("peak", "load", "replicas"), [(1.9, 1.2, 3), (None, 1.6, 3), (0.2, None, 2)])
def test_how_many_replicas_are_needed_is_told_where_a_capacity_is(peak: float | None, load: float | None, replicas: int) -> None:
    finding = one(scale_out(premises(seen(model(LATE), peak_load_ratio=peak, server={"load_ratio": load}))))
    assert finding.evidence["replicas_needed"] == replicas


@pytest.mark.parametrize("utilisation", [None, 0.79])
def test_where_gpus_have_room_or_do_not_tell_nobody_should_scale_out(utilisation: float | None) -> None:
    assert scale_out(premises(seen(model(LATE), utilisation=utilisation))) == ()


def test_what_is_met_computes_or_could_batch_should_not_scale_out() -> None:
    assert scale_out(premises(seen(model(FINE), model(SLOW), model(replace(LATE, misses=None))))) == ()
    config = Config(server=Server(max_batch=8))
    assert scale_out(premises(seen(model(LATE), server={"batch_mean": 1.0}), config)) == ()
    assert scale_out(premises(seen(model(LATE), server={"batch_mean": 4.0}), config))


def test_late_ones_that_do_not_wait_on_idle_gpus_gain_nothing_by_more_of_them() -> None:
    finding = one(scale_out_useless(premises(seen(model(SLOW), utilisation=0.15))))
    assert finding.evidence == {
        "utilisation_ratio": 0.15,
        "queue_ratio": 0.1,
        "window": "1h",
        "dominant_stage": "compute",
        "dominant_ratio": 0.9,
    }
    assert "compute" in finding.what_to_do


@pytest.mark.parametrize("utilisation", [None, 0.3])
def test_on_gpus_that_work_or_do_not_tell_more_of_them_may_help(utilisation: float | None) -> None:
    assert scale_out_useless(premises(seen(model(SLOW), utilisation=utilisation))) == ()


def test_few_late_ones_that_wait_are_a_reason_for_more_though_the_mean_does_not_wait() -> None:
    assert scale_out_useless(premises(seen(model(LATE), utilisation=0.15))) == ()


def test_a_server_that_does_not_tell_its_queue_is_not_told_that_more_is_useless() -> None:
    slow = model(window({"compute": 900.0}, late={"compute": 90.0}))
    assert scale_out_useless(premises(seen(slow, utilisation=0.15, stage_quality={"compute": "measured"}))) == ()
    assert one(scale_out_useless(premises(seen(slow, utilisation=0.15)))).evidence["queue_ratio"] == 0.0


def test_of_spans_that_are_no_fair_sample_nothing_is_told() -> None:
    biased = replace(model(SLOW), coverage_bias=CoverageBias(1.0, 0.9, 0.5, 1000))
    assert premises(seen(biased)).models == ()
    assert premises(seen(replace(model(SLOW), windows=()))).models == ()
    assert premises(seen(model(window({})))).models == ()


def test_a_sample_is_believed_once_there_was_time_to_find_it_unfair() -> None:
    late = seen(model(SLOW), utilisation=0.15, thin=True)
    assert sla_missed(premises(late))
    early = replace(late, start_ns=late.time_ns - 899 * S)
    assert premises(early).models == ()
    assert sla_missed(premises(early)) == ()
    assert sla_missed(premises(replace(early, thin=False)))

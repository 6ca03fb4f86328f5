from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice.evidence_json import ToldAdvice
from infermeter.catalogue import shipped_catalogue
from infermeter.commands.recorded_advice import questions
from infermeter.commands.recorded_evidence import Answers, notes_of, recorded_told
from infermeter.commands.recorded_slowdown import slowdown
from infermeter.config import Config, Server
from infermeter.errors import ConfigError
from infermeter.ledger.slowdown import most_misses
from infermeter.model import ModelEvidence, SizingEvidence, SlaTarget
from infermeter.network.prometheus_api import Series

END = 1_784_556_000.0
INF = float("inf")
A100 = {"gpu_uuid": "GPU-1", "product": "NVIDIA A100-SXM4-40GB", "instance": "a"}
Row = tuple[Mapping[str, str], float]

FULL: dict[str, Sequence[Row]] = {
    "scrapes": [({}, 200.0)],
    "covered": [({}, 100.0)],
    "replicas": [({}, 1.0)],
    "replicas_now": [({}, 1.0)],
    "peak": [({}, 0.25)],
    "gpus": [(A100, 1.0)],
    "memory": [({}, 8e9)],
    "cost_now": [({"component": "instance", "currency": "USD"}, 3.0), ({"component": "licence", "currency": "USD"}, 0.5)],
    "price_timestamp": [({}, END - 86_400)],
    "busy_seconds": [({}, 360.0)],
    "state_seconds": [({}, 3600.0)],
    "throttled": [({}, 0.125)],
    "targets_most": [({"model": "m", "signal": "duration"}, 0.1)],
    "targets_least": [({"model": "m", "signal": "duration"}, 0.1)],
    "quantiles_most": [({"model": "m"}, 0.95)],
    "quantiles_least": [({"model": "m"}, 0.95)],
    "observed": [({"model": "m", "outcome": "ok"}, 1000.0), ({"model": "m", "outcome": "error"}, 0.5)],
    "duration_buckets": [({"model": "m", "le": le}, n) for le, n in (("0.01", 900.0), ("0.02", 990.0), ("0.1", 1000.0), ("+Inf", 1000.0))],
    "bound": [({"resource": "memory"}, 60.0), ({"resource": "unknown"}, 40.0)],
    "findings": [({"code": "held_idle_gpu", "level": "warning"}, 50.0), ({"code": "sla_missed", "level": "warning", "model": "m"}, 80.0)],
    "savings": [({"code": "held_idle_gpu", "currency": "USD"}, 1.5)],
}


def answers(**changed: Sequence[Row]) -> Answers:
    rows = dict.fromkeys(questions("s", "", 3600.0), ()) | FULL | changed
    return Answers({name: [Series(labels, np.array([END]), np.array([value])) for labels, value in own] for name, own in rows.items()})


def told(config: Config | None = None, **changed: Sequence[Row]) -> ToldAdvice:
    return recorded_told(
        answers(**changed), server="s", config=config or Config(), catalogue=shipped_catalogue(), end_unix_seconds=END, range_seconds=3600.0
    )


def evidence(config: Config | None = None, **changed: Sequence[Row]) -> SizingEvidence:
    sizing = told(config, **changed).advice.sizing
    assert sizing is not None
    return sizing.evidence


def model(**changed: Sequence[Row]) -> ModelEvidence:
    (only,) = evidence(**changed).models
    return only


def test_the_evidence_is_what_was_recorded() -> None:
    assert evidence(Config(server=Server(precision="fp16"))) == SizingEvidence(
        products=("NVIDIA A100-SXM4-40GB",),
        gpus=1.0,
        is_partitioned=False,
        cost_per_hour={"instance": 3.0, "licence": 0.5},
        currency="USD",
        price_age_seconds=86_400.0,
        peak_load_ratio=0.25,
        busy_ratio=0.1,
        memory_peak_bytes=8_000_000_000,
        memory_is_reserved=False,
        precision="fp16",
        throttled_ratio=0.125,
        window_seconds=3600.0,
        models=(ModelEvidence("m", "latency", has_sla=True, slowdown_at_sla_ratio=5.0, inferences=1001, quantile_ratio=0.95),),
    )


def test_nothing_recorded_is_no_evidence() -> None:
    nothing: dict[str, Sequence[Row]] = dict.fromkeys(FULL, ())
    empty = told(**nothing)
    assert empty.advice.sizing is None
    assert empty.advice.bound is None
    assert empty.advice.findings == ()
    assert empty.price_as_of is None
    nothing["gpus"] = FULL["gpus"]
    bare = evidence(**nothing)
    assert (bare.cost_per_hour, bare.currency, bare.busy_ratio, bare.memory_peak_bytes, bare.price_age_seconds) == (
        {},
        None,
        None,
        None,
        None,
    )


def test_replicas_with_other_gpus_are_not_taken_together() -> None:
    other = {**A100, "gpu_uuid": "GPU-2", "product": "Tesla T4", "instance": "b"}
    with pytest.raises(ConfigError, match="other GPUs"):
        told(gpus=[(A100, 1.0), (other, 1.0)])


def test_a_gpu_that_was_exchanged_for_one_of_its_kind_is_counted_once_and_another_kind_is_told() -> None:
    exchanged = {**A100, "gpu_uuid": "GPU-2"}
    assert evidence(gpus=[(A100, 1.0), (exchanged, 1.0)], gpus_now=[(exchanged, 1.0)]).gpus == 1.0
    with pytest.raises(ConfigError, match="other GPUs"):
        told(gpus=[({**A100, "product": "Tesla T4"}, 1.0), (exchanged, 1.0)], gpus_now=[(exchanged, 1.0)])


def test_gpus_of_one_replica_are_counted_and_shared() -> None:
    second = {**A100, "gpu_uuid": "GPU-2"}
    both = evidence(gpus=[(A100, 1.0), (second, 1.0)], shares=[({"gpu_uuid": "GPU-2"}, 0.5)])
    assert both.products == ("NVIDIA A100-SXM4-40GB",) * 2
    assert both.gpus == 1.5
    assert both.busy_ratio == pytest.approx(0.2)


@pytest.mark.parametrize("labels", [{**A100, "gpu_uuid": "MIG-1"}, {**A100, "product": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"}])
def test_a_slice_is_a_part_of_a_device(labels: Mapping[str, str]) -> None:
    assert evidence(gpus=[(labels, 1.0)]).is_partitioned


def test_busy_time_is_of_the_time_that_is_known_and_of_most_of_it() -> None:
    assert evidence(unknown_seconds=[({}, 360.0)]).busy_ratio == pytest.approx(1 / 9)
    assert evidence(unknown_seconds=[({}, 400.0)]).busy_ratio is None


def test_a_price_that_can_not_be_told_in_full_is_none() -> None:
    assert evidence(price_missing=[({}, 1.0)]).cost_per_hour == {}


def test_costs_of_replicas_that_have_gone_count_where_none_runs() -> None:
    assert evidence(cost_now=(), cost=[({"component": "instance", "currency": "EUR"}, 2.0)]).currency == "EUR"


def test_several_currencies_are_told() -> None:
    rows = [({"component": "instance", "currency": currency}, 1.0) for currency in ("EUR", "USD")]
    with pytest.raises(ConfigError, match="several currencies"):
        told(cost_now=rows)


def test_a_currency_that_is_none_is_no_price() -> None:
    assert evidence(cost_now=[({"component": "instance", "currency": "\x1b[31m"}, 1.0)]).cost_per_hour == {}


def test_a_pool_for_the_cache_is_reserved_memory() -> None:
    assert evidence(reserved=[({}, 1.0)]).memory_is_reserved


def test_spans_that_are_no_fair_sample_say_nothing_of_how_much_slower_it_may_be() -> None:
    assert model(findings=[({"code": "coverage_biased", "level": "warning", "model": "m"}, 1.0)]).slowdown_at_sla_ratio is None


@pytest.mark.parametrize(
    "changed",
    [{"targets_most": [({"model": "m", "signal": "duration"}, 0.2)]}, {"quantiles_most": [({"model": "m"}, 0.99)]}],
    ids=["target", "quantile"],
)
def test_an_sla_that_changed_says_nothing_of_how_much_slower_it_may_be(changed: dict[str, Sequence[Row]]) -> None:
    assert model(**changed).slowdown_at_sla_ratio is None
    assert any("an SLA changed" in note for note in notes_of(answers(**changed), steps=100))


def test_a_model_without_an_sla_is_batch_and_a_damaged_edge_is_left_out() -> None:
    plain = model(targets_most=(), targets_least=(), quantiles_most=(), quantiles_least=())
    assert (plain.workload, plain.has_sla, plain.slowdown_at_sla_ratio) == ("batch", False, None)
    rows = [*FULL["duration_buckets"], ({"model": "m", "le": "wide"}, 5000.0)]
    assert model(duration_buckets=rows).slowdown_at_sla_ratio == 5.0


def test_a_target_of_a_signal_that_is_none_is_no_sla() -> None:
    rows = [({"model": "m", "signal": "luck"}, 0.1)]
    assert told(targets_most=rows, targets_least=rows).slas == {}


def test_findings_come_longest_first_and_unknown_ones_not_at_all() -> None:
    findings = told(findings=[*FULL["findings"], ({"code": "luck", "level": "info"}, 9.0), ({"code": "idle_gpu", "level": "odd"}, 9.0)])
    assert [(one.code, one.model, one.evidence, one.saving_per_hour) for one in findings.advice.findings] == [
        ("sla_missed", "m", {"held_ratio": 0.4}, None),
        ("held_idle_gpu", None, {"held_ratio": 0.25}, 1.5),
    ]


def test_what_is_only_worth_knowing_comes_last() -> None:
    rows = [({"code": "memory_bound_try_lower_precision", "level": "info"}, 100.0), *FULL["findings"]]
    assert told(findings=rows).advice.findings[-1].level == "info"


@pytest.mark.parametrize(
    ("rows", "bound"),
    [
        ({"memory": 60.0, "unknown": 40.0}, "memory"),
        ({"memory": 40.0, "compute": 30.0, "queue": 30.0}, "unknown"),
        ({"unknown": 5.0}, "unknown"),
        ({"memory": 0.0}, None),
        ({"luck": 9.0}, "unknown"),
    ],
)
def test_what_bound_for_over_half_of_the_time_binds(rows: dict[str, float], bound: str | None) -> None:
    assert told(bound=[({"resource": resource}, count) for resource, count in rows.items()]).advice.bound == bound


def test_notes_tell_gaps_and_replicas() -> None:
    (note,) = notes_of(answers(), steps=100)
    assert "lower bound" in note
    assert notes_of(answers(), steps=200)[0].startswith("the sidecar was scraped in 50 % of the range")
    assert "no replica is scraped any more" in notes_of(answers(replicas_now=()), steps=100)
    assert "up to 3 replicas ran at one time" in notes_of(answers(replicas=[({}, 3.0)]), steps=100)


# --- how much slower ---------------------------------------------------------------------------------------------------------------
def test_too_few_inferences_prove_nothing() -> None:
    assert slowdown(SlaTarget(0.99, 0.1), {"duration": [(0.01, 298.0), (INF, 298.0)]}, inferences=298, errors=0) is None
    assert slowdown(SlaTarget(0.99, 0.1), {"duration": [(0.01, 299.0), (INF, 299.0)]}, inferences=299, errors=0) == pytest.approx(10)


def test_more_errors_than_the_sla_allows_leave_no_room() -> None:
    assert slowdown(SlaTarget(0.99, 0.1), {"duration": [(0.01, 900.0), (INF, 900.0)]}, inferences=1000, errors=100) == 0.0


def test_misses_of_several_targets_are_added() -> None:
    both = SlaTarget(0.98, duration_seconds=1.0, ttft_seconds=0.1)
    allowed = most_misses(both, observed=1000, confidence=0.95)
    assert allowed
    within = 1000.0 - allowed
    duration, ttft = ([(target / 2, within), (target, 1000.0), (INF, 1000.0)] for target in (1.0, 0.1))
    assert slowdown(both, {"duration": duration}, inferences=1000, errors=0) == 2.0
    assert slowdown(both, {"duration": duration, "ttft": ttft}, inferences=1000, errors=0) == 1.0


@given(st.lists(st.floats(1e-4, 10), min_size=299, max_size=400), st.floats(0.01, 5))
def test_it_is_never_more_than_what_the_inferences_themselves_allow(durations: list[float], target: float) -> None:
    edges = [*(0.0025 * 2**k for k in range(14)), target, INF]
    buckets = [(edge, float(sum(seconds <= edge for seconds in durations))) for edge in sorted(edges)]
    sla = SlaTarget(0.99, target)
    factor = slowdown(sla, {"duration": buckets}, inferences=len(durations), errors=0)
    allowed = most_misses(sla, observed=len(durations), confidence=0.95)
    assert factor is not None
    assert allowed is not None
    assert sum(seconds * factor > target * (1 + 1e-6) for seconds in durations) <= allowed

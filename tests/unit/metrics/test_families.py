from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite, nan
from typing import Any

import pytest

from infermeter.metrics import catalog
from infermeter.metrics.catalog import CATALOG, Family
from infermeter.metrics.families import Families, families
from infermeter.model import Advice, Histogram, Snapshot
from support.snapshots import SLA, empty_snapshot, gpu, llm, opaque, rich_snapshot, sampled_snapshot

ONLY_EXPOSED = {catalog.SERIES, catalog.SERIES_LIMIT, catalog.SERIES_OVERFLOWED}


def values(found: Families, family: Family, *names: str) -> dict[Any, Any]:
    """Values by the values of these labels."""
    return {tuple(point.labels.get(name) for name in names): point.value for point in found.get(family, ())}


def with_ledger(snapshot: Snapshot, **changes: Any) -> Snapshot:
    return replace(snapshot, ledger=replace(snapshot.ledger, **changes))


def test_each_family_of_the_catalog_appears_in_a_rich_snapshot() -> None:
    assert set(families(rich_snapshot())) == set(CATALOG) - ONLY_EXPOSED


def test_families_come_in_the_catalogs_order() -> None:
    found = list(families(rich_snapshot()))
    assert found == [family for family in CATALOG if family in found]


def test_points_carry_the_familys_labels_and_no_others() -> None:
    for family, points in families(rich_snapshot()).items():
        allowed = {"server", *(label.name for label in family.labels)}
        assert all(set(point.labels) <= allowed for point in points), family.name
        assert all(point.labels["server"] == "chat" for point in points), family.name


def test_values_of_closed_labels_are_of_their_set() -> None:
    for family, points in families(rich_snapshot()).items():
        for label in (label for label in family.labels if label.values):
            assert {point.labels[label.name] for point in points} <= set(label.values), (family.name, label.name)


def test_no_two_points_of_a_family_share_their_labels() -> None:
    for family, points in families(rich_snapshot(gpus=8)).items():
        assert len({tuple(point.labels.items()) for point in points}) == len(points), family.name


def test_without_prices_every_cost_family_is_absent() -> None:
    bare = replace(llm(), cost={}, cost_in_sla_state={}, windows=())
    found = families(
        replace(with_ledger(rich_snapshot(models=(bare,)), cost={}, cost_per_hour={}, currency=None), price_as_of_ns=None, advice=Advice())
    )
    assert [family.name for family in found if "cost" in family.name or "price" in family.name] == []


def test_a_sidecar_that_has_just_started_shows_only_what_is_certain() -> None:
    found = families(empty_snapshot())
    names = [family.name for family in found]
    assert names == [
        "inferences_source",
        "inferences_late_total",
        "busy_seconds_total",
        "spans_received_total",
        "spans_dropped_total",
        "spans_unmapped_total",
        "exports_refused_total",
        "connections_displaced_total",
        "traces_pending",
        "traces_pending_limit",
        "gpu_samples_rejected_total",
        "build_info",
    ]


@pytest.mark.parametrize(
    ("family", "series"),
    [
        (catalog.SPANS_RECEIVED, 2),
        (catalog.SPANS_DROPPED, 7),
        (catalog.SPANS_UNMAPPED, 4),
        (catalog.EXPORTS_REFUSED, 10),
        (catalog.CONNECTIONS_DISPLACED, 1),
        (catalog.GPU_SAMPLES_REJECTED, 4),
    ],
)
def test_counters_of_a_closed_set_are_born_0(family: Family, series: int) -> None:
    points = families(empty_snapshot())[family]
    assert [point.value for point in points] == [0] * series


def test_what_was_counted_stands_beside_what_was_not() -> None:
    found = families(rich_snapshot())
    assert values(found, catalog.SPANS_DROPPED, "reason")[("late",)] == 3
    assert values(found, catalog.SPANS_DROPPED, "reason")[("future",)] == 0
    assert values(found, catalog.EXPORTS_REFUSED, "protocol", "reason")[("http", "malformed")] == 2
    assert values(found, catalog.EXPORTS_REFUSED, "protocol", "reason")[("grpc", "malformed")] == 0
    assert values(found, catalog.CONNECTIONS_DISPLACED) == {(): 3}


def test_what_is_not_of_a_closed_set_is_never_hidden() -> None:
    intake = replace(rich_snapshot().intake, spans_received={"file": 9})
    received = values(families(replace(rich_snapshot(), intake=intake)), catalog.SPANS_RECEIVED, "protocol")
    assert received == {("grpc",): 0, ("http",): 0, ("file",): 9}


def test_totals_come_from_spans_unless_these_are_a_sample() -> None:
    seen = families(replace(rich_snapshot(), totals_from="observed"))
    assert values(seen, catalog.INFERENCES, "model", "outcome")[("llama-3-8b", "ok")] == 1000
    assert values(seen, catalog.INFERENCES, "model", "outcome")[("llama-3-8b", "error")] == 5
    assert values(seen, catalog.INFERENCES_SOURCE, "source") == {("observed",): 1}
    sampled = families(sampled_snapshot())
    assert catalog.INFERENCES not in sampled
    assert catalog.INFERENCES_SOURCE not in sampled
    assert catalog.BUSY_SECONDS not in sampled
    assert sampled[catalog.INFERENCES_OBSERVED] == seen[catalog.INFERENCES_OBSERVED]


def test_totals_come_from_the_server_once_it_has_told_them() -> None:
    told = families(rich_snapshot())
    assert values(told, catalog.INFERENCES, "model", "outcome")[("llama-3-8b", "ok")] == 1025
    assert values(told, catalog.INFERENCES_SOURCE, "source") == {("server",): 1}
    silent = families(replace(rich_snapshot(), ledger=replace(rich_snapshot().ledger, totals=None)))
    assert catalog.INFERENCES not in silent
    assert catalog.INFERENCES_SOURCE not in silent


def test_exactly_one_state_of_a_state_set_is_1() -> None:
    states = values(families(rich_snapshot()), catalog.WINDOW_SLA_STATE, "model", "state")
    assert states == {("llama-3-8b", "met"): 1, ("llama-3-8b", "missed"): 0, ("llama-3-8b", "insufficient"): 0}


def test_a_model_without_sla_or_tokens_has_neither() -> None:
    found = families(rich_snapshot(models=(opaque(),)))
    absent = {
        catalog.INFERENCES_OBSERVED_WITHIN_SLA,
        catalog.TOKENS,
        catalog.TIME_TO_FIRST_TOKEN,
        catalog.TIME_PER_OUTPUT_TOKEN,
        catalog.SLA_TARGET,
        catalog.SLA_QUANTILE,
        catalog.WINDOW_SLA_STATE,
        catalog.WINDOW_COST_PER_INFERENCE,
    }
    assert absent.isdisjoint(found)
    assert {labels[0] for labels in values(found, catalog.STAGE_DURATION, "stage")} == {"queue", "compute", "other"}


def test_an_sla_shows_only_the_targets_that_it_has() -> None:
    sla = replace(SLA, ttft_seconds=None, tpot_seconds=None)
    found = families(rich_snapshot(models=(replace(llm(), sla=sla),)))
    assert values(found, catalog.SLA_TARGET, "signal") == {("duration",): 4.0}


def test_a_stale_gpu_keeps_its_identity_and_counters_alone() -> None:
    stale = replace(gpu(), up=False, last=None)
    found = families(with_ledger(rich_snapshot(), gpus=(stale,)))
    shown = {family for family in found if catalog.GPU_UUID in family.labels}
    assert shown == {
        catalog.GPU_INFO,
        catalog.GPU_UP,
        catalog.GPU_MEMORY_TOTAL,
        catalog.GPU_LAST_SAMPLE,
        catalog.GPU_SHARE,
        catalog.GPU_PCIE,
        catalog.GPU_THROTTLED,
        catalog.GPU_ENERGY,
        catalog.GPU_STATE_SECONDS,
        catalog.GPU_BASELINE,
    }
    assert [point.value for point in found[catalog.GPU_UP]] == [0]


def test_a_gpu_that_is_wholly_this_servers_has_no_share() -> None:
    whole = replace(gpu(), identity=replace(gpu().identity, share_ratio=1.0))
    assert catalog.GPU_SHARE not in families(with_ledger(rich_snapshot(), gpus=(whole,)))


def test_what_a_gpu_does_not_say_of_itself_is_no_label() -> None:
    nameless = replace(gpu(), identity=replace(gpu().identity, index=None, product=None, driver_version=None, energy=None))
    (point,) = families(with_ledger(rich_snapshot(), gpus=(nameless,)))[catalog.GPU_INFO]
    assert point.labels == {"server": "chat", "gpu_uuid": nameless.identity.uuid, "source": "nvml"}


def test_hardware_families_are_only_there_when_they_are_wanted() -> None:
    wanted = {catalog.GPU_POWER_LIMIT, catalog.GPU_TEMPERATURE, catalog.GPU_SM_CLOCK}
    assert wanted <= set(families(rich_snapshot()))
    assert wanted.isdisjoint(families(replace(rich_snapshot(), gpu_hardware=False)))


def test_a_source_that_does_not_answer_is_down_and_no_source_is_absent() -> None:
    down = families(replace(rich_snapshot(), gpu_source_up=False))
    assert values(down, catalog.GPU_SOURCE_UP, "source") == {("nvml",): 0}
    assert catalog.GPU_SOURCE_UP not in families(replace(rich_snapshot(), gpu_source_up=None))


def test_a_finding_on_the_server_has_no_model() -> None:
    found = families(rich_snapshot())
    assert values(found, catalog.FINDING, "model", "code", "level") == {
        (None, "price_missing", "warning"): 1,
        ("llama-3-8b", "price_missing", "info"): 1,
    }
    assert values(found, catalog.FINDING_SAVING_PER_HOUR, "model") == {("llama-3-8b",): 0.125}


@pytest.mark.parametrize("hole", [nan, inf, -inf])
def test_what_is_not_finite_is_absent(hole: float) -> None:
    holed = gpu()
    assert holed.last is not None
    holed = replace(holed, last=replace(holed.last, power_watts=hole), energy_joules=hole, baseline_watts=hole)
    broken = replace(llm(), ttft=Histogram((1.0,), (1, 0), hole), cost={"active": hole}, windows=())
    found = families(with_ledger(rich_snapshot(models=(broken,)), gpus=(holed,), busy_seconds=hole, emissions_grams=hole))
    absent = {
        catalog.GPU_POWER,
        catalog.GPU_ENERGY,
        catalog.GPU_BASELINE,
        catalog.TIME_TO_FIRST_TOKEN,
        catalog.COST_BY_USE,
        catalog.BUSY_SECONDS,
        catalog.EMISSIONS,
    }
    assert absent.isdisjoint(found)
    for points in found.values():
        assert all(isfinite(p.value.sum_seconds if isinstance(p.value, Histogram) else p.value) for p in points)


def test_a_label_that_utf8_cannot_hold_is_escaped() -> None:
    found = families(rich_snapshot(models=(llm("caf\u00e9\udc80"),)))
    assert {point.labels["model"] for point in found[catalog.INFERENCES]} == {"caf\u00e9\\udc80"}

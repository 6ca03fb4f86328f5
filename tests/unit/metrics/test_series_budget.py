"""The contract's budget: a sidecar of 8 GPUs, 3 models and one window exposes at most 600 series."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client import ProcessCollector
from prometheus_client.parser import text_string_to_metric_families as parsed

from infermeter.metrics import catalog
from infermeter.metrics.exposition import Exposition
from infermeter.metrics.families import families
from infermeter.metrics.report import report
from infermeter.model import STAGES, Component, Finding, ModelFacts, Snapshot, Stage
from support.snapshots import llm, rich_snapshot

BUDGET = 600
PARTS: tuple[tuple[Stage, str], ...] = (
    ("compute", "prefill"),
    ("compute", "decode"),
    ("transfer", "kv"),
    ("transfer", "bootstrap"),
    ("serialisation", "tokenise"),
    ("serialisation", "dispatch"),
    ("serialisation", "process"),
)
"""As many as any shipped mapping tells: SGLang's, where prefill and decode are apart."""
COMPONENTS: tuple[Component, ...] = ("amortisation", "power", "cooling", "host", "licence", "other")
"""Hardware of one's own. With rent that contains power there are fewer."""
UNPROFILED = {"dram_active_ratio": None, "tensor_active_ratio": None}
ONLY_WITH_HARDWARE = {catalog.GPU_SM_OCCUPANCY, catalog.GPU_POWER_LIMIT, catalog.GPU_TEMPERATURE, catalog.GPU_SM_CLOCK, catalog.GPU_PCIE}


def outspoken(name: str) -> ModelFacts:
    """A model of which everything is told: all stages in all parts, each reading at the SLA."""
    model = llm(name)
    (window,) = model.windows
    bases = dict.fromkeys(catalog.BASIS.values, 0.005)
    return replace(
        model,
        part_seconds=dict.fromkeys(PARTS, 100.0),
        windows=(replace(window, cost_per_inference_at_sla=bases),),
    )


def fullest() -> Snapshot:
    """8 GPUs of its own with profiling, 3 models, 1 window, and what else can be told at once without `gpu.hardware`."""
    snapshot = rich_snapshot(gpus=8, share=1.0, models=tuple(outspoken(name) for name in ("base", "adapter-a", "adapter-b")))
    finding = Finding("queue_bound", "warning", None, {}, "Do.", "Gone.", saving_per_hour=0.5)
    about_models = (replace(finding, code="sla_missed", model=model.model, saving_per_hour=None) for model in snapshot.ledger.models)
    costs = dict.fromkeys(COMPONENTS, 1.0)
    return replace(
        snapshot,
        gpu_hardware=False,
        ledger=replace(snapshot.ledger, cost=costs, cost_per_hour=costs),
        advice=replace(snapshot.advice, findings=(finding, *about_models)),
    )


def usual(*, stages: tuple[Stage, ...], profiling: bool) -> Snapshot:
    """A server as full as they are: tokens and both token times, parts, SLAs, at a rent that contains power, with two findings."""
    snapshot, cost = fullest(), {"instance": 1.0}
    parts = dict.fromkeys(
        ((stage, part) for stage, part in PARTS if stage in stages and part in {"prefill", "decode", "kv", "tokenise"}), 1.0
    )
    models = tuple(
        replace(model, part_seconds=parts, stages={stage: one for stage, one in model.stages.items() if stage in (*stages, "other")})
        for model in snapshot.ledger.models
    )
    gpus = tuple(
        gpu if profiling or gpu.last is None else replace(gpu, last=replace(gpu.last, sm_active_ratio=None, **UNPROFILED))
        for gpu in snapshot.ledger.gpus
    )
    ledger = replace(snapshot.ledger, cost=cost, cost_per_hour=cost, models=models, gpus=gpus)
    return replace(snapshot, ledger=ledger, advice=replace(snapshot.advice, findings=snapshot.advice.findings[:2]))


def exposed(snapshot: Snapshot) -> Counter[str]:
    """Series by family, of the whole exposition, the process's own included."""
    body, _ = Exposition((ProcessCollector(registry=None),)).render(snapshot, "text/plain")
    return Counter({metric.name: len(metric.samples) for metric in parsed(body.decode())})


def test_the_fullest_sidecar_has_every_family_but_those_of_hardware_and_of_shared_gpus() -> None:
    absent = {catalog.SERIES, catalog.SERIES_LIMIT, catalog.SERIES_OVERFLOWED, catalog.GPU_SHARE} | ONLY_WITH_HARDWARE
    assert set(families(fullest())) == set(catalog.CATALOG) - absent


@pytest.mark.parametrize(
    ("stages", "profiling"),
    [(("queue", "compute", "serialisation"), True), (STAGES, False)],
    ids=["profiled", "with transfers"],
)
def test_eight_gpus_three_models_and_one_window_stay_within_the_budget(stages: tuple[Stage, ...], *, profiling: bool) -> None:
    assert exposed(usual(stages=stages, profiling=profiling)).total() <= BUDGET


def test_with_every_component_part_and_finding_at_once_it_is_exceeded_by_little() -> None:
    assert exposed(fullest()).total() <= BUDGET * 1.06


def test_stages_have_edges_and_the_remainder_sum_and_count() -> None:
    body, _ = Exposition().render(rich_snapshot(models=(llm(),)), "text/plain")
    (stages,) = (metric for metric in parsed(body.decode()) if metric.name == "infermeter_stage_duration_seconds")
    of_stage = {
        stage: [(s.name.rpartition("_")[2], s.labels.get("le"), s.value) for s in stages.samples if s.labels["stage"] == stage]
        for stage in catalog.STAGE.values
    }
    for stage in STAGES:
        edges = [edge for kind, edge, _ in of_stage[stage] if kind == "bucket"]
        assert edges == ["0.0025", "0.01", "0.04", "0.16", "0.64", "2.56", "+Inf"]
    assert of_stage["other"] == [("bucket", "+Inf", 1000.0), ("count", None, 1000.0), ("sum", None, 62.5)]


@pytest.mark.parametrize("stage", catalog.STAGE.values)
def test_the_report_has_the_edges_of_every_stage(stage: Stage) -> None:
    entries = report(rich_snapshot(models=(llm(),)))["stage_duration_seconds"]
    (entry,) = (entry for entry in entries if entry["labels"]["stage"] == stage)
    assert len(entry["buckets"]) == 7


def test_address_space_is_not_told_of_the_process() -> None:
    of_the_process = {name for name in exposed(fullest()) if name.startswith("process_")}
    assert of_the_process == {
        "process_cpu_seconds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_open_fds",
        "process_max_fds",
    }

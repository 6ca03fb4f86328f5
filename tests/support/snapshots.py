"""Snapshots made by hand: one in which every family of the catalog has a point, and one of a sidecar that has just started.

Their sums agree as a ledger's would: stages and `other` add up to durations, uses to components, the waterfall's steps to the cost.
"""

from __future__ import annotations

from dataclasses import replace

from infermeter.model import (
    STAGES,
    Advice,
    Candidate,
    CapacityFacts,
    Exemplar,
    Finding,
    ForwardFacts,
    GpuFacts,
    GpuIdentity,
    GpuSample,
    Histogram,
    IntakeFacts,
    Judged,
    LedgerSnapshot,
    ModelEvidence,
    ModelFacts,
    ModelWindow,
    Move,
    RightSizing,
    ServerGauges,
    ServerWindow,
    SizingEvidence,
    SlaTarget,
    Slot,
    Snapshot,
    Stage,
    Window,
)

SECOND_NS = 1_000_000_000
START_NS = 1_784_548_800 * SECOND_NS  # 2026-07-20 12:00:00 UTC
END_NS = START_NS + 7200 * SECOND_NS
HOUR = Window("1h", 3600.0)

DURATION_EDGES = (0.0025, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 4.0, 5.12, 10.24, 20.48, 40.96, 163.84)
TTFT_EDGES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.3, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
TPOT_EDGES = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.05, 0.08, 0.16, 0.32, 0.64)
STAGE_EDGES = (0.0025, 0.01, 0.04, 0.16, 0.64, 2.56)

SLA = SlaTarget(quantile_ratio=0.99, duration_seconds=4.0, ttft_seconds=0.3, tpot_seconds=0.05)
STAGE_MEANS: dict[Stage, float] = {"queue": 0.25, "compute": 1.5, "transfer": 0.0625, "serialisation": 0.125, "other": 0.0625}


def histogram(edges: tuple[float, ...], mean_seconds: float, n: int = 1000) -> Histogram:
    """`n` values around the mean, in the three buckets about it, with an exemplar in the middle one."""
    middle = next(i for i, edge in enumerate((*edges, float("inf"))) if mean_seconds <= edge)
    counts = [0] * (len(edges) + 1)
    exemplars: list[Exemplar | None] = [None] * (len(edges) + 1)
    counts[middle] = n - n // 10
    counts[max(middle - 1, 0)] += n // 10
    exemplars[middle] = Exemplar("0af7651916cd43dd8448eb211c80319c", mean_seconds, END_NS - 5 * SECOND_NS)
    return Histogram(edges, tuple(counts), n * mean_seconds, tuple(exemplars))


def llm(name: str = "llama-3-8b") -> ModelFacts:
    """A model with tokens, an SLA, prices and energy: everything that a model can tell."""
    return ModelFacts(
        model=name,
        observed_ok=1000,
        observed_error=5,
        within_sla=990,
        late=2,
        duration=histogram(DURATION_EDGES, 2.0),
        ttft=histogram(TTFT_EDGES, 0.2),
        tpot=histogram(TPOT_EDGES, 0.03),
        stages={stage: histogram(STAGE_EDGES, mean) for stage, mean in STAGE_MEANS.items()},
        part_seconds={("transfer", "kv"): 40.0, ("transfer", "host_to_device"): 22.5, ("serialisation", "tokenise"): 125.0},
        tokens_input=512_000,
        tokens_output=128_000,
        sla=SLA,
        in_sla_state={"met": 700, "missed": 200, "insufficient": 50},
        cost_in_sla_state={"met": 2.5, "missed": 1.0, "insufficient": 0.5},
        energy_joules={"active": 900_000.0, "idle": 300_000.0, "unattributed": 50_000.0},
        cost={"active": 3.0, "idle": 1.0, "unattributed": 0.25},
        windows=(
            ModelWindow(
                window=HOUR,
                inferences_ok=500,
                inferences_observed=503,
                inferences_within_sla=495,
                cost=2.25,
                joules=625_000.0,
                tokens=320_000,
                stage_seconds={stage: 500 * mean for stage, mean in STAGE_MEANS.items()},
                cost_per_inference=0.0045,
                cost_per_inference_at_sla={"goodput": 2.25 / 495, "compliant": 0.00375},
                latency_at_sla_quantile_seconds={"duration": 3.5, "ttft": 0.25, "tpot": 0.045},
                sla_state="met",
                tokens_input=256_000,
                tokens_output=64_000,
                prefill_seconds=150.0,
                decode_seconds=600.0,
                signal_inferences={"duration": 500, "ttft": 500, "tpot": 480},
                judged=Judged(503, 499, 0.95),
            ),
        ),
        capacity=CapacityFacts(observed_per_second=0.5, reached=True, modelled_per_second=0.625, inferences=18_000),
    )


def opaque(name: str = "resnet50") -> ModelFacts:
    """A model without tokens and without an SLA, whose server can't tell transfer or serialisation, and that hasn't served yet."""
    none: dict[Stage, Histogram] = {stage: Histogram(STAGE_EDGES, (0,) * 7, 0.0) for stage in ("queue", "compute", "other")}
    return ModelFacts(
        model=name,
        observed_ok=0,
        observed_error=0,
        within_sla=None,
        late=0,
        duration=Histogram(DURATION_EDGES, (0,) * 17, 0.0),
        ttft=None,
        tpot=None,
        stages=none,
        part_seconds={},
        tokens_input=None,
        tokens_output=None,
        sla=None,
        in_sla_state={},
        cost_in_sla_state={},
        energy_joules={"active": 0.0, "idle": 0.0, "unattributed": 0.0},
        cost={"active": 0.0, "idle": 0.0, "unattributed": 0.0},
        windows=(ModelWindow(HOUR, 0, 0, None, 0.0, 0.0, None, {}, None, {}, {}, None),),
    )


def gpu(index: int = 0, *, share: float = 0.5) -> GpuFacts:
    """A GPU of which half belongs to this server, and that tells everything."""
    uuid = f"GPU-{index:08d}-0000-4000-8000-000000000000"
    sample = GpuSample(
        uuid=uuid,
        time_ns=END_NS - SECOND_NS,
        power_watts=312.5,
        energy_joules=9_000_000.0,
        utilisation_ratio=0.875,
        memory_used_bytes=60 * 2**30,
        memory_total_bytes=80 * 2**30,
        temperature_celsius=61.0,
        sm_clock_hertz=1.98e9,
        power_limit_watts=700.0,
        sm_active_ratio=0.5,
        tensor_active_ratio=0.25,
        dram_active_ratio=0.375,
        computing_processes=1,
        sm_occupancy_ratio=0.625,
    )
    identity = GpuIdentity(uuid, index, "NVIDIA H100 80GB HBM3", "550.90.07", "nvml", "counter", 80 * 2**30, 700.0, share_ratio=share)
    return GpuFacts(
        identity=identity,
        up=True,
        last=sample,
        last_sample_ns=sample.time_ns,
        energy_joules=2_500_000.0,
        state_seconds={"active": 5400.0, "held_idle": 1500.0, "idle": 200.0, "unknown": 50.0},
        baseline_watts=118.0,
        throttled_seconds={"power": 120.0, "thermal": 0.0, "other": 2.5},
        pcie_transmitted_bytes=3 * 2**30,
        pcie_received_bytes=5 * 2**30,
    )


def sampled_snapshot() -> Snapshot:
    """The same of a server of which spans are a sample, and nothing else counts the inferences."""
    full = rich_snapshot()
    return replace(full, sampled=True, totals_from=None, ledger=replace(full.ledger, thin=True, totals=None, coverage_ratio=None))


def sizing() -> RightSizing:
    """An H100 that an L4 could stand in for, an A10 perhaps, and a T4 not."""
    evidence = SizingEvidence(
        products=("NVIDIA H100 80GB HBM3",),
        gpus=1.0,
        is_partitioned=False,
        cost_per_hour={"instance": 2.0, "licence": 0.25},
        currency="USD",
        price_age_seconds=86_400.0,
        peak_load_ratio=0.0625,
        busy_ratio=0.75,
        memory_peak_bytes=8_000_000_000,
        memory_is_reserved=False,
        precision="bf16",
        throttled_ratio=0.0,
        window_seconds=3600.0,
        models=(ModelEvidence("llama-3-8b", "latency", has_sla=True, slowdown_at_sla_ratio=16.0, inferences=500),),
    )
    fits = Candidate(
        product="l4",
        verdict="fits",
        blocked_by=(),
        reasons={},
        throughput_ratio_low=0.0625,
        throughput_ratio_point=0.1,
        throughput_ratio_high=0.125,
        load_ratio=0.75,
        slowdown_ratio=12.0,
        slowdown_allowed_ratio=20.0,
        cost_per_hour=0.75,
        saving_per_hour=1.5,
        provider="AWS",
        facts_verified=True,
    )
    unsure = replace(fits, product="a10", verdict="unsure", blocked_by=("evidence",), reasons={"evidence": "nothing tells"})
    no = replace(fits, product="t4", verdict="no", blocked_by=("precision",), reasons={"precision": "doesn't compute natively in bf16"})
    fewer = Move(
        kind="fewer_replicas",
        verdict="fits",
        evidence={"needed_ratio": 0.08125, "headroom": 1.3},
        what_to_do="If it has replicas, run fewer.",
        falsified_by="The sum of the replicas' peak loads is more than what is left.",
        saving_per_hour=2.0,
    )
    return RightSizing(evidence, (fits, unsure, no, replace(no, product="v100-pcie-16gb", cost_per_hour=None)), (fewer,))


def rich_snapshot(*, gpus: int = 2, share: float = 0.5, models: tuple[ModelFacts, ...] | None = None) -> Snapshot:
    """A sidecar that has seen everything: each family of the catalog has at least one point."""
    models = (llm(), opaque()) if models is None else models
    ledger = LedgerSnapshot(
        time_ns=END_NS,
        start_ns=START_NS,
        settled_ns=END_NS - 90 * SECOND_NS,
        models=models,
        windows=(
            ServerWindow(
                window=HOUR,
                accrued_seconds=3600.0,
                busy_seconds=2700.0,
                joules=625_000.0,
                cost=2.25,
                inferences_ok=500,
                inferences_within_sla=495,
                waterfall_cost={"capacity": 1.25, "low_load": 0.42, "idle": 0.5625, "sla_missed": 0.0175},
                load_ratio=0.28,
                idle_seconds=900.0,
                unpriced_seconds=0.0,
            ),
        ),
        slots=(Slot(START_NS, 10.0, "llama-3-8b", 5, 4, 4, 0.0125, 3125.0, 8.5, 2560, 640),),
        busy_seconds=5400.0,
        stage_quality={**dict.fromkeys(STAGES, "measured"), "compute": "estimated"},
        gpus=tuple(gpu(index, share=share) for index in range(gpus)),
        host_energy_joules={"configured": 720_000.0},
        samples_rejected={"gap": 1},
        currency="USD",
        cost={"instance": 4.0, "licence": 0.5},
        cost_per_hour={"instance": 2.0, "licence": 0.25},
        unknown_seconds=3.0,
        emissions_grams=285.5,
        totals={model.model: {"ok": model.observed_ok * 1.025, "error": float(model.observed_error)} for model in models},
        coverage_ratio=0.975,
        gauges=ServerGauges(running=7.0, waiting=3.0, batch_size=6.5, kv_cache_used_ratio=0.625),
        peak_load_ratio=0.875,
    )
    finding = Finding(
        code="price_missing",
        level="warning",
        model=None,
        evidence={"unpriced": "host", "gpus_seen": gpus},
        what_to_do="Say what the host costs.",
        falsified_by="cost_per_hour shows every configured component.",
    )
    return Snapshot(
        server="chat",
        version="0.1.0",
        revision="8466f43",
        kind="serve",
        ledger=ledger,
        intake=IntakeFacts(
            spans_received={"grpc": 4000, "http": 22},
            spans_dropped={"late": 3, "malformed": 1},
            spans_unmapped={"no_rule": 12},
            exports_refused={("http", "malformed"): 2},
            connections_displaced=3,
            last_span_ns=END_NS - 2 * SECOND_NS,
            traces_pending=7,
            traces_pending_limit=10_000,
        ),
        advice=Advice(
            findings=(finding, replace(finding, model="llama-3-8b", level="info", saving_per_hour=0.125)),
            workloads={model.model: "latency" for model in models},
            bound="memory",
            sizing=sizing(),
        ),
        gpu_source="nvml",
        gpu_source_up=True,
        price_as_of_ns=START_NS - 43_200 * SECOND_NS,
        price_source="list price, on demand",
        series_limit=5000,
        config_reload_ns=START_NS,
        totals_from="server",
        gpu_hardware=True,
        server_scrape_up=True,
        state_files_rejected=0,
        forward=ForwardFacts(
            spans_forwarded=3900,
            spans_reencoded=22,
            spans_dropped={"queue_full": 50, "rejected": 12},
            queue_bytes=131_072,
            queue_limit_bytes=67_108_864,
        ),
        server_kind="vllm",
    )


def empty_snapshot() -> Snapshot:
    """A sidecar that has just started: no span, no GPU, no price."""
    ledger = LedgerSnapshot(
        time_ns=START_NS,
        start_ns=START_NS,
        settled_ns=None,
        models=(),
        windows=(),
        slots=(),
        busy_seconds=0.0,
        stage_quality={},
        gpus=(),
        host_energy_joules={},
        samples_rejected={},
        currency=None,
        cost={},
        cost_per_hour={},
        unknown_seconds=0.0,
        emissions_grams=None,
    )
    return Snapshot(
        server="default",
        version="0.1.0",
        revision="",
        kind="serve",
        ledger=ledger,
        intake=IntakeFacts({}, {}, {}, {}, 0, None, 0, 10_000),
        advice=Advice(),
        gpu_source=None,
        gpu_source_up=None,
        price_as_of_ns=None,
        price_source=None,
        series_limit=5000,
        config_reload_ns=None,
    )

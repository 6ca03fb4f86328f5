"""A sidecar that never ran: what it would say at any instant, as a snapshot that the real exposition renders.

Every counter is the integral of a rate in closed form, so that a fleet needs no memory and two scrapes agree. Which servers are busy,
idle, too slow or started anew all the time follows from their number.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infermeter.ledger.histogram import BASE_EDGES_SECONDS, STAGE_EDGES_SECONDS
from infermeter.metrics.exposition import Exposition
from infermeter.model import (
    Advice,
    CapacityFacts,
    Exemplar,
    Finding,
    GpuFacts,
    GpuIdentity,
    GpuSample,
    Histogram,
    IntakeFacts,
    LedgerSnapshot,
    ModelFacts,
    ModelWindow,
    ServerGauges,
    ServerWindow,
    Signal,
    SlaState,
    SlaTarget,
    Snapshot,
    Stage,
    Use,
    Window,
)

GPUS = 8
MODELS = ("llama-3-8b", "mistral-7b", "bge-large")
REPLICAS = 4
"""Sidecars of one server."""

SECOND_NS = 1_000_000_000
HOUR = Window("1h", 3600.0)
PRICE_PER_GPU_HOUR = 3.43
IDLE_WATTS, PEAK_WATTS = 118.0, 640.0
SETTLED_EVERY_SECONDS, SETTLED_BEHIND_SECONDS = 60, 90.0
DAY_SECONDS = 86_400.0
LONG_LIFE_SECONDS, SHORT_LIFE_SECONDS = 9 * DAY_SECONDS, 600.0
SLA = SlaTarget(quantile_ratio=0.99, duration_seconds=4.0, ttft_seconds=0.3, tpot_seconds=0.05)
STAGE_SHARES: dict[Stage, float] = {"queue": 0.08, "compute": 0.8, "serialisation": 0.07, "other": 0.05}
QUEUED_SHARES: dict[Stage, float] = {"queue": 0.6, "compute": 0.35, "serialisation": 0.03, "other": 0.02}
"""As vLLM tells: no transfer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sidecar is: the labels that a scraper gives it."""

    cluster: str
    namespace: str
    instance: str


@dataclass(frozen=True, slots=True)
class Load:
    """Inferences per second of one model: a mean, and a wave around it with the period of a day or of minutes."""

    mean: float
    swing: float
    period_seconds: float
    phase: float

    def rate(self, at: float) -> float:
        """Inferences per second at this instant."""
        return self.mean * (1 + self.swing * math.sin(2 * math.pi * at / self.period_seconds + self.phase))

    def between(self, start: float, end: float) -> float:
        """Inferences in between: the rate's integral."""
        angle = 2 * math.pi / self.period_seconds
        waves = (math.cos(angle * start + self.phase) - math.cos(angle * end + self.phase)) / angle
        return self.mean * ((end - start) + self.swing * waves)


class Sidecar:
    """Sidecar `number` of a fleet. Of ten servers one is idle, one misses its SLA while requests queue, one is over-provisioned."""

    def __init__(self, number: int) -> None:
        self.number = number
        server = number // REPLICAS
        self.server = f"server-{server:04d}"
        self.place = Place(
            f"cluster-{server % 4}", f"team-{server % 20:02d}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:10470"
        )
        self._idle, self._queued, self._sparse = server % 10 == 3, server % 10 == 5, server % 10 == 7
        self._life_seconds = SHORT_LIFE_SECONDS if number % 100 == 42 else LONG_LIFE_SECONDS
        mean = 0.0 if self._idle else 0.2 if self._sparse else 6.0
        self._loads = {
            model: Load(mean / (i + 1), 0.6, DAY_SECONDS if i else 700.0, phase=number * 0.7 + i) for i, model in enumerate(MODELS)
        }
        self._capacity = {model: CapacityFacts(9.0 / (i + 1), reached=True, inferences=18_000) for i, model in enumerate(MODELS)}
        self._exposition = Exposition((_Process(self),))

    def body(self, at: float, accept: str) -> tuple[bytes, str]:
        """What `/metrics` answers at this instant (unix seconds), by the real exposition."""
        self._at = at
        return self._exposition.render(self.snapshot(at), accept)

    def started(self, at: float) -> float:
        """When the process that lives at this instant began; its counters begin there, too."""
        return at - (at + 997.0 * self.number) % self._life_seconds

    def alive_seconds(self) -> float:
        """How long it has lived at the instant of the last body."""
        return self._at - self.started(self._at)

    def process_start(self) -> float:
        """Unix seconds, at the instant of the last body."""
        return self.started(self._at)

    def snapshot(self, at: float) -> Snapshot:
        """Everything that it tells at this instant."""
        start = self.started(at)
        settled = max(start, (at - SETTLED_BEHIND_SECONDS) // SETTLED_EVERY_SECONDS * SETTLED_EVERY_SECONDS)
        busy = self._busy_ratio(at)
        models = tuple(self._model(model, start, settled, at) for model in MODELS)
        received = sum(model.observed_ok + model.observed_error for model in models)
        per_hour = GPUS * PRICE_PER_GPU_HOUR
        ledger = LedgerSnapshot(
            time_ns=_ns(at),
            start_ns=_ns(start),
            settled_ns=_ns(settled),
            models=models,
            windows=(ServerWindow(HOUR, 3600.0, 3600.0 * busy, None, per_hour, 0, None, {}, load_ratio=busy),),
            slots=(),
            busy_seconds=(settled - start) * self._busy_ratio(None),
            stage_quality={"queue": "measured", "compute": "measured", "serialisation": "measured"},
            gpus=tuple(self._gpu(index, start, settled, at) for index in range(GPUS)),
            host_energy_joules={"configured": 250.0 * (settled - start)},
            samples_rejected={"gap": int((at - start) / 7000)},
            currency="EUR" if self.place.cluster == "cluster-1" else "USD",
            cost={"instance": per_hour * (at - start) / 3600, "licence": 0.25 * (at - start) / 3600},
            cost_per_hour={"instance": per_hour, "licence": 0.25},
            unknown_seconds=0.0,
            emissions_grams=0.05 * (settled - start),
            totals={model.model: {"ok": float(model.observed_ok), "error": float(model.observed_error)} for model in models},
            coverage_ratio=0.999,
            gauges=ServerGauges(running=8 * busy, waiting=12.0 * self._queued, batch_size=8 * busy, kv_cache_used_ratio=0.9 * busy),
            peak_load_ratio=0.05 if self._sparse else None if self._idle else 0.85,
        )
        return Snapshot(
            server=self.server,
            version="0.1.0",
            revision="0000000",
            kind="serve",
            ledger=ledger,
            intake=IntakeFacts({"grpc": received}, {"late": received // 5000}, {}, {}, 0, _ns(at - 1), 3, 10_000),
            advice=Advice(findings=self._findings(), bound=None if self._idle else "memory"),
            gpu_source="nvml",
            gpu_source_up=True,
            price_as_of_ns=_ns(at - 20 * DAY_SECONDS),
            price_source="synthetic",
            series_limit=5000,
            config_reload_ns=_ns(start),
            totals_from="server",
            server_scrape_up=True,
        )

    def _busy_ratio(self, at: float | None) -> float:
        """Share of the time in which something computes: now, or on the mean (None)."""
        demand = sum(load.mean if at is None else load.rate(at) for load in self._loads.values())
        return min(1.0, demand / 12.0)

    def _model(self, name: str, start: float, settled: float, at: float) -> ModelFacts:
        load = self._loads[name]
        served = load.between(start, at)
        errors = int(served * 0.002)
        ok = int(served) - errors
        within = int(ok * (0.9 if self._queued else 0.996))
        seconds = 1.6 if self._queued else 0.9
        trace = f"{self.number:016x}{int(at):016x}"
        energy, money = self._use(start, settled)
        share = 1 / len(MODELS)
        states: tuple[SlaState, ...] = ("met", "missed", "insufficient")
        fate = {"met": 0.0 if self._queued else 0.98, "missed": 0.95 if self._queued else 0.0, "insufficient": 0.02}
        per_inference = share * GPUS * PRICE_PER_GPU_HOUR / 3600 / load.rate(at) if load.mean else None
        window = ModelWindow(
            window=HOUR,
            inferences_ok=ok,
            inferences_observed=ok + errors,
            inferences_within_sla=within,
            cost=share * GPUS * PRICE_PER_GPU_HOUR,
            joules=None,
            tokens=None,
            stage_seconds={},
            cost_per_inference=per_inference,
            cost_per_inference_at_sla={} if per_inference is None else {"goodput": per_inference * 1.1, "capacity": per_inference / 2},
            latency_at_sla_quantile_seconds={} if per_inference is None else {"duration": 3 * seconds, "ttft": 0.25, "tpot": 0.03},
            sla_state="insufficient" if self._idle else "missed" if self._queued else "met",
        )
        return ModelFacts(
            model=name,
            observed_ok=ok,
            observed_error=errors,
            within_sla=within,
            late=0,
            duration=_histogram(_edges("duration", SLA.duration_seconds), seconds, ok, trace, at),
            ttft=_histogram(_edges("ttft", SLA.ttft_seconds), 0.12, ok, trace, at),
            tpot=_histogram(_edges("tpot", SLA.tpot_seconds), 0.02, ok, trace, at),
            stages={
                stage: _histogram(STAGE_EDGES_SECONDS, part * seconds, ok, trace, at)
                for stage, part in (QUEUED_SHARES if self._queued else STAGE_SHARES).items()
            },
            part_seconds={("compute", "prefill"): ok * 0.1 * seconds, ("compute", "decode"): ok * 0.7 * seconds},
            tokens_input=ok * 512,
            tokens_output=ok * 128,
            sla=SLA,
            in_sla_state={state: fate[state] * ok for state in states},
            cost_in_sla_state={state: fate[state] * share * sum(money.values()) for state in states},
            energy_joules={use: share * joules for use, joules in energy.items()},
            cost={use: share * cost for use, cost in money.items()},
            windows=(window,),
            capacity=None if self._idle else self._capacity[name],
        )

    def _use(self, start: float, settled: float) -> tuple[dict[Use, float], dict[Use, float]]:
        """Joules and money by use, of the whole server since its start."""
        alive, busy = settled - start, self._busy_ratio(None)
        watts = IDLE_WATTS + (PEAK_WATTS - IDLE_WATTS) * busy
        joules, money = GPUS * watts * alive, GPUS * PRICE_PER_GPU_HOUR * alive / 3600
        shares: dict[Use, float] = {"active": 0.97 * busy, "idle": 1 - busy, "unattributed": 0.03 * busy}
        return {use: share * joules for use, share in shares.items()}, {use: share * money for use, share in shares.items()}

    def _gpu(self, index: int, start: float, settled: float, at: float) -> GpuFacts:
        uuid = f"GPU-{self.number:08x}-0000-4000-8000-{index:012x}"
        busy, mean = self._busy_ratio(at), self._busy_ratio(None)
        joules = (IDLE_WATTS + (PEAK_WATTS - IDLE_WATTS) * mean) * (at - start)
        sample = GpuSample(
            uuid=uuid,
            time_ns=_ns(at - 0.5),
            power_watts=IDLE_WATTS + (PEAK_WATTS - IDLE_WATTS) * busy,
            energy_joules=joules,
            utilisation_ratio=round(busy, 2),
            memory_used_bytes=70 * 2**30,
            memory_total_bytes=80 * 2**30,
            sm_active_ratio=busy * 0.6,
            tensor_active_ratio=busy * 0.3,
            dram_active_ratio=busy * 0.5,
        )
        alive = settled - start
        return GpuFacts(
            identity=GpuIdentity(uuid, index, "NVIDIA H100 80GB HBM3", "550.90.07", "nvml", "counter", 80 * 2**30, 700.0),
            up=True,
            last=sample,
            last_sample_ns=sample.time_ns,
            energy_joules=joules,
            state_seconds={"active": mean * alive, "held_idle": (1 - mean) * alive, "idle": 0.0, "unknown": 0.0},
            baseline_watts=IDLE_WATTS,
            throttled_seconds={"power": 0.01 * mean * alive, "thermal": 0.0, "other": 0.0},
        )

    def _findings(self) -> tuple[Finding, ...]:
        code = "held_idle_gpu" if self._idle else "queue_bound" if self._queued else "over_provisioned" if self._sparse else None
        if code is None:
            return ()
        return (Finding(code, "warning", None, {}, "Synthetic.", "Synthetic.", saving_per_hour=GPUS * PRICE_PER_GPU_HOUR),)


class _Process(Collector):
    """What prometheus_client tells of a process, of one that isn't there."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    def collect(self) -> Iterable[Metric]:
        started = self._sidecar.process_start()
        for name, value in (
            ("virtual_memory_bytes", 9e8),
            ("resident_memory_bytes", 85e6),
            ("start_time_seconds", started),
            ("open_fds", 24.0),
            ("max_fds", 1024.0),
        ):
            yield GaugeMetricFamily(f"process_{name}", "Synthetic.", value)
        yield CounterMetricFamily("process_cpu_seconds_total", "Synthetic.", 0.02 * self._sidecar.alive_seconds())


def _edges(signal: Signal, target: float | None) -> tuple[float, ...]:
    return tuple(sorted({*BASE_EDGES_SECONDS[signal], *(() if target is None else (target,))}))


def _histogram(edges: tuple[float, ...], mean_seconds: float, inferences: int, trace: str, at: float) -> Histogram:
    """So many values, exponential around the mean; each cumulative count rises with `inferences` and never falls."""
    upto = [int(inferences * (1 - math.exp(-edge / mean_seconds))) for edge in edges]
    counts = tuple(later - earlier for earlier, later in pairwise((0, *upto, inferences)))
    exemplars: list[Exemplar | None] = [None] * len(counts)
    if inferences:
        middle = min(bisect_right(edges, mean_seconds), len(counts) - 1)
        exemplars[middle] = Exemplar(trace, mean_seconds, _ns(at))
    assert list(accumulate(counts))[-1] == inferences
    return Histogram(edges, counts, inferences * mean_seconds, tuple(exemplars))


def _ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)

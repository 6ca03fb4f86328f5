"""A day of a small fleet, as its sidecars would expose it: one server of each kind that the dashboards are for.

Families, labels and closed values are the catalog's, and checked against it. Counters are exact integrals of what the story says, so that a
panel's dollars can be worked out by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from infermeter.ledger.histogram import BASE_EDGES_SECONDS, STAGE_EDGES_SECONDS
from infermeter.metrics import catalog
from infermeter.metrics.catalog import Family

_EDGES = {**BASE_EDGES_SECONDS, "stage": STAGE_EDGES_SECONDS}
CLUSTER = "eu-1"
JOB = "infermeter"
CURRENCY = "USD"
HOUR = 3600.0
NIGHT_HOURS, MISSED_HOURS = (1.0, 5.0), (15.0, 17.0)
"""Of the day: when batch work is done, and when more requests come to `vision` than it can take."""

Curve = Callable[[float], float]
"""A value by the hour of the day, 0 to 24."""


@dataclass(frozen=True)
class Model:
    """One model of one replica. `load` is a share of `capacity`, in inferences a second."""

    name: str
    capacity: float
    load: Curve
    seconds: float
    target: float | None = None
    stages: Mapping[str, float] = field(default_factory=lambda: {"queue": 0.1, "compute": 0.75, "transfer": 0.05, "serialisation": 0.06})
    tokens: tuple[float, float] | None = None
    within: Curve = lambda _: 0.998
    queue: Curve = lambda _: 1.0


@dataclass(frozen=True)
class Replica:
    """A sidecar and what it meters. `per_hour` is None where no price is set."""

    namespace: str
    server: str
    instance: str
    product: str
    per_hour: float | None
    watts: tuple[float, float]
    models: tuple[Model, ...] = ()
    held: bool = True
    gpus: int = 1
    peak_load: float | None = None
    findings: tuple[tuple[str, str | None, str, float | None], ...] = ()
    candidates: tuple[tuple[str, str, float], ...] = ()
    bound: str = "memory"
    coverage: float | None = None
    down_hours: float = 0.0
    loaded: float = 0.0


def _day(low: float, high: float, peak: float = 14.0) -> Curve:
    return lambda hour: low + (high - low) * (0.5 + 0.5 * math.cos((hour - peak) / 24 * 2 * math.pi)) ** 1.5


def _between(hours: tuple[float, float], inside: float, outside: float) -> Curve:
    return lambda hour: inside if hours[0] <= hour < hours[1] else outside


_LLM = {"queue": 0.08, "compute": 0.84, "transfer": 0.02, "serialisation": 0.03}
_FRONT = {"queue": 0.07, "compute": 0.38, "transfer": 0.09, "serialisation": 0.36}


def _chat(number: int) -> Replica:
    model = Model("llama-3-8b", 6.0, _day(0.25, 0.86), 1.9, 4.0, _LLM, (620.0, 210.0), _day(0.9995, 0.994))
    return Replica(
        "assistants",
        "chat",
        f"chat-{number}:10470",
        "NVIDIA H100 80GB HBM3",
        3.43,
        (115.0, 640.0),
        (model,),
        peak_load=0.74,
        coverage=1.0,
        loaded=9.5 if number == 0 else 0.0,
    )


def _rerank(number: int) -> Replica:
    return Replica(
        "search",
        "rerank",
        f"rerank-{number}:10470",
        "NVIDIA A100-SXM4-80GB",
        2.21,
        (62.0, 310.0),
        (Model("bge-reranker-v2", 140.0, _day(0.03, 0.17), 0.021, 0.1, _FRONT),),
        peak_load=0.17,
        findings=(("over_provisioned", None, "warning", 1.63), ("serialisation_bound", "bge-reranker-v2", "warning", None)),
        candidates=(("NVIDIA L4", "fits", 0.81), ("NVIDIA A10", "fits", 1.01), ("NVIDIA T4", "unsure", 0.53)),
        bound="launch",
        coverage=0.98,
    )


_BUSY_HOURS = _between(MISSED_HOURS, 1.25, 0.0)
FLEET: tuple[Replica, ...] = (
    *(_chat(number) for number in range(2)),
    *(_rerank(number) for number in range(3)),
    Replica(
        "search",
        "embed",
        "embed-0:10470",
        "NVIDIA L4",
        0.81,
        (17.0, 70.0),
        (Model("bge-large", 210.0, _day(0.35, 0.86, 11), 0.034, 0.15, tokens=(310.0, 0.0)),),
        peak_load=0.86,
        bound="compute",
        coverage=1.0,
    ),
    Replica(
        "vision",
        "triton-vision",
        "triton-0:10470",
        "NVIDIA L40S",
        1.86,
        (35.0, 330.0),
        (
            Model(
                "yolo-v8",
                48.0,
                lambda hour: max(_day(0.3, 0.66)(hour), _BUSY_HOURS(hour)),
                0.055,
                0.2,
                {"queue": 0.18, "compute": 0.6, "transfer": 0.14, "serialisation": 0.07},
                within=_between(MISSED_HOURS, 0.71, 0.9985),
                queue=_between(MISSED_HOURS, 9.0, 1.0),
            ),
            Model(
                "resnet-50", 160.0, _day(0.04, 0.12), 0.012, 0.1, {"queue": 0.12, "compute": 0.5, "transfer": 0.25, "serialisation": 0.1}
            ),
        ),
        peak_load=1.12,
        findings=(("sla_missed", "yolo-v8", "warning", None), ("queue_bound", None, "warning", None)),
        bound="queue",
        coverage=0.94,
    ),
    Replica(
        "batch",
        "summaries",
        "summaries-0:10470",
        "NVIDIA A100-SXM4-80GB",
        4.42,
        (62.0, 330.0),
        (Model("mixtral-8x7b", 3.2, _between(NIGHT_HOURS, 0.95, 0.0), 9.5, None, _LLM, (2100.0, 340.0)),),
        gpus=2,
        findings=(("held_idle_gpu", None, "warning", 3.6),),
    ),
    Replica(
        "lab",
        "sandbox",
        "sandbox-0:10470",
        "NVIDIA H100 80GB HBM3",
        3.43,
        (70.0, 640.0),
        (Model("phi-3", 5.0, lambda _: 0.0, 1.0, 2.0),),
        held=False,
        findings=(("idle_gpu", None, "warning", 3.43),),
        bound="unknown",
    ),
    Replica(
        "lab",
        "legacy",
        "legacy-0:10470",
        "Tesla T4",
        None,
        (11.0, 68.0),
        (Model("bert-base", 60.0, _day(0.05, 0.3), 0.019),),
        findings=(("price_missing", None, "warning", None),),
        bound="compute",
        down_hours=1.0,
    ),
)

BUDGETS = {"assistants": 5500.0, "search": 5000.0, "batch": 3300.0, "vision": 1200.0}
"""For 30 days, in any cluster: constants of the rules, as an operator would set them."""

Labels = tuple[tuple[str, str], ...]
Reading = tuple[Family | str, Labels, float]


class Books:
    """What one replica's sidecar has counted so far."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._sums: dict[tuple[Family, Labels, str], float] = {}

    def pass_time(self, hour: float, seconds: float) -> None:
        """Counts what happens in so many seconds at this hour of the day."""
        replica = self._replica
        busy = _busy(replica, hour)
        for model in replica.models:
            rate = min(model.load(hour), 1.0) * model.capacity
            self._serve(model, rate * seconds, hour)
        lost = 0.01 if busy else 0.0
        self._add(catalog.BUSY_SECONDS, busy * seconds)
        self._money(busy, lost, seconds)
        self._energy(busy, lost, seconds)
        self._add(catalog.SPANS_RECEIVED, 0.0, protocol="grpc")
        self._add(catalog.SPANS_RECEIVED, 4 * sum(min(m.load(hour), 1) * m.capacity for m in replica.models) * seconds, protocol="http")
        for label, family in ((catalog.DROP_REASON, catalog.SPANS_DROPPED), (catalog.UNMAPPED_REASON, catalog.SPANS_UNMAPPED)):
            for value in label.values:
                part = {"duplicate": 0.0004, "no_rule": 0.08, "incomplete": 0.0006}.get(value, 0.0)
                self._add(family, part * sum(min(m.load(hour), 1) * m.capacity for m in replica.models) * seconds, reason=value)
        for value in catalog.REJECTION_REASON.values:
            self._add(catalog.GPU_SAMPLES_REJECTED, 0.0004 * seconds if value == "gap" else 0.0, reason=value)
        self._add(catalog.INFERENCES_LATE, 0.0)
        self._add(catalog.SERIES_OVERFLOWED, 0.0)
        for value in catalog.REFUSAL_REASON.values:
            self._add(catalog.EXPORTS_REFUSED, 0.0, protocol="http", reason=value)

    def readings(self, hour: float, now: float, elapsed: float, left: float) -> Iterator[Reading]:
        """The page at this hour of the day; `now` in unix seconds, `elapsed` and `left` in hours of the history."""
        replica = self._replica
        down = left < replica.down_hours
        yield "up", (), float(not down)
        yield "scrape_duration_seconds", (), 0.004 + 0.0004 * len(replica.models)
        if down:
            return
        for (family, labels, part), value in self._sums.items():
            yield (family if not part else family.full_name + part), labels, value
        yield from self._gauges(hour, now, elapsed)

    def _serve(self, model: Model, count: float, hour: float) -> None:
        name = model.name
        failed = count * 0.0008
        self._add(catalog.INFERENCES, count - failed, model=name, outcome="ok")
        self._add(catalog.INFERENCES, failed, model=name, outcome="error")
        seen = self._replica.coverage if self._replica.coverage is not None else 1.0
        self._add(catalog.INFERENCES_OBSERVED, (count - failed) * seen, model=name, outcome="ok")
        self._add(catalog.INFERENCES_OBSERVED, failed * seen, model=name, outcome="error")
        within = model.within(hour)
        if model.target is not None:
            self._add(catalog.INFERENCES_OBSERVED_WITHIN_SLA, (count - failed) * seen * within, model=name)
            for state in catalog.SLA_STATE.values:
                self._add(catalog.INFERENCES_IN_SLA_STATE, (count - failed) * (state == _state(within)), model=name, state=state)
        stages = dict(model.stages)
        stages["queue"] *= model.queue(hour)
        stages["other"] = 1 - sum(model.stages.values())
        total = model.seconds * sum(stages.values())
        for stage, share in stages.items():
            self._histogram(catalog.STAGE_DURATION, "stage", model.seconds * share, count * seen, 0.6, model=name, stage=stage)
        self._histogram(catalog.INFERENCE_DURATION, "duration", total, count * seen, 0.32, target=model.target, model=name)
        self._add(
            catalog.STAGE_PART_SECONDS,
            count * seen * model.seconds * stages["transfer"] * 0.7,
            model=name,
            stage="transfer",
            part="host_to_device",
        )
        self._add(
            catalog.STAGE_PART_SECONDS,
            count * seen * model.seconds * stages["serialisation"] * 0.4,
            model=name,
            stage="serialisation",
            part="net_in",
        )
        if model.tokens is not None:
            self._add(catalog.TOKENS, count * model.tokens[0], model=name, direction="input")
            self._add(catalog.TOKENS, count * model.tokens[1], model=name, direction="output")
            if model.tokens[1]:
                self._histogram(
                    catalog.TIME_TO_FIRST_TOKEN, "ttft", 0.07 + 0.05 * model.load(hour), count * seen, 0.4, target=0.3, model=name
                )
                self._histogram(
                    catalog.TIME_PER_OUTPUT_TOKEN, "tpot", 0.0078 + 0.004 * model.load(hour), count * seen, 0.2, target=0.02, model=name
                )

    def _money(self, busy: float, lost: float, seconds: float) -> None:
        if self._replica.per_hour is None:
            return
        cost = self._replica.per_hour * seconds / HOUR
        self._add(catalog.COST, cost, component="instance", currency=CURRENCY)
        names = [model.name for model in self._replica.models] or [self._replica.server]
        for place, name in enumerate(names):
            part = (0.8, 0.2)[place] if len(names) == 2 else 1.0
            for use, share in (("active", busy - lost), ("unattributed", lost), ("idle", 1 - busy)):
                self._add(catalog.COST_BY_USE, cost * share * part, model=name, use=use, currency=CURRENCY)
        for model in self._replica.models:
            if model.target is not None:
                for state in catalog.SLA_STATE.values:
                    part = (0.8 if model.name == names[0] else 0.2) if len(names) == 2 else 1.0
                    now = _state(model.within(self._hour)) == state
                    self._add(catalog.COST_IN_SLA_STATE, cost * part * now, model=model.name, state=state, currency=CURRENCY)

    def _energy(self, busy: float, lost: float, seconds: float) -> None:
        idle, peak = self._replica.watts
        gpus = self._replica.gpus
        names = [model.name for model in self._replica.models] or [self._replica.server]
        for use, joules in (
            ("active", ((peak - idle) * busy + idle * (busy - lost)) * seconds),
            ("idle", idle * (1 - busy) * seconds),
            ("unattributed", idle * lost * seconds),
        ):
            for place, name in enumerate(names):
                part = (0.8, 0.2)[place] if len(names) == 2 else 1.0
                self._add(catalog.ENERGY, joules * part * gpus, model=name, use=use)
        self._add(catalog.EMISSIONS, (idle + (peak - idle) * busy) * gpus * seconds / 3.6e6 * 1.2 * 210)
        self._add(catalog.HOST_ENERGY, 180 * seconds, source="configured")
        for gpu in _uuids(self._replica):
            self._add(catalog.GPU_ENERGY, (idle + (peak - idle) * busy) * seconds, gpu_uuid=gpu)
            resting = "held_idle" if self._replica.held else "idle"
            for state in catalog.GPU_STATE.values:
                share = {"active": busy, resting: 1 - busy}.get(state, 0.0)
                self._add(catalog.GPU_STATE_SECONDS, share * seconds, gpu_uuid=gpu, state=state)
            for reason in catalog.THROTTLE_REASON.values:
                self._add(catalog.GPU_THROTTLED, 0.3 * seconds * (busy > 0.9 and reason == "power"), gpu_uuid=gpu, reason=reason)

    def _gauges(self, hour: float, now: float, elapsed: float) -> Iterator[Reading]:
        replica = self._replica
        busy = _busy(replica, hour)
        yield from self._prices(now)
        for model in replica.models:
            yield from self._model_gauges(model, hour)
        yield from self._device_gauges(busy, now)
        if replica.peak_load is not None:
            yield self._gauge(catalog.PEAK_LOAD, replica.peak_load)
            yield self._gauge(catalog.WINDOW_LOAD, sum(model.load(hour) for model in replica.models), window="1h")
        if busy or replica.bound == "queue":
            for resource in catalog.RESOURCE.values:
                yield self._gauge(catalog.RESOURCE_BOUND, float(resource == replica.bound), resource=resource)
        for code, model_name, level, saving in replica.findings:
            named = {} if model_name is None else {"model": model_name}
            yield self._gauge(catalog.FINDING, 1.0, **named, code=code, level=level)
            if saving is not None:
                yield self._gauge(catalog.FINDING_SAVING_PER_HOUR, saving, **named, code=code, currency=CURRENCY)
        for product, verdict, cost in replica.candidates:
            yield self._gauge(catalog.CANDIDATE_COST_PER_HOUR, cost, product=product, verdict=verdict, currency=CURRENCY)
        if replica.coverage is not None:
            yield self._gauge(catalog.SPAN_COVERAGE, replica.coverage)
            yield self._gauge(catalog.SERVER_SCRAPE_UP, 1.0)
        yield self._gauge(catalog.SETTLED_TIMESTAMP, now - 35)
        yield self._gauge(catalog.LAST_SPAN, now - (1.0 if busy else 5 * HOUR))
        yield self._gauge(catalog.TRACES_PENDING, 40 * busy)
        yield self._gauge(catalog.TRACES_PENDING_LIMIT, 10000)
        yield self._gauge(catalog.SERIES, 150 + 90.0 * len(replica.models))
        yield self._gauge(catalog.SERIES_LIMIT, 5000)
        yield self._gauge(catalog.CONFIG_LAST_RELOAD_SUCCESSFUL, 0.0 if replica.server == "summaries" and hour > 19 else 1.0)
        loaded = replica.loaded if elapsed >= replica.loaded else 0.0
        yield self._gauge(catalog.CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP, now + (loaded - elapsed) * HOUR)
        yield self._gauge(catalog.BUILD_INFO, 1.0, version="0.7.0", revision="c0ffee1")
        yield "process_resident_memory_bytes", (), 128e6 + 9e6 * len(replica.models)
        yield "process_cpu_seconds_total", (), elapsed * HOUR * (0.01 + 0.03 * len(replica.models))
        yield "process_open_fds", (), 24.0
        yield "process_max_fds", (), 1024.0

    def _prices(self, now: float) -> Iterator[Reading]:
        if self._replica.per_hour is not None:
            yield self._gauge(catalog.COST_PER_HOUR, self._replica.per_hour, component="instance", currency=CURRENCY)
            yield self._gauge(catalog.PRICE_TIMESTAMP, now - 41 * 24 * HOUR)

    def _model_gauges(self, model: Model, hour: float) -> Iterator[Reading]:
        name = model.name
        for stage in model.stages:
            yield self._gauge(catalog.STAGE_QUALITY, 1.0, stage=stage, quality="estimated" if stage == "queue" else "measured")
        if model.target is None:
            return
        yield self._gauge(catalog.SLA_QUANTILE, 0.99, model=name)
        yield self._gauge(catalog.SLA_TARGET, model.target, model=name, signal="duration")
        if model.tokens is not None and model.tokens[1]:
            yield self._gauge(catalog.SLA_TARGET, 0.3, model=name, signal="ttft")
            yield self._gauge(catalog.SLA_TARGET, 0.02, model=name, signal="tpot")
        for state in catalog.SLA_STATE.values:
            yield self._gauge(catalog.WINDOW_SLA_STATE, float(state == _state(model.within(hour))), model=name, window="1h", state=state)
        yield self._gauge(
            catalog.WINDOW_LATENCY_AT_SLA_QUANTILE,
            model.target * (0.5 + model.load(hour) / 2.2),
            model=name,
            signal="duration",
            window="1h",
        )
        yield self._gauge(catalog.CAPACITY_AT_SLA, model.capacity, model=name, bound="observed")
        yield self._gauge(catalog.CAPACITY_AT_SLA, model.capacity * 1.15, model=name, bound="model")
        yield self._gauge(catalog.CAPACITY_REACHED, float(model.load(14) > 0.7), model=name)
        if model.tokens is not None:
            yield self._gauge(catalog.SERVER_RUNNING, 2 + 20 * model.load(hour))
            yield self._gauge(catalog.SERVER_WAITING, max(0.0, 8 * model.load(hour) - 4))
            yield self._gauge(catalog.SERVER_KV_CACHE_USED, min(0.1 + 0.8 * model.load(hour), 1.0))

    def _device_gauges(self, busy: float, now: float) -> Iterator[Reading]:
        idle, peak = self._replica.watts
        yield self._gauge(catalog.GPU_SOURCE_UP, 1.0, source="nvml")
        memory = 24e9 if "L4" in self._replica.product else 80e9
        for index, gpu in enumerate(_uuids(self._replica)):
            yield self._gauge(
                catalog.GPU_INFO,
                1.0,
                gpu_uuid=gpu,
                index=str(index),
                product=self._replica.product,
                driver_version="550.90.07",
                source="nvml",
                energy="counter",
            )
            for family, value in (
                (catalog.GPU_UP, 1.0),
                (catalog.GPU_POWER, idle + (peak - idle) * busy),
                (catalog.GPU_UTILISATION, min(1.0, busy * 1.04)),
                (catalog.GPU_MEMORY_USED, memory * (0.82 if self._replica.held else 0.006)),
                (catalog.GPU_MEMORY_TOTAL, memory),
                (catalog.GPU_LAST_SAMPLE, now - 0.6),
                (catalog.GPU_BASELINE, idle),
                (catalog.GPU_SM_ACTIVE, busy * 0.6),
                (catalog.GPU_DRAM_ACTIVE, busy * (0.72 if self._replica.bound == "memory" else 0.3)),
                (catalog.GPU_TENSOR_ACTIVE, busy * (0.5 if self._replica.bound == "compute" else 0.2)),
            ):
                yield self._gauge(family, value, gpu_uuid=gpu)

    _hour = 0.0

    def at(self, hour: float) -> None:
        """The hour of the day that is booked next."""
        self._hour = hour

    def _add(self, family: Family, amount: float, **labels: str) -> None:
        key = (family, _labels(family, labels), "")
        self._sums[key] = self._sums.get(key, 0.0) + amount

    def _histogram(
        self, family: Family, edges: str, mean: float, count: float, spread: float, *, target: float | None = None, **labels: str
    ) -> None:
        """Log-normal around a mean."""
        known = _labels(family, labels)
        middle = math.log(max(mean, 1e-9)) - spread**2 / 2
        bounds = sorted({*_EDGES[edges], *(() if target is None else (target,))})
        for bound in bounds:
            share = 0.5 * (1 + math.erf((math.log(bound) - middle) / (spread * math.sqrt(2))))
            self._into((family, (*known, ("le", repr(float(bound)))), "_bucket"), count * share)
        self._into((family, (*known, ("le", "+Inf")), "_bucket"), count)
        self._into((family, known, "_count"), count)
        self._into((family, known, "_sum"), count * mean)

    def _into(self, key: tuple[Family, Labels, str], amount: float) -> None:
        self._sums[key] = self._sums.get(key, 0.0) + amount

    def _gauge(self, family: Family, value: float, **labels: str) -> Reading:
        return family, _labels(family, labels), value


def pages(start: float, hours: float, step: float) -> Iterator[str]:
    """Lines of OpenMetrics with times, of `hours` from `start` on, which is midnight; one sample each `step` seconds."""
    for replica in FLEET:
        books = Books(replica)
        target = f'cluster="{CLUSTER}",namespace="{replica.namespace}",job="{JOB}",instance="{replica.instance}"'
        for n in range(int(hours * HOUR / step) + 1):
            hour = n * step / HOUR
            books.at(hour % 24)
            books.pass_time(hour % 24, step if n else 0.0)
            for family, labels, value in books.readings(hour % 24, start + n * step, hour, hours - hour):
                name = family if isinstance(family, str) else family.full_name
                ours = f',server="{replica.server}"' if name.startswith("infermeter_") else ""
                more = "".join(f',{label}="{text}"' for label, text in labels)
                yield f"{name}{{{target}{ours}{more}}} {value!r} {start + n * step:.0f}"
    for namespace, budget in BUDGETS.items():
        for n in range(int(hours * HOUR / step) + 1):
            yield f'namespace:infermeter_budget:per_30d{{namespace="{namespace}",currency="{CURRENCY}"}} {budget!r} {start + n * step:.0f}'
    yield "# EOF"


def _busy(replica: Replica, hour: float) -> float:
    """The share of time in which something computes: below capacity batches are small, so it is more than the share of the capacity."""
    return 0.985 * float(min(sum(model.load(hour) for model in replica.models), 1.0)) ** 0.6


def _uuids(replica: Replica) -> tuple[str, ...]:
    return tuple(f"GPU-{replica.instance.partition(':')[0]}-{number}" for number in range(replica.gpus))


def _state(within: float) -> str:
    return "met" if within >= 0.99 else "missed"


def _labels(family: Family, labels: Mapping[str, str]) -> Labels:
    """Raises: ValueError for what the catalog doesn't know; `model` may be missing where a finding speaks of the server."""
    known = {label.name: label.values for label in family.labels}
    for name, value in labels.items():
        if name not in known or (known[name] and value not in known[name]):
            raise ValueError(f"{family.name} has no {name}={value}")
    if set(known) - set(labels) - {"model"}:
        raise ValueError(f"{family.name} lacks {set(known) - set(labels)}")
    return tuple(labels.items())

"""The whole configuration schema and its defaults, as frozen dataclasses: the YAML's dotted path is the attribute path.

No parsing here (structure.py) and no reading of files. `Duration` fields are seconds; in YAML they are Prometheus strings.
Field metadata says what a key means (`doc`), its range (`minimum`, `above`, `maximum`, `pattern`), whether a `reload` takes it over,
and `planned` for a key of the contract that this version accepts, does nothing with, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from infermeter.model import Window

Duration = Annotated[float, "duration"]
"""Seconds; written as a Prometheus duration string."""

Reload: TypeAlias = Literal["once"] | bool
"""Whether a running sidecar takes a changed key over; `once`: only where it wasn't set before."""


def key(
    default: Any = MISSING,  # noqa: ANN401 - as dataclasses.field
    doc: str = "",
    *,
    factory: Any = MISSING,  # noqa: ANN401 - likewise
    planned: bool = False,
    reload: Reload | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    pattern: str | None = None,
) -> Any:  # noqa: ANN401 - likewise
    """A configuration key: `minimum` and `maximum` are inclusive, `above` is exclusive; `reload` None: as the section that it is in."""
    about = {
        "doc": doc,
        "planned": planned,
        "reload": reload,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "pattern": pattern,
    }
    return field(default=default, default_factory=factory, metadata=about)


@dataclass(frozen=True, slots=True)
class GpuChoice:
    """One GPU of the server: a UUID or an NVML index, and the share of it that is this server's."""

    gpu: str | int = key(doc="UUID or NVML index")
    share: float | Literal["process"] = key(
        1.0, "the part of it that is this server's; process: by what the processes of server.pid use", above=0, maximum=1
    )


@dataclass(frozen=True, slots=True)
class Server:
    """Which server this sidecar belongs to."""

    kind: str = key("auto", "auto, or the name of a mapping: a name pins that mapping alone (and those in mappings_dir)")
    name: str | None = key(
        None,
        "the `server` label; default $INFERMETER_SERVER_NAME, else the kind, or `default` under auto",
        pattern=r"[A-Za-z0-9_.:/-]{1,64}",
    )
    model: str | None = key(None, "the model of spans that carry none; the span's own wins")
    gpus: Literal["auto", "all"] | tuple[GpuChoice, ...] = key("auto", "auto, all, or a list of UUIDs, NVML indices or {gpu, share}")
    gpu_count: int | None = key(None, "how many GPUs to price where none can be seen", minimum=1)
    pid: int | None = key(None, "the server's process: its tree tells the GPUs (host pid namespace needed)", minimum=1)
    max_batch: int | None = key(None, "the server's batch limit: modelled capacity stays clear of it", minimum=1)
    sampled: Literal["auto"] | bool = key("auto", "whether spans are a sample; auto: as the mapping says")
    precision: Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4"] | None = key(None, "for right-sizing", planned=True)
    workload: Literal["auto", "latency", "batch", "edge"] = key("auto", "what the ranking of devices looks at", planned=True, reload=True)
    metrics_url: str | None = key(
        None, "the server's own /metrics: totals, coverage; one server's own address, never that of a Service with several behind it"
    )
    metrics_interval: Duration = key(5.0, "how often metrics_url is read", minimum=0.1)
    metrics_token_file: str | None = key(None, "file with a bearer token for metrics_url")


@dataclass(frozen=True, slots=True)
class Sla:
    """Targets of one model; None: not set here."""

    quantile: float | None = key(None, "share of the inferences that must meet the targets (0.99)", above=0, maximum=1)
    duration_seconds: float | None = key(None, "target for the whole inference", above=0)
    ttft_seconds: float | None = key(None, "target for the time to the first token", above=0)
    tpot_seconds: float | None = key(None, "target for the time per output token after the first", above=0)


@dataclass(frozen=True, slots=True)
class Slas:
    """The SLA of every model: missing keys of a model come from the default, null removes a target."""

    default: Sla | None = key(None, "the targets of every model")
    models: Mapping[str, Annotated[Mapping[str, float | None], Sla]] = key(
        factory=dict, doc="per model: the keys of sla.default; null removes one"
    )


@dataclass(frozen=True, slots=True)
class Rent:
    """Rented hardware."""

    per_hour: float | None = key(None, "price of an hour", minimum=0)
    per: Literal["gpu", "instance"] = key("gpu", "what the price is for")
    instance_gpus: int | None = key(None, "GPUs in the instance, to price the share that is used", minimum=1)
    upfront: float = key(0.0, "paid at the start of the term", minimum=0)
    term: Duration | None = key(None, "over which upfront is spread", above=0)
    rent_includes_power: bool = key(default=True, doc="false: colocation, power is paid apart")


@dataclass(frozen=True, slots=True)
class Purchase:
    """Bought hardware."""

    price: float | None = key(None, "purchase price", minimum=0)
    per: Literal["server", "gpu"] = key("server", "what the price is for")
    residual: float = key(0.0, "value at the end of the lifetime", minimum=0)
    lifetime_years: float | None = key(None, "calendar years of life", above=0)
    finance_rate_per_year: float = key(0.0, "a year, on the purchase price", minimum=0)


@dataclass(frozen=True, slots=True)
class Power:
    """Electricity."""

    price_per_kwh: float | None = key(None, "price of a kilowatt-hour", minimum=0)
    pue: float | None = key(None, "power usage effectiveness; refused together with cooling.per_hour", minimum=1)
    host_watts: float | Literal["measured"] = key(0.0, "power of the rest of the host: a number, or measured", minimum=0)


@dataclass(frozen=True, slots=True)
class Cooling:
    """Cooling as an hourly sum."""

    per_hour: float | None = key(None, "refused together with power.pue", minimum=0)


@dataclass(frozen=True, slots=True)
class Host:
    """The host apart from its GPUs."""

    per_hour: float = key(0.0, "fixed hourly sum", minimum=0)


@dataclass(frozen=True, slots=True)
class Licence:
    """Software licences."""

    per_hour: float = key(0.0, "fixed hourly sum", minimum=0)
    per: Literal["server", "gpu"] = key("server", "what it is for")


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else."""

    per_hour: float = key(0.0, "fixed hourly sum", minimum=0)


@dataclass(frozen=True, slots=True)
class OpenCost:
    """Prices from OpenCost."""

    prometheus_url: str | None = key(None, "Prometheus that holds node_gpu_hourly_cost")
    selector: str | None = key(None, 'label matchers of the node, such as node="gpu-1"; none: all nodes tell the same price')
    interval: Duration = key(300.0, "how often it is asked", minimum=0.1)
    token_file: str | None = key(None, "file with a bearer token for prometheus_url")


@dataclass(frozen=True, slots=True)
class DevicePrice:
    """One entry of a prices file: what an hour of one device costs somewhere."""

    device: str = key(doc="its name in the catalogue, or the product as the driver prints it", pattern=r".*\S.*")
    provider: str = key(doc="who asks that price", pattern=r".*\S.*")
    per_hour: float = key(doc="price of an hour of one device, as the driver shows devices", minimum=0)
    currency: str = key(doc="ISO 4217", pattern=r"[A-Z]{3}")
    as_of: date = key(doc="date of the price")
    source: str = key(doc="where the price comes from", pattern=r".*\S.*")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the hardware costs. Without any price the cost families are absent."""

    currency: str | None = key(None, "ISO 4217; required with any price", reload="once", pattern=r"[A-Z]{3}")
    as_of: date | None = key(None, "date of the prices; required with any price")
    source: str | None = key(None, "where the prices come from; required with any price")
    stale_after: Duration = key(90 * 86400.0, "prices older than this are stale: a finding", above=0)
    rent: Rent = key(factory=Rent, doc="rented hardware")
    purchase: Purchase = key(factory=Purchase, doc="bought hardware")
    prices_file: str | None = key(
        None, "replaces rent.per_hour: a list of {device, provider, per_hour, currency, as_of, source}, YAML or JSON"
    )
    opencost: OpenCost = key(factory=OpenCost, doc="prices from OpenCost; replaces rent.per_hour")
    power: Power = key(factory=Power, doc="electricity")
    cooling: Cooling = key(factory=Cooling, doc="cooling")
    host: Host = key(factory=Host, doc="the host apart from its GPUs")
    licence: Licence = key(factory=Licence, doc="licences")
    other: Other = key(factory=Other, doc="anything else")


@dataclass(frozen=True, slots=True)
class Emissions:
    """Carbon."""

    grams_per_kwh: float | None = key(None, "grams of CO2e per kilowatt-hour of the grid", minimum=0)


@dataclass(frozen=True, slots=True)
class SimulatedGpu:
    """A simulated GPU, labelled as such."""

    gpus: int = key(1, "how many", minimum=1, maximum=64)
    idle_watts: float = key(70.0, "power with nothing computing", minimum=0)
    peak_watts: float = key(350.0, "power while computing", minimum=0)


@dataclass(frozen=True, slots=True)
class Gpu:
    """Where GPU readings come from."""

    source: Literal["auto", "nvml", "dcgm", "triton", "amd", "hwmon", "replay", "simulated", "none"] = key(
        "auto", "auto: nvml, else none; never simulated"
    )
    interval: Duration = key(1.0, "between readings", minimum=0.01)
    timeout: Duration = key(2.0, "a call that takes longer marks that GPU", above=0)
    stale_after: Duration | None = key(None, "default max(5s, 3 x interval): then state unknown, gpu_up 0", above=0)
    url: str | None = key(None, "for dcgm and triton: where their /metrics is")
    file: str | None = key(None, "for replay: a capture")
    loop: bool = key(default=False, doc="replay: play the capture round")
    profiling: Literal["auto", "off"] = key("auto", "GPM or DCGM's profiling fields")
    hardware: bool = key(default=False, doc="power limit, temperature, clocks")
    baseline_watts: float | Mapping[str, float] | None = key(None, "overrides what is learnt: a number, or one for each UUID", minimum=0)
    estimate_from_tdp: bool = key(default=False, doc='where there is no reading: power limit x utilisation, energy="modelled"')
    simulated: SimulatedGpu = key(factory=SimulatedGpu, doc="for source: simulated")


@dataclass(frozen=True, slots=True)
class HostPower:
    """Power of the rest of the machine."""

    source: Literal["none", "auto", "rapl", "hwmon"] = key("none", "where it is read; auto: rapl, else hwmon")


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses; null: off; port 0: any, told in the log."""

    web: str | None = key("0.0.0.0:10470", "/metrics, the API and the page")
    otlp_grpc: str | None = key("127.0.0.1:4317", "OTLP over gRPC")
    otlp_http: str | None = key("127.0.0.1:4318", "OTLP over HTTP")


@dataclass(frozen=True, slots=True)
class Web:
    """The web face."""

    config_file: str | None = key(None, "exporter-toolkit's web configuration: TLS, basic auth", planned=True)
    lifecycle: bool = key(default=False, doc="POST /-/reload reads the configuration anew, as SIGHUP does")
    page: bool = key(default=True, doc="the status page", planned=True)
    auth_failures_per_minute: int = key(30, "then 429", planned=True, minimum=1)


@dataclass(frozen=True, slots=True)
class OtlpTls:
    """TLS of the OTLP listeners."""

    cert_file: str | None = key(None, "PEM certificate chain", planned=True)
    key_file: str | None = key(None, "PEM private key", planned=True)
    client_ca_file: str | None = key(None, "PEM: client certificates are required", planned=True)


@dataclass(frozen=True, slots=True)
class Otlp:
    """Access to the OTLP listeners."""

    tls: OtlpTls = key(factory=OtlpTls, doc="TLS")
    token_file: str | None = key(None, "file with the bearer token that senders must show", planned=True)


@dataclass(frozen=True, slots=True)
class Forward:
    """Spans passed on."""

    endpoint: str | None = key(
        None,
        "each export that was taken goes on to it once, as it came: such as http://tempo:4318, /v1/traces being appended where there is "
        "no path; for grpc http://tempo:4317 or tempo:4317; https: TLS",
    )
    protocol: Literal["http", "grpc"] = key("http", "of the end point; only JSON that goes on over gRPC is encoded anew")
    headers: Mapping[str, str] = key(factory=dict, doc="sent with each export; ${env:NAME} is taken from the environment, as secrets are")
    queue_bytes: int = key(67108864, "of exports that wait, or are under way; further ones are dropped and counted", minimum=1)
    timeout: Duration = key(10.0, "of one attempt", above=0)
    retry_for: Duration = key(300.0, "an export is tried again until it is this old, then dropped and counted", minimum=0)


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """How the ledger waits and judges."""

    span_delay: Duration = key(30.0, "how long a span may take from its end to here", above=0, maximum=120)
    confidence: float = key(0.95, "one-sided, of every verdict", above=0.5, maximum=0.9999)
    coverage_below_ratio: float = key(0.9, "below, busy time never comes from spans", above=0, maximum=1)
    capacity_horizon: Duration = key(7 * 86400.0, "how long slots speak for capacity", above=0)


@dataclass(frozen=True, slots=True)
class Assembly:
    """How long traces are waited for."""

    grace: Duration = key(1.0, "after the root was seen, without a new span", minimum=0)
    idle: Duration = key(12.0, "without a root, without a new span", above=0)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a finding begins to hold. Ratios of time unless said otherwise; docs/findings.md says which finding uses which."""

    peak_load_low_ratio: float = key(0.5, "over-provisioned: the peak load is at most this", above=0, maximum=1)
    stage_dominant_ratio: float = key(0.5, "a stage dominates: so much of the inferences' time", above=0, maximum=1)
    stage_large_ratio: float = key(0.3, "transfer or serialisation is worth attention: so much of the inferences' time", above=0, maximum=1)
    queue_small_ratio: float = key(0.2, "nothing waits: at most so much of the inferences' time", above=0, maximum=1)
    busy_ratio: float = key(0.2, "a resource bound is judged only where the GPUs' utilisation is at least this", above=0, maximum=1)
    utilisation_low_ratio: float = key(0.3, "so little work that more replicas change nothing", above=0, maximum=1)
    utilisation_moderate_ratio: float = key(0.7, "there is room for larger batches below this", above=0, maximum=1)
    utilisation_high_ratio: float = key(0.8, "no room is left above this", above=0, maximum=1)
    memory_bound_ratio: float = key(0.6, "of the achievable memory bandwidth, while busy", above=0, maximum=1)
    compute_bound_ratio: float = key(0.5, "of the tensor units' time, or of the peak rate, while busy", above=0, maximum=1)
    launch_bound_ratio: float = key(0.3, "neither memory nor arithmetic above this: launch bound", above=0, maximum=1)


@dataclass(frozen=True, slots=True)
class Advice:
    """What findings look at."""

    enabled: bool = key(default=True, doc="findings at all")
    devices_file: str | None = key(None, "own devices, and what differs from shipped ones; keys as in `infermeter catalogue --format json`")
    prices_file: str | None = key(None, "prices of candidates, in the format of cost.prices_file")
    candidates: Literal["all"] | tuple[str, ...] = key("all", "devices to consider, by their names in the catalogue")
    headroom: float = key(1.3, "over the peak", minimum=1)
    idle_after: Duration = key(1800.0, "a GPU that idles this long is a finding", above=0)
    minimum_history: Duration = key(86400.0, "of demand, before a peak load is told", above=0)
    minimum_saving_ratio: float = key(0.1, "smaller savings are not told", minimum=0, maximum=1)
    hold: Duration = key(300.0, "a finding holds this long before it is told, and is gone for as long before it is withdrawn", minimum=0)
    thresholds: Thresholds = key(factory=Thresholds, doc="where a finding begins to hold")


@dataclass(frozen=True, slots=True)
class Proxy:
    """`infermeter proxy`."""

    upstream: str | None = key(None, "URL of the server, such as http://127.0.0.1:8000")
    listen: str = key("127.0.0.1:8080", "where it listens")
    in_flight: int | None = key(None, "inferences at a time that the server gets; others wait, in order", minimum=1)
    queue_timeout: Duration = key(30.0, "so long they wait; then 503", above=0)
    paths: tuple[str, ...] = key((), "how the paths of inferences begin; none: whatever isn't GET, HEAD, OPTIONS or TRACE is one")
    endpoint: str = key("http://127.0.0.1:4318", "where its spans go: OTLP over HTTP")
    model: str | None = key(None, "the model's name; bodies aren't looked into")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on everything that a sender controls."""

    models: int = key(20, 'then model="other"', minimum=1)
    series: int = key(5000, "hard stop; optional families go first", minimum=100)
    pending_traces: int = key(10000, "traces under assembly; then the oldest is complete early, or evicted if no inference yet", minimum=1)
    pending_bytes: int = key(67108864, "of spans under assembly", minimum=1024)
    body_bytes: int = key(16777216, "of an export, as sent", minimum=1)
    decompressed_bytes: int = key(67108864, "of an export, unpacked", minimum=1)
    in_flight_bytes: int = key(134217728, "of exports being received; then 503 / UNAVAILABLE", minimum=1)
    connections: int = key(1024, "of senders", minimum=1)
    request_time: Duration = key(10.0, "for header and body, each", above=0)
    age: Duration = key(3600.0, "older spans are dropped and counted", above=0)
    future: Duration = key(5.0, "spans that end later than this from now are dropped and counted", minimum=0)
    memory_bytes: int | None = key(None, "exports are refused above this resident size; default 90 % of the cgroup's limit", minimum=1)


@dataclass(frozen=True, slots=True)
class Log:
    """Logging on standard error."""

    level: Literal["debug", "info", "warning", "error"] = key("info", "least level")
    format: Literal["text", "json"] = key("text", "one line each")


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration file."""

    server: Server = key(factory=Server, doc="the server beside which this runs")
    mappings_dir: str | None = key(None, "own mappings; they win by name")
    sla: Slas | None = key(None, "service levels; no section: no SLA families", reload=True)
    cost: Cost | None = key(None, "prices; no section: no cost families", reload=True)
    emissions: Emissions = key(factory=Emissions, doc="carbon")
    gpu: Gpu = key(factory=Gpu, doc="GPU readings")
    host_power: HostPower = key(factory=HostPower, doc="power of the rest of the machine")
    listen: Listen = key(factory=Listen, doc="addresses")
    web: Web = key(factory=Web, doc="the web face")
    otlp: Otlp = key(factory=Otlp, doc="access to the OTLP listeners")
    forward: Forward = key(factory=Forward, doc="spans passed on")
    windows: tuple[Window, ...] = key((Window("1h", 3600.0),), "0 to 4, ascending, 1m to 24h; the label is the text as written")
    ledger: LedgerConfig = key(factory=LedgerConfig, doc="how the ledger waits and judges")
    assembly: Assembly = key(factory=Assembly, doc="how long traces are waited for")
    state_file: str | None = key(None, "keeps what was learnt (baselines) over restarts")
    advice: Advice = key(factory=Advice, doc="findings", reload=True)
    proxy: Proxy = key(factory=Proxy, doc="infermeter proxy")
    limits: Limits = key(factory=Limits, doc="bounds on what a sender controls")
    log: Log = key(factory=Log, doc="logging")


def opencost_of(config: Config) -> OpenCost:
    """What is asked for prices; without a section, nothing."""
    return OpenCost() if config.cost is None else config.cost.opencost

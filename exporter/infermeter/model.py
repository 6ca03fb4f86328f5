"""The nouns: frozen values that cross the seams between packages. No behaviour beyond what a value is.

Time is unix nanoseconds (`int`, suffix `_ns`) wherever spans are counted to the nanosecond, and seconds (`float`, suffix
`_seconds`) wherever a person or Prometheus reads it. In columns a value that a sender didn't tell is NaN (float columns) or -1
(integer columns); outside of columns it is None. Neither ever reaches an exposition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

AttributeValue: TypeAlias = str | bool | int | float
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

Column: TypeAlias = Sequence[AttributeValue | None] | Floats | Ints
"""An attribute of many spans: None where a span lacks it. An array where each of them tells a number, all of one type."""

Stage: TypeAlias = Literal["queue", "compute", "transfer", "serialisation", "other"]
Use: TypeAlias = Literal["active", "idle", "unattributed"]
SlaState: TypeAlias = Literal["met", "missed", "insufficient"]
Signal: TypeAlias = Literal["duration", "ttft", "tpot"]
Component: TypeAlias = Literal["instance", "amortisation", "power", "cooling", "host", "licence", "other"]
Quality: TypeAlias = Literal["measured", "estimated", "fallback"]
GpuState: TypeAlias = Literal["active", "held_idle", "idle", "unknown"]
ThrottleReason: TypeAlias = Literal["power", "thermal", "other"]
Workload: TypeAlias = Literal["latency", "batch", "edge"]
Resource: TypeAlias = Literal["memory", "compute", "launch", "queue", "unknown"]
"""What binds the server: memory bandwidth, arithmetic, launching of kernels, scheduling; or nothing tells."""
Outcome: TypeAlias = Literal["ok", "error"]
Direction: TypeAlias = Literal["input", "output"]
EnergyKind: TypeAlias = Literal["counter", "integrated", "modelled"]
"""How a device's energy is known: from its own counter, integrated from its power, or estimated."""
Rejection: TypeAlias = Literal["read", "gap", "reset", "outlier"]
"""Why a reading was rejected: the device didn't answer or the row was out of order (`read`), nothing for too long (`gap`), its counter
fell (`reset`), or its value is absurd (`outlier`)."""
NotForwarded: TypeAlias = Literal["queue_full", "rejected", "expired", "unencodable", "shutdown"]
"""Why spans weren't passed on: no room, their receiver said so, too old, not to be encoded for its protocol, the end of the process."""

STAGES: tuple[Stage, ...] = ("queue", "compute", "transfer", "serialisation")
"""The four stages, in the order of the columns of `InferenceBatch.stages_ns`."""

STAGE_PRIORITY: tuple[Stage, ...] = ("compute", "transfer", "serialisation", "queue")
"""Where intervals overlap, an instant belongs to the first of these that claims it (law 1)."""

SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUS_CODES = ("unset", "ok", "error")


# --- spans: from otlp to mapping -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What the mapping wants read from one kind of span; made by a `SpanFilter`, compared by identity.

    `keys` are the attribute keys, in the order of `SpanBatch.attributes`; anything else in a span is never copied out of the wire
    format, prompts least of all. `events` tells whether event names and times are needed.
    """

    keys: tuple[str, ...]
    events: bool


class SpanFilter(Protocol):
    """What a decoder asks of the mapping, so that it reads only what some rule needs."""

    @property
    def resource_keys(self) -> frozenset[str]:
        """Resource attributes that some rule reads."""
        ...

    def layout(self, scope: str, name: str, /) -> Layout:
        """The layout for spans of this scope and name: a small closed set, however many names a sender invents."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SpanBatch:
    """Spans of one resource, one scope and one layout, as parallel columns in any order (all of one length, at least 1).

    Ids are raw bytes (trace 16, span 8, parent 8 or empty for none), already checked; `kind` indexes SPAN_KINDS, `status`
    STATUS_CODES; `start_ns <= end_ns`. `attributes[i]` is the column of `layout.keys[i]`, None where a span lacks it (or where it
    holds an array, a map or bytes). `events` holds for each span its events as (name, unix nanoseconds), in their order, or is
    empty where the layout doesn't want them.
    """

    resource: Mapping[str, AttributeValue]
    scope: str
    layout: Layout
    trace_id: Sequence[bytes]
    span_id: Sequence[bytes]
    parent_id: Sequence[bytes]
    name: Sequence[str]
    kind: Sequence[int]
    status: Sequence[int]
    start_ns: Sequence[int]
    end_ns: Sequence[int]
    attributes: tuple[Column, ...]
    events: Sequence[Sequence[tuple[str, int]]]

    def __len__(self) -> int:
        return len(self.span_id)


@dataclass(frozen=True, slots=True)
class Export:
    """One decoded export: its batches, and how many of its spans were unfit (bad id, end before start, absurd time).

    `outermost` holds the ids of the first and the last span as they were sent: an export that comes again has the same.
    """

    batches: tuple[SpanBatch, ...]
    spans: int
    malformed: int
    outermost: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An export that was taken, as it was sent: to be passed on. `spans` are all that it holds, `unpacked_bytes` is its length unpacked.

    `passed_by` names the sidecars that it has come through, this one too: whoever is among them has had it.
    """

    body: bytes
    encoding: Literal["protobuf", "json"]
    packing: Literal["identity", "gzip"]
    spans: int
    unpacked_bytes: int
    passed_by: tuple[str, ...] = ()


# --- inferences: from mapping to ledger ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class PartColumn:
    """Seconds of one named part of a stage: `ns[i]` belongs to inference `rows[i]`. Parts of a stage add up to at most the stage."""

    stage: Stage
    part: str
    rows: Ints
    ns: Ints


PartKey: TypeAlias = tuple[str | None, Stage, str]
"""A model (as `InferenceBatch.model`), and a named part of a stage."""


@dataclass(frozen=True, slots=True, eq=False)
class InferenceBatch:
    """Inferences as parallel columns of length n, in no particular order.

    `stages_ns` has shape (n, 4), columns as STAGES, -1 where the server doesn't tell the stage. The known stages of a row add up
    to at most `end_ns - start_ns`; the difference is `other`. `compute_rows`, `compute_start_ns`, `compute_end_ns` are the
    intervals in which a row was computing (any number a row, within the inference); where the server tells neither instants nor
    length of its compute, that is the time which no stage claims, and `compute_estimated` is set.
    `ttft_seconds` and `tpot_seconds` are NaN, token counts -1 where unknown. `model` is None where neither the span nor its resource
    told one. `trace_id` is raw bytes, for exemplars. `quality` tells for each stage that some row holds how it was obtained.
    `around_ns`: time in parts that lie outside of inferences, of these or of earlier ones (a router's way to the engine): part of no
    duration, and of no stage.
    """

    model: Sequence[str | None]
    start_ns: Ints
    end_ns: Ints
    stages_ns: Ints
    parts: tuple[PartColumn, ...]
    compute_rows: Ints
    compute_start_ns: Ints
    compute_end_ns: Ints
    compute_estimated: Bools
    ttft_seconds: Floats
    tpot_seconds: Floats
    tokens_input: Ints
    tokens_output: Ints
    error: Bools
    trace_id: Sequence[bytes]
    quality: Mapping[Stage, Quality]
    around_ns: Mapping[PartKey, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start_ns)


# --- GPUs --------------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class GpuIdentity:
    """One device as its source names it. `share_ratio` is this server's share of it (0 < x <= 1).

    `share_by_process`: the source tells the share by what the server's processes use; else it is constant. `assumed`: nothing says
    that the device is the server's, it was only seen. `power_kind`: whether power is a mean of about a second or one instant;
    `power_scope`: of the GPU alone, or of a module that holds a CPU too.
    """

    uuid: str
    index: int | None = None
    product: str | None = None
    driver_version: str | None = None
    source: str = "nvml"
    energy: EnergyKind | None = None
    memory_total_bytes: int | None = None
    power_limit_watts: float | None = None
    share_ratio: float = 1.0
    share_by_process: bool = False
    assumed: bool = False
    power_kind: Literal["average", "instant"] | None = None
    power_scope: Literal["gpu", "module"] = "gpu"


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One reading of one device. None: not told.

    `energy_joules`, `throttled_*_seconds` and `pcie_*_bytes` are counters since some instant of the device's own. `share_ratio` is the
    server's share of the device from here on, where it changes (`GpuIdentity.share_by_process`).
    """

    uuid: str
    time_ns: int
    power_watts: float | None = None
    energy_joules: float | None = None
    utilisation_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: float | None = None
    sm_clock_hertz: float | None = None
    power_limit_watts: float | None = None
    sm_active_ratio: float | None = None
    tensor_active_ratio: float | None = None
    dram_active_ratio: float | None = None
    computing_processes: int | None = None
    sm_occupancy_ratio: float | None = None
    throttled_power_seconds: float | None = None
    throttled_thermal_seconds: float | None = None
    throttled_other_seconds: float | None = None
    pcie_transmitted_bytes: int | None = None
    pcie_received_bytes: int | None = None
    share_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class HostSample:
    """Power of the rest of the machine at one instant, or its energy so far; `source` as in `host_energy_joules_total`.

    `energy_joules` is a counter since some instant of its own, unwrapped. At least one of the two is told.
    """

    time_ns: int
    power_watts: float | None = None
    source: str = "replay"
    energy_joules: float | None = None


# --- the server's own metrics ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Series:
    """One sample of an exposition: `name` as exposed (`_total`, `_sum`, `_count` and all), unescaped labels, a finite value."""

    name: str
    labels: Mapping[str, str]
    value: float


TimeOf: TypeAlias = Signal | Stage | tuple[Stage, str]
"""Of what a time is: of a whole inference, up to its first token, per token; in a stage; in a named part of a stage."""


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What a server's own metrics tell of one time, as increases: `seconds` of all inferences together, and how many took how long.

    `at_most`: so many took at most so many seconds, by seconds; math.inf: all of them. Without any edge nothing says how many there were.
    """

    seconds: float
    at_most: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerReading:
    """What the server's own /metrics said at `time_ns`, as increases since `since_ns` (None: the first reading, a baseline of zeros).

    `inferences` holds how many more were served, by model and outcome; a None in place of the model: the server doesn't name one, of
    the outcome: it doesn't tell them apart. Every series that was seen is there, also with 0. `inner_calls`: a model's count holds calls by
    other models (ensembles) too, so that it speaks of the server only once a span has shown the model served by itself.
    `counts_inferences`: whether a server of this make counts them at all.
    `tokens` holds how many more there were, by direction and model; a direction that the server doesn't tell isn't there. `running` and
    `waiting` are how many inferences run and wait right now, `batch_size` how many the server computes at once (right now, or on the mean
    since the last reading), `kv_cache_used_ratio` how full the fullest of its KV caches is. `resets`: how many counters fell; each then
    counts from 0. `model` is the only one that the server serves; None: it doesn't tell, or serves several. `times`: by model, what is told
    of durations, stages and parts. `flops_per_gpu` and `memory_bytes_per_gpu` (read and written): how many more, of one of its GPUs on the
    mean, as it estimates them.
    """

    time_ns: int
    since_ns: int | None
    inferences: Mapping[tuple[str | None, Outcome | None], float]
    inner_calls: bool = False
    counts_inferences: bool = True
    running: float | None = None
    resets: int = 0
    tokens: Mapping[Direction, Mapping[str | None, float]] = field(default_factory=dict)
    waiting: float | None = None
    batch_size: float | None = None
    kv_cache_used_ratio: float | None = None
    model: str | None = None
    times: Mapping[str | None, Mapping[TimeOf, ServerTime]] = field(default_factory=dict)
    flops_per_gpu: float | None = None
    memory_bytes_per_gpu: float | None = None


# --- what the ledger says ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ServerGauges:
    """What the server itself says of the present, as in `ServerReading`; None: it doesn't tell."""

    running: float | None
    waiting: float | None
    batch_size: float | None
    kv_cache_used_ratio: float | None


@dataclass(frozen=True, slots=True)
class SlaTarget:
    """The SLA of one model: at least `quantile_ratio` of its inferences meet every target that is set and that they have a value for."""

    quantile_ratio: float
    duration_seconds: float | None = None
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measured value and the trace it came from (lower-case hex)."""

    trace_id: str
    value_seconds: float
    time_ns: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` has one entry an edge, and one more for what is above the last: not cumulative. `exemplars` alike, None for none."""

    edges_seconds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_seconds: float
    exemplars: tuple[Exemplar | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the configuration: the label is the text as written."""

    label: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Misses:
    """Of the `observed` inferences that the SLA in force judged, those that missed it: `errors` too, which are not in `stage_seconds`."""

    observed: int
    inferences: int
    errors: int
    stage_seconds: Mapping[Stage, float]


@dataclass(frozen=True, slots=True)
class Slowdown:
    """If compute took `factor_ratio` times as long, and nobody waited, `late_ratio` of the inferences that were seen would miss the SLA."""

    late_ratio: float
    factor_ratio: float


@dataclass(frozen=True, slots=True)
class ModelWindow:
    """One model in one window of closed slots. Money in the ledger's currency; None: absent (no evidence, or not configured).

    `stage_seconds` are of the inferences that were seen; where none was, of all, as the server itself tells them (quality fallback).
    `prefill_seconds` and `decode_seconds` are of the inferences that were seen and tell both: only their ratio speaks of all.
    `signal_inferences`: how many inferences are behind the quantile of each signal. `slowdown_at_sla_ratio`: if queue and compute (and the
    token signals) took so many times as long, the SLA would just be met on this evidence; below 1 it isn't now. None without an SLA, the
    evidence, or a compute stage that is told. `slowdowns`, ascending: the same if nobody had waited, from nobody late on up to as many as
    still prove it. `misses` None: no SLA has judged, or the spans are no fair sample. `divisible`: there are enough inferences, and
    all that they cost and drew is known to be theirs, so that money and joules can be divided by them.
    """

    window: Window
    inferences_ok: int
    inferences_observed: int
    inferences_within_sla: int | None
    cost: float | None
    joules: float | None
    tokens: int | None
    stage_seconds: Mapping[Stage, float]
    cost_per_inference: float | None
    cost_per_inference_at_sla: Mapping[Literal["goodput", "compliant", "capacity"], float]
    latency_at_sla_quantile_seconds: Mapping[Signal, float]
    sla_state: SlaState | None
    tokens_input: int | None = None
    tokens_output: int | None = None
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    signal_inferences: Mapping[Signal, int] = field(default_factory=dict)
    slowdown_at_sla_ratio: float | None = None
    misses: Misses | None = None
    slowdowns: tuple[Slowdown, ...] = ()
    divisible: bool = True


@dataclass(frozen=True, slots=True)
class StepTime:
    """The line through compute time against batch: seconds an inference computes = `at_zero_seconds` + `slope_seconds` x batch.

    `batch_mean` is weighted by inferences, `batch_largest` the largest that was seen with enough of them.
    """

    at_zero_seconds: float
    slope_seconds: float
    batch_mean: float
    batch_largest: float


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """What one model can do at its SLA, in inferences per second: observed (a lower bound) and modelled. None: not known.

    `reached`: a higher load than the observed capacity was proven to miss. `inferences` are behind what was observed. `step_time` None:
    too few sizes of batch were seen, or too much alike.
    """

    observed_per_second: float | None = None
    reached: bool = False
    modelled_per_second: float | None = None
    inferences: int = 0
    step_time: StepTime | None = None

    @property
    def best_per_second(self) -> float | None:
        """What demand is held against: observed where it was reached, else modelled, but never less than was observed."""
        if self.reached or self.modelled_per_second is None:
            return self.observed_per_second if self.reached else None
        return max(self.modelled_per_second, self.observed_per_second or 0.0)


@dataclass(frozen=True, slots=True)
class CoverageBias:
    """The spans of a model are no fair sample: another share of the `observed` took at most `edge_seconds` than of all."""

    edge_seconds: float
    server_ratio: float
    observed_ratio: float
    observed: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Everything booked for one model since the start. Counters never fall. None or a missing key: absent.

    `coverage_bias` None: nothing says that its spans are no fair sample. While one is told, no window has a reading at the SLA.
    """

    model: str
    observed_ok: int
    observed_error: int
    within_sla: int | None
    late: int
    duration: Histogram
    ttft: Histogram | None
    tpot: Histogram | None
    stages: Mapping[Stage, Histogram]
    part_seconds: Mapping[tuple[Stage, str], float]
    tokens_input: int | None
    tokens_output: int | None
    sla: SlaTarget | None
    in_sla_state: Mapping[SlaState, int]
    cost_in_sla_state: Mapping[SlaState, float]
    energy_joules: Mapping[Use, float]
    cost: Mapping[Use, float]
    windows: tuple[ModelWindow, ...]
    capacity: CapacityFacts | None = None
    coverage_bias: CoverageBias | None = None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One device: its identity, last fresh sample (None while stale), and what was counted of the whole device.

    `quiet_since_ns`: since when every settled second found it idle, with as much in its memory (what is being loaded isn't idle); None: the
    last one didn't. `held`: a model is on it.
    """

    identity: GpuIdentity
    up: bool
    last: GpuSample | None
    last_sample_ns: int | None
    energy_joules: float | None
    state_seconds: Mapping[GpuState, float]
    baseline_watts: float | None
    throttled_seconds: Mapping[ThrottleReason, float] = field(default_factory=dict)
    pcie_transmitted_bytes: int | None = None
    pcie_received_bytes: int | None = None
    quiet_since_ns: int | None = None
    held: bool | None = None


@dataclass(frozen=True, slots=True)
class HardwareWindow:
    """What the server's GPUs did in a window: means over time and GPUs, None where a reading is missing for over a tenth of it.

    `memory_peak_bytes` and `memory_peak_ratio` are of the fullest GPU at its fullest. `throttled_ratio`: the part of the time in which its
    clocks were held down by power or heat, of the GPU that was longest.
    """

    utilisation_ratio: float | None = None
    sm_active_ratio: float | None = None
    tensor_active_ratio: float | None = None
    dram_active_ratio: float | None = None
    memory_peak_bytes: int | None = None
    memory_peak_ratio: float | None = None
    throttled_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ServerWindow:
    """The whole server in one window: T accrued, B busy, J joules of its share, C cost, and the waterfall's steps (sum C).

    `load_ratio` is demand over capacity, of all models together. `idle_seconds`: known to be idle. `unpriced_seconds`: so long the price
    of a component was not known that was known at another time (the one that was missing longest); None where nothing has ever been priced.
    `flops_per_gpu` and `memory_bytes_per_gpu`: what one of the GPUs computed, read and wrote, on the mean, as the server estimates it; None
    unless it told so over the whole window, and more than nothing. `batch_mean`: how many inferences computed at once, while any did; None
    where none was seen to, or spans are a sample.
    """

    window: Window
    accrued_seconds: float
    busy_seconds: float
    joules: float | None
    cost: float | None
    inferences_ok: int
    inferences_within_sla: int | None
    waterfall_cost: Mapping[str, float]
    load_ratio: float | None = None
    idle_seconds: float | None = None
    unpriced_seconds: float | None = None
    flops_per_gpu: float | None = None
    memory_bytes_per_gpu: float | None = None
    hardware: HardwareWindow | None = None
    batch_mean: float | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many inferences ran at once, mean over the `seconds` in which the server's gauge was told.

    `running` says that gauge, `computing` the spans of the `inferences` that were seen, raised to all that were served.
    `standard_error` is of their difference, None where scrapes may always meet a regular load in the same phase: then nothing can be said.
    """

    seconds: float
    inferences: int
    running: float
    computing: float
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """One closed slot of event time and one model, for `compare`'s bootstrap.

    `observed`, `ok`, `within_sla` and tokens are those of the spans; `served_ok` is of the server's own counts, None where it tells none.
    `unpriced_seconds` as in `ServerWindow`: what `cost` lacks; with all of it lacking, the cost is None.
    """

    start_ns: int
    seconds: float
    model: str
    observed: int
    ok: int
    within_sla: int | None
    cost: float | None
    joules: float | None
    busy_seconds: float
    tokens_input: int | None
    tokens_output: int | None
    served_ok: int | None = None
    unpriced_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to act on, with its evidence. `model` None: it speaks of the server. `evidence` holds numbers and label texts only."""

    code: str
    level: Literal["info", "warning"]
    model: str | None
    evidence: Mapping[str, float | str]
    what_to_do: str
    falsified_by: str
    saving_per_hour: float | None = None


BlockedBy: TypeAlias = Literal["memory", "precision", "load", "latency", "price", "evidence", "unknown"]
"""What speaks against a candidate: it fails there, or nothing tells."""

SizingVerdict: TypeAlias = Literal["fits", "unsure", "no"]


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """What right-sizing goes by of one model; `slowdown_at_sla_ratio` and `slowdowns` as in `ModelWindow`, with `inferences` behind them.

    `quantile_ratio` is the SLA's. `slowdowns` are empty where more waited than would behind one inference at a time that come at random.
    `longest_service_ratio`: the longest inferences of any model of the server (its duration at the quantile) over the mean compute of this
    one; None where that isn't told of every model.
    """

    model: str
    workload: Workload
    has_sla: bool
    slowdown_at_sla_ratio: float | None
    inferences: int
    quantile_ratio: float = 0.99
    slowdowns: tuple[Slowdown, ...] = ()
    longest_service_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class SizingEvidence:
    """All that right-sizing goes by, of one server: what a report carries, so that it can be asked again with other prices or devices.

    `products`: the GPUs, as their driver names them, each as often as there are; `gpus` is the sum of the shares. `memory_peak_bytes` is of
    the fullest GPU; `memory_is_reserved`: the server takes whatever there is (a pool for its KV cache), so that the peak says nothing.
    `price_age_seconds`: of the oldest price in force. `busy_ratio`, `throttled_ratio` and `load_ratio` (demand over capacity, on the mean;
    None before the window is full) are of the longest window, of `window_seconds`. None: not told.
    """

    products: tuple[str, ...]
    gpus: float
    is_partitioned: bool
    cost_per_hour: Mapping[Component, float]
    currency: str | None
    price_age_seconds: float | None
    peak_load_ratio: float | None
    busy_ratio: float | None
    memory_peak_bytes: int | None
    memory_is_reserved: bool
    precision: str | None
    throttled_ratio: float | None
    window_seconds: float | None
    models: tuple[ModelEvidence, ...]
    load_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another device in place of each GPU, and what speaks for and against it. None: not known.

    Throughput is relative to the present device: `low` the published lower bound, `point` with its range up to `high`. `load_ratio`: peak
    demand over the lower bound of capacity there (headroom not included). `slowdown_ratio`: how much longer compute may take there, waiting
    included, and `slowdown_allowed_ratio` within the SLA.
    `reasons` has a sentence for each of `blocked_by`. `facts_verified`: every fact that decided was checked against its source.
    """

    product: str
    verdict: SizingVerdict
    blocked_by: tuple[BlockedBy, ...]
    reasons: Mapping[BlockedBy, str]
    throughput_ratio_low: float | None
    throughput_ratio_point: float | None
    throughput_ratio_high: float | None
    load_ratio: float | None
    slowdown_ratio: float | None
    cost_per_hour: float | None
    saving_per_hour: float | None
    provider: str | None
    facts_verified: bool
    slowdown_allowed_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Something cheaper to try before other hardware: fewer replicas, a slice, sharing, or none while nothing is asked for."""

    kind: Literal["fewer_replicas", "mig_slice", "share", "scale_to_zero"]
    verdict: SizingVerdict
    evidence: Mapping[str, float | str]
    what_to_do: str
    falsified_by: str
    saving_per_hour: float | None


@dataclass(frozen=True, slots=True)
class RightSizing:
    """Candidates, the best first, and the cheaper first moves; with the evidence they rest on."""

    evidence: SizingEvidence
    candidates: tuple[Candidate, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What the advice says of one snapshot. `bound` None: nothing was computed in the window that it is judged by."""

    findings: tuple[Finding, ...] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    bound: Resource | None = None
    sizing: RightSizing | None = None


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The ledger at one instant; taking it changes nothing. `settled_ns` is the energy watermark, None before the first tick.

    `unpriced`: components that are configured and can't be known (no GPU count, no power reading); `unpriced_gpus`: the UUIDs of those
    GPUs which nobody tells a price of, where a list of prices should. `late_for_energy`: inferences whose
    compute began before the energy watermark, so that a part of it is in no tick. `totals`: inferences by model as the server's own
    counters tell them, deltas since the start; None where spans are all there is. `coverage_ratio`: observed / totals over the longest
    window, None where unknown. `thin`: the spans were a sample in the ticks that were settled last, by the counters where they tell,
    else by what is known of the server; `busy_seconds` is then no measure of busy time. `peak_load_ratio`: the 99th percentile of demand
    over capacity by the minute (it may exceed 1), None without the history or a capacity. `concurrency`: over the longest window, None
    where the server's gauge or the spans don't tell. `gauges`: None where the server tells nothing, or hasn't lately.
    """

    time_ns: int
    start_ns: int
    settled_ns: int | None
    models: tuple[ModelFacts, ...]
    windows: tuple[ServerWindow, ...]
    slots: Sequence[Slot]
    busy_seconds: float
    stage_quality: Mapping[Stage, Quality]
    gpus: tuple[GpuFacts, ...]
    host_energy_joules: Mapping[str, float]
    samples_rejected: Mapping[Rejection, int]
    currency: str | None
    cost: Mapping[Component, float]
    cost_per_hour: Mapping[Component, float]
    unknown_seconds: float
    emissions_grams: float | None
    unpriced: tuple[Component, ...] = ()
    unpriced_gpus: tuple[str, ...] = ()
    late_for_energy: int = 0
    totals: Mapping[str, Mapping[Outcome, float]] | None = None
    coverage_ratio: float | None = None
    thin: bool = False
    peak_load_ratio: float | None = None
    concurrency: Concurrency | None = None
    gauges: ServerGauges | None = None


@dataclass(frozen=True, slots=True)
class IntakeFacts:
    """What arrived and what became of it: spans received = mapped + unmapped + dropped + pending."""

    spans_received: Mapping[str, int]
    spans_dropped: Mapping[str, int]
    spans_unmapped: Mapping[str, int]
    exports_refused: Mapping[tuple[str, str], int]
    last_span_ns: int | None
    traces_pending: int
    traces_pending_limit: int


@dataclass(frozen=True, slots=True)
class ForwardFacts:
    """What became of the spans to pass on: forwarded, dropped (by reason), or still in the queue. `spans_reencoded`: of those forwarded."""

    spans_forwarded: int
    spans_reencoded: int
    spans_dropped: Mapping[NotForwarded, int]
    queue_bytes: int
    queue_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `/metrics` and the report are made from. `sampled`: spans are known to be a sample.

    `totals_from`: what tells how many inferences were served, for the life of the process; None: nothing does. `server_scrape_up` and
    `state_files_rejected` are None where no metrics_url or state_file is set. `config_reload_ns`: when the configuration in force was
    loaded, None where that is nobody's business (a replay). `forward` is None where nothing is passed on.
    """

    server: str
    version: str
    revision: str
    kind: Literal["serve", "replay"]
    ledger: LedgerSnapshot
    intake: IntakeFacts
    advice: Advice
    gpu_source: str | None
    gpu_source_up: bool | None
    price_as_of_ns: int | None
    price_source: str | None
    series_limit: int
    config_reload_ns: int | None
    config_reload_successful: bool = True
    sampled: bool = False
    totals_from: Literal["server", "observed"] | None = "observed"
    gpu_hardware: bool = False
    server_scrape_up: bool | None = None
    state_files_rejected: int | None = None
    forward: ForwardFacts | None = None

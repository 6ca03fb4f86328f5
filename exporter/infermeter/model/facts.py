"""What the ledger says: of models, devices, windows and slots, and all of it at one instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from infermeter.model.gpus import GpuIdentity, GpuSample
from infermeter.model.kinds import Component, GpuState, Outcome, Quality, Rejection, Signal, SlaState, Stage, ThrottleReason, Use


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


class Exemplar(NamedTuple):
    """One measured value and the trace it came from (lower-case hex)."""

    trace_id: str
    value_seconds: float
    time_ns: int


class Histogram(NamedTuple):
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
    """Of the `observed` inferences that the SLA in force judged, those that missed it: `errors` too, which are not in `stage_seconds`.

    `stage_seconds` are those of the signals that were missed: without what is after the first token where only that came late, and of what
    is in no other stage for sure, `other`.
    """

    observed: int
    inferences: int
    errors: int
    stage_seconds: Mapping[Stage, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a verdict goes by: of the `observed` inferences that the SLA in force judged, so many were within it."""

    observed: int
    within: int
    confidence: float


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
    all that they cost and drew is known to be theirs, so that money and joules can be divided by them. `judged` None: nothing
    can be judged yet.
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
    judged: Judged | None = None


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

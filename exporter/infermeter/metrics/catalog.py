"""The one table of metrics: names, kinds, help and labels of every family that this version publishes.

The exposition, the report, docs/metrics.md and the tests are made from it; dashboards and rules take their names from here. A name is
a public contract. Its unit is its last word, `_total` aside; money's unit is the `currency` label. Every family carries `server`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from infermeter.advice.reference import FINDINGS
from infermeter.model import (
    STAGES,
    Component,
    Direction,
    EnergyKind,
    GpuState,
    NotForwarded,
    Outcome,
    Quality,
    Resource,
    Signal,
    SizingVerdict,
    SlaState,
    Stage,
    ThrottleReason,
    Use,
)

PREFIX = "infermeter_"
UNITS = ("seconds", "joules", "watts", "bytes", "ratio", "celsius", "hertz", "grams")

Kind = Literal["counter", "gauge", "histogram", "info", "state set"]
"""`info` is a gauge that is always 1; a `state set` is gauges of which exactly one is 1 and the others are 0."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label's name and its closed set of values; no values: an open set that something else bounds."""

    name: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One family of metrics. `labels` are in the order in which values are given, after `server`; `absent` says when it isn't there."""

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    absent: str = ""

    @property
    def full_name(self) -> str:
        """The name in the exposition."""
        return PREFIX + self.name

    @property
    def unit(self) -> str:
        """The unit that ends the name, or nothing for counts and money."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else ""


# --- labels ------------------------------------------------------------------------------------------------------------------------
SERVER = Label("server")
MODEL = Label("model")
OUTCOME = Label("outcome", get_args(Outcome))
TOTALS_SOURCE = Label("source", ("server", "observed"))
STAGE = Label("stage", get_args(Stage))
PART = Label("part")
QUALITY = Label("quality", get_args(Quality))
DIRECTION = Label("direction", get_args(Direction))
SIGNAL = Label("signal", get_args(Signal))
WINDOW = Label("window")
SLA_STATE = Label("state", get_args(SlaState))
BASIS = Label("basis", ("goodput", "compliant", "capacity"))
CURRENCY = Label("currency")
BOUND = Label("bound", ("observed", "model"))
COMPONENT = Label("component", get_args(Component))
USE = Label("use", get_args(Use))
STEP = Label("step", ("capacity", "low_load", "busy", "idle", "sla_missed"))
GPU_UUID = Label("gpu_uuid")
GPU_INDEX = Label("index")
PRODUCT = Label("product")
DRIVER_VERSION = Label("driver_version")
GPU_SOURCE = Label("source", ("nvml", "dcgm", "triton", "amd", "hwmon", "replay", "simulated"))
ENERGY_METHOD = Label("energy", get_args(EnergyKind))
GPU_STATE = Label("state", get_args(GpuState))
THROTTLE_REASON = Label("reason", get_args(ThrottleReason))
PCIE_DIRECTION = Label("direction", ("transmitted", "received"))
HOST_SOURCE = Label("source", ("rapl", "hwmon", "configured", "replay"))
CODE = Label("code", tuple(entry.code for entry in FINDINGS))
LEVEL = Label("level", ("info", "warning"))
RESOURCE = Label("resource", get_args(Resource))
VERDICT = Label("verdict", get_args(SizingVerdict))
PROTOCOL = Label("protocol", ("grpc", "http"))
DROP_REASON = Label("reason", ("duplicate", "malformed", "future", "ancient", "evicted", "overload", "late"))
UNMAPPED_REASON = Label("reason", ("no_rule", "incomplete", "invalid", "suppressed"))
REFUSAL_REASON = Label("reason", ("malformed", "too_large", "overload", "unauthorised", "signal"))
FORWARD_DROP_REASON = Label("reason", get_args(NotForwarded))
REJECTION_REASON = Label("reason", ("read", "gap", "reset", "outlier"))
VERSION = Label("version")
REVISION = Label("revision")

# --- inferences --------------------------------------------------------------------------------------------------------------------
_SAMPLED = "spans are known to be a sample"
_NO_SLA = "the model has no SLA"
_NEVER_SLA = "the model has never had an SLA"
_NO_PRICE = "no price is configured"
_NO_POWER = "no GPU tells its power"
_NOT_TOLD = "the device doesn't tell it, or hasn't lately"
_THIN = "the window holds too little evidence"
_BIASED = "the spans are no fair sample (finding coverage_biased)"

_NO_TOTALS = "spans are known to be a sample, and no server.metrics_url is set or it hasn't answered yet"
INFERENCES = Family(
    "inferences_total",
    "counter",
    "Inferences that were served, from one source for the life of the process.",
    (MODEL, OUTCOME),
    absent=_NO_TOTALS,
)
INFERENCES_SOURCE = Family(
    "inferences_source",
    "info",
    "Where inferences_total comes from: the server's own counter, or the spans that were seen.",
    (TOTALS_SOURCE,),
    absent=_NO_TOTALS,
)
INFERENCES_OBSERVED = Family("inferences_observed_total", "counter", "Inferences that were seen as spans.", (MODEL, OUTCOME))
INFERENCES_OBSERVED_WITHIN_SLA = Family(
    "inferences_observed_within_sla_total",
    "counter",
    "Observed inferences that ended without error and met every target of their model's SLA.",
    (MODEL,),
    absent=_NEVER_SLA,
)
INFERENCES_LATE = Family("inferences_late_total", "counter", "Inferences that came after their slot was closed: counted, but in no window.")
TOKENS = Family(
    "tokens_total",
    "counter",
    "Tokens: of all inferences, as the server counts them; where it counts none, of observed inferences that ended without error.",
    (MODEL, DIRECTION),
    absent="neither the server's own metrics nor spans tell token counts, or server.metrics_url hasn't answered yet",
)
BUSY_SECONDS = Family(
    "busy_seconds_total",
    "counter",
    "Wall-clock time with at least one inference computing.",
    absent=_SAMPLED,
)

# --- latency -----------------------------------------------------------------------------------------------------------------------
INFERENCE_DURATION = Family("inference_duration_seconds", "histogram", "Duration of an inference, stages and other.", (MODEL,))
TIME_TO_FIRST_TOKEN = Family(
    "time_to_first_token_seconds",
    "histogram",
    "Time from an inference's start to its first token.",
    (MODEL,),
    absent="neither spans nor, before the first of them, the server's own metrics tell it",
)
TIME_PER_OUTPUT_TOKEN = Family(
    "time_per_output_token_seconds",
    "histogram",
    "Mean time of an inference's output tokens after the first.",
    (MODEL,),
    absent="neither spans nor, before the first of them, the server's own metrics tell it",
)
STAGE_DURATION = Family(
    "stage_duration_seconds",
    "histogram",
    "Time of an inference by stage; the stages and other add up to its duration. Of other, the"
    " remainder, sum and count; its buckets are in the report.",
    (MODEL, STAGE),
    absent="the server can't tell the stage",
)
STAGE_PART_SECONDS = Family(
    "stage_part_seconds_total",
    "counter",
    "Time in a named part of a stage; not comparable across servers.",
    (MODEL, STAGE, PART),
)
STAGE_QUALITY = Family(
    "stage_quality",
    "info",
    "How the times of a stage are obtained, at worst; fallback: by the server's own metrics, before the first span. When something computed"
    " is estimated where no compute is told.",
    (STAGE, QUALITY),
)

# --- SLA ---------------------------------------------------------------------------------------------------------------------------
SLA_TARGET = Family("sla_target_seconds", "gauge", "Target of the SLA.", (MODEL, SIGNAL), absent=_NO_SLA)
SLA_QUANTILE = Family("sla_quantile_ratio", "gauge", "Share of inferences that must meet every target.", (MODEL,), absent=_NO_SLA)
INFERENCES_IN_SLA_STATE = Family(
    "inferences_in_sla_state_total",
    "counter",
    "Inferences without error, by the verdict on the block that they are in; settled.",
    (MODEL, SLA_STATE),
    absent=_NEVER_SLA,
)
COST_IN_SLA_STATE = Family(
    "cost_in_sla_state_total",
    "counter",
    "Cost by the verdict on the block that it accrued in; settled.",
    (MODEL, SLA_STATE, CURRENCY),
    absent=f"{_NO_PRICE}, or {_NEVER_SLA}",
)

# --- money -------------------------------------------------------------------------------------------------------------------------
COST = Family("cost_total", "counter", "Cost that has accrued, by component.", (COMPONENT, CURRENCY), absent=_NO_PRICE)
COST_BY_USE = Family("cost_by_use_total", "counter", "Cost by what it was used for; settled.", (MODEL, USE, CURRENCY), absent=_NO_PRICE)
COST_PER_HOUR = Family("cost_per_hour", "gauge", "What an hour costs now, by component.", (COMPONENT, CURRENCY), absent=_NO_PRICE)
PRICE_TIMESTAMP = Family("price_timestamp_seconds", "gauge", "Date of the prices.", absent=_NO_PRICE)
SETTLED_TIMESTAMP = Family(
    "settled_timestamp_seconds",
    "gauge",
    "Up to when energy and money by use are settled.",
    absent="nothing is settled yet",
)

# --- windows: for a person without rules; never summed or averaged -----------------------------------------------------------------
WINDOW_COST_PER_INFERENCE = Family(
    "window_cost_per_inference",
    "gauge",
    "Cost over inferences that ended without error, in the window.",
    (MODEL, WINDOW, CURRENCY),
    absent=f"{_NO_PRICE}, or {_THIN}",
)
WINDOW_COST_PER_INFERENCE_AT_SLA = Family(
    "window_cost_per_inference_at_sla",
    "gauge",
    "By basis. goodput: all cost over inferences within the SLA; compliant: in the blocks in which it held; capacity: at full load.",
    (MODEL, WINDOW, BASIS, CURRENCY),
    absent=f"{_NO_PRICE}, {_NO_SLA}, {_BIASED}, or {_THIN}",
)
WINDOW_LATENCY_AT_SLA_QUANTILE = Family(
    "window_latency_at_sla_quantile_seconds",
    "gauge",
    "Latency at the SLA's quantile, to 1 percent.",
    (MODEL, SIGNAL, WINDOW),
    absent=f"{_NO_SLA}, {_BIASED}, or {_THIN}",
)
WINDOW_SLA_STATE = Family(
    "window_sla_state",
    "state set",
    "Whether the SLA is met in the window, as a statement at the configured confidence; insufficient without enough evidence.",
    (MODEL, WINDOW, SLA_STATE),
    absent=f"{_NO_SLA}, or {_BIASED}",
)

# --- capacity and load -------------------------------------------------------------------------------------------------------------
_NO_EVIDENCE = "nothing shows it yet"
CAPACITY_AT_SLA = Family(
    "capacity_at_sla_inferences_per_second",
    "gauge",
    "What the server can do at its SLA: observed, the highest load that has repeatedly held it; model, from step times or its queue.",
    (MODEL, BOUND),
    absent=f"{_NO_SLA}, or {_NO_EVIDENCE}",
)
CAPACITY_REACHED = Family(
    "capacity_reached",
    "gauge",
    "1: a load above the observed capacity was proven to miss the SLA; 0: it is only a lower bound.",
    (MODEL,),
    absent="no capacity is observed",
)
PEAK_LOAD = Family(
    "peak_load_ratio",
    "gauge",
    "Demand over capacity that 99 % of the minutes don't exceed, all models together; 1 over it is the over-provisioning.",
    absent="a model's capacity is neither reached nor modelled, or the history is shorter than advice.minimum_history",
)
WINDOW_LOAD = Family(
    "window_load_ratio",
    "gauge",
    "Demand over capacity in the window, all models together.",
    (WINDOW,),
    absent="a model's capacity is neither reached nor modelled, or the window isn't full yet",
)

# --- GPUs and energy ---------------------------------------------------------------------------------------------------------------
GPU_INFO = Family(
    "gpu_info",
    "info",
    "A GPU of the server, where its readings come from, and how its energy is obtained.",
    (GPU_UUID, GPU_INDEX, PRODUCT, DRIVER_VERSION, GPU_SOURCE, ENERGY_METHOD),
)
GPU_SOURCE_UP = Family(
    "gpu_source_up",
    "gauge",
    "1: the source of GPU readings answers, also where it sees no GPU.",
    (GPU_SOURCE,),
    absent="no source is in use",
)
GPU_UP = Family("gpu_up", "gauge", "1: the GPU's readings are fresh.", (GPU_UUID,))
GPU_POWER = Family("gpu_power_watts", "gauge", "Power that the GPU draws.", (GPU_UUID,), absent=_NOT_TOLD)
GPU_UTILISATION = Family("gpu_utilisation_ratio", "gauge", "Share of time in which a kernel ran.", (GPU_UUID,), absent=_NOT_TOLD)
GPU_MEMORY_USED = Family("gpu_memory_used_bytes", "gauge", "GPU memory in use.", (GPU_UUID,), absent=_NOT_TOLD)
GPU_MEMORY_TOTAL = Family("gpu_memory_total_bytes", "gauge", "GPU memory in all.", (GPU_UUID,), absent="the device doesn't tell it")
GPU_LAST_SAMPLE = Family("gpu_last_sample_timestamp_seconds", "gauge", "When the GPU was last read.", (GPU_UUID,), absent="it never was")
GPU_SHARE = Family("gpu_share_ratio", "gauge", "This server's share of the GPU.", (GPU_UUID,), absent="the share is 1")
GPU_SM_ACTIVE = Family("gpu_sm_active_ratio", "gauge", "Share of the SMs that were active.", (GPU_UUID,), absent=_NOT_TOLD)
GPU_DRAM_ACTIVE = Family("gpu_dram_active_ratio", "gauge", "Share of cycles with active memory.", (GPU_UUID,), absent=_NOT_TOLD)
GPU_TENSOR_ACTIVE = Family("gpu_tensor_active_ratio", "gauge", "Share of cycles with active tensor cores.", (GPU_UUID,), absent=_NOT_TOLD)
_NO_HARDWARE = f"gpu.hardware is false, or {_NOT_TOLD}"
GPU_SM_OCCUPANCY = Family(
    "gpu_sm_occupancy_ratio", "gauge", "Warps resident on the SMs, of as many as could be.", (GPU_UUID,), absent=_NO_HARDWARE
)
GPU_POWER_LIMIT = Family("gpu_power_limit_watts", "gauge", "Power limit that is enforced.", (GPU_UUID,), absent=_NO_HARDWARE)
GPU_TEMPERATURE = Family("gpu_temperature_celsius", "gauge", "Temperature of the GPU.", (GPU_UUID,), absent=_NO_HARDWARE)
GPU_SM_CLOCK = Family("gpu_sm_clock_hertz", "gauge", "Clock of the SMs.", (GPU_UUID,), absent=_NO_HARDWARE)
GPU_PCIE = Family(
    "gpu_pcie_bytes_total",
    "counter",
    "Bytes over PCI Express, as the GPU's own counters tell.",
    (GPU_UUID, PCIE_DIRECTION),
    absent=_NO_HARDWARE,
)
GPU_THROTTLED = Family(
    "gpu_throttled_seconds_total",
    "counter",
    "Time in which the GPU's clocks were held down: by its power limit, by heat, by anything else.",
    (GPU_UUID, THROTTLE_REASON),
    absent="the device doesn't tell it",
)
GPU_ENERGY = Family("gpu_energy_joules_total", "counter", "Energy that the whole GPU drew.", (GPU_UUID,), absent=_NO_POWER)
GPU_STATE_SECONDS = Family("gpu_state_seconds_total", "counter", "Time of the whole GPU by state; settled.", (GPU_UUID, GPU_STATE))
GPU_BASELINE = Family(
    "gpu_baseline_watts",
    "gauge",
    "Power with a model resident and nothing computing, learnt here or configured.",
    (GPU_UUID,),
    absent="it isn't learnt yet",
)
ENERGY = Family(
    "energy_joules_total",
    "counter",
    "Energy of this server's share of its GPUs, by use; settled. By model it is an attributed estimate.",
    (MODEL, USE),
    absent=_NO_POWER,
)
HOST_ENERGY = Family(
    "host_energy_joules_total",
    "counter",
    "Energy of the host apart from its GPUs.",
    (HOST_SOURCE,),
    absent="host power is neither measured nor configured",
)
EMISSIONS = Family(
    "emissions_co2e_grams_total",
    "counter",
    "Measured energy x PUE x the configured intensity of the grid.",
    absent=f"no intensity is configured, or {_NO_POWER}",
)

# --- the server's own metrics ------------------------------------------------------------------------------------------------------
SERVER_SCRAPE_UP = Family("server_scrape_up", "gauge", "1: server.metrics_url answered last time.", absent="no server.metrics_url is set")
SPAN_COVERAGE = Family(
    "span_coverage_ratio",
    "gauge",
    "Inferences that were seen as spans, of all that the server counted, over the longest window.",
    absent="the server's own count isn't known",
)
_NO_GAUGE = "the server's own metrics don't tell it, or haven't lately"
SERVER_RUNNING = Family("server_running_inferences", "gauge", "Inferences that run right now, as the server itself says.", absent=_NO_GAUGE)
SERVER_WAITING = Family(
    "server_waiting_inferences", "gauge", "Inferences that wait to be executed right now, as the server itself says.", absent=_NO_GAUGE
)
SERVER_BATCH = Family(
    "server_batch_inferences",
    "gauge",
    "Inferences that the server computes at once, as it says itself: right now, or on the mean since it was asked before.",
    absent=_NO_GAUGE,
)
SERVER_KV_CACHE_USED = Family(
    "server_kv_cache_used_ratio", "gauge", "How full the server's KV cache is, as it says itself: the fullest of several.", absent=_NO_GAUGE
)

# --- findings ----------------------------------------------------------------------------------------------------------------------
FINDING = Family(
    "finding",
    "info",
    "Something to act on, of the server or of one model; evidence and what to do are at /api/v1/findings.",
    (MODEL, CODE, LEVEL),
    absent="it doesn't hold, or can't be judged",
)
FINDING_SAVING_PER_HOUR = Family(
    "finding_saving_per_hour",
    "gauge",
    "What acting on the finding would save; savings overlap.",
    (MODEL, CODE, CURRENCY),
    absent="it can't be told",
)

RESOURCE_BOUND = Family(
    "resource_bound",
    "state set",
    "What binds while the server computes; unknown without profiling counters or the server's own estimates.",
    (RESOURCE,),
    absent="the GPUs were busy for too little of the longest window",
)
CANDIDATE_COST_PER_HOUR = Family(
    "candidate_cost_per_hour",
    "gauge",
    "What the server would cost on another device: the best three that are priced. `infermeter advise` says what speaks against each.",
    (PRODUCT, VERDICT, CURRENCY),
    absent="advice.prices_file prices no other device, or the present cost isn't known",
)

# --- intake ------------------------------------------------------------------------------------------------------------------------
SPANS_RECEIVED = Family("spans_received_total", "counter", "Spans that were received; the protocol is `file` in a replay.", (PROTOCOL,))
SPANS_DROPPED = Family("spans_dropped_total", "counter", "Spans that were dropped.", (DROP_REASON,))
SPANS_UNMAPPED = Family("spans_unmapped_total", "counter", "Spans that became no inference.", (UNMAPPED_REASON,))
EXPORTS_REFUSED = Family("exports_refused_total", "counter", "Exports that were refused as a whole.", (PROTOCOL, REFUSAL_REASON))
CONNECTIONS_DISPLACED = Family(
    "connections_displaced_total", "counter", "Connections that rested, and had to make room for others at limits.connections."
)
LAST_SPAN = Family("last_span_timestamp_seconds", "gauge", "When the newest span ended.", absent="none has arrived")
TRACES_PENDING = Family("traces_pending", "gauge", "Traces that wait for more spans.")
TRACES_PENDING_LIMIT = Family("traces_pending_limit", "gauge", "How many may wait; then the oldest is evicted.")
_NOT_FORWARDED = "no forward.endpoint is set"
SPANS_FORWARDED = Family(
    "spans_forwarded_total",
    "counter",
    "Spans that were passed on, and that forward.endpoint has taken.",
    absent=_NOT_FORWARDED,
)
SPANS_FORWARD_REENCODED = Family(
    "spans_forward_reencoded_total",
    "counter",
    "Of those, spans that were encoded anew, since they came as JSON and go on over gRPC.",
    absent=_NOT_FORWARDED,
)
SPANS_FORWARD_DROPPED = Family(
    "spans_forward_dropped_total",
    "counter",
    "Spans that were taken here, and that forward.endpoint didn't get or didn't take.",
    (FORWARD_DROP_REASON,),
    absent=_NOT_FORWARDED,
)
FORWARD_QUEUE = Family("forward_queue_bytes", "gauge", "Exports that wait to be passed on, or are under way.", absent=_NOT_FORWARDED)
FORWARD_QUEUE_LIMIT = Family("forward_queue_limit_bytes", "gauge", "How much may; then exports are dropped.", absent=_NOT_FORWARDED)
GPU_SAMPLES_REJECTED = Family("gpu_samples_rejected_total", "counter", "GPU readings that were not used.", (REJECTION_REASON,))

# --- the exporter itself -----------------------------------------------------------------------------------------------------------
_ONLY_EXPOSED = "in the report, which has no limit"
SERIES = Family("series", "gauge", "Series in this exposition.", absent=_ONLY_EXPOSED)
SERIES_LIMIT = Family("series_limit", "gauge", "How many there may be; then optional families are left out.", absent=_ONLY_EXPOSED)
SERIES_OVERFLOWED = Family(
    "series_overflowed_total",
    "counter",
    "Series that an exposition left out because of the limit, each time that it did.",
    absent=_ONLY_EXPOSED,
)
STATE_FILES_REJECTED = Family(
    "state_files_rejected_total", "counter", "State files that were broken: renamed away and not used.", absent="no state_file is set"
)
CONFIG_LAST_RELOAD_SUCCESSFUL = Family("config_last_reload_successful", "gauge", "1: the last configuration that was offered is in force.")
CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP = Family(
    "config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the configuration in force was loaded.",
)
BUILD_INFO = Family("build_info", "info", "Version and revision of Infermeter.", (VERSION, REVISION))

SECTIONS: tuple[tuple[str, tuple[Family, ...]], ...] = (
    (
        "Inferences",
        (INFERENCES, INFERENCES_SOURCE, INFERENCES_OBSERVED, INFERENCES_OBSERVED_WITHIN_SLA, INFERENCES_LATE, TOKENS, BUSY_SECONDS),
    ),
    ("Latency", (INFERENCE_DURATION, TIME_TO_FIRST_TOKEN, TIME_PER_OUTPUT_TOKEN, STAGE_DURATION, STAGE_PART_SECONDS, STAGE_QUALITY)),
    ("SLA", (SLA_TARGET, SLA_QUANTILE, INFERENCES_IN_SLA_STATE, COST_IN_SLA_STATE)),
    ("Money", (COST, COST_BY_USE, COST_PER_HOUR, PRICE_TIMESTAMP, SETTLED_TIMESTAMP)),
    ("Capacity", (CAPACITY_AT_SLA, CAPACITY_REACHED, PEAK_LOAD)),
    (
        "Windows",
        (WINDOW_COST_PER_INFERENCE, WINDOW_COST_PER_INFERENCE_AT_SLA, WINDOW_LATENCY_AT_SLA_QUANTILE, WINDOW_SLA_STATE, WINDOW_LOAD),
    ),
    (
        "GPUs",
        (
            GPU_INFO,
            GPU_SOURCE_UP,
            GPU_UP,
            GPU_POWER,
            GPU_UTILISATION,
            GPU_MEMORY_USED,
            GPU_MEMORY_TOTAL,
            GPU_LAST_SAMPLE,
            GPU_SHARE,
            GPU_SM_ACTIVE,
            GPU_DRAM_ACTIVE,
            GPU_TENSOR_ACTIVE,
            GPU_SM_OCCUPANCY,
            GPU_POWER_LIMIT,
            GPU_TEMPERATURE,
            GPU_SM_CLOCK,
            GPU_PCIE,
            GPU_THROTTLED,
            GPU_ENERGY,
            GPU_STATE_SECONDS,
            GPU_BASELINE,
        ),
    ),
    ("Energy", (ENERGY, HOST_ENERGY, EMISSIONS)),
    ("Advice", (RESOURCE_BOUND, FINDING, FINDING_SAVING_PER_HOUR, CANDIDATE_COST_PER_HOUR)),
    (
        "Intake",
        (
            SPANS_RECEIVED,
            SPANS_DROPPED,
            SPANS_UNMAPPED,
            EXPORTS_REFUSED,
            CONNECTIONS_DISPLACED,
            LAST_SPAN,
            TRACES_PENDING,
            TRACES_PENDING_LIMIT,
            SPANS_FORWARDED,
            SPANS_FORWARD_REENCODED,
            SPANS_FORWARD_DROPPED,
            FORWARD_QUEUE,
            FORWARD_QUEUE_LIMIT,
            GPU_SAMPLES_REJECTED,
            SERVER_SCRAPE_UP,
            SPAN_COVERAGE,
            SERVER_RUNNING,
            SERVER_WAITING,
            SERVER_BATCH,
            SERVER_KV_CACHE_USED,
        ),
    ),
    (
        "The exporter itself",
        (
            SERIES,
            SERIES_LIMIT,
            SERIES_OVERFLOWED,
            STATE_FILES_REJECTED,
            CONFIG_LAST_RELOAD_SUCCESSFUL,
            CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP,
            BUILD_INFO,
        ),
    ),
)
"""Every family under the heading that the reference gives it, in the order of the exposition."""

CATALOG: tuple[Family, ...] = tuple(family for _, families in SECTIONS for family in families)

OPTIONAL: tuple[Family, ...] = (
    STAGE_PART_SECONDS,
    STAGE_DURATION,
    TIME_PER_OUTPUT_TOKEN,
    TIME_TO_FIRST_TOKEN,
    WINDOW_LATENCY_AT_SLA_QUANTILE,
    INFERENCE_DURATION,
    TOKENS,
    FINDING_SAVING_PER_HOUR,
    CANDIDATE_COST_PER_HOUR,
    INFERENCES_IN_SLA_STATE,
)
"""What is left out when there are more series than the limit, the first of these first. Nothing of GPUs, energy or cost is here."""

STAGES_WITH_EDGES: tuple[Stage, ...] = STAGES
"""Stages whose histogram is exposed with its edges. Of `other`, a remainder, sum and count are, for mean and share."""

"""The recorded series that the pages read, each name once. alerts/rules makes them; a test holds the two together."""

from __future__ import annotations

from dashboards.src.promql import FLEET, Recorded

_LABELS = {
    "threshold": (),
    "namespace": FLEET,
    "server": (*FLEET, "job", "server"),
    "instance": (*FLEET, "job", "instance", "server"),
}
"""By the first word of a rule's level: the variables' labels that it keeps."""


def _recorded(name: str) -> Recorded:
    first, *others = name.partition(":")[0].split("_")
    return Recorded(name, (*_LABELS[first], *(word for word in others if word == "model")))


# --- traffic and latency -----------------------------------------------------------------------------------------------------------
INFERENCES_RATE = _recorded("server_model:infermeter_inferences:rate5m")
OK_RATE = _recorded("server_model:infermeter_inferences_ok:rate5m")
OBSERVED_RATE = _recorded("server_model:infermeter_inferences_observed:rate5m")
OBSERVED_OK_RATE = _recorded("server_model:infermeter_inferences_observed_ok:rate5m")
OBSERVED_WITHIN_RATE = _recorded("server_model:infermeter_inferences_observed_within_sla:rate5m")
DURATION_BUCKETS = _recorded("server_model_le:infermeter_inference_duration_seconds_bucket:rate5m")
DURATION = {ratio: _recorded(f"server_model:infermeter_inference_duration_seconds:{ratio}_5m") for ratio in ("p50", "p95", "p99")}
DURATION_HOUR = _recorded("server_model:infermeter_inference_duration_seconds:p99_1h")
FIRST_TOKEN = _recorded("server_model:infermeter_time_to_first_token_seconds:p99_5m")
OUTPUT_TOKEN = _recorded("server_model:infermeter_time_per_output_token_seconds:p99_5m")
STAGE_SECONDS = _recorded("server_model_stage:infermeter_stage_duration_seconds_sum:rate5m")
STAGE_QUANTILE = _recorded("server_model_stage:infermeter_stage_duration_seconds:p99_5m")
STAGE_PART = _recorded("server_model_stage_part:infermeter_stage_part_seconds:rate5m")
BATCH = _recorded("server:infermeter_inferences_computing:ratio_rate1h")
ERRORS_SHARE = _recorded("server_model:infermeter_inferences_errors:ratio_rate5m")
WITHIN_SLA_SHARE = _recorded("server_model:infermeter_inferences_within_sla:ratio_rate5m")
WITHIN_SLA_SHARE_HOUR = _recorded("server_model:infermeter_inferences_within_sla:ratio_rate1h")
TOKENS_RATE = _recorded("server_model_direction:infermeter_tokens:rate5m")
STAGE_MEAN = _recorded("server_model_stage:infermeter_stage_duration_seconds:mean5m")
STAGE_SHARE = _recorded("server_model_stage:infermeter_stage_duration_seconds:share5m")
STAGE_DOMINANT = _recorded("server_model_stage:infermeter_stage_dominant:share5m")

# --- money and energy --------------------------------------------------------------------------------------------------------------
COMPONENT_RATE = _recorded("server_component:infermeter_cost:rate5m")
COST_RATE = _recorded("server:infermeter_cost:rate5m")
NAMESPACE_RATE = _recorded("namespace:infermeter_cost:rate5m")
USE_RATE = _recorded("server_use:infermeter_cost_by_use:rate1h")
USE_COST_RATE = _recorded("server:infermeter_cost_by_use:rate1h")
USE_SLICE = _recorded("server_model_use:infermeter_cost_by_use:rate5m")
MODEL_SLICE = _recorded("server_model:infermeter_cost_by_use:rate5m")
VERDICT_COST = _recorded("server_model_state:infermeter_cost_in_sla_state:rate1h")
VERDICT_INFERENCES = _recorded("server_model_state:infermeter_inferences_in_sla_state:rate1h")
IDLE_SHARE = _recorded("server:infermeter_cost_idle:ratio_rate1h")
COST_PER_INFERENCE = _recorded("server_model:infermeter_cost_per_inference:ratio_rate1h")
COST_PER_INFERENCE_OF_SERVER = _recorded("server:infermeter_cost_per_inference:ratio_rate1h")
COST_WITHIN_SLA = _recorded("server_model:infermeter_cost_per_inference_within_sla:ratio_rate1h")
WITHIN_SLA_RATE = _recorded("server_model:infermeter_inferences_within_sla:rate1h")
MODEL_COST_RATE = _recorded("server_model:infermeter_cost_by_use:rate1h")
COST_AT_CAPACITY = _recorded("server_model:infermeter_cost_per_inference_at_capacity:ratio")
COST_PER_MILLION_TOKENS = _recorded("server_model:infermeter_cost_per_million_tokens:ratio_rate1h")
PRICE_PER_HOUR = _recorded("server:infermeter_cost_per_hour:sum")
WATERFALL = _recorded("server_step:infermeter_waterfall_cost:rate1h")
SPENT_30D = _recorded("namespace:infermeter_cost:increase30d")
FORECAST_30D = _recorded("namespace:infermeter_cost:forecast30d")
BUDGET = Recorded("namespace:infermeter_budget:per_30d", ("namespace",))
"""A budget without a cluster holds in each that has none of its own."""
WATTS = _recorded("server:infermeter_energy_joules:rate5m")
USE_WATTS = _recorded("server_use:infermeter_energy_joules:rate1h")
HOST_WATTS = _recorded("server:infermeter_host_energy_joules:rate5m")
PER_JOULE = _recorded("server:infermeter_inferences_per_joule:ratio_rate1h")
MODEL_WATTS = _recorded("server_model:infermeter_energy_joules:rate5m")
MODEL_PER_JOULE = _recorded("server_model:infermeter_inferences_per_joule:ratio_rate1h")
JOULES_PER_INFERENCE = _recorded("server_model:infermeter_joules_per_inference:ratio_rate1h")
JOULES_PER_TOKEN = _recorded("server_model:infermeter_joules_per_token:ratio_rate1h")
GRAMS_PER_INFERENCE = _recorded("server:infermeter_emissions_co2e_grams_per_inference:ratio_rate1h")

# --- GPUs and provisioning ---------------------------------------------------------------------------------------------------------
UTILISATION = _recorded("server:infermeter_gpu_utilisation_ratio:avg5m")
UTILISATION_MOST = _recorded("server:infermeter_gpu_utilisation_ratio:max5m")
UTILISATION_LEAST = _recorded("server:infermeter_gpu_utilisation_ratio:min5m")
GPU_UTILISATION = _recorded("server_gpu:infermeter_gpu_utilisation_ratio:avg5m")
GPU_STATES = _recorded("server_state:infermeter_gpu_state_seconds:rate1h")
GPU_STATES_SLICE = _recorded("server_state:infermeter_gpu_state_seconds:rate5m")
GPU_IDLE = _recorded("instance_gpu:infermeter_gpu_idle:ratio_rate30m")
GPU_HELD_IDLE = _recorded("instance_gpu:infermeter_gpu_held_idle:ratio_rate30m")
GPU_ACTIVE = {part: _recorded(f"server:infermeter_gpu_{part}_active_ratio:avg") for part in ("sm", "dram", "tensor")}
GPU_OCCUPANCY = _recorded("server:infermeter_gpu_sm_occupancy_ratio:avg")
GPU_WATTS = _recorded("server:infermeter_gpu_power_watts:sum")
GPU_LIMIT_WATTS = _recorded("server:infermeter_gpu_power_limit_watts:sum")
GPU_BASELINE_WATTS = _recorded("server:infermeter_gpu_baseline_watts:sum")
GPU_TEMPERATURE = _recorded("server:infermeter_gpu_temperature_celsius:max")
GPU_THROTTLED = _recorded("server_reason:infermeter_gpu_throttled_seconds:rate5m")
GPU_PCIE = _recorded("server_direction:infermeter_gpu_pcie_bytes:rate5m")
GPU_READING_AGE = _recorded("server:infermeter_gpu_last_sample_age_seconds:max")
GPUS = _recorded("server:infermeter_gpu_info:count")
CAPACITY = _recorded("server_model_bound:infermeter_capacity_at_sla_inferences_per_second:sum")
REPLICAS = _recorded("server:infermeter_replicas:count")
PEAK_LOAD = _recorded("server:infermeter_peak_load_ratio:sum")
REPLICAS_NEEDED = _recorded("server:infermeter_replicas_needed:ceil")
OVER_PROVISIONING = _recorded("server:infermeter_over_provisioning:ratio")

# --- SLA ---------------------------------------------------------------------------------------------------------------------------
SLA_TARGET = _recorded("server_model_signal:infermeter_sla_target_seconds:max")
MISS_BUDGET = _recorded("server_model:infermeter_sla_miss_budget:ratio")
BURN = {window: _recorded(f"server_model:infermeter_sla_burn:ratio_rate{window}") for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")}
BUDGET_LEFT = _recorded("server_model:infermeter_sla_budget_left:ratio_30d")

# --- exporters ---------------------------------------------------------------------------------------------------------------------
SPANS_RECEIVED = _recorded("server_protocol:infermeter_spans_received:rate5m")
SPANS_UNMAPPED = _recorded("server_reason:infermeter_spans_unmapped:rate5m")
SPANS_DROPPED = _recorded("server_reason:infermeter_spans_dropped:rate5m")
EXPORTS_REFUSED = _recorded("server_reason:infermeter_exports_refused:rate5m")
INFERENCES_LATE = _recorded("server:infermeter_inferences_late:rate5m")
SPANS_FORWARDED = _recorded("server:infermeter_spans_forwarded:rate5m")
SPANS_FORWARD_DROPPED = _recorded("server_reason:infermeter_spans_forward_dropped:rate5m")
SAMPLES_REJECTED = _recorded("server_reason:infermeter_gpu_samples_rejected:rate5m")
TRACES_PENDING = _recorded("server:infermeter_traces_pending:ratio")
FORWARD_QUEUE = _recorded("server:infermeter_forward_queue:ratio")
SERIES = _recorded("server:infermeter_series:ratio")
RESIDENT_BYTES = _recorded("instance:infermeter_process_resident_memory:bytes")
CPU_RATE = _recorded("instance:infermeter_process_cpu_seconds:rate5m")

# --- what the alerts compare with --------------------------------------------------------------------------------------------------
BURN_THRESHOLD = {window: _recorded(f"threshold:infermeter_sla_burn_{window}:ratio") for window in ("1h", "6h", "1d", "3d")}
OVER_PROVISIONING_THRESHOLD = _recorded("threshold:infermeter_over_provisioning:ratio")
QUEUE_THRESHOLD = _recorded("threshold:infermeter_queue_dominant:ratio")
SERIES_LIMIT_THRESHOLD = _recorded("threshold:infermeter_series:ratio")

RECORDED = tuple(
    recorded
    for value in list(globals().values())
    for recorded in (value.values() if isinstance(value, dict) else (value,))
    if isinstance(recorded, Recorded)
)
"""All of them."""

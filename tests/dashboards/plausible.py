"""What a panel may say: something, unless what it asks for can't be there, and nothing that can't be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tests.dashboards.lint_queries import series_names
from tests.dashboards.queries import Answer, History, answers

MAY_BE_EMPTY = {
    "server:infermeter_gpu_temperature_celsius:max": "gpu.hardware is false",
    "server_direction:infermeter_gpu_pcie_bytes:rate5m": "gpu.hardware is false",
    "server:infermeter_gpu_power_limit_watts:sum": "gpu.hardware is false",
    "server:infermeter_gpu_sm_occupancy_ratio:avg": "gpu.hardware is false",
    "server:infermeter_spans_forwarded:rate5m": "no forward.endpoint",
    "server_reason:infermeter_spans_forward_dropped:rate5m": "no forward.endpoint",
    "server:infermeter_forward_queue:ratio": "no forward.endpoint",
    "infermeter_state_files_rejected_total": "no state_file",
    "infermeter_server_batch_inferences": "the server's own metrics don't tell it",
    "ALERTS": "nothing may fire",
    "server_reason:infermeter_spans_dropped:rate5m": "nothing may be lost",
    "server_reason:infermeter_exports_refused:rate5m": "nothing may be lost",
    "server:infermeter_inferences_late:rate5m": "nothing may be lost",
}
"""What the story leaves out, and why."""

DEMO_LACKS = {
    **MAY_BE_EMPTY,
    "infermeter_tokens_total": "its model has no tokens",
    "server_model:infermeter_time_to_first_token_seconds:p99_5m": "its model has no tokens",
    "server_model:infermeter_time_per_output_token_seconds:p99_5m": "its model has no tokens",
    "server_model_signal:infermeter_sla_target_seconds:max": "no target of ttft and tpot",
    "infermeter_server_scrape_up": "no server.metrics_url",
    "infermeter_span_coverage_ratio": "no server.metrics_url",
    "infermeter_server_running_inferences": "no server.metrics_url",
    "infermeter_server_waiting_inferences": "no server.metrics_url",
    "infermeter_server_kv_cache_used_ratio": "no server.metrics_url",
    "infermeter_emissions_co2e_grams_total": "no emissions.grams_per_kwh",
    "server:infermeter_gpu_sm_active_ratio:avg": "a simulated GPU has none",
    "server:infermeter_gpu_dram_active_ratio:avg": "a simulated GPU has none",
    "server:infermeter_gpu_tensor_active_ratio:avg": "a simulated GPU has none",
    "server_reason:infermeter_gpu_throttled_seconds:rate5m": "a simulated GPU tells none",
    "infermeter_gpu_memory_used_bytes": "a simulated GPU has no memory",
    "infermeter_gpu_memory_total_bytes": "a simulated GPU has no memory",
    "infermeter_candidate_cost_per_hour": "no advice.prices_file",
    "infermeter_finding": "a minute shows none",
    "infermeter_finding_saving_per_hour": "a minute shows none",
    "infermeter_resource_bound": "no profiling counters",
    "infermeter_capacity_reached": "a minute shows no capacity",
    "infermeter_capacity_at_sla_inferences_per_second": "a minute shows no capacity",
    "infermeter_window_load_ratio": "a minute shows no capacity",
    "infermeter_peak_load_ratio": "a day is needed",
    "server:infermeter_peak_load_ratio:sum": "a day is needed",
    "server:infermeter_over_provisioning:ratio": "a day is needed",
    "server:infermeter_replicas_needed:ceil": "a day is needed",
    "server_model_bound:infermeter_capacity_at_sla_inferences_per_second:sum": "a minute shows no capacity",
    "server_model:infermeter_cost_per_inference_at_capacity:ratio": "a minute shows no capacity",
    "server_model_direction:infermeter_tokens:rate5m": "its model has no tokens",
    "server_model:infermeter_cost_per_million_tokens:ratio_rate1h": "its model has no tokens",
    "server_model:infermeter_joules_per_token:ratio_rate1h": "its model has no tokens",
    "server:infermeter_emissions_co2e_grams_per_inference:ratio_rate1h": "no emissions.grams_per_kwh",
    "namespace:infermeter_budget:per_30d": "no budget of its namespace",
    "server:infermeter_host_energy_joules:rate5m": "no host power",
    "namespace:infermeter_cost:increase30d": "an hour is needed",
    "server_model:infermeter_sla_budget_left:ratio_30d": "an hour is needed",
    "server_model:infermeter_sla_burn:ratio_rate1d": "an hour is needed",
    "server_model:infermeter_sla_burn:ratio_rate3d": "an hour is needed",
}


def may_be_empty(answer: Answer, lacks: Mapping[str, str]) -> bool:
    """What is missing is told of a name in it, or it asks for a day before or for what went wrong."""
    return (
        bool(series_names(answer.expression) & lacks.keys()) or " offset 1d" in answer.expression or 'state="missed"' in answer.expression
    )


def assert_plausible(answer: Answer) -> None:
    defaults = answer.panel["fieldConfig"]["defaults"]
    assert all(math.isfinite(value) for value in answer.values), f"{answer.where}: {answer.expression}"
    if answer.panel["title"] in {"Least budget left", "Models"}:
        return
    assert all(value >= -1e-9 for value in answer.values), f"{answer.where}: below 0"
    if defaults["unit"] == "percentunit" and "atency" not in answer.panel["title"] and "oad" not in answer.panel["title"]:
        assert max(answer.values, default=0) <= (1.6 if "udget" in answer.panel["title"] else 1.05), f"{answer.where}: {max(answer.values)}"
    if answer.panel["type"] == "timeseries":
        assert len(answer.series) <= 50, f"{answer.where}: {len(answer.series)} series"


def assert_says_something(history: History, page: Mapping[str, Any], lacks: Mapping[str, str]) -> None:
    """Each panel of the page, with every variable at All."""
    for answer in answers(history, page, {}):
        if answer.expression.endswith(" @ 0))"):
            assert not answer.series, f"{answer.where}: it is there for its exemplars alone"
            continue
        assert answer.series or may_be_empty(answer, lacks), f"{answer.where} says nothing: {answer.expression}"
        assert_plausible(answer)

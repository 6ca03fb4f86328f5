"""What the recording rules say of servers whose answers are known: 3.75 USD an hour, 10 inferences a second, a capacity of 20."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from tests.alerts.scenarios import RULES, changed, healthy_series, promtool_values

MINUTES = 90
OK = 'infermeter_inferences_total{model="llama",outcome="ok"}'
OBSERVED = 'infermeter_inferences_observed_total{model="llama",outcome="ok"}'
WITHIN = 'infermeter_inferences_observed_within_sla_total{model="llama"}'
CAPACITY = 'infermeter_capacity_at_sla_inferences_per_second{model="llama",bound="observed"}'


def step(name: str) -> str:
    return f'3600 * server_step:infermeter_waterfall_cost:rate1h{{step="{name}"}}'


HEALTHY = {
    "server_model:infermeter_cost_per_inference:ratio_rate5m": 0.0625 / 600,
    "server_model:infermeter_cost_per_inference:ratio_rate1h": 0.0625 / 600,
    "server:infermeter_cost_per_inference:ratio_rate1h": 0.0625 / 600,
    "server_model:infermeter_cost_per_inference_within_sla:ratio_rate1h": 0.0625 / 599,
    "server_model:infermeter_cost_per_inference_at_capacity:ratio": 3.75 / 3600 / 20,
    "server_model:infermeter_cost_per_million_tokens:ratio_rate1h": 0.0625 / 90000 * 1e6,
    "server:infermeter_inferences_per_joule:ratio_rate1h": 600 / 13500,
    "server_model:infermeter_joules_per_inference:ratio_rate1h": 22.5,
    "server_model:infermeter_joules_per_token:ratio_rate1h": 0.15,
    "server:infermeter_emissions_co2e_grams_per_inference:ratio_rate1h": 1.5 / 600,
    "server:infermeter_cost_idle:ratio_rate1h": 0.25,
    "server:infermeter_gpu_idle:ratio_rate1h": 0.25,
    'server_model_stage:infermeter_stage_dominant:share5m{stage="compute"}': 0.8,
    "count(server_model_stage:infermeter_stage_dominant:share5m)": 1,
    "server_model:infermeter_sla_burn:ratio_rate5m": 1 / 600 / 0.01,
    "server:infermeter_over_provisioning:ratio": 1 / 0.6,
    "server:infermeter_replicas_needed:ceil": 1,
    "namespace:infermeter_cost:forecast30d": 2700,
    "server:infermeter_cost:increase1d": 3.75,  # of whole hours, of which there has been one
    "namespace:infermeter_cost:increase1d": 3.75,
    "namespace:infermeter_cost:increase30d": 3.75,
    "server_model:infermeter_sla_budget_left:ratio_30d": 1 - 1 / 600 / 0.01,
    step("capacity"): 3.75 * 0.5 * 599 / 600,
    step("low_load"): 3.75 * 0.25 * 599 / 600,
    step("idle"): 3.75 * 0.25,
    step("sla_missed"): 3.75 * 0.75 / 600,
    "sum(3600 * server_step:infermeter_waterfall_cost:rate1h)": 3.75,
}

SERVERS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "a healthy server": ({}, HEALTHY),
    "spans of every tenth inference, of which half are within the SLA": (
        {"change": {OBSERVED: "0+60", WITHIN: "0+30"}},
        {
            "server_model:infermeter_inferences_within_sla:rate1h": 5,
            "server_model:infermeter_cost_per_inference:ratio_rate1h": 0.0625 / 600,
            "server_model:infermeter_cost_per_inference_within_sla:ratio_rate1h": 0.0625 / 300,
        },
    ),
    "more inferences than the capacity: all that isn't idle is needed": (
        {"change": {CAPACITY: 5, WITHIN: "0+300"}},
        {step("capacity"): 3.75 * 0.75 / 2, step("low_load"): 0, step("sla_missed"): 3.75 * 0.75 / 2, step("idle"): 3.75 / 4},
    ),
    "no known capacity: capacity and low load are one": (
        {"without": [CAPACITY]},
        {
            step("busy"): 3.75 * 0.75 * 599 / 600,
            'count(server_step:infermeter_waterfall_cost:rate1h{step=~"capacity|low_load"}) or vector(0)': 0,
            "sum(3600 * server_step:infermeter_waterfall_cost:rate1h)": 3.75,
        },
    ),
    "no inference at all: busy money is low load": (
        {"change": {OK: 0, OBSERVED: 0, WITHIN: 0}},
        {
            step("low_load"): 3.75 * 0.75,
            step("capacity"): 0,
            step("idle"): 3.75 / 4,
            step("sla_missed"): 0,
            "count(server_model:infermeter_cost_per_inference:ratio_rate1h) or vector(0)": 0,
            "count(server:infermeter_joules_per_inference:ratio_rate1h) or vector(0)": 0,
        },
    ),
    "no SLA: nothing is missed": (
        {"without": [WITHIN, 'infermeter_sla_quantile_ratio{model="llama"}']},
        {step("sla_missed"): 0, step("capacity"): 3.75 / 2, "count(server_model:infermeter_sla_burn:ratio_rate1h) or vector(0)": 0},
    ),
    "two replicas, of which one serves nothing": (
        {"replicas": 2, "change": {'infermeter_inferences_total{instance="10.0.0.2:10470",model="llama",outcome="ok"}': 0}},
        {
            "server_model:infermeter_cost_per_inference:ratio_rate1h": 0.125 / 600,
            "server:infermeter_replicas:count": 2,
            "server:infermeter_peak_load_ratio:sum": 1.2,
            "server:infermeter_replicas_needed:ceil": 2,
            step("capacity"): 3.75 * 0.5 * 599 / 600,
            step("low_load"): 3.75 * 0.25 * 599 / 600 + 3.75 * 0.75,
            "sum(3600 * server_step:infermeter_waterfall_cost:rate1h)": 7.5,
        },
    ),
    "two replicas in two currencies: nothing adds them up": (
        {
            "replicas": 2,
            "without": ['infermeter_cost_total{instance="10.0.0.2:10470",currency="USD"}'],
            "change": {'infermeter_cost_total{instance="10.0.0.2:10470",component="instance",currency="EUR"}': "0+0.05"},
        },
        {
            '3600 * server:infermeter_cost:rate5m{currency="USD"}': 3.75,
            '3600 * server:infermeter_cost:rate5m{currency="EUR"}': 3,
            'namespace:infermeter_cost:forecast30d{currency="EUR"}': 2160,
        },
    ),
    "a server that streams": (
        {
            "change": {
                'infermeter_time_to_first_token_seconds_bucket{model="llama",le="0.16"}': "0+500",
                'infermeter_time_to_first_token_seconds_bucket{model="llama",le="0.32"}': "0+600",
                'infermeter_time_to_first_token_seconds_bucket{model="llama",le="+Inf"}': "0+600",
                'infermeter_time_per_output_token_seconds_bucket{model="llama",le="0.02"}': "0+600",
                'infermeter_time_per_output_token_seconds_bucket{model="llama",le="+Inf"}': "0+600",
            }
        },
        {
            "server_model:infermeter_time_to_first_token_seconds:p99_5m": 0.16 + 0.16 * 0.94,
            "server_model:infermeter_time_per_output_token_seconds:p99_5m": 0.02 * 0.99,
            "server_model:infermeter_inference_duration_seconds:p50_5m": 0.16,
        },
    ),
    "one GPU that two sidecars of the server report is one GPU": (
        {"replicas": 2},
        {"server:infermeter_gpu_info:count": 1, "sum(server_state:infermeter_gpu_state_seconds:rate5m)": 1},
    ),
}


def test_the_rules_say_what_is_known_of_these_servers(tmp_path: Path) -> None:
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [
                {"series": str(key), "values": promtool_values(notation, MINUTES + 1)}
                for key, notation in changed({"case": name} | raw, healthy_series()).items()
            ],
            "promql_expr_test": [
                {
                    "expr": f"abs(vector(scalar({expr})) - {value!r}) <= bool {max(abs(value), 1e-6) * 1e-6!r}",
                    "eval_time": f"{MINUTES}m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
                for expr, value in known.items()
            ],
        }
        for name, (raw, known) in SERVERS.items()
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": list(map(str, RULES)), "evaluation_interval": "5m", "tests": tests}, width=1000))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

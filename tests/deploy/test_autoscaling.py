"""Replicas by what the SLA needs: the query itself in promtool, KEDA's and prometheus-adapter's objects by their published fields."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.alerts.scenarios import RULES
from tests.deploy.rendered import KUBERNETES, Json

AUTOSCALING = KUBERNETES / "autoscaling"
SCALED_OBJECT_FIELDS = {
    "scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount", "minReplicaCount",
    "maxReplicaCount", "fallback", "advanced", "triggers",
}  # fmt: skip
PROMETHEUS_TRIGGER_FIELDS = {
    "serverAddress", "query", "threshold", "activationThreshold", "namespace", "customHeaders", "ignoreNullValues", "queryParameters",
    "unsafeSsl", "timeout", "authModes",
}  # fmt: skip
ADAPTER_RULE_FIELDS = {"seriesQuery", "resources", "name", "metricsQuery"}
LABELS = 'cluster="eu",namespace="ml",job="infermeter",server="chat"'


def read(name: str) -> Json:
    found: Json = yaml.safe_load((AUTOSCALING / name).read_text())
    return found


def keda_query() -> str:
    (trigger,) = read("keda.yaml")["spec"]["triggers"]
    return str(trigger["metadata"]["query"])


def wanted(tmp_path: Path, *, per_minute: int, capacities: dict[str, tuple[float, int]], expected: float | None) -> None:
    """Holds the query to a number of replicas: of inferences a minute for each replica, and its (capacity a second, whether reached)."""
    series = [
        {"series": f'infermeter_inferences_total{{{LABELS},instance="{pod}",model="m",outcome="ok"}}', "values": f"0+{per_minute}x30"}
        for pod in capacities
    ]
    for pod, (capacity, reached) in capacities.items():
        own = f'{LABELS},instance="{pod}",model="m"'
        series += [
            {"series": f'infermeter_capacity_at_sla_inferences_per_second{{{own},bound="observed"}}', "values": f"{capacity}x30"},
            {"series": f"infermeter_capacity_reached{{{own}}}", "values": f"{reached}x30"},
        ]
    samples = [] if expected is None else [{"labels": '{namespace="ml", server="chat"}', "value": expected}]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": keda_query(), "eval_time": "20m", "exp_samples": samples}],
    }
    chosen = [str(path) for path in RULES if path.stem in {"recording", "thresholds"}]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": chosen, "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_replicas_that_serve_20_a_second_each_of_which_can_do_13_are_two(tmp_path: Path) -> None:
    wanted(tmp_path, per_minute=600, capacities={"a": (13, 1), "b": (13, 1)}, expected=2)


def test_a_replica_that_was_just_added_counts_with_the_capacity_of_its_proven_siblings(tmp_path: Path) -> None:
    wanted(tmp_path, per_minute=600, capacities={"a": (13, 1), "new": (0.5, 0)}, expected=2)


def test_without_a_capacity_that_was_reached_there_is_no_number(tmp_path: Path) -> None:
    wanted(tmp_path, per_minute=600, capacities={"a": (13, 0), "b": (13, 0)}, expected=None)


def test_kedas_scaled_object_has_the_published_fields_and_takes_no_answer_for_none() -> None:
    found = read("keda.yaml")
    assert (found["apiVersion"], found["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    spec = found["spec"]
    assert spec.keys() <= SCALED_OBJECT_FIELDS
    assert spec["scaleTargetRef"].keys() == {"apiVersion", "kind", "name"}
    assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"].keys() <= PROMETHEUS_TRIGGER_FIELDS
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert (trigger["metadata"]["threshold"], trigger["metadata"]["ignoreNullValues"]) == ("1", "false")


def test_prometheus_adapters_rule_has_the_published_fields_and_asks_what_keda_asks() -> None:
    (rule,) = read("prometheus-adapter.yaml")["rules"]["external"]
    assert rule.keys() == ADAPTER_RULE_FIELDS
    assert rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="ml",server="chat"') == keda_query()
    assert rule["seriesQuery"] in keda_query()


def test_the_autoscaler_asks_for_the_adapters_metric_and_is_bounded_as_keda_is() -> None:
    hpa, keda = read("hpa.yaml")["spec"], read("keda.yaml")["spec"]
    (metric,) = hpa["metrics"]
    (rule,) = read("prometheus-adapter.yaml")["rules"]["external"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "1"}
    assert hpa["behavior"] == keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (keda["minReplicaCount"], keda["maxReplicaCount"])


@pytest.mark.parametrize("name", ["keda.yaml", "prometheus-adapter.yaml"])
def test_nothing_scales_on_utilisation(name: str) -> None:
    settings = [line.partition("#")[0] for line in (AUTOSCALING / name).read_text().splitlines()]
    assert not any("utili" in line for line in settings)

"""The Helm chart: rendered by Helm itself (as a library), with each set of values in ci/ and with values that must be refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from deploy.src.chart import alert_keys, thresholds
from deploy.src.chart_values import VALUES as DESCRIBED
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError
from tests.alerts.scenarios import RULES, Case, cases, promtool_tests
from tests.deploy.kustomize import read
from tests.deploy.rendered import CHART, KUBERNETES, VALUES, Json, objects, release, released, values

import infermeter
from infermeter.cli import main

READ_RULES = {path.stem: read(path.read_text()) for path in RULES}
SWITCHED_ON: Json = {"rules": {"enabled": True}, "dashboards": {"enabled": True}}
BUDGET = "namespace:infermeter_budget:per_30d"


def of_kind(found: tuple[Json, ...], kind: str) -> list[Json]:
    return [one for one in found if one["kind"] == kind]


def rules_of(found: tuple[Json, ...]) -> Mapping[str, list[Json]]:
    """Groups by the file that they come from."""
    return {one["metadata"]["name"].removeprefix("chat-infermeter-"): one["spec"]["groups"] for one in of_kind(found, "PrometheusRule")}


def all_rules(groups: Mapping[str, list[Json]]) -> list[Json]:
    return [rule for read_groups in groups.values() for group in read_groups for rule in group["rules"]]


def test_helm_finds_nothing_to_complain_about() -> None:
    told = lint(CHART)
    assert told["errors"] == []
    assert {message["error"] for message in told["messages"]} <= {"icon is recommended"}


def test_the_chart_has_the_programs_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (infermeter.__version__, infermeter.__version__)


def test_every_value_is_described_once_and_the_schema_is_strict() -> None:
    defaults, schema = read((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(defaults, schema)
    described = [value.path for value in DESCRIBED]
    assert len(described) == len(set(described))
    sections = {path.rpartition(".")[0] for path in described} - {""}
    leaves = {key for key in defaults if key not in sections}
    leaves |= {f"{section}.{key}" for section in sections for key in defaults[section]}
    assert leaves == set(described)
    assert schema["additionalProperties"] is False
    assert all(schema["properties"][section]["additionalProperties"] is False for section in sections)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mod": "sidecar"},
        {"mode": "statefulset"},
        {"rules": {"alerts": {"InfermeterGpuIdel": {"enabled": False}}}},
        {"rules": {"alerts": {"InfermeterGpuIdle": {"for": "soon"}}}},
        {"rules": {"alerts": {"InfermeterGpuIdle": {"severity": "page"}}}},
        {"rules": {"thresholds": {"threshold:infermeter_gpu_idle:ratio": "0.9"}}},
        {"rules": {"budgets": [{"namespace": "ml", "per_30d": 5}]}},
        {"monitor": {"kind": "both"}},
        {"config": ["server"]},
        {"config": {"listen": {"web": "0.0.0.0:9000"}}},
        {"config": {"listen": {"web": "127.0.0.1:10470"}}},
        {"config": 'listen: {web: "0.0.0.0:9000"}'},
        {"config": {"server": {"name": "chat"}}, "existingConfigMap": "chat"},
        {"mode": "daemonset", "state": {"kind": "persistentVolumeClaim"}},
        {"nameOverride": "My_Name"},
        {"fullnameOverride": "chat one"},
        {"sidecar": {"podLabel": "a/b"}},
        {"env": [{"name": "SHARE", "value": 1}]},
        {"env": [{"value": "1"}]},
        {"resources": {"limits": {"memory": "512MB"}}},
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        {"gpu": {"request": 1}},
    ],
)
def test_values_that_mean_nothing_are_refused(wrong: Json) -> None:
    with pytest.raises(HelmError):
        release(wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"config": {"listen": {"web": "[::]:10470", "otlp_grpc": None}}},
        {"config": {"listen": None}},
        {"config": "listen:"},
        {"config": ""},
        {"existingConfigMap": "chat"},
        {"resources": {"limits": {"cpu": 0.5, "memory": "1.5Gi"}}},
        {"env": [{"name": "SHARE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
    ],
)
def test_values_that_are_near_those_are_taken(right: Json) -> None:
    assert release(right)


@pytest.mark.parametrize("name", VALUES)
def test_check_config_takes_the_configuration_as_the_chart_hands_it_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (config_map,) = (one for one in of_kind(released(name), "ConfigMap") if "config.yaml" in one["data"])
    given = values(name)["config"]
    handed_on = config_map["data"]["config.yaml"]
    assert read(handed_on) == (read(given) if isinstance(given, str) else given)
    monkeypatch.setenv("TENANT", "ml")
    (tmp_path / "config.yaml").write_text(handed_on)
    assert main(["check-config", str(tmp_path / "config.yaml")]) == 0, capsys.readouterr()


def test_the_charts_sidecar_is_that_of_the_kustomize_component() -> None:
    fragment = yaml.safe_load((KUBERNETES / "sidecar.yaml").read_text())
    notes = release({})["NOTES.txt"]
    text = notes.partition("spec.initContainers:\n")[2].partition("  spec.volumes:\n")
    (container,) = yaml.safe_load(text[0])
    assert container.pop("restartPolicy") == "Always"
    assert container.pop("imagePullPolicy") == "IfNotPresent"
    assert container == fragment["container"]
    volumes = yaml.safe_load(text[2].partition("\n\n")[0])
    assert volumes[0].pop("configMap") == {"name": "chat-infermeter"}
    fragment["volumes"][0].pop("configMap")
    assert volumes == fragment["volumes"]


@pytest.mark.parametrize("native", [True, False])
def test_the_chart_of_a_server_takes_the_sidecar_in_by_three_templates(native: bool, tmp_path: Path) -> None:
    parent = tmp_path / "server"
    shutil.copytree(CHART, parent / "charts" / "infermeter")
    (parent / "Chart.yaml").write_text("{apiVersion: v2, name: server, version: 1.0.0, dependencies: [{name: infermeter, version: 0.1.0}]}")
    (parent / "values.yaml").write_text(
        yaml.safe_dump({"infermeter": {"sidecar": {"native": native}, "config": {"server": {"kind": "vllm"}}}})
    )
    (parent / "templates").mkdir()
    (parent / "templates" / "pod.yaml").write_text(
        """\
apiVersion: v1
kind: Pod
metadata:
  name: chat
  labels:
    {{- include "infermeter.sidecar.labels" .Subcharts.infermeter | nindent 4 }}
spec:
  initContainers:
    {{- include "infermeter.sidecar.initContainer" .Subcharts.infermeter | nindent 4 }}
  containers:
    - {name: vllm, image: vllm}
    {{- include "infermeter.sidecar.container" .Subcharts.infermeter | nindent 4 }}
  volumes:
    {{- include "infermeter.volumes" .Subcharts.infermeter | nindent 4 }}
"""
    )
    with Chart.load(parent) as chart:
        rendered = objects(chart.render(values={}, name="prod", namespace="ml"))
    (pod,), (monitor,), (policy,) = (of_kind(rendered, kind) for kind in ("Pod", "PodMonitor", "NetworkPolicy"))
    inside, outside = ([one["name"] for one in pod["spec"][key] or ()] for key in ("initContainers", "containers"))
    assert (inside, outside) == ((["infermeter"], ["vllm"]) if native else ([], ["vllm", "infermeter"]))
    label = pod["metadata"]["labels"]
    assert label == {"infermeter": "prod-infermeter"}
    assert monitor["spec"]["selector"]["matchLabels"] == policy["spec"]["podSelector"]["matchLabels"] == label
    (config_map,) = of_kind(rendered, "ConfigMap")
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == config_map["metadata"]["name"]


def budgets() -> list[Json]:
    """The examples of budgets in alerts/, as the chart takes them."""
    found = (rule for groups in READ_RULES.values() for group in groups["groups"] for rule in group["rules"])
    return [
        {**rule["labels"], "per_30d": float(rule["expr"].removeprefix("vector(").removesuffix(")"))}
        for rule in found
        if rule.get("record") == BUDGET
    ]


WITH_BUDGETS: Json = {"rules": {"enabled": True, "budgets": budgets()}}


def test_the_charts_rules_are_those_of_alerts_with_its_budgets_and_without_the_examples_of_budgets() -> None:
    assert rules_of(objects(release(WITH_BUDGETS))) == {name: read_rules["groups"] for name, read_rules in READ_RULES.items()}
    without = [rule for rule in all_rules(rules_of(objects(release(WITH_BUDGETS)))) if rule.get("record") != BUDGET]
    assert all_rules(rules_of(objects(release(SWITCHED_ON)))) == without


def written(folder: Path, groups: Mapping[str, list[Json]]) -> list[Path]:
    """Rendered rules as promtool reads them."""
    paths = [folder / f"{name}.yaml" for name in groups]
    for path in paths:
        path.write_text(yaml.safe_dump({"groups": groups[path.stem]}))
    return paths


def tried(folder: Path, files: list[Path], chosen: list[Case], evaluate: str) -> None:
    """`promtool test rules` over rendered rules, with cases of the rules in alerts/."""
    tests = yaml.safe_load(promtool_tests(chosen, evaluate=evaluate))
    tests["rule_files"] = [str(path) for path in files]
    (folder / "tests.yaml").write_text(yaml.safe_dump(tests))
    promtool("test", "rules", folder / "tests.yaml")


def test_the_charts_rules_pass_promtool_and_the_shortest_cases_of_those_of_alerts(tmp_path: Path) -> None:
    files = written(tmp_path, rules_of(objects(release(SWITCHED_ON))))
    promtool("check", "rules", "--lint=all", "--lint-fatal", *files)
    firing = [case for case in cases() if case.evaluate == "5m" and any(case.fires.values())]
    tried(tmp_path, files, sorted(firing, key=lambda case: case.steps * len(case.series))[:2], "5m")


@pytest.mark.deploy
@pytest.mark.parametrize("evaluate", ["5m", "30m"])
def test_the_charts_rules_pass_every_case_of_those_of_alerts(evaluate: str, tmp_path: Path) -> None:
    files = written(tmp_path, rules_of(objects(release(WITH_BUDGETS))))
    tried(tmp_path, files, [case for case in cases() if case.evaluate == evaluate], evaluate)


def test_the_charts_changed_rules_pass_promtool_too(tmp_path: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *written(tmp_path, rules_of(released("deployment"))))


def test_an_alert_is_changed_or_left_out_by_its_name_and_nothing_else_is() -> None:
    wanted, changed = (all_rules(rules_of(found)) for found in (objects(release(SWITCHED_ON)), released("deployment")))
    (idle,) = (rule for rule in changed if rule.get("alert") == "InfermeterGpuIdle")
    assert (idle["for"], idle["labels"]["severity"], idle["labels"]["team"]) == ("1h", "critical", "ml")
    burns = [rule["labels"]["severity"] for rule in changed if rule.get("alert") == "InfermeterSlaBudgetBurn"]
    assert burns == ["critical"]
    assert not any(rule.get("alert") == "InfermeterPriceStale" for rule in changed)
    by_record = {rule["record"]: rule for rule in changed if "record" in rule}
    assert by_record["threshold:infermeter_gpu_idle:ratio"]["expr"] == "vector(0.95)"
    assert by_record[BUDGET] == {
        "record": BUDGET,
        "expr": "vector(12000)",
        "labels": {"namespace": "ml", "currency": "EUR"},
    }
    assert by_record["infermeter:runbooks:url"]["labels"] == {"url": "https://runbooks.example.com/ours"}
    assert by_record["infermeter:grafana:url"]["labels"] == {"url": "https://grafana.example.com/ours"}
    different = [rule for rule in wanted if rule not in changed]
    names = {rule.get("alert", rule.get("record")) for rule in different}
    assert names == {
        "InfermeterGpuIdle",
        "InfermeterSlaBudgetBurn",
        "InfermeterPriceStale",
        "threshold:infermeter_gpu_idle:ratio",
        "infermeter:runbooks:url",
        "infermeter:grafana:url",
    }


def test_each_alert_and_each_threshold_has_a_key_of_its_own_that_changes_it() -> None:
    alerts, numbers = alert_keys(READ_RULES), thresholds(READ_RULES)
    assert len(alerts) == len(set(alerts)) > 20
    off: Any = {key: {"enabled": False} for key in alerts}
    left = all_rules(rules_of(objects(release({"rules": {"enabled": True, "alerts": off, "thresholds": dict.fromkeys(numbers, 7)}}))))
    assert not any("alert" in rule for rule in left)
    assert {rule["expr"] for rule in left if rule["record"].startswith("threshold:")} == {"vector(7)"}


def test_the_charts_dashboards_are_those_of_the_repository() -> None:
    found = {name: json.loads(text) for one in of_kind(objects(release(SWITCHED_ON)), "ConfigMap") for name, text in one["data"].items()}
    found.pop("config.yaml", None)
    assert found == {path.name: json.loads(path.read_text()) for path in (CHART.parents[2] / "dashboards").glob("*.json")}


def test_rules_and_dashboards_are_not_installed_with_every_server() -> None:
    kinds = {one["kind"] for one in objects(release({}))}
    assert kinds == {"ConfigMap", "PodMonitor", "NetworkPolicy"}


def test_otlp_is_open_to_whom_the_values_name_and_nobody_else() -> None:
    (policy,) = of_kind(released("deployment"), "NetworkPolicy")
    web, otlp = policy["spec"]["ingress"]
    assert [port["port"] for port in web["ports"]] == [10470]
    assert [port["port"] for port in otlp["ports"]] == [4317, 4318]
    assert otlp["from"] == values("deployment")["networkPolicy"]["otlpFrom"]
    (closed,) = of_kind(objects(release({"mode": "deployment", "service": {"otlp": True}})), "NetworkPolicy")
    assert [port["port"] for rule in closed["spec"]["ingress"] for port in rule["ports"]] == [10470]


def texts_within(found: Any) -> list[str]:
    if isinstance(found, Mapping):
        return [text for value in found.values() for text in texts_within(value)]
    if isinstance(found, list):
        return [text for value in found for text in texts_within(value)]
    return [found] if isinstance(found, str) else []


def test_names_that_look_like_numbers_stay_texts() -> None:
    given: Json = {
        "mode": "deployment",
        "fullnameOverride": "1001",
        "existingConfigMap": "1002",
        "state": {"kind": "persistentVolumeClaim", "existingClaim": "1003"},
        "gpu": {"runtimeClassName": "1004"},
        "priorityClassName": "1005",
        "networkPolicy": {"monitoringNamespace": "1006"},
    }
    found = objects(release({**given, "nameOverride": "1009"}, name="1010"))
    assert {"1001", "1002", "1003", "1004", "1005", "1006"} <= {text for one in found for text in texts_within(one)}
    names = {label: text for one in found for label, text in one["metadata"]["labels"].items()}
    assert (names["app.kubernetes.io/name"], names["app.kubernetes.io/instance"]) == ("1009", "1010")
    claim = objects(release({"mode": "deployment", "state": {"kind": "persistentVolumeClaim", "storageClassName": "1007"}}))
    assert [one["spec"]["storageClassName"] for one in of_kind(claim, "PersistentVolumeClaim")] == ["1007"]
    labelled = objects(release({"sidecar": {"podLabel": "1008"}}))
    assert "1008" in [text for one in of_kind(labelled, "PodMonitor") for text in texts_within(one)]
    assert 'infermeter: "1008"' in release({"sidecar": {"podLabel": "1008"}})["NOTES.txt"]


def test_names_stay_within_what_kubernetes_takes_however_long_the_release_is_called() -> None:
    for one in objects(release({**SWITCHED_ON, "mode": "deployment"}, name="a" * 53)):
        assert len(one["metadata"]["name"]) <= 253
        assert all(len(value) <= 63 for value in one["metadata"]["labels"].values())
        if one["kind"] == "Service":
            assert len(one["metadata"]["name"]) <= 63


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

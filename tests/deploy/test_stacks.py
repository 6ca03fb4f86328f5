"""What is generated under deploy/: that it is up to date, complete, and no different from its sources."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.src import stacks
from deploy.src.__main__ import committed, differences, generated

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "alerts" / "rules").glob("*.yaml")}
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "dashboards").glob("*.json")}
OF_STACKS = ("kubernetes/rules/", "kubernetes/dashboards/", "kubernetes/kustomization.yaml", "mimir/", "victoriametrics/")
OBJECTS = {path: yaml.safe_load(text) for path, text in generated().items() if path.startswith(OF_STACKS)}

CONFIG_MAP_BYTES = 1024 * 1024
REMEMBERED_BYTES = 256 * 1024
"""All annotations of an object together; `kubectl apply` keeps the whole object in one."""

MIMIR_GROUPS = 70
"""Mimir's default for ruler_max_rule_groups_per_tenant."""


def of_kind(kind: str) -> dict[str, Any]:
    return {path: read for path, read in OBJECTS.items() if read.get("kind") == kind}


def test_what_is_committed_is_what_the_sources_make() -> None:
    assert list(differences(generated(), committed())) == [], "make stacks"


def test_a_changed_rule_a_new_page_and_a_leftover_file_are_told() -> None:
    rule = {"groups": [{"name": "one", "rules": [{"record": "a:b:c", "expr": "1"}]}]}
    now = stacks.files({"recording": rule}, {"infermeter-fleet": {"uid": "infermeter-fleet"}})
    before = {**now, "kubernetes/rules/infermeter-old.yaml": "old\n"}
    del before["kubernetes/dashboards/infermeter-fleet.yaml"]
    before["mimir/rules.yaml"] = now["mimir/rules.yaml"].replace("'1'", "'2'")
    assert before["mimir/rules.yaml"] != now["mimir/rules.yaml"]
    told = {line.split("/", 1)[1] for line in differences(now, before) if line.startswith("--- ")}
    assert {path.strip() for path in told} == {
        "kubernetes/rules/infermeter-old.yaml",
        "kubernetes/dashboards/infermeter-fleet.yaml",
        "mimir/rules.yaml",
    }


def test_each_file_of_rules_is_one_prometheus_rule_with_the_same_groups() -> None:
    assert {path: read["spec"]["groups"] for path, read in of_kind("PrometheusRule").items()} == {
        f"kubernetes/rules/infermeter-{name}.yaml": read["groups"] for name, read in RULES.items()
    }


def test_each_dashboard_is_one_config_map_with_the_same_page() -> None:
    found = {name: json.loads(text) for read in of_kind("ConfigMap").values() for name, text in read["data"].items()}
    assert found == {f"{uid}.json": page for uid, page in DASHBOARDS.items()}


def test_config_maps_keep_below_their_limit_and_below_what_kubectl_apply_remembers() -> None:
    for path, read in of_kind("ConfigMap").items():
        assert sum(len(text.encode()) for text in read["data"].values()) < CONFIG_MAP_BYTES, path
        assert len(json.dumps(read).encode()) < REMEMBERED_BYTES, path


def test_the_kustomization_holds_every_resource() -> None:
    resources = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    files = {
        str(path.relative_to(DEPLOY / "kubernetes"))
        for folder in ("rules", "dashboards")
        for path in (DEPLOY / "kubernetes" / folder).iterdir()
    }
    assert set(resources) == {"podmonitor.yaml", *files}
    assert len(resources) == len(set(resources))


def test_mimir_gets_every_rule_in_order_in_groups_that_it_takes() -> None:
    groups = OBJECTS["mimir/rules.yaml"]["groups"]
    assert max(len(group["rules"]) for group in groups) <= stacks.MIMIR_RULES_A_GROUP
    assert len({group["name"] for group in groups}) == len(groups) <= MIMIR_GROUPS
    for read in RULES.values():
        for group in read["groups"]:
            parts = [part for part in groups if re.fullmatch(re.escape(group["name"]) + r"(-\d+)?", part["name"])]
            assert [rule for part in parts for rule in part["rules"]] == group["rules"]
            assert {part.get("interval") for part in parts} == {group.get("interval")}


def test_a_group_of_41_rules_becomes_three_for_mimir() -> None:
    rules = [{"record": f"a:b:c{i}", "expr": "1"} for i in range(41)]
    told = stacks.mimir_rules({"recording": {"groups": [{"name": "many", "interval": "1m", "rules": rules}]}})
    assert [(group["name"], len(group["rules"])) for group in told["groups"]] == [("many-1", 20), ("many-2", 20), ("many-3", 1)]


def test_a_vmalert_of_any_age_gets_every_rule_as_it_is_without_the_one_key_that_an_old_one_refuses() -> None:
    told = {path.removeprefix("victoriametrics/rules/"): read for path, read in OBJECTS.items() if path.startswith("victoriametrics/")}
    left_out = 0
    for name, read in RULES.items():
        for group, source in zip(told.pop(f"{name}.yaml")["groups"], read["groups"], strict=True):
            for rule, original in zip(group.pop("rules"), source["rules"], strict=True):
                left_out += original.keys() - rule.keys() == {"keep_firing_for"}
                assert rule == {key: value for key, value in original.items() if key != "keep_firing_for"}
            assert group == {key: value for key, value in source.items() if key != "rules"}
    assert told == {}
    assert left_out > 0, "no rule has the key any longer: serve alerts/rules as they are"


@pytest.mark.deploy
def test_debians_vmalert_takes_them_and_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "one", "rules": [{"alert": "A", "expr": "1", "since": "1m"}]}]})
    )
    for folder, taken in ((DEPLOY / "victoriametrics" / "rules", True), (tmp_path, False)):
        done = subprocess.run(["vmalert", "-dryRun", f"-rule={folder}/*.yaml"], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0) is taken, done.stderr


def test_promtool_takes_the_rules_that_mimir_gets(tmp_path: Path) -> None:
    told = dict(OBJECTS["mimir/rules.yaml"])
    assert told.pop("namespace") == "infermeter"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(told))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


@pytest.mark.parametrize("example", ["prometheus.yml", "prometheus/files.yml", "mimir/prometheus.yml", "thanos/prometheus.yml"])
def test_promtool_takes_the_example_and_finds_the_rules(example: str) -> None:
    assert len(re.findall(r"SUCCESS: \d+ rules found", promtool("check", "config", str(DEPLOY / example)))) == len(RULES)


def test_promtool_takes_the_kubernetes_example_with_another_discovery_since_debians_is_built_without_that_one(tmp_path: Path) -> None:
    told = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())
    (job,) = told["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    told["rule_files"] = [str(ROOT / "alerts" / "rules" / "*.yaml")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(told))
    assert len(re.findall(r"SUCCESS: \d+ rules found", promtool("check", "config", str(tmp_path / "prometheus.yml")))) == len(RULES)


def test_promtool_takes_the_agents_example() -> None:
    promtool("check", "config", "--agent", str(DEPLOY / "prometheus" / "agent.yml"))


def test_promtool_takes_the_composes_example_with_the_rules_where_they_lie_here(tmp_path: Path) -> None:
    told = (DEPLOY / "compose" / "prometheus.yml").read_text().replace("/etc/prometheus/rules", str(ROOT / "alerts" / "rules"))
    (tmp_path / "prometheus.yml").write_text(told)
    assert len(re.findall(r"SUCCESS: \d+ rules found", promtool("check", "config", str(tmp_path / "prometheus.yml")))) == len(RULES)


def test_files_of_targets_are_lists_of_addresses_with_labels() -> None:
    found = [group for path in (DEPLOY / "prometheus" / "targets").glob("*.yml") for group in yaml.safe_load(path.read_text())]
    assert found
    assert all(group.keys() <= {"targets", "labels"} for group in found)
    assert all(re.fullmatch(r"[a-z0-9.-]+:10470", target) for group in found for target in group["targets"])


def promtool(*arguments: str) -> str:
    binary = shutil.which("promtool")
    assert binary, "promtool is missing: install the Debian package `prometheus`"
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr

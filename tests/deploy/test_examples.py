"""The examples for each stack. What no program here can load is held against the fields that its project publishes, as the names say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.rendered import everything

from infermeter.metrics.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SCRAPE_INTERVAL = "30s"
DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
BUCKETS = {f"{family.full_name}_bucket" for family in CATALOG if family.kind == "histogram"}
SERIES = {family.full_name for family in CATALOG if family.kind != "histogram"} | {
    f"{family.full_name}_{part}" for family in CATALOG if family.kind == "histogram" for part in ("bucket", "sum", "count")
}

RULE_FIELDS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
GROUP_FIELDS = {"name", "interval", "query_offset", "limit", "rules", "partial_response_strategy", "labels"}
POD_MONITOR_FIELDS = {"namespaceSelector", "selector", "podMetricsEndpoints", "jobLabel", "podTargetLabels", "sampleLimit"}
ENDPOINT_FIELDS = {"port", "path", "interval", "scrapeTimeout", "honorLabels", "relabelings", "metricRelabelings", "scheme"}
SERVICE_MONITOR_FIELDS = {"namespaceSelector", "selector", "endpoints", "jobLabel", "targetLabels", "podTargetLabels", "sampleLimit"}
RELABEL_FIELDS = {"sourceLabels", "targetLabel", "replacement", "regex", "action", "separator", "modulus"}
THANOS_RULER_FIELDS = {
    "image", "replicas", "evaluationInterval", "ruleSelector", "ruleNamespaceSelector", "queryEndpoints", "alertmanagersUrl", "labels",
    "alertDropLabels",
}  # fmt: skip
REMOTE_WRITE_EXPORTER_FIELDS = {
    "endpoint", "headers", "tls", "external_labels", "add_metric_suffixes", "resource_to_telemetry_conversion", "target_info",
    "remote_write_queue", "send_metadata",
}  # fmt: skip
DATA_SOURCE_FIELDS = {"name", "uid", "type", "access", "url", "jsonData", "isDefault", "orgId", "editable"}
PROVIDER_FIELDS = {
    "name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds", "options",
}  # fmt: skip


def read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mappings(inner)


def scrape_jobs() -> dict[str, Mapping[str, Any]]:
    """Every scrape of the exporter in the examples, by file."""
    return {
        str(path.relative_to(DEPLOY)): job
        for path in sorted((*DEPLOY.rglob("*.yml"), *DEPLOY.rglob("*.yaml")))
        if not {"dashboards", "templates", "overlays"} & set(path.parts)
        for found in mappings(yaml.load(path.read_text(), Loader=yaml.CSafeLoader))
        for job in found.get("scrape_configs") or ()
        if isinstance(job, Mapping)
    }


def left_out(path: str, where: str) -> set[str]:
    """The exporter's series that an example's relabelling drops."""
    found = read(path)
    steps = found if isinstance(found, list) else [step for part in mappings(found) for step in part.get(where) or ()]
    assert steps
    assert all(step["action"] == "drop" and step["source_labels"] == ["__name__"] for step in steps)
    return {name for name in SERIES for step in steps if re.fullmatch(step["regex"], name)}


def asked_by_rules() -> set[str]:
    rules = "".join(path.read_text() for path in (ROOT / "alerts" / "rules").glob("*.yaml"))
    return set(re.findall(r"\binfermeter_\w+", rules))


def asked_by_dashboards() -> set[str]:
    pages = [json.loads(path.read_text()) for path in (ROOT / "dashboards").glob("*.json")]
    return {name for found in mappings(pages) for name in re.findall(r"\binfermeter_\w+", str(found.get("expr", "")))}


def test_every_scrape_honours_the_exporters_labels_and_is_called_infermeter() -> None:
    jobs = scrape_jobs()
    assert len(jobs) >= 6
    for path, job in jobs.items():
        assert job["honor_labels"] is True, path
        assert "infermeter" in job["job_name"], path


@pytest.mark.parametrize(
    ("path", "where"), [("prometheus/agent.yml", "write_relabel_configs"), ("victoriametrics/remote-write.yml", "write_relabel_configs")]
)
def test_where_rules_run_behind_the_store_nothing_is_left_out_that_a_rule_or_a_dashboard_takes(path: str, where: str) -> None:
    dropped = left_out(path, where)
    assert dropped
    assert not dropped & (asked_by_rules() | asked_by_dashboards())


def test_where_rules_run_before_the_store_only_buckets_are_left_out_besides() -> None:
    dropped = left_out("mimir/prometheus.yml", "write_relabel_configs")
    assert dropped >= BUCKETS
    assert not (dropped - BUCKETS) & (asked_by_rules() | asked_by_dashboards())


def test_clusters_and_replicas_are_told_apart_by_external_labels() -> None:
    assert read("mimir/prometheus.yml")["global"]["external_labels"].keys() == {"cluster", "__replica__"}
    thanos = read("thanos/prometheus.yml")
    assert thanos["global"]["external_labels"].keys() == {"cluster", "prometheus_replica"}
    assert thanos["alerting"]["alert_relabel_configs"] == [{"regex": "prometheus_replica", "action": "labeldrop"}]
    for path in ("prometheus/kubernetes.yml", "prometheus/agent.yml", "victoriametrics/scrape.yml"):
        assert "cluster" in read(path)["global"]["external_labels"], path


def test_prometheus_rules_have_the_published_fields_of_prometheus_operator() -> None:
    paths = sorted((DEPLOY / "kubernetes" / "rules").glob("*.yaml"))
    assert paths
    for path in paths:
        found = yaml.safe_load(path.read_text())
        assert (found["apiVersion"], found["kind"], found["spec"].keys()) == ("monitoring.coreos.com/v1", "PrometheusRule", {"groups"})
        assert DNS_NAME.fullmatch(found["metadata"]["name"])
        names = [group["name"] for group in found["spec"]["groups"]]
        assert len(names) == len(set(names))
        for group in found["spec"]["groups"]:
            assert group.keys() <= GROUP_FIELDS
            for rule in group["rules"]:
                assert rule.keys() <= RULE_FIELDS
                assert ("alert" in rule) != ("record" in rule)
                assert isinstance(rule["expr"], str)
                texts = {**rule.get("labels", {}), **rule.get("annotations", {})}
                assert all(isinstance(text, str) for text in texts.values())


MONITORS = {f"{where}: {one['metadata']['name']}": one for where, one in everything() if one["kind"] in {"PodMonitor", "ServiceMonitor"}}


@pytest.mark.parametrize("where", MONITORS)
def test_every_monitor_has_the_published_fields_of_prometheus_operator_and_keeps_the_exporters_labels(where: str) -> None:
    found = MONITORS[where]
    assert found["apiVersion"] == "monitoring.coreos.com/v1"
    assert found["spec"].keys() <= (POD_MONITOR_FIELDS if found["kind"] == "PodMonitor" else SERVICE_MONITOR_FIELDS)
    (endpoint,) = found["spec"]["podMetricsEndpoints" if found["kind"] == "PodMonitor" else "endpoints"]
    assert endpoint.keys() <= ENDPOINT_FIELDS
    assert (endpoint["port"], endpoint["path"], endpoint["honorLabels"]) == ("infermeter", "/metrics", True)
    assert endpoint["interval"] == SCRAPE_INTERVAL
    assert all(step.keys() <= RELABEL_FIELDS for step in (*endpoint["relabelings"], *endpoint.get("metricRelabelings", ())))
    job = next(step["replacement"] for step in endpoint["relabelings"] if step["targetLabel"] == "job")
    assert job == ("infermeter-node" if "infermeter-node" in where or "daemonset" in where else "infermeter")


def test_the_thanos_ruler_has_the_published_fields_of_prometheus_operator_and_takes_the_rules_labels() -> None:
    found = read("thanos/thanosruler.yaml")
    assert (found["apiVersion"], found["kind"]) == ("monitoring.coreos.com/v1", "ThanosRuler")
    assert found["spec"].keys() <= THANOS_RULER_FIELDS
    assert "cluster" not in found["spec"]["labels"]
    chosen = found["spec"]["ruleSelector"]["matchLabels"].items()
    for path in (DEPLOY / "kubernetes" / "rules").glob("*.yaml"):
        assert chosen <= yaml.safe_load(path.read_text())["metadata"]["labels"].items()


def test_config_maps_are_found_by_grafanas_sidecar_as_its_chart_publishes() -> None:
    paths = sorted((DEPLOY / "kubernetes" / "dashboards").glob("*.yaml"))
    assert paths
    for path in paths:
        found = yaml.safe_load(path.read_text())
        assert (found["apiVersion"], found["kind"], found.keys()) == ("v1", "ConfigMap", {"apiVersion", "kind", "metadata", "data"})
        assert DNS_NAME.fullmatch(found["metadata"]["name"])
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "Infermeter"}
        assert all(re.fullmatch(r"[-._a-zA-Z0-9]+\.json", name) for name in found["data"])


def test_grafanas_provisioning_has_the_published_fields_and_the_examples_scrape_interval() -> None:
    (source,) = read("grafana/provisioning/datasources/infermeter.yaml")["datasources"]
    assert source.keys() <= DATA_SOURCE_FIELDS
    assert source["jsonData"]["timeInterval"] == SCRAPE_INTERVAL
    assert source["jsonData"]["exemplarTraceIdDestinations"][0]["name"] == "trace_id"
    (provider,) = read("grafana/provisioning/dashboards/infermeter.yaml")["providers"]
    assert provider.keys() <= PROVIDER_FIELDS
    assert (provider["type"], provider["allowUiUpdates"], provider["disableDeletion"]) == ("file", False, True)
    told = {
        read(path)["global"]["scrape_interval"]
        for path in ("prometheus/kubernetes.yml", "prometheus/files.yml", "prometheus/agent.yml", "mimir/prometheus.yml")
    }
    assert told == {SCRAPE_INTERVAL}


def test_the_collectors_pipelines_have_the_published_fields_and_name_what_is_there() -> None:
    found = read("opentelemetry-collector/collector.yaml")
    for pipeline in found["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= found[kind].keys()
    exporter = found["exporters"]["prometheusremotewrite"]
    assert exporter.keys() <= REMOTE_WRITE_EXPORTER_FIELDS
    assert exporter["add_metric_suffixes"] is False
    assert found["receivers"].keys() == {"prometheus"}
    text = (DEPLOY / "opentelemetry-collector" / "collector.yaml").read_text()
    settings = [line.partition("#")[0] for line in text.splitlines()]
    assert not any("$" in line.replace("$$", "") for line in settings)


def test_victoriametrics_relabelling_has_the_published_fields() -> None:
    assert all(step.keys() == {"action", "source_labels", "regex"} for step in read("victoriametrics/remote-write.yml"))

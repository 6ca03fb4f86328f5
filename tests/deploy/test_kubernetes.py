"""What is shipped for Kubernetes: it validates against the API's schemas, and holds to our own rules of security."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import referencing
from tests.deploy.kustomize import build, build_of
from tests.deploy.rendered import KUBERNETES, OVERLAYS, Json, everything, overlay, pods

import infermeter

VERSIONS = ("1.29", "1.37")
API = {"v1", "apps/v1", "networking.k8s.io/v1", "autoscaling/v2"}
OTHERS = {"monitoring.coreos.com/v1", "serving.kserve.io/v1beta1", "serving.kserve.io/v1alpha2", "keda.sh/v1alpha1"}
ROOTS_OWN = {"/var/lib/kubelet/pod-resources", "/sys/class/powercap", "/sys/devices/virtual/powercap"}
"""What is mounted of the host, all of it readable by root alone."""

EVERYTHING = list(everything())
PODS = [found for where, one in EVERYTHING for found in pods(where, one)]
WORKLOADS = {"Deployment", "InferenceService", "LLMInferenceService"}


@functools.cache
def definitions(version: str) -> tuple[Any, referencing.Registry[Any]]:
    folder = importlib.resources.files(kubernetes_validate) / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    shared = referencing.Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return folder, shared @ referencing.Registry()


@functools.cache
def validator(version: str, kind: str, api: str) -> jsonschema.Draft202012Validator:
    folder, registry = definitions(version)
    group, _, number = api.rpartition("/")
    name = f"{kind}-{group.partition('.')[0]}-{number}" if group else f"{kind}-{number}"
    return jsonschema.Draft202012Validator(json.loads((folder / f"{name}.json".lower()).read_text()), registry=registry)


def distinct() -> Iterator[tuple[str, Json]]:
    seen = set()
    for where, one in EVERYTHING:
        text = json.dumps(one, sort_keys=True)
        if text not in seen:
            seen.add(text)
            yield where, one


def containers(pod: Json) -> list[Json]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def meters() -> Iterator[tuple[str, Json, Json]]:
    for where, pod in PODS:
        for container in containers(pod):
            if container.get("command") == ["infermeter"]:
                yield where, pod, container


def host_paths(pod: Json) -> set[str]:
    return {volume["hostPath"]["path"] for volume in pod.get("volumes", ()) if "hostPath" in volume}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_of_kubernetes_own_kinds_validates_strictly(version: str) -> None:
    tried = [(where, one) for where, one in distinct() if one["apiVersion"] in API]
    assert len(tried) > 50
    for where, one in tried:
        errors = [error.message for error in validator(version, one["kind"], one["apiVersion"]).iter_errors(one)]
        assert errors == [], (where, one["kind"], one["metadata"]["name"])


def test_every_other_kind_is_one_that_a_test_here_asserts_the_published_fields_of() -> None:
    assert {one["apiVersion"] for _, one in EVERYTHING} == API | OTHERS


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_validate_itself_says_the_same_of_an_overlay_and_of_a_misspelt_field(version: str) -> None:
    deployment = next(one for one in overlay("vllm") if one["kind"] == "Deployment")
    assert kubernetes_validate.validate(deployment, version, strict=True) == version
    broken = json.loads(json.dumps(deployment))
    broken["spec"]["template"]["spec"]["initContainers"][0]["restartpolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartpolicy"):
        kubernetes_validate.validate(broken, version, strict=True)
    assert list(validator(version, "Deployment", "apps/v1").iter_errors(broken))


def test_a_sidecar_is_in_every_pod_of_an_overlay_once_and_first_or_among_the_containers() -> None:
    for folder in OVERLAYS:
        (native,) = (pod for one in overlay(folder) for _, pod in pods(folder, one))
        assert [container["name"] for container in native["initContainers"]] == ["infermeter"]
        assert native["initContainers"][0]["restartPolicy"] == "Always"
        (classic,) = (pod for one in overlay(folder, "classic") for _, pod in pods(folder, one))
        assert classic["initContainers"] == []
        assert [container["name"] for container in classic["containers"]][-1] == "infermeter"
        moved, stayed = dict(classic["containers"][-1]), dict(native["initContainers"][0])
        assert "restartPolicy" not in moved
        assert moved.pop("lifecycle")["preStop"]["exec"]["command"][0] == "python3"
        assert stayed.pop("restartPolicy")
        assert moved == stayed


def test_the_meter_waits_less_for_the_last_spans_than_a_pod_has_to_end() -> None:
    for where, pod, container in meters():
        if "lifecycle" in container:
            (seconds,) = (int(word[:-1].rpartition("(")[2]) for word in container["lifecycle"]["preStop"]["exec"]["command"][-1:])
            assert seconds < pod.get("terminationGracePeriodSeconds", 30), where


def test_every_meter_is_confined() -> None:
    found = list(meters())
    assert len(found) > 40
    for where, pod, container in found:
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False, where
        assert confined["readOnlyRootFilesystem"] is True, where
        assert confined["capabilities"] == {"drop": ["ALL"]}, where
        assert confined["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert "privileged" not in confined, where
        root = bool(host_paths(pod) & ROOTS_OWN)
        assert (confined["runAsNonRoot"], confined["runAsUser"] == 0) == (not root, root), where


def test_every_meter_has_requests_limits_and_probes() -> None:
    for where, _, container in meters():
        resources = container["resources"]
        assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}, where
        if container["name"] == "infermeter":
            assert container["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "infermeter"}, where
            for probe in ("readinessProbe", "startupProbe"):
                assert container[probe]["httpGet"] == {"path": "/-/ready", "port": "infermeter"}, where


def test_liveness_restarts_a_sidecar_before_its_readiness_takes_the_server_out_of_rotation() -> None:
    for where, container in ((where, container) for folder in OVERLAYS for where, _, container in meters() if where.startswith(folder)):
        live, ready = (
            container[probe]["periodSeconds"] * container[probe]["failureThreshold"] for probe in ("livenessProbe", "readinessProbe")
        )
        assert live * 4 < ready, where


def test_no_meter_requests_a_gpu_and_each_that_sees_devices_has_the_utility_capability_alone() -> None:
    for where, _, container in meters():
        assert "nvidia.com/gpu" not in json.dumps(container["resources"]), where
        env = {entry["name"]: entry.get("value") for entry in container.get("env", ())}
        if "NVIDIA_VISIBLE_DEVICES" in env:
            assert (env["NVIDIA_VISIBLE_DEVICES"], env["NVIDIA_DRIVER_CAPABILITIES"]) == ("all", "utility"), where


def test_nothing_of_the_host_is_mounted_but_what_root_reads_there_and_all_of_it_read_only() -> None:
    for where, pod in PODS:
        assert host_paths(pod) <= ROOTS_OWN, where
        mounted = {volume["name"] for volume in pod.get("volumes", ()) if "hostPath" in volume}
        for container in containers(pod):
            assert all(mount.get("readOnly") for mount in container.get("volumeMounts", ()) if mount["name"] in mounted), where
        if "host-pid" not in where and "chart daemonset" not in where:
            assert "hostPID" not in pod, where
        assert not pod.keys() & {"hostNetwork", "hostIPC"}, where


def test_every_mount_has_its_volume_and_every_config_map_is_there_or_named_in_the_chart() -> None:
    for where, pod in PODS:
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        assert all(mount["name"] in volumes for container in containers(pod) for mount in container.get("volumeMounts", ())), where
    for folder in OVERLAYS:
        made = {one["metadata"]["name"] for one in overlay(folder) if one["kind"] == "ConfigMap"}
        (pod,) = (pod for one in overlay(folder) for _, pod in pods(folder, one))
        assert {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume} == made


def test_no_pod_gets_a_token_of_the_api() -> None:
    for where, pod in PODS:
        assert pod["automountServiceAccountToken"] is False, where


def test_the_servers_of_the_overlays_are_confined_as_far_as_their_images_allow() -> None:
    for folder in set(OVERLAYS) - {"llminferenceservice"}:  # whose container is KServe's to write
        (pod,) = (pod for one in overlay(folder) for _, pod in pods(folder, one))
        (server,) = pod["containers"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert server["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert server["resources"]["limits"].keys() >= {"cpu", "memory", "nvidia.com/gpu"}
        assert server.keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}


def test_images_have_versions_and_no_registry_and_the_meters_is_this_version() -> None:
    for where, pod in PODS:
        for container in containers(pod):
            if "image" not in container:
                assert where.startswith("llminferenceservice"), where
                continue
            name, _, tag = container["image"].partition(":")
            assert tag not in {"", "latest"}, where
            assert "." not in name, where
            if container.get("command") == ["infermeter"]:
                assert container["image"] == f"infermeter:{infermeter.__version__}", where


def test_the_network_policies_leave_otlp_to_the_pod_and_the_web_port_to_monitoring() -> None:
    for where, one in EVERYTHING:
        if one["kind"] != "NetworkPolicy" or "deployment" in where:
            continue
        assert one["spec"]["policyTypes"] == ["Ingress"]
        for port in (4317, 4318):
            assert open_to(one, port) == [], where
        (sources,) = open_to(one, 10470)
        assert sources == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}], where
        if one["spec"]["podSelector"]["matchLabels"].keys() == {"infermeter"}:
            assert all(open_to(one, port) == [None] for port in (80, 3000, 4316, 4319, 8000, 8080, 10469, 10471, 30000, 65535)), where


def open_to(policy: Json, port: int) -> list[Any]:
    """Who reaches a TCP port: each rule's peers, None for everybody."""
    return [
        rule.get("from")
        for rule in policy["spec"]["ingress"]
        for entry in rule["ports"]
        if entry["protocol"] == "TCP" and entry["port"] <= port <= entry.get("endPort", entry["port"])
    ]


def test_the_policy_and_the_monitors_find_the_pods_of_every_overlay() -> None:
    (monitor,) = (one for one in build(KUBERNETES) if one["kind"] == "PodMonitor")
    for folder in OVERLAYS:
        (policy,) = (one for one in overlay(folder) if one["kind"] == "NetworkPolicy")
        (workload,) = (one for one in overlay(folder) if one["kind"] in WORKLOADS)
        spec = workload["spec"]
        labels = {
            "Deployment": lambda spec=spec: spec["template"]["metadata"]["labels"],
            "InferenceService": lambda spec=spec: spec["predictor"]["labels"],
            "LLMInferenceService": lambda spec=spec: spec["labels"],
        }[workload["kind"]]()
        for chosen in (policy["spec"]["podSelector"], monitor["spec"]["selector"]):
            assert chosen["matchLabels"].items() <= labels.items(), folder


def test_there_is_a_pod_monitor_or_a_service_monitor_and_never_both() -> None:
    kinds = [one["kind"] for one in build(KUBERNETES)]
    assert (kinds.count("PodMonitor"), kinds.count("ServiceMonitor")) == (1, 0)
    other = build_of({"resources": ["."], "components": ["components/servicemonitor"]}, KUBERNETES)
    kinds = [one["kind"] for one in other]
    assert (kinds.count("PodMonitor"), kinds.count("ServiceMonitor")) == (0, 1)
    (service,), (monitor,) = ([one for one in other if one["kind"] == kind] for kind in ("Service", "ServiceMonitor"))
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert service["spec"]["selector"] == {"infermeter": "scrape"}


def test_of_a_node_no_family_is_kept_by_which_a_server_is_judged() -> None:
    (monitor,) = (one for one in build(KUBERNETES / "node") if one["kind"] == "PodMonitor")
    (kept,) = monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelings"]
    assert kept["action"] == "keep"
    names = [f"infermeter_{name}" for name in ("host_energy_joules_total", "gpu_power_watts", "config_last_reload_successful")]
    assert all(re.fullmatch(kept["regex"], name) for name in names)
    others = ("build_info", "inferences_total", "energy_joules_total", "cost_total", "spans_received_total", "peak_load_ratio", "finding")
    assert not any(re.fullmatch(kept["regex"], f"infermeter_{name}") for name in others)

"""The kustomize overlays, one a server: a manifest to begin with, Infermeter's configuration, and the sidecar. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deploy.src.servers import Served, tracing
from deploy.src.sidecar import PLACES
from deploy.src.written import Json, yaml_text

NOTES: Final = ("Generated from deploy/src/servers.py by `make stacks`: copy it, or change that.",)
MARK: Final = {"infermeter": "scrape"}
MODELS: Final = "/models"
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 -- of a pod, by its name

CONFIG: Final = """\
# {notes}
# What Infermeter is told; docs/configuration.md lists every key, and `infermeter check-config` says whether a file holds. A change reaches
# the container within a minute or so, and is taken over by POST /-/reload: prices and targets change without a restart of the server.
server:
  kind: {kind}
{name}{model}{sampled}{metrics}  gpus: auto                # or this server's own: [GPU-8f3c...]; docs/kubernetes.md

sla:                        # examples: yours
  default:
{targets}
# Without prices there is no cost. These are yours to fill in:
# cost:
#   currency: USD
#   as_of: 2026-11-01
#   source: list price, on demand
#   rent: {{per_hour: 3.43, per: gpu}}

web: {{lifecycle: true}}      # POST /-/reload; the NetworkPolicy leaves the port to the monitoring namespace
state_file: /var/lib/infermeter/state.json
log: {{format: json}}
"""


def files(served: Sequence[Served], sidecar: Json) -> Mapping[str, str]:
    """Text by path under deploy/kubernetes/overlays/."""
    return {f"{one.folder}/{name}": text for one in served for name, text in _overlay(one, sidecar).items()}


def config(one: Served) -> str:
    """Infermeter's configuration beside this server."""
    return CONFIG.format(
        notes=NOTES[0],
        kind=one.kind,
        name=_line(f"name: {one.name}", "the `server` label; replicas share it"),
        model="" if one.model is None else _line(f"model: {one.model}", "of spans that name none"),
        sampled="" if one.sampled is None else _line("sampled: false", "every inference leaves a span: the server is told to"),
        metrics="" if one.metrics_url is None else f'  metrics_url: "{one.metrics_url}"\n',
        targets="".join(f"    {key}: {value}\n" for key, value in one.targets.items()),
    )


def _line(setting: str, why: str) -> str:
    return f"  {setting:<25} # {why}\n"


def _overlay(one: Served, sidecar: Json) -> Mapping[str, str]:
    generated = [{"name": sidecar["volumes"][0]["configMap"]["name"], "files": ["config.yaml"]}]
    if one.files:
        generated.append({"name": _files_of(one), "files": sorted(one.files)})
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base", "server.yaml"],
        "components": ["../../components/sidecar"],
        "configMapGenerator": generated,
        "generatorOptions": {"disableNameSuffixHash": True},
    }
    no_suffix = "No suffix on the ConfigMap's name: a changed price mustn't start the inference server anew."
    return {
        "kustomization.yaml": yaml_text(kustomization, notes=(*NOTES, no_suffix)),
        "server.yaml": yaml_text(_server(one), notes=(*NOTES, *one.notes)),
        "config.yaml": config(one),
        **one.files,
    }


def _server(one: Served) -> Json:
    match one.form:
        case "Deployment":
            return _deployment(one)
        case "InferenceService":
            predictor = _pod(one, "kserve-container")
            return _object(one, {"predictor": {"minReplicas": 1, "maxReplicas": 1, "initContainers": [], **predictor}}, KSERVE)
        case "LLMInferenceService":
            spec = {
                "model": {"uri": "hf://example/llama-3-8b", "name": one.model},
                "replicas": 1,
                "router": {"gateway": {}, "route": {}, "scheduler": {}},
                "tracing": tracing(),
                "template": {
                    "automountServiceAccountToken": False,
                    "initContainers": [],
                    "containers": [{"name": "main", "resources": _resources()}],
                    "volumes": [],
                },
            }
            return _object(one, spec, None)


KSERVE: Final = {"serving.kserve.io/deploymentMode": "RawDeployment"}
"""Knative takes neither init containers nor a second port."""


def _object(one: Served, spec: Json, annotations: Json | None) -> Json:
    place = next(place for place in PLACES.values() if one.form in place.kinds)
    metadata: Json = {"name": one.name, "labels": {"app.kubernetes.io/name": one.name, **MARK}}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": place.api, "kind": one.form, "metadata": metadata, "spec": spec}


def _deployment(one: Served) -> Json:
    own = {"app.kubernetes.io/name": one.name}
    template = {
        "metadata": {"labels": own, "annotations": {"kubectl.kubernetes.io/default-container": one.folder}},
        "spec": _pod(one, one.folder),
    }
    return _object(one, {"replicas": 1, "selector": {"matchLabels": own}, "template": template}, None)


def _pod(one: Served, container: str) -> Json:
    volumes: list[Json] = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}, {"name": "models", "emptyDir": {}}]
    mounts: list[Json] = [{"name": "shm", "mountPath": SHARED_MEMORY}, {"name": "models", "mountPath": MODELS}]
    if one.files:
        volumes.append({"name": "service", "configMap": {"name": _files_of(one)}})
        mounts.append({"name": "service", "mountPath": one.mounted_at, "readOnly": True})
    probe = {"httpGet": {"path": one.ready, "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5}
    server: Json = {
        "name": container,
        "image": one.image,
        **({"command": list(one.command)} if one.command else {}),
        "args": list(one.args),
        "env": [{"name": name, "value": value} for name, value in one.env.items()],
        "ports": [{"name": "http", "containerPort": one.port, "protocol": "TCP"}],
        "startupProbe": {**probe, "failureThreshold": one.start_seconds // probe["periodSeconds"]},
        "livenessProbe": {**probe, "failureThreshold": 6},
        "readinessProbe": {**probe, "failureThreshold": 3},
        "resources": _resources(),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    if not one.env:
        del server["env"]
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [server],
        "volumes": volumes,
    }


def _resources() -> Json:
    return {"requests": {"cpu": "4", "memory": "32Gi"}, "limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}}


def _files_of(one: Served) -> str:
    return f"{one.name}-service"

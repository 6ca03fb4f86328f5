"""The kustomize components of the sidecar, made from deploy/kubernetes/sidecar.yaml. Pure.

Objects with the label `infermeter: scrape` are patched: Deployments and StatefulSets, and what KServe makes pods of. A strategic merge adds
the sidecar as the first init container; every other component is a JSON patch of that one, so that it fails where the sidecar isn't.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from deploy.src.written import Json, yaml_text

NOTES: Final = ("Generated from deploy/kubernetes/sidecar.yaml by `make stacks`: change that.",)
SELECTOR: Final = "infermeter=scrape"
POD_RESOURCES: Final = "/var/lib/kubelet/pod-resources"
DRAIN_SECONDS: Final = 20


class _Place(NamedTuple):
    """Where a kind of object keeps its pod: paths from its top. `merges`: kustomize knows how its lists are merged."""

    kinds: str
    api: str
    pod: tuple[str, ...]
    labels: tuple[str, ...]
    merges: bool = False


PLACES: Final = {
    "workload": _Place(
        "Deployment|StatefulSet", "apps/v1", ("spec", "template", "spec"), ("spec", "template", "metadata", "labels"), merges=True
    ),
    "inferenceservice": _Place("InferenceService", "serving.kserve.io/v1beta1", ("spec", "predictor"), ("spec", "predictor", "labels")),
    "llminferenceservice": _Place("LLMInferenceService", "serving.kserve.io/v1alpha2", ("spec", "template"), ("spec", "labels")),
}
"""Source of KServe's: pkg/apis/serving of kserve/kserve: PodSpec is inlined in a predictor, and is a workload's `template`."""


def files(sidecar: Json) -> Mapping[str, str]:
    """Text by path under deploy/kubernetes/."""
    patches = [{"target": _target(place), "path": f"{name}.yaml"} for name, place in PLACES.items()]
    patches += [
        {"target": _target(place), "patch": yaml_text(_added(place, sidecar), notes=())} for place in PLACES.values() if not place.merges
    ]
    return {
        **{f"components/sidecar/{name}.yaml": yaml_text(_merge(place, sidecar), notes=NOTES) for name, place in PLACES.items()},
        "components/sidecar/kustomization.yaml": _component(
            patches,
            "The sidecar as an init container that stays (native sidecar): it is there before the server, and ends after it.",
            "Kubernetes 1.29 and later; before, add ../classic after all other components. kustomize merges no lists in KServe's objects:",
            "there `initContainers` and `volumes` must be lists, empty if need be.",
        ),
        **{f"components/{name}/kustomization.yaml": _component(_patches(steps), *notes) for name, (steps, notes) in CHANGES.items()},
    }


def _merge(place: _Place, sidecar: Json) -> Json:
    """The label of the pod; where lists are merged by name, all of the sidecar."""
    patch: Json = {"apiVersion": place.api, "kind": place.kinds.partition("|")[0], "metadata": {"name": "any"}}
    _below(patch, place.labels).update(sidecar["labels"])
    if place.merges:
        _below(patch, place.pod).update({"initContainers": [_native(sidecar["container"])], "volumes": sidecar["volumes"]})
    return patch


def _below(patch: Json, path: Sequence[str]) -> Json:
    for key in path:
        patch = patch.setdefault(key, {})
    return patch


def _added(place: _Place, sidecar: Json) -> list[Json]:
    pod = _path(place)
    return [
        {"op": "add", "path": f"{pod}/initContainers/0", "value": _native(sidecar["container"])},
        *({"op": "add", "path": f"{pod}/volumes/-", "value": volume} for volume in sidecar["volumes"]),
    ]


def _native(container: Json) -> Json:
    return {"name": container["name"], "restartPolicy": "Always", **container}


_Steps = Sequence[tuple[str, str, Any]]
"""(operation, path below the pod, value); of a move the value is where it goes."""

_FIRST: Final = "initContainers/0"
CHANGES: Final[Mapping[str, tuple[_Steps, Sequence[str]]]] = {
    "classic": (
        [
            ("remove", f"{_FIRST}/restartPolicy", None),
            # Both containers are told to end at the same time: the meter waits for the server's last spans.
            (
                "add",
                f"{_FIRST}/lifecycle",
                {"preStop": {"exec": {"command": ["python3", "-c", f"import time; time.sleep({DRAIN_SECONDS})"]}}},
            ),
            ("move", _FIRST, "containers/-"),
        ],
        (
            "The sidecar as one container among others, where Kubernetes is older than 1.29: the last of all components.",
            "It may start after the server, whose first spans are then lost; at the end it waits 20 s for the last ones, so give the",
            "pod at least 30 s (terminationGracePeriodSeconds, the default).",
        ),
    ),
    "runtime-class": (
        [("add", "runtimeClassName", "nvidia")],
        (
            "GPUs for a container that requests none, where NVIDIA's runtime isn't the node's default one. NVIDIA_VISIBLE_DEVICES=all",
            "shows all of the node's: name the server's own in server.gpus, by UUID, or add ../pod-resources.",
        ),
    ),
    "pod-resources": (
        [
            ("replace", f"{_FIRST}/securityContext/runAsNonRoot", False),
            ("replace", f"{_FIRST}/securityContext/runAsUser", 0),
            ("replace", f"{_FIRST}/securityContext/runAsGroup", 0),
            (
                "add",
                f"{_FIRST}/volumeMounts/-",
                {"name": "infermeter-pod-resources", "mountPath": POD_RESOURCES, "readOnly": True},
            ),
            ("add", "volumes/-", {"name": "infermeter-pod-resources", "hostPath": {"path": POD_RESOURCES, "type": "Directory"}}),
        ],
        (
            "The kubelet tells which GPUs the pod was given. Its socket is root's: the sidecar is user 0 then, without any capability and",
            "with nothing writable but its state. A hostPath: the namespace's Pod Security level must be `privileged`.",
        ),
    ),
    "host-pid": (
        [("add", "hostPID", True)],
        (
            "The host's process ids, which NVML speaks of: for server.pid, and for `share: process` of GPUs that servers share. Every",
            "container of the pod then sees the host's processes, and the namespace's Pod Security level must be `privileged`.",
        ),
    ),
}


def _patches(steps: _Steps) -> list[Json]:
    return [{"target": _target(place), "patch": yaml_text(list(_operations(place, steps)), notes=())} for place in PLACES.values()]


def _operations(place: _Place, steps: _Steps) -> Iterator[Json]:
    pod = _path(place)
    yield {"op": "test", "path": f"{pod}/{_FIRST}/name", "value": "infermeter"}
    for op, path, value in steps:
        if op == "move":
            yield {"op": op, "from": f"{pod}/{path}", "path": f"{pod}/{value}"}
        elif op == "remove":
            yield {"op": op, "path": f"{pod}/{path}"}
        else:
            yield {"op": op, "path": f"{pod}/{path}", "value": value}


def _path(place: _Place) -> str:
    return "/" + "/".join(place.pod)


def _target(place: _Place) -> Json:
    return {"kind": place.kinds, "labelSelector": SELECTOR}


def _component(patches: Sequence[Json], *notes: str) -> str:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "patches": list(patches)}
    return yaml_text(kind, notes=(*notes, *NOTES))

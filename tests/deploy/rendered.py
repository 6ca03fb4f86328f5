"""Everything that is shipped for Kubernetes, as it comes out: the overlays as they are and with each option, and the chart with each set of
values that it is tried with."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.src.servers import SERVED
from helm_python.chart import Chart
from tests.deploy.kustomize import build, build_of, read, read_all

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "infermeter"
OVERLAYS = sorted(one.folder for one in SERVED)
OPTIONS = ("runtime-class", "pod-resources", "host-pid")

Json = dict[str, Any]


@functools.cache
def overlay(folder: str, *components: str) -> tuple[Json, ...]:
    """The objects of an overlay, with components on top of it, in their order."""
    above = {"resources": [f"overlays/{folder}"], "components": [f"components/{name}" for name in components]}
    return tuple(build_of(above, KUBERNETES))


@functools.cache
def chart() -> Chart:
    return Chart.load(CHART)


def values(name: str) -> Json:
    """One of the chart's sets of values, dates as Helm reads them: as text."""
    found: Json = json.loads(json.dumps(read((CHART / "ci" / f"{name}-values.yaml").read_text()), default=str))
    return found


VALUES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*.yaml"))


def release(given: Json, name: str = "chat", namespace: str = "ml") -> Mapping[str, str]:
    """Texts by template, as `helm template` makes them."""
    return {path.partition("/templates/")[2]: text for path, text in chart().render(values=given, name=name, namespace=namespace).items()}


def objects(texts: Mapping[str, str]) -> tuple[Json, ...]:
    found = (read_all(text) for path, text in texts.items() if path.endswith(".yaml"))
    return tuple(one for one in itertools.chain.from_iterable(found) if one)


@functools.cache
def released(name: str) -> tuple[Json, ...]:
    """The objects of the chart with one of its sets of values."""
    return objects(release(values(name)))


def everything() -> Iterator[tuple[str, Json]]:
    """(where it comes from, object): all that is shipped."""
    for folder in OVERLAYS:
        for components in ((), OPTIONS, (*OPTIONS, "classic"), ("classic",)):
            yield from ((f"{folder}+{'+'.join(components)}", one) for one in overlay(folder, *components))
    for name in ("node", "dcgm"):
        yield from ((name, one) for one in build(KUBERNETES / name))
    whole = build_of({"resources": ["node"], "components": ["components/whole-node"]}, KUBERNETES)
    yield from (("node+whole-node", one) for one in whole)
    monitored = build_of({"resources": ["."], "components": ["components/servicemonitor"]}, KUBERNETES)
    yield from (("monitoring+servicemonitor", one) for one in monitored)
    yield from (("monitoring", one) for one in build(KUBERNETES))
    yield from (("autoscaling", read((KUBERNETES / "autoscaling" / name).read_text())) for name in ("hpa.yaml", "keda.yaml"))
    for name in VALUES:
        yield from ((f"chart {name}", one) for one in released(name))


def pods(where: str, one: Json) -> Iterator[tuple[str, Json]]:
    """The pod of an object, if it makes one."""
    spec = one.get("spec", {})
    found = {
        "Pod": lambda: spec,
        "Deployment": lambda: spec["template"]["spec"],
        "DaemonSet": lambda: spec["template"]["spec"],
        "InferenceService": lambda: spec["predictor"],
        "LLMInferenceService": lambda: spec["template"],
    }.get(one["kind"])
    if found:
        yield f"{where}: {one['kind']} {one['metadata']['name']}", found()

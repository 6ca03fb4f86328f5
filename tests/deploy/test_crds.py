"""Custom resources by the validators of others, and our reading of kustomize against kubectl's (`make test-deploy`).

For KServe's objects there is none: these are held against published fields, in test_overlays.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.deploy.kustomize import build, read_all
from tests.deploy.rendered import KUBERNETES, OPTIONS, OVERLAYS, ROOT, Json, everything, overlay

from support.node import installed

HERE = Path(__file__).parent
NODE = ROOT / ".cache" / "deploy"
"""Where the validators are installed, and kept between runs."""

pytestmark = pytest.mark.deploy


@pytest.fixture(scope="module")
def node() -> Path:
    """A folder with the validators in node_modules, as package-lock.json pins them."""
    installed(HERE, NODE)
    shutil.copy(HERE / "crds.mjs", NODE / "crds.mjs")
    return NODE


def ran(*command: str | Path, cwd: Path, given: str = "") -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, input=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def told_of(node: Path, found: list[tuple[str, Json]]) -> str:
    return ran("node", "crds.mjs", cwd=node, given=json.dumps(found))


def test_every_object_of_prometheus_operator_and_of_keda_validates(node: Path) -> None:
    found = [(where, one) for where, one in everything() if one["apiVersion"] in {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}]
    assert {one["kind"] for _, one in found} == {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject"}
    assert told_of(node, found) == ""


@pytest.mark.parametrize(
    ("kind", "spec", "problem"),
    [
        ("PodMonitor", {"podMetricsEndpoints": []}, "selector"),
        ("PodMonitor", {"selector": {}, "podMetricsEndpoints": [{"port": "infermeter", "interval": "15"}]}, "interval"),
        ("ScaledObject", {"triggers": []}, "scaleTargetRef"),
        ("PrometheusRule", {"groups": [{"name": "a", "rules": [{"record": "b"}]}]}, "expr"),
    ],
)
def test_what_is_wrong_in_such_an_object_is_found(kind: str, spec: Json, problem: str, node: Path) -> None:
    wrong = {
        "apiVersion": "keda.sh/v1alpha1" if kind == "ScaledObject" else "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": {"name": "wrong"},
        "spec": spec,
    }
    assert problem in told_of(node, [("here", wrong)])


def by_name(found: list[Json]) -> dict[tuple[str, str], Json]:
    return {(one["kind"], one["metadata"]["name"]): without_order(one) for one in found}


def without_order(one: Json) -> Json:
    """kustomize orders merged lists in its own way where the order means nothing: volumes and their mounts."""

    def key(entry: object) -> str:
        return json.dumps(entry, sort_keys=True)

    found: Json = json.loads(json.dumps(one), object_hook=lambda inner: {
        name: sorted(value, key=key) if name in {"volumes", "volumeMounts", "env"} else value for name, value in inner.items()
    })  # fmt: skip
    return found


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl isn't in Debian: our own reading stands alone here")
@pytest.mark.parametrize("components", [(), ("classic",), (*OPTIONS, "classic")], ids="+".join)
@pytest.mark.parametrize("folder", OVERLAYS)
def test_kubectls_kustomize_builds_of_an_overlay_what_our_reading_does(folder: str, components: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    above = {"resources": [f"kubernetes/overlays/{folder}"], "components": [f"kubernetes/components/{name}" for name in components]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(above))
    built = list(read_all(ran("kubectl", "kustomize", tmp_path, cwd=tmp_path)))
    assert by_name(built) == by_name(list(overlay(folder, *components)))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl isn't in Debian: our own reading stands alone here")
@pytest.mark.parametrize("folder", [".", "node", "dcgm"])
def test_kubectls_kustomize_builds_of_the_rest_what_our_reading_does(folder: str) -> None:
    built = list(read_all(ran("kubectl", "kustomize", KUBERNETES / folder, cwd=KUBERNETES)))
    ours = by_name(build(KUBERNETES / folder))
    generated = {name: name.rpartition("-")[0] for kind, name in by_name(built) if kind == "ConfigMap" and (kind, name) not in ours}
    text = json.dumps(built)
    for name, plain in generated.items():  # with the suffix of their content
        text = text.replace(f'"{name}"', f'"{plain}"')
    assert by_name(json.loads(text)) == ours

"""What docs/kubernetes.md shows: its configurations, kustomizations and values hold, and its table is that of the overlays."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from deploy.src.servers import SERVED
from tests.deploy.kustomize import build_of
from tests.deploy.rendered import ROOT, Json, release

from infermeter.cli import main

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCKS = [
    (found[2], textwrap.dedent(found[0])) for found in re.finditer(r"^ *```yaml\n( *)# (\S+)\n.*?```$", PAGE, re.MULTILINE | re.DOTALL)
]
SHOWN = [(name, text.strip().removeprefix("```yaml").removesuffix("```")) for name, text in BLOCKS]


def shown(name: str) -> list[str]:
    found = [text for told, text in SHOWN if told == name]
    assert found
    return found


def test_each_block_is_of_a_kind_that_is_tried_here() -> None:
    assert {name for name, _ in SHOWN} == {"kustomization.yaml", "config.yaml", "values.yaml"}
    assert len(SHOWN) == PAGE.count("```yaml")


@pytest.mark.parametrize("text", shown("config.yaml"))
def test_check_config_takes_what_is_shown(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert main(["check-config", str(tmp_path / "config.yaml")]) == 0


@pytest.mark.parametrize("text", shown("kustomization.yaml"))
def test_the_kustomizations_that_are_shown_put_the_sidecar_into_a_pod(text: str, tmp_path: Path) -> None:
    for name in ("deploy", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "config.yaml").write_text("{}\n")
    own: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "own", "labels": {"infermeter": "scrape"}}}
    own["spec"] = {"template": {"metadata": {"labels": {"app": "own"}}, "spec": {"containers": [{"name": "own", "image": "own:1"}]}}}
    (tmp_path / "your-deployment.yaml").write_text(yaml.safe_dump(own))
    (deployment,) = (one for one in build_of(yaml.safe_load(text), tmp_path) if one["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["initContainers"][0]["name"] == "infermeter"
    assert deployment["spec"]["template"]["metadata"]["labels"]["infermeter"] == "scrape"


@pytest.mark.parametrize("text", shown("values.yaml"))
def test_the_chart_takes_the_values_that_are_shown(text: str) -> None:
    assert release({**yaml.safe_load(text)})


def test_the_table_names_every_overlay_with_the_port_of_its_metrics() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert rows.keys() == {one.folder for one in SERVED}
    for one in SERVED:
        if one.metrics_url is not None:
            assert rows[one.folder] == f"port {one.metrics_url.rpartition(':')[2].partition('/')[0]}"

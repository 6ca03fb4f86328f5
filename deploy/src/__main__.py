"""`python -m deploy.src` writes what is generated under deploy/; `--check` only tells what differs, and fails if anything does."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from deploy.src import chart, overlays, sidecar, stacks
from deploy.src.servers import SERVED
from deploy.src.written import Json

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
GENERATED = (
    "kubernetes/rules/*.yaml",
    "kubernetes/dashboards/*.yaml",
    "kubernetes/kustomization.yaml",
    "kubernetes/components/sidecar/*.yaml",
    *(f"kubernetes/components/{name}/kustomization.yaml" for name in sidecar.CHANGES),
    "kubernetes/overlays/**/*.*",
    "mimir/rules.yaml",
    "victoriametrics/rules/*.yaml",
    "helm/infermeter/files/*/*",
    "helm/infermeter/values.schema.json",
    "helm/infermeter/README.md",
)


def generated() -> Mapping[str, str]:
    """What there should be, by path under deploy/."""
    rules = {path.stem: _yaml(path) for path in sorted((ROOT / "alerts" / "rules").glob("*.yaml"))}
    pages = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "dashboards").glob("*.json"))}
    fragment = _yaml(DEPLOY / "kubernetes" / "sidecar.yaml")
    defaults = _yaml(DEPLOY / "helm" / "infermeter" / "values.yaml")
    return {
        **stacks.files(rules, pages),
        **_below("kubernetes", sidecar.files(fragment)),
        **_below("kubernetes/overlays", overlays.files(SERVED, fragment)),
        **_below("helm/infermeter", chart.files(rules, pages, defaults)),
    }


def _yaml(path: Path) -> Json:
    read: Json = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return read


def _below(folder: str, made: Mapping[str, str]) -> Mapping[str, str]:
    return {f"{folder}/{path}": text for path, text in made.items()}


def committed() -> Mapping[str, str]:
    """What there is."""
    return {str(path.relative_to(DEPLOY)): path.read_text(encoding="utf-8") for pattern in GENERATED for path in DEPLOY.glob(pattern)}


def write() -> None:
    """Writes every file anew, and removes those that nothing makes any longer."""
    wanted = generated()
    for path in committed().keys() - wanted.keys():
        (DEPLOY / path).unlink()
    for path, text in wanted.items():
        (DEPLOY / path).parent.mkdir(parents=True, exist_ok=True)
        (DEPLOY / path).write_text(text, encoding="utf-8")


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """The lines of a unified diff, those of dashboards cut."""
    for path in sorted({*wanted, *found}):
        old, new = found.get(path, "").splitlines(), wanted.get(path, "").splitlines()
        yield from (line[:200] for line in difflib.unified_diff(old, new, f"deploy/{path}", "generated", n=0, lineterm=""))


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        told = list(differences(generated(), committed()))
        sys.stdout.writelines(f"{line}\n" for line in told)
        sys.exit("deploy/ is out of date: make stacks" if told else 0)
    write()

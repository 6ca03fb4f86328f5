"""`python -m deploy.src` writes what is generated under deploy/; `--check` only tells what differs, and fails if anything does."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from deploy.src import stacks

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
GENERATED = ("kubernetes/rules/*.yaml", "kubernetes/dashboards/*.yaml", "kubernetes/kustomization.yaml", "mimir/rules.yaml")


def generated() -> Mapping[str, str]:
    """What there should be, by path under deploy/."""
    rules = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "alerts" / "rules").glob("*.yaml"))}
    pages = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "dashboards").glob("*.json"))}
    return stacks.files(rules, pages)


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

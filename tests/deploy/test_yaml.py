"""Every YAML file under deploy/, by yamllint."""

from __future__ import annotations

from pathlib import Path

import pytest
from yamllint import linter
from yamllint.config import YamlLintConfig

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CONFIG = YamlLintConfig(file=str(DEPLOY / ".yamllint.yaml"))


def linted() -> list[Path]:
    found = (path for path in DEPLOY.rglob("*") if path.suffix in {".yaml", ".yml"})
    return sorted(path for path in found if not CONFIG.is_file_ignored(str(path.relative_to(DEPLOY))))


def problems(text: str) -> list[str]:
    return [str(problem) for problem in linter.run(text, CONFIG)]


def test_every_file_is_clean() -> None:
    paths = linted()
    assert len(paths) > 60
    told = {str(path.relative_to(DEPLOY)): problems(path.read_text()) for path in paths}
    assert {path: said for path, said in told.items() if said} == {}


@pytest.mark.parametrize("wrong", ["a: 1\na: 2\n", "a: yes\n", "a: { b: 1 }\n", "a:\n   b: 1\n", "a: 1", "a: 1 \n"])
def test_what_is_wrong_is_found(wrong: str) -> None:
    assert problems(wrong)

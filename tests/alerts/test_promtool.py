"""The rules by promtool: its lints, and every case of every alert with exactly the alerts that fire."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.alerts.scenarios import ROOT, RULES, Case, cases, promtool_tests

CASES = cases()


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_hold_against_every_lint_of_promtool() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_promtool_takes_the_example_of_prometheus_with_every_rule() -> None:
    said = promtool("check", "config", ROOT / "deploy" / "prometheus.yml")
    assert [path.name for path in RULES if path.name not in said] == []


@pytest.mark.parametrize("evaluate", ["5m", "30m"])
def test_each_case_fires_exactly_what_it_says(evaluate: str, tmp_path: Path) -> None:
    chosen: list[Case] = [case for case in CASES if case.evaluate == evaluate]
    tests = tmp_path / "tests.yaml"
    tests.write_text(promtool_tests(chosen, evaluate=evaluate))
    promtool("test", "rules", tests)

"""What a real server showed, as a mapping's `runs` and the reference of servers say it, is what can be shown again."""

from __future__ import annotations

from pathlib import Path

import pytest

from infermeter.mapping import shipped_mappings
from infermeter.mapping.reference import servers_markdown
from infermeter.mapping.rules import Run

TESTS = Path(__file__).parents[1]
RUNS = [(server, run) for server, mapping in shipped_mappings().items() for run in mapping.runs]


def test_the_reference_tells_what_real_runs_showed() -> None:
    told = [line for line in servers_markdown().splitlines() if line.startswith("- run for real: ")]
    assert told == [f"- run for real: {run.version}: {run.shows}" for _, run in RUNS]
    assert {server for server, _ in RUNS} >= {"triton", "vllm"}


@pytest.mark.parametrize(("server", "run"), RUNS, ids=[server for server, _ in RUNS])
def test_a_run_is_of_a_version_that_an_end_to_end_test_runs(server: str, run: Run) -> None:
    version, name = run.version.split()[0], server.split("_", maxsplit=1)[0]
    texts = [path.read_text("utf-8") for path in (TESTS / "e2e").glob("*.py")]
    assert any(version in text and name in text.lower() for text in texts), "pin the version in tests/e2e"


@pytest.mark.parametrize("server", shipped_mappings())
def test_nothing_is_called_measured_of_a_server_that_nobody_ran(server: str) -> None:
    mapping = shipped_mappings()[server]
    ran = "captured" in mapping.origins or mapping.runs or (mapping.metrics and mapping.metrics.origin == "captured")
    told = " ".join((mapping.title, mapping.versions, *mapping.tracing.values(), *mapping.not_told))
    assert ran or "measured" not in told

"""A quickstart is made from the server's mapping, switches on what that says, and its script is seen by the sidecar."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

import pytest
from docs.src import quickstarts
from docs.src.__main__ import committed, differences
from tests.docs.pages import ROOT, blocks

from infermeter.mapping.shipped import shipped_mappings
from infermeter.parsing.structure import load_config
from support.reports import SIDECAR, told, values
from support.running import Clock, running

PAGES = quickstarts.PAGES
SWITCH = re.compile(r"--[\w-]*(?:trace|otlp)[\w-]*|\b[A-Z_]*(?:OTEL|TRAC)[A-Z_]*(?==)|trace-config")


def page(title: str) -> Path:
    return ROOT / "docs" / "quickstart" / f"{title}.md"


def test_the_generated_pages_are_up_to_date() -> None:
    found = {path: text for path, text in committed().items() if path.startswith("quickstart/")}
    assert list(differences(quickstarts.pages(), found)) == [], "make docs"


def test_a_page_that_nothing_makes_is_told() -> None:
    assert list(differences({"a.md": "one\n"}, {"a.md": "two\n", "b.md": "left\n"})) == [
        "--- docs/a.md", "+++ generated", "@@ -1 +1 @@", "-two", "+one",
        "--- docs/b.md", "+++ generated", "@@ -1 +0,0 @@", "-left",
    ]  # fmt: skip


@pytest.mark.parametrize("title", PAGES)
def test_what_is_switched_on_is_what_the_mapping_says(title: str) -> None:
    typed = "\n".join(text for block in PAGES[title]["start"] for kind, text in block.items() if kind != "says")
    known = shipped_mappings()[PAGES[title]["mapping"]].tracing["enable"]
    assert [switch for switch in SWITCH.findall(typed) if switch not in known] == []
    assert [switch for switch in re.findall(r"--[\w-]*(?:otlp|enable-trace)[\w-]*", known) if title == "vllm" and switch not in typed] == []


@pytest.mark.parametrize("title", PAGES)
def test_its_configuration_names_the_server_and_what_it_costs(title: str) -> None:
    (text,) = [block for block in blocks(page(title), "yaml") if block.startswith("server:")]
    config = load_config(text, title)
    assert config.server.kind in {"auto", PAGES[title]["mapping"]}
    assert config.sla.default.quantile == 0.99
    assert config.cost.rent.per_hour


@pytest.mark.parametrize("title", PAGES)
def test_it_says_what_is_seen_what_is_not_and_what_was_run(title: str) -> None:
    said = page(title).read_text()
    assert re.findall(r"^## (.+)$", said, re.MULTILINE)[:3] == ["1. The server", "2. Infermeter", "3. What you then see"]
    mapping = shipped_mappings()[PAGES[title]["mapping"]]
    assert [fact for fact in mapping.not_told if fact not in said] == []
    assert "## What was really run\n\n- " in said
    if not mapping.runs:
        assert "nothing by us" in said


def test_the_script_for_a_server_of_ones_own_is_seen_by_the_sidecar(tmp_path: Path) -> None:
    (script,) = [text for text in blocks(page("python"), "python") if text.startswith("# digits.py")]

    async def scenario() -> list[float]:
        clock = Clock(time.time_ns())
        async with running(SIDECAR, clock) as sidecar:
            (tmp_path / "digits.py").write_text(script.replace("127.0.0.1:4318", sidecar.addresses["otlp_http"]))
            process = await asyncio.create_subprocess_exec(sys.executable, str(tmp_path / "digits.py"))
            assert await process.wait() == 0
            report = await told(sidecar, clock, 3)
            return values(report, "inferences_observed_total", model="digits", outcome="ok")

    assert asyncio.run(scenario()) == [3]

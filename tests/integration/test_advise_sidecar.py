"""`infermeter advise` beside a running sidecar, and on what `replay` says of recorded spans."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from infermeter import cli
from support.patience import SOON_SECONDS
from support.running import Clock, running

CAPTURES = Path(__file__).parents[1] / "captures"
CONFIG = """\
server: {name: chat, kind: infermeter, precision: bf16}
cost: {currency: USD, as_of: 2026-07-20, source: list price, rent: {per_hour: 3.4}}
gpu: {source: simulated, interval: 1s}
"""


def test_the_running_sidecar_is_asked_over_its_own_address(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(ask_one_that_runs(capsys))


async def ask_one_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(time.time_ns())
    async with running(CONFIG, clock) as sidecar, asyncio.timeout(SOON_SECONDS):
        web = f"http://{sidecar.addresses['web']}"
        document = await told(capsys, web)
        while document["evidence"] is None:  # until the first reading of the GPU
            clock.turn(0.1)
            document = await told(capsys, web)
        assert document["server"] == "chat"
        assert document["source"]["where"] == f"{web}/api/v1/report"
        assert document["evidence"]["cost_per_hour"] == {"instance": 3.4}
        assert "no peak load" in {gap["missing"] for gap in document["missing"]}
        assert await asyncio.to_thread(cli.main, ["advise", "--url", web, "--what-if", "gpu=zzz"]) == 2
        assert "isn't in the catalogue" in capsys.readouterr().err


async def told(capsys: pytest.CaptureFixture[str], web: str) -> dict[str, Any]:
    code = await asyncio.to_thread(cli.main, ["advise", "--url", web, "--format", "json"])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    document: dict[str, Any] = json.loads(printed.out)
    return document


@pytest.mark.parametrize("spans", ["triton", "vllm/http", "bentoml"])
def test_recorded_spans_without_power_give_findings_and_say_what_is_missing(
    spans: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", "--spans", str(CAPTURES / spans), "--format", "json"]) == 0
    report = tmp_path / "report.json"
    report.write_text(capsys.readouterr().out)
    assert cli.main(["advise", "--report", str(report)]) == 0
    text = capsys.readouterr().out
    assert "warning: price_missing" in text
    assert "Nothing can be said of other hardware yet:" in text
    assert "no GPU was seen: let the GPUs be read" in text
    assert "at least" not in text
    assert max(map(len, text.splitlines())) <= 100

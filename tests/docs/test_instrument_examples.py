"""The servers of docs/instrument.md run, and the sidecar sees where their time goes."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infermeter import instrument
from infermeter.cli import COMMANDS
from infermeter.commands import proxy
from support.reports import SIDECAR, sums, told, values
from support.running import Clock, running

PAGE = (Path(__file__).parents[2] / "docs" / "instrument.md").read_text()
EXAMPLES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

REQUESTS = 12


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def serving(command: list[str], folder: Path, otlp: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"OTLP_URL": otlp, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def asked(command: list[str], folder: Path, port: int) -> dict[str, Any]:
    """The sidecar's report after REQUESTS good requests at once, and a bad one."""
    clock = Clock(time.time_ns())
    async with running(SIDECAR, clock) as sidecar, aiohttp.ClientSession() as http:
        with serving(command, folder, f"http://{sidecar.addresses['otlp_http']}") as process:
            url = f"http://127.0.0.1:{port}"
            async with asyncio.timeout(120):
                while True:
                    assert process.poll() is None, "it has ended, and not because we asked"
                    with suppress(aiohttp.ClientError):
                        async with http.get(f"{url}/health"):
                            break
                    await asyncio.sleep(0.05)

            async def one(body: dict[str, Any]) -> int:
                async with http.post(f"{url}/predict", json=body) as response:
                    await response.read()
                    return response.status

            assert await asyncio.gather(*(one({"pixels": [0.5] * 784}) for _ in range(REQUESTS))) == [200] * REQUESTS
            assert await one({"nonsense": 1}) >= 400
            process.send_signal(signal.SIGINT)
            await asyncio.to_thread(process.wait, 20)
            return await told(sidecar, clock, REQUESTS + 1)


@pytest.mark.parametrize(
    ("name", "command", "stages"),
    [
        ("fastapi_server", ["uvicorn", "fastapi_server:app", "--port"], {"queue", "compute", "transfer", "serialisation", "other"}),
        ("flask_server", ["flask", "--app", "flask_server", "run", "--port"], {"compute", "serialisation", "other"}),
    ],
)
def test_the_example_runs_and_is_seen_whole(name: str, command: list[str], stages: set[str], tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text(EXAMPLES[name])
    port = free_port()
    report = asyncio.run(asked([sys.executable, "-m", *command, str(port)], tmp_path, port))
    assert values(report, "inferences_observed_total", model="digits", outcome="ok") == [REQUESTS]
    assert values(report, "inferences_observed_total", model="digits", outcome="error") == [1]
    seconds = sums(report, "stage_duration_seconds", "stage")
    assert set(seconds) == stages
    (duration,) = report["inference_duration_seconds"]
    assert sum(seconds.values()) == pytest.approx(duration["sum"], rel=1e-6)
    assert seconds["compute"] > seconds.get("transfer", 0) + seconds["serialisation"], (
        "what waits for a processor is other, without a bound"
    )
    assert {"decode", "encode"} <= {row["labels"]["part"] for row in report["stage_part_seconds_total"]}


def test_every_public_name_is_on_the_page() -> None:
    named = {"SCOPE", "STAGES", "Stage", "StageInterval", "Inference", "Waiting"}  # types and constants behind the others
    assert {name for name in instrument.__all__ if name not in named and name not in PAGE} == set()


def test_every_option_of_the_proxy_that_is_named_is_there() -> None:
    parser = argparse.ArgumentParser()
    proxy.add_arguments(parser)
    section = PAGE.partition("## The proxy")[2]
    assert "proxy" in COMMANDS
    for option in re.findall(r"--[a-z-]+", section):
        assert option in parser.format_help()

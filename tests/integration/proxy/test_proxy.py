"""`infermeter proxy` as a process of its own, between real clients and a real server, before a running sidecar."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infermeter.cli import main
from support.proxied import listening
from support.reports import SIDECAR, told, values
from support.running import Clock, running


@contextmanager
def proxy(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A proxy that listens, and its URL; it is gone in the end."""
    command = [sys.executable, "-m", "infermeter", "proxy", "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "listening: proxy on " in line, line + process.stderr.read()
            yield process, "http://" + line.partition("proxy on ")[2].partition(",")[0]
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """After SIGTERM: the exit status, and what it said last."""
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    said = process.stderr.read().splitlines()
    return process.wait(20), [line.partition(": ")[2] for line in said]


class Measured:
    """A server that notes what it did itself: how many it served, how long it took to answer each."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.traces: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.traces.append(request.headers["traceparent"])
        await request.content.read()
        begin = time.perf_counter()
        await asyncio.sleep(0.02)
        response = web.StreamResponse(status=500 if request.path == "/fail" else 200)
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"data: token\n\n")
            await asyncio.sleep(0.01)
        await response.write_eof()
        self.seconds.append(time.perf_counter() - begin)
        return response


def test_counts_and_stages_agree_with_what_the_server_measured() -> None:
    async def scenario() -> tuple[dict[str, Any], Measured, list[str]]:
        measured = Measured()
        clock = Clock(time.time_ns())
        async with running(SIDECAR, clock) as sidecar, listening(measured.answer) as port:
            options = ("--upstream", f"http://127.0.0.1:{port}", "--endpoint", f"http://{sidecar.addresses['otlp_http']}")
            with proxy(*options, "--model", "tiny", "--in-flight", "2") as (process, url):
                async with aiohttp.ClientSession() as http:

                    async def one(path: str, method: str = "POST") -> None:
                        async with http.request(method, url + path, data=b"x" * 10_000) as response:
                            assert await response.read() == b"data: token\n\n" * 3

                    await asyncio.gather(*(one("/predict") for _ in range(10)), one("/fail"))
                status, said = await asyncio.to_thread(ended, process)
                assert status == 0
            return await told(sidecar, clock, 11), measured, said

    report, measured, said = asyncio.run(scenario())
    assert values(report, "inferences_observed_total", model="tiny", outcome="ok") == [10]
    assert values(report, "inferences_observed_total", model="tiny", outcome="error") == [1]
    assert len({trace.split("-")[1] for trace in measured.traces}) == len(measured.seconds) == 11
    stages = {row["labels"]["stage"]: row for row in report["stage_duration_seconds"]}
    (duration,) = report["inference_duration_seconds"]
    assert set(stages) == {"queue", "compute", "serialisation", "other"}
    assert sum(stage["sum"] for stage in stages.values()) == pytest.approx(duration["sum"], rel=1e-6)
    computed = sum(measured.seconds) * 10 / 11
    assert stages["compute"]["sum"] == pytest.approx(computed, rel=0.35)
    assert stages["compute"]["sum"] > 10 * 0.045  # it slept for 50 ms each time
    assert stages["queue"]["sum"] > 0.05 * (2 + 4 + 6 + 8) * 0.8  # two at a time, eleven of them
    assert stages["other"]["sum"] < 0.01 * duration["sum"]
    (first,) = report["time_to_first_token_seconds"]
    assert first["count"] == 10
    assert {row["labels"]["part"] for row in report["stage_part_seconds_total"]} == {"net_in", "net_out"}
    assert said[-2] == "stopping: requests under way may end"
    assert re.fullmatch(r"stopped: 11 inferences, 1 failed; (\d\d) of \1 spans delivered", said[-1])


def test_it_serves_without_anybody_who_takes_its_spans() -> None:
    async def scenario() -> tuple[int, list[str]]:
        async def answer(_: web.BaseRequest) -> web.Response:
            return web.Response(text="ok")

        async with listening(answer) as port:
            with proxy("--upstream", f"http://127.0.0.1:{port}", "--endpoint", "http://127.0.0.1:1") as (process, url):
                async with aiohttp.ClientSession() as http, http.post(url) as response:
                    assert await response.text() == "ok"
                return await asyncio.to_thread(ended, process)

    status, said = asyncio.run(scenario())
    assert status == 0
    assert said[-1] == "stopped: 1 inferences, 0 failed; 0 of 3 spans delivered"
    assert all("opentelemetry" not in line for line in said)


def test_what_is_missing_or_wrong_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "infermeter.yaml"
    file.write_text("proxy: {listen: '127.0.0.1:0'}\nlog: {level: error}\n")
    assert main(["proxy", "--config", str(file), "--in-flight", "0", "--path", "x", "--model", "m\udcff"]) == 2
    assert [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "proxy.paths[0]",
        "proxy.model",
        "proxy.upstream",
        "proxy.in_flight",
    ]


def test_a_certificate_that_can_t_be_read_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere")
    assert main(["proxy", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "OTEL_EXPORTER_OTLP_*CERTIFICATE: can't be read: No such file or directory"


def test_a_taken_address_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "infermeter", "proxy", "--upstream", "http://127.0.0.1:1", "--listen", address]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"proxy.listen: {address}: ")

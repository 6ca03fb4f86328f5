"""However it is told to end, and whatever hangs, it ends with 0, and soon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.preloading import HANGING_DISK, preloaded
from faults.serving import CONFIG, END_SECONDS, LISTEN, SOON, export, serving

HANGING = """
server: {{name: test, metrics_url: "http://{peer}/metrics"}}
gpu: {{source: dcgm, url: "http://{peer}/metrics", timeout: 60s}}
cost: {{currency: EUR, as_of: 2026-11-01, source: test, opencost: {{prometheus_url: "http://{peer}"}}}}
forward: {{endpoint: "http://{peer}", timeout: 60s}}
state_file: {state}
"""


def test_it_ends_in_time_while_disk_devices_server_prices_collector_and_clients_hang(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as connections:  # takes connections, and says nothing
        peer = f"127.0.0.1:{silent.getsockname()[1]}"
        config = LISTEN + HANGING.format(peer=peer, state=tmp_path / "state.json")
        with serving(tmp_path, config, environment=preloaded(tmp_path, HANGING_DISK)) as sidecar:
            for key, begun in {
                "web": b"GET /api/v1/report/events HTTP/1.1\r\nHost: x\r\n\r\n",
                "otlp_http": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
                "otlp_grpc": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            }.items():
                connections.enter_context(sidecar.connect(key)).sendall(begun)
            assert sidecar.send(export(1))[0] == 200
            sidecar.until(lambda: sidecar.value("inferences_observed_total", model="m", outcome="ok") == 1)
            code, seconds = sidecar.stopped()
    assert code == 0
    assert seconds < END_SECONDS
    assert any("isn't saved within" in line for line in sidecar.lines)
    assert "stopped: 1 spans received, 1 inferences observed, 0 spans dropped, 0 unmapped" in sidecar.lines[-1]


def test_a_second_signal_cuts_the_waiting_short_and_what_was_accepted_still_counts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = f'{CONFIG}forward: {{endpoint: "http://127.0.0.1:{silent.getsockname()[1]}"}}\n'
        with serving(tmp_path, config) as sidecar:
            assert sidecar.send(export(1))[0] == 200
            with silent.accept()[0]:  # its export is on its way, and won't arrive
                sidecar.process.send_signal(signal.SIGTERM)
                sidecar.process.send_signal(signal.SIGHUP)
                code, seconds = sidecar.stopped(signal.SIGINT)
    assert (code, seconds < END_SECONDS) == (0, True), seconds
    assert "stopped: 1 spans received, 1 inferences observed" in sidecar.lines[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_while_it_still_starts_it_ends_with_0(number: signal.Signals, tmp_path: Path) -> None:
    config = tmp_path / "infermeter.yaml"
    os.mkfifo(config)  # which is read after everything was imported, and of which nothing comes
    with subprocess.Popen([sys.executable, "-m", "infermeter", "serve", "--config", str(config)], stderr=subprocess.PIPE) as process:
        try:
            with config.open("wb"):
                process.send_signal(signal.SIGHUP)
                process.send_signal(number)
                assert process.wait(SOON) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()


STUCK = """
import asyncio, sys, time
from infermeter.commands.ending import Ending

async def stuck():
    ending = Ending(asyncio.get_running_loop(), end_seconds=0.2)
    ending.listen(hang_up=lambda: None)
    print("listening", flush=True)
    time.sleep(60)

asyncio.run(stuck())
"""


def test_a_loop_that_no_longer_turns_does_not_keep_it_from_ending() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(SOON) == 0
        finally:
            process.kill()

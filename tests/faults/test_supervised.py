"""What systemd hears of the real process; a socket of the test is in its place."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from faults.serving import CONFIG, SOON, export, serving


def heard(end: socket.socket, *wanted: str) -> list[str]:
    """All that is told, up to the message that holds these lines."""
    lines: list[str] = []
    while True:
        message = end.recv(4096).decode().split("\n")
        lines += message
        if set(wanted) <= set(message):
            return lines


def test_a_supervisor_hears_of_start_spans_reload_and_end_and_that_the_loop_turns(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(address))
        end.settimeout(SOON)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
        with serving(tmp_path, CONFIG, environment=environment) as sidecar:
            assert heard(end, "READY=1") == ["READY=1", "STATUS=ready, without a GPU: gpu.source is none, no spans yet"]
            heard(end, "WATCHDOG=1")
            heard(end, "WATCHDOG=1")
            assert sidecar.send(export(1))[0] == 200
            heard(end, "STATUS=ready, without a GPU: gpu.source is none")
            sidecar.process.send_signal(signal.SIGHUP)
            assert "RELOADING=1" in heard(end, "READY=1", "STATUS=ready, without a GPU: gpu.source is none")
            code, _ = sidecar.stopped()
            heard(end, "STOPPING=1", "STATUS=stopping")
    assert code == 0


def test_a_process_that_stands_still_feeds_no_watchdog_and_goes_on_when_it_is_let(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(address))
        end.settimeout(SOON)
        with serving(tmp_path, CONFIG, environment={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}) as sidecar:
            heard(end, "WATCHDOG=1")
            sidecar.process.send_signal(signal.SIGSTOP)
            end.settimeout(1.0)
            try:
                while True:
                    heard(end, "WATCHDOG=1")
            except TimeoutError:
                pass  # nothing for ten times as long as between two beats
            end.settimeout(SOON)
            sidecar.process.send_signal(signal.SIGCONT)
            heard(end, "WATCHDOG=1")
            assert sidecar.text("/-/healthy") == "healthy\n"

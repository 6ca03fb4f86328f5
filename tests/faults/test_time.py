"""Clocks that are set, and a process that stands still: what was counted stays, and it goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from faults.preloading import STEPPED_CLOCK, preloaded
from faults.serving import CONFIG, SOON, Sidecar, export, serving

pytestmark = pytest.mark.faults

HOUR = 3600
PRICED = CONFIG.replace("gpu:", "cost: {currency: EUR, as_of: 2026-11-01, source: test, rent: {per_hour: 3600, per: instance}}\ngpu:")
"""A euro a second."""


def counted(sidecar: Sidecar) -> float:
    return sidecar.value("inferences_observed_total", model="m", outcome="ok") or 0


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forth", "back"])
def test_a_clock_that_is_set_by_an_hour_takes_nothing_back_and_costs_nothing(step: int, tmp_path: Path) -> None:
    steps = tmp_path / "step"
    environment = {**preloaded(tmp_path, STEPPED_CLOCK), "STEP_FILE": str(steps)}
    began = time.monotonic()
    with serving(tmp_path, PRICED, environment=environment) as sidecar:
        for sent, offset in enumerate((0, step, 0), start=1):
            steps.write_text(str(offset))
            assert sidecar.send(export(sent, now_ns=time.time_ns() + offset * 10**9))[0] == 200
            sidecar.until(lambda sent=sent: counted(sidecar) == sent)  # type: ignore[misc]  # bound in the loop
        cost = sidecar.value("cost_total", component="instance") or 0
        assert 0 < cost < time.monotonic() - began
        assert sidecar.value("spans_dropped_total") in (None, 0)
        assert sidecar.stopped()[0] == 0


def test_a_process_that_stood_still_counts_what_came_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path) as sidecar:
        assert sidecar.send(export(1))[0] == 200
        sidecar.process.send_signal(signal.SIGSTOP)
        body = export(2)
        with sidecar.connect("otlp_http") as connection:
            head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.settimeout(3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            sidecar.process.send_signal(signal.SIGCONT)
            connection.settimeout(SOON)
            assert connection.recv(12) == b"HTTP/1.1 200"
        sidecar.until(lambda: counted(sidecar) == 2)
        assert sidecar.text("/-/ready").startswith("ready")
        assert sidecar.stopped()[0] == 0


def test_an_export_that_is_sent_again_while_it_stands_still_counts_once(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG + "limits: {request_time: 1s}\n") as sidecar:
        body = export(1)
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        sidecar.process.send_signal(signal.SIGSTOP)
        with sidecar.connect("otlp_http") as impatient:
            impatient.sendall(head.encode() + body)
            impatient.settimeout(2)  # longer than anything in the sidecar waits for a request
            with pytest.raises(TimeoutError):
                impatient.recv(1)
        with sidecar.connect("otlp_http") as again:
            again.sendall(head.encode() + body)
            sidecar.process.send_signal(signal.SIGCONT)
            assert again.recv(12) == b"HTTP/1.1 200"
        sidecar.until(lambda: counted(sidecar) == 1)
        received, repeated = (sidecar.value(f"spans_{fate}_total") for fate in ("received", "dropped"))
        assert (received, repeated) in {(1, 0), (2, 1)}
        assert sidecar.stopped()[0] == 0

"""The collector that exports are passed on to has no address, or is down: nobody but it notices."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from faults.serving import CONFIG, END_SECONDS, Sidecar, export, serving

pytestmark = pytest.mark.faults

EXPORTS = 5


def takes_exports(sidecar: Sidecar) -> None:
    for number in range(1, EXPORTS + 1):
        assert sidecar.send(export(number))[0] == 200
    sidecar.until(lambda: sidecar.value("inferences_observed_total", model="m", outcome="ok") == EXPORTS)


def warnings(sidecar: Sidecar) -> list[str]:
    return [line for line in sidecar.lines if " WARNING " in line]


def test_a_collector_whose_name_has_no_address_is_told_once_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    with serving(tmp_path, f'{CONFIG}forward: {{endpoint: "http://collector.invalid:4318", retry_for: 1s}}\n') as sidecar:
        takes_exports(sidecar)
        sidecar.until(lambda: sidecar.value("spans_forward_dropped_total") == EXPORTS)
        assert sidecar.value("spans_forwarded_total") == 0
        code, seconds = sidecar.stopped()
    assert (code, seconds < END_SECONDS) == (0, True), seconds
    assert len(warnings(sidecar)) == 1, warnings(sidecar)


def test_a_collector_that_is_down_costs_what_is_too_old_and_gets_what_comes_once_it_is_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with serving(tmp_path, f'{CONFIG}forward: {{endpoint: "http://{address}", retry_for: 1s}}\n') as sidecar:
        takes_exports(sidecar)
        sidecar.until(lambda: sidecar.value("spans_forward_dropped_total") == EXPORTS)
        with serving(tmp_path, CONFIG.replace('otlp_http: "127.0.0.1:0"', f'otlp_http: "{address}"')) as collector:
            sidecar.until(lambda: passed_on(sidecar))
            collector.until(lambda: (collector.value("spans_received_total", protocol="http") or 0) > 0)
        assert sidecar.value("exports_refused_total") == 0
        assert sidecar.stopped()[0] == 0
    assert len(warnings(sidecar)) == 1, warnings(sidecar)


def passed_on(sidecar: Sidecar) -> bool:
    """Whether an export that comes now or came lately has reached the collector."""
    assert sidecar.send(export(EXPORTS + 1))[0] == 200
    return (sidecar.value("spans_forwarded_total") or 0) > 0

"""The ceiling of memory: above it exports are refused, and told when to come back; below it they are taken again."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil
import pytest

from faults.serving import CONFIG, Sidecar, export, serving

pytestmark = pytest.mark.faults

MEBIBYTE = 1 << 20
HELD_BYTES = 60 * MEBIBYTE
ROOM_BYTES = 30 * MEBIBYTE


def limited(limit_bytes: int) -> str:
    return f"{CONFIG}limits: {{memory_bytes: {limit_bytes}, body_bytes: {2 * HELD_BYTES}, decompressed_bytes: {2 * HELD_BYTES}}}\n"


def begun(sidecar: Sidecar) -> socket.socket:
    """A connection over which an export has come, but for its end, which takes memory until it is given up."""
    connection = sidecar.connect("otlp_http")
    head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {HELD_BYTES + 1}\r\n\r\n"
    connection.sendall(head.encode())
    connection.sendall(bytes(HELD_BYTES))
    return connection


def status(sidecar: Sidecar, number: int) -> int:
    return sidecar.send(export(number))[0]


def test_above_the_ceiling_exports_are_refused_with_a_hint_and_below_it_taken_again(tmp_path: Path) -> None:
    with serving(tmp_path, limited(1 << 40)) as sidecar:
        assert status(sidecar, 1) == 200
        usual_bytes = psutil.Process(sidecar.process.pid).memory_info().rss
    with serving(tmp_path, limited(usual_bytes + ROOM_BYTES)) as sidecar:
        assert status(sidecar, 1) == 200
        with begun(sidecar):
            sidecar.until(lambda: status(sidecar, 2) == 503)
            answered, headers = sidecar.send(export(3))
            assert (answered, int(headers["Retry-After"]) > 0) == (503, True)
            assert sidecar.text("/-/ready", seconds=1).startswith("ready")
        sidecar.until(lambda: status(sidecar, 4) == 200)
        refused, received = sidecar.value("exports_refused_total", protocol="http"), sidecar.value("spans_received_total", protocol="http")
        assert refused is not None
        assert refused >= 2
        assert received is not None
        assert received <= 3 + refused
        assert sidecar.stopped()[0] == 0


def test_a_ceiling_below_what_it_needs_by_itself_refuses_everything_and_still_tells(tmp_path: Path) -> None:
    with serving(tmp_path, limited(MEBIBYTE)) as sidecar:
        assert status(sidecar, 1) == 503
        assert sidecar.value("exports_refused_total", protocol="http", reason="overload") == 1
        assert sidecar.value("spans_received_total") == 0
        assert sidecar.stopped()[0] == 0

"""More connections than there are files for, and more than anybody uses."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from faults.serving import CONFIG, SOON, Sidecar, export, serving

pytestmark = pytest.mark.faults

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def takes_an_export_over_grpc(sidecar: Sidecar) -> None:
    with grpc.insecure_channel(sidecar.addresses["otlp_grpc"]) as channel:
        channel.unary_unary(EXPORT)(b"", timeout=SOON, wait_for_ready=True)


def test_without_files_left_it_says_so_once_and_serves_again_once_there_are(tmp_path: Path) -> None:
    with serving(tmp_path, shell="ulimit -n 64") as sidecar:
        with ExitStack() as connections:
            for _ in range(100):
                connections.enter_context(sidecar.connect("web"))
            sidecar.until(lambda: any("no connection can be taken" in line for line in sidecar.lines))
            with pytest.raises(TimeoutError):
                sidecar.text("/-/ready", seconds=3)  # while asyncio tries, and fails, again and again
        sidecar.until(lambda: sidecar.text("/-/ready").startswith("ready"))
        assert sidecar.send(export(1))[0] == 200
        takes_an_export_over_grpc(sidecar)
        assert sidecar.value("spans_received_total", protocol="http") == 1
        assert sidecar.stopped()[0] == 0
    assert sum("no connection can be taken: Too many open files" in line for line in sidecar.lines) == 1
    assert sum("limits.connections: 1, as no more than 64 files may be open" in line for line in sidecar.lines) == 1
    assert len(sidecar.lines) == len(["the limit", "three addresses", "", "", "the decoder", "the files", "the end"])


@pytest.mark.parametrize("key", ["otlp_http", "otlp_grpc"])
def test_senders_leave_files_for_everything_else(key: str, tmp_path: Path) -> None:
    with serving(tmp_path, shell="ulimit -n 256") as sidecar, ExitStack() as connections:
        for _ in range(300):
            connections.enter_context(sidecar.connect(key))
        assert sidecar.text("/-/ready").startswith("ready")
        assert sidecar.value("inferences_source", source="observed") == 1
    assert any("limits.connections: 32, as no more than 256 files may be open" in line for line in sidecar.lines)


def test_a_thousand_idle_connections_to_each_face_keep_nobody_waiting(tmp_path: Path) -> None:
    with serving(tmp_path) as sidecar, ExitStack() as connections:
        for key in ("otlp_http", "otlp_grpc", "web"):
            for _ in range(1000):
                connections.enter_context(sidecar.connect(key))
        assert sidecar.text("/-/ready", seconds=1).startswith("ready")
        assert sidecar.send(export(1))[0] == 200
        takes_an_export_over_grpc(sidecar)
        assert sidecar.value("spans_received_total", protocol="http") == 1
        assert sidecar.value("exports_refused_total") == 0
        assert sidecar.stopped()[0] == 0
    assert not any(" ERROR " in line or " WARNING " in line for line in sidecar.lines)


def test_a_peer_that_vanished_amid_a_request_is_given_up_and_counted(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG + "limits: {request_time: 1s}\n") as sidecar:
        body = export(1)
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with sidecar.connect("otlp_http") as vanished:
            vanished.sendall(head + body[:-1])
            assert vanished.recv(12) == b"HTTP/1.1 408"
        assert sidecar.value("exports_refused_total", protocol="http") == 1
        assert sidecar.value("spans_received_total", protocol="http") == 0


def test_senders_beyond_the_limit_are_turned_away_over_grpc_too_until_another_leaves(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG + "limits: {connections: 2}\n") as sidecar, ExitStack() as channels:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 100),
        ]
        within, leaving, beyond = (channels.enter_context(grpc.insecure_channel(sidecar.addresses["otlp_grpc"], options)) for _ in range(3))
        for channel in (within, leaving):
            channel.unary_unary(EXPORT)(b"", timeout=SOON)
        with pytest.raises(grpc.RpcError) as refused:
            beyond.unary_unary(EXPORT)(b"", timeout=1)
        assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        within.unary_unary(EXPORT)(b"", timeout=SOON)
        assert sidecar.text("/-/ready", seconds=1).startswith("ready")
        leaving.close()
        beyond.unary_unary(EXPORT)(b"", timeout=SOON, wait_for_ready=True)

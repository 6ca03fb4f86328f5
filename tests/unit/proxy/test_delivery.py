"""Spans' way to an end point."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from infermeter.proxy.delivery import Delivery, OtlpHttp, otlp_exporter

SPAN = ReadableSpan(
    "inference", SpanContext(1, 2, is_remote=False), start_time=1, end_time=2, instrumentation_scope=InstrumentationScope("infermeter")
)


class EndPoint(BaseHTTPRequestHandler):
    """Answers with one status after the other, and notes what came."""

    statuses: Iterator[int]
    came: list[tuple[str, str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.came.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(next(self.statuses))
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def end_point(*statuses: int) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str], bytes]]]]:
    """Its URL, and what came."""
    came: list[tuple[str, str, dict[str, str], bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("One", (EndPoint,), {"statuses": iter(statuses), "came": came}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("statuses", "taken"),
    [((200,), True), ((503, 200), True), ((429, 502, 504, 200), True), ((503,) * 4, False), ((400,), False), ((302,), False)],
)
def test_what_may_be_tried_again_is_and_nothing_else(statuses: tuple[int, ...], *, taken: bool) -> None:
    with end_point(*statuses) as (url, came):
        result = OtlpHttp(f"{url}/v1/traces", retry_seconds=(0, 0, 0)).export([SPAN])
    assert result is (SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE)
    assert len(came) == len(statuses)
    assert len({body for *_, body in came}) == 1


def test_spans_go_to_the_path_of_traces_as_protobuf_with_the_environment_s_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")
    with end_point(200) as (url, came):
        assert otlp_exporter(f"{url}/").export([SPAN]) is SpanExportResult.SUCCESS
    ((method, path, headers, body),) = came
    assert (method, path) == ("POST", "/v1/traces")
    assert (headers["content-type"], headers["authorization"]) == ("application/x-protobuf", "Bearer x")
    (span,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert span.name == "inference"


def test_nobody_there_is_a_failure_in_bounded_time() -> None:
    begin = time.monotonic()
    assert OtlpHttp("http://127.0.0.1:1/v1/traces", timeout_seconds=0.2, retry_seconds=(0.1, 60)).export([SPAN]) is SpanExportResult.FAILURE
    assert time.monotonic() - begin < 10


def test_nothing_is_tried_again_after_the_end() -> None:
    with end_point(503) as (url, came):
        exporter = OtlpHttp(url, retry_seconds=(60,), timeout_seconds=100)
        exporter.shutdown()
        assert exporter.export([SPAN]) is SpanExportResult.FAILURE
    assert len(came) == 1


def test_a_client_certificate_that_can_t_be_read_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/nowhere")
    with pytest.raises(FileNotFoundError):
        OtlpHttp("https://127.0.0.1/v1/traces")


class Collected(SpanExporter):
    """Takes spans, or refuses them while `refusing`."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.refusing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.refusing:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS


def test_that_nobody_takes_the_spans_is_told_once_and_that_somebody_does_again(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Collected()
    delivery = Delivery(exporter)
    with caplog.at_level("INFO"):
        for refusing in (False, True, True, False):
            exporter.refusing = refusing
            delivery.export([ReadableSpan("inference")])
    assert [record.getMessage() for record in caplog.records if record.name.startswith("infermeter")] == [
        "spans aren't taken by the end point; requests are served, their spans are dropped",
        "spans are taken again",
    ]
    assert delivery.delivered == len(exporter.spans) == 2
    delivery.shutdown()
    assert delivery.export([ReadableSpan("inference")]) is SpanExportResult.FAILURE

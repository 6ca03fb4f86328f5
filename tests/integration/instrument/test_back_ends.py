"""Instrumented servers before back ends that aren't ours: what any OTLP receiver gets, and what the SDK's own exporters tell."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

SERVING = """
from infermeter.instrument import Batch, first_token, inference, stage, tokens, waiting

@inference("m")
def serve(breaks=False):
    with stage("serialisation", "decode"):
        pass
    batch = Batch([waiting()])
    with batch.stage("compute"):
        first_token()
    tokens(input=3, output=2)
    if breaks:
        raise LookupError("what was asked")

serve()
try:
    serve(breaks=True)
except LookupError:
    pass
"""

OWN_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor({exporter}))
trace.set_tracer_provider(provider)
"""


def said_by(program: str) -> str:
    """What a server that runs this prints until its end."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "what was asked" not in done.stdout + done.stderr
    return done.stdout


@contextmanager
def http_receiver() -> Iterator[tuple[int, list[ExportTraceServiceRequest]]]:
    """A receiver of nothing but the standard library; its port, and what came."""
    came: list[ExportTraceServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            came.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port, came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_receiver() -> Iterator[tuple[int, list[ExportTraceServiceRequest]]]:
    """A receiver of nothing but grpcio."""
    came: list[ExportTraceServiceRequest] = []

    def export(request: ExportTraceServiceRequest, _: object) -> ExportTraceServiceResponse:
        came.append(request)
        return ExportTraceServiceResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        export, ExportTraceServiceRequest.FromString, ExportTraceServiceResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(1))
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, came
    finally:
        server.stop(None).wait()


def check(exports: list[ExportTraceServiceRequest]) -> None:
    """Both inferences are there whole, in traces of their own."""
    scopes = [scope for export in exports for resource in export.resource_spans for scope in resource.scope_spans]
    assert {scope.scope.name for scope in scopes} == {"infermeter"}
    spans = [span for scope in scopes for span in scope.spans]
    assert sorted(span.name for span in spans) == sorted(["inference", "queue", "compute", "serialisation"] * 2)
    roots = {span.span_id: span for span in spans if span.name == "inference"}
    assert len({span.trace_id for span in roots.values()}) == 2
    assert all(span.parent_span_id in roots for span in spans if span.name != "inference")
    fine, failed = sorted(roots.values(), key=lambda span: span.status.code)
    assert (fine.status.code, failed.status.code) == (0, 2)
    told = {pair.key: pair.value.string_value or pair.value.int_value for pair in fine.attributes}
    assert told == {"infermeter.model": "m", "infermeter.tokens.input": 3, "infermeter.tokens.output": 2, "infermeter.batch.size": 1}
    assert "LookupError" in {pair.value.string_value for pair in failed.attributes if pair.key == "error.type"}
    assert [event.name for event in fine.events] == ["first_token"]


def test_a_receiver_over_http_gets_it_whole() -> None:
    with http_receiver() as (port, came):
        said_by(f"from infermeter.instrument import export_spans\nexport_spans('http://127.0.0.1:{port}', service='s')\n{SERVING}")
    check(came)
    (service,) = {pair.value.string_value for pair in came[0].resource_spans[0].resource.attributes if pair.key == "service.name"}
    assert service == "s"


def test_a_receiver_over_grpc_gets_it_whole_from_a_provider_that_was_set_up_otherwise() -> None:
    with grpc_receiver() as (port, came):
        own = OWN_PROVIDER.format(exporter=f"OTLPSpanExporter('127.0.0.1:{port}', insecure=True)")
        said_by(f"from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter\n{own}{SERVING}")
    check(came)


def test_a_provider_that_is_set_after_the_decorators_ran_gets_it_too_and_prints_it() -> None:
    decorated, called, calls = SERVING.partition("\nserve()\n")
    said = said_by(decorated + OWN_PROVIDER.format(exporter="ConsoleSpanExporter()") + called + calls)
    names = [span["name"] for span in map(json.loads, said.replace("}\n{", "}\0{").split("\0"))]
    assert names == ["serialisation", "queue", "compute", "inference"] * 2


def test_without_any_provider_the_server_just_serves() -> None:
    assert said_by(f"{SERVING}\nprint('served')") == "served\n"

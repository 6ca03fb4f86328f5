"""What passes through the real program, against what a second receiver got: nothing changes on the way."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from integration.forward.receivers import Receiver, collector, grpc_receiver, http_receiver
from integration.otlp.listening import on_a_loop
from support.running import Clock, Running, metrics, running, until, value
from unit.otlp.exports import END_NS, body, span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CAPTURES = Path(__file__).parents[2] / "captures"
PROTOBUF = body(*(span(number, {"prompt": "x" * 40, "n": number}) for number in range(20)), resource={"service.name": "chat"})
TRITON = (CAPTURES / "triton" / "001.json").read_bytes()
RECEIVERS: dict[str, Callable[[], AbstractAsyncContextManager[Receiver]]] = {"http": http_receiver, "grpc": grpc_receiver}


def to(receiver: Receiver, protocol: str, more: str = "") -> str:
    return f'forward: {{endpoint: "http://127.0.0.1:{receiver.port}", protocol: {protocol}{more}}}\n'


async def send_http(sidecar: Running, sent: bytes, content_type: str, *, packed: bool) -> None:
    headers = {"Content-Type": content_type} | ({"Content-Encoding": "gzip"} if packed else {})
    url = f"http://{sidecar.addresses['otlp_http']}/v1/traces"
    async with sidecar.http.post(url, data=sent, headers=headers) as response:
        assert response.status == 200


def call(address: str, sent: bytes, compression: grpc.Compression, passed_by: str = "") -> None:
    with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        metadata = (("infermeter-passed-by", passed_by),) if passed_by else ()
        channel.unary_unary(EXPORT)(sent, timeout=10, compression=compression, metadata=metadata)


async def send_grpc(sidecar: Running, sent: bytes, compression: grpc.Compression = grpc.Compression.NoCompression) -> None:
    await asyncio.to_thread(call, sidecar.addresses["otlp_grpc"], sent, compression)


def forwarded(text: str) -> float | None:
    return value(text, "spans_forwarded_total")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("sent", "content_type", "spans"),
    [(PROTOBUF, "application/x-protobuf", 20), (TRITON, "application/json", None)],
    ids=["protobuf", "json"],
)
@on_a_loop
async def test_what_came_over_http_goes_on_over_http_byte_for_byte(sent: bytes, content_type: str, spans: int | None, packed: bool) -> None:
    raw = gzip.compress(sent, 3) if packed else sent
    async with http_receiver() as receiver, running(to(receiver, "http"), Clock(END_NS)) as sidecar:
        await send_http(sidecar, raw, content_type, packed=packed)
        (got,) = await receiver.exports(1)
        assert (got.body, got.content_type, got.packed, got.path) == (raw, content_type, packed, "/v1/traces")
        assert ("Content-Encoding" in got.headers) is packed
        text = await until(sidecar, lambda text: bool(forwarded(text)))
        assert forwarded(text) == value(text, "spans_received_total", protocol="http")
        assert spans is None or forwarded(text) == spans
        assert value(text, "spans_forward_reencoded_total") == 0
        assert value(text, "spans_forward_dropped_total") == 0
        assert value(text, "forward_queue_bytes") == 0


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@on_a_loop
async def test_protobuf_over_http_goes_on_over_grpc_as_the_same_message_packed_as_it_was(packed: bool) -> None:
    async with grpc_receiver() as receiver, running(to(receiver, "grpc"), Clock(END_NS)) as sidecar:
        await send_http(sidecar, gzip.compress(PROTOBUF) if packed else PROTOBUF, "application/x-protobuf", packed=packed)
        (got,) = await receiver.exports(1)
        assert (got.unpacked, got.packed) == (PROTOBUF, packed)
        text = await until(sidecar, lambda text: bool(forwarded(text)))
        assert (forwarded(text), value(text, "spans_forward_reencoded_total")) == (20, 0)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@on_a_loop
async def test_a_message_over_grpc_goes_on_over_either_protocol(protocol: str, compression: grpc.Compression) -> None:
    packed = compression is grpc.Compression.Gzip
    async with RECEIVERS[protocol]() as receiver, running(to(receiver, protocol), Clock(END_NS)) as sidecar:
        await send_grpc(sidecar, PROTOBUF, compression)
        (got,) = await receiver.exports(1)
        assert (got.unpacked, got.packed) == (PROTOBUF, packed)
        assert protocol == "grpc" or got.content_type == "application/x-protobuf"
        text = await until(sidecar, lambda text: bool(forwarded(text)))
        assert (forwarded(text), value(text, "spans_forward_reencoded_total")) == (20, 0)


@on_a_loop
async def test_what_was_packed_by_a_grpc_sender_is_the_very_body_over_http() -> None:
    async with grpc_receiver() as second, http_receiver() as receiver, running(to(receiver, "http"), Clock(END_NS)) as sidecar:
        await asyncio.to_thread(call, f"127.0.0.1:{second.port}", PROTOBUF, grpc.Compression.Gzip)
        await send_grpc(sidecar, PROTOBUF, grpc.Compression.Gzip)
        assert (await receiver.exports(1))[0].body == (await second.exports(1))[0].body != PROTOBUF


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@on_a_loop
async def test_json_goes_on_over_grpc_encoded_anew_and_counted(packed: bool) -> None:
    async with grpc_receiver() as receiver, running(to(receiver, "grpc"), Clock(END_NS)) as sidecar:
        await send_http(sidecar, gzip.compress(TRITON) if packed else TRITON, "application/json", packed=packed)
        (got,) = await receiver.exports(1)
        assert got.packed is packed
        request = ExportTraceServiceRequest.FromString(got.unpacked)
        spans = [span for told in request.resource_spans for scoped in told.scope_spans for span in scoped.spans]
        text = await until(sidecar, lambda text: bool(forwarded(text)))
        assert len(spans) == forwarded(text) == value(text, "spans_received_total", protocol="http")
        assert value(text, "spans_forward_reencoded_total") == len(spans)
        assert MessageToDict(spans[0])["name"] in TRITON.decode()
        assert all(len(span.trace_id) == 16 and span.trace_id.hex() in TRITON.decode() for span in spans)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    "exporter",
    [
        lambda addresses: HttpExporter(f"http://{addresses['otlp_http']}/v1/traces", compression=Compression.Gzip),
        lambda addresses: GrpcExporter(f"http://{addresses['otlp_grpc']}", insecure=True, compression=grpc.Compression.Gzip),
    ],
    ids=["http", "grpc"],
)
@on_a_loop
async def test_spans_of_the_real_sdk_pass_through(exporter: Callable[[object], SpanExporter], protocol: str) -> None:
    def send(addresses: object) -> None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter(addresses)))
        for number in range(100):
            with provider.get_tracer("test").start_as_current_span(f"span {number}"):
                pass
        provider.shutdown()

    async with RECEIVERS[protocol]() as receiver, running(to(receiver, protocol), Clock(END_NS)) as sidecar:
        await asyncio.to_thread(send, sidecar.addresses)
        await until(sidecar, lambda text: forwarded(text) == 100)
        requests = [ExportTraceServiceRequest.FromString(got.unpacked) for got in receiver.got]
        names = [span.name for told in requests for part in told.resource_spans for scoped in part.scope_spans for span in scoped.spans]
        assert sorted(names) == sorted(f"span {number}" for number in range(100))
        assert all(got.packed for got in receiver.got)


@on_a_loop
async def test_opentelemetrys_own_service_takes_it() -> None:
    async with (
        collector() as (service, port),
        running(f'forward: {{endpoint: "127.0.0.1:{port}", protocol: grpc}}\n', Clock(END_NS)) as sidecar,
    ):
        await send_grpc(sidecar, PROTOBUF, grpc.Compression.Gzip)
        await until(sidecar, lambda text: forwarded(text) == 20)
        assert service.requests == [ExportTraceServiceRequest.FromString(PROTOBUF)]


@on_a_loop
async def test_what_is_refused_or_comes_again_is_not_passed_on() -> None:
    async with http_receiver() as receiver, running(to(receiver, "http"), Clock(END_NS)) as sidecar:
        assert await sidecar.send(PROTOBUF[:-1], "application/x-protobuf") == 400
        assert await sidecar.send(PROTOBUF, "application/x-protobuf") == 200
        assert await sidecar.send(PROTOBUF, "application/x-protobuf") == 200
        last = body(span(99))
        assert await sidecar.send(last, "application/x-protobuf") == 200
        await until(sidecar, lambda text: forwarded(text) == 21)
        assert sorted((got.body for got in receiver.got), key=len) == [last, PROTOBUF]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@on_a_loop
async def test_what_comes_back_in_another_shape_is_not_passed_on_again(protocol: str) -> None:
    async with RECEIVERS[protocol]() as receiver, running(to(receiver, protocol), Clock(END_NS)) as sidecar:
        assert await sidecar.send(PROTOBUF, "application/x-protobuf") == 200
        (got,) = await receiver.exports(1)
        passed_by = {name.lower(): text for name, text in got.headers.items()}["infermeter-passed-by"]
        back = ExportTraceServiceRequest.FromString(got.unpacked)
        back.resource_spans[0].schema_url = "another"
        if protocol == "grpc":
            await asyncio.to_thread(call, sidecar.addresses["otlp_grpc"], back.SerializeToString(), grpc.Compression.Gzip, passed_by)
        else:
            headers = {"Content-Type": "application/x-protobuf", "Infermeter-Passed-By": passed_by}
            async with sidecar.http.post(
                f"http://{sidecar.addresses['otlp_http']}/v1/traces", data=back.SerializeToString(), headers=headers
            ) as response:
                assert response.status == 200
        await send_grpc(sidecar, body(span(99)))
        text = await until(sidecar, lambda text: forwarded(text) == 21)
        assert value(text, "spans_dropped_total", reason="duplicate") == 20
        assert len(receiver.got) == 2


@on_a_loop
async def test_without_an_end_point_the_families_are_absent() -> None:
    async with running("", Clock(END_NS)) as sidecar:
        assert "forward" not in await metrics(sidecar)

import asyncio
import gzip
import json
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from infermeter.config import Limits
from infermeter.otlp.http import HttpReceiver
from integration.otlp.listening import Listening, RawConnection, connection, listening, on_a_loop, settled
from unit.otlp.exports import body, span

CAPTURES = Path(__file__).parents[2] / "captures"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}
MEBIBYTE = 2**20


async def post(url: str, data: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    async with aiohttp.ClientSession() as session, session.post(url, data=BytesIO(data), headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


def head(length: int | None, *, path: str = "/v1/traces", extra: str = "") -> bytes:
    sized = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n{sized}\r\n{extra}\r\n".encode()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
@on_a_loop
async def test_spans_of_the_real_sdk_arrive(compression: Compression) -> None:
    def export(url: str) -> None:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, compression=compression)))
        for number in range(100):
            with provider.get_tracer("test").start_as_current_span("llm_request") as told:
                told.set_attribute("key", number)
        provider.shutdown()

    async with listening() as now:
        await asyncio.to_thread(export, now.traces_url)
        assert now.intake.attributes() == list(range(100))
        assert now.receiver.spans_received == {"grpc": 0, "http": 100}
        assert now.receiver.exports_refused.total() == 0


@pytest.mark.parametrize("packed", [False, True])
@on_a_loop
async def test_json_as_triton_sends_it_arrives(packed: bool) -> None:
    async with listening() as now:
        for path in sorted((CAPTURES / "triton").glob("00?.json")):
            raw = path.read_bytes()
            headers = JSON | GZIP if packed else JSON
            status, told, answer = await post(now.traces_url, gzip.compress(raw) if packed else raw, headers)
            assert (status, told["Content-Type"], answer) == (200, "application/json", b"{}")
        assert now.receiver.spans_received["http"] == 990


@pytest.mark.parametrize(
    ("sent", "content_type", "answer"),
    [
        (b"", "application/x-protobuf", b""),
        (b"{}", "application/json", b"{}"),
        (b"{}", "application/json; charset=utf-8", b"{}"),
        (b"{}", "Application/JSON", b"{}"),
    ],
)
@on_a_loop
async def test_an_empty_request_is_taken_and_answered_in_its_encoding(sent: bytes, content_type: str, answer: bytes) -> None:
    async with listening() as now:
        status, headers, got = await post(now.traces_url, sent, {"Content-Type": content_type})
        assert (status, got) == (200, answer)
        assert headers["Content-Type"] == content_type.lower().partition(";")[0]


@on_a_loop
async def test_unfit_spans_are_told_as_a_partial_success() -> None:
    async with listening() as now:
        _, _, answer = await post(now.traces_url, body(span(1), span(2, span_id=b"")), PROTOBUF)
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert partial.rejected_spans == 1
        assert partial.error_message
        _, _, answer = await post(now.traces_url, b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}', JSON)
        assert json.loads(answer)["partialSuccess"]["rejectedSpans"] == "1"


@pytest.mark.parametrize(
    ("sent", "headers", "status", "reason"),
    [
        (body(span())[:-1], PROTOBUF, 400, "malformed"),
        (b"{", JSON, 400, "malformed"),
        (body(span()), JSON, 400, "malformed"),
        (body(span()), PROTOBUF | GZIP, 400, "malformed"),
        (gzip.compress(body(span()))[:-4], PROTOBUF | GZIP, 400, "malformed"),
        (body(span()), {"Content-Type": "text/plain"}, 415, "malformed"),
        (body(span()), {}, 415, "malformed"),
        (body(span()), PROTOBUF | {"Content-Encoding": "deflate"}, 415, "malformed"),
        (body(span()), PROTOBUF | {"Content-Encoding": "gzip, gzip"}, 415, "malformed"),
        (gzip.compress(bytes(5 * MEBIBYTE)), PROTOBUF | GZIP, 413, "too_large"),
        (bytes(4 * MEBIBYTE), PROTOBUF, 413, "too_large"),
        (b"\x12\0" * 1_100_000, PROTOBUF, 413, "too_large"),
    ],
    ids=[
        "cut",
        "no JSON",
        "not the type it says",
        "no gzip",
        "cut gzip",
        "text",
        "no type",
        "deflate",
        "twice",
        "bomb",
        "large",
        "many parts",
    ],
)
@on_a_loop
async def test_each_fault_has_its_status_and_is_counted(sent: bytes, headers: dict[str, str], status: int, reason: str) -> None:
    async with listening(Limits(body_bytes=3 * MEBIBYTE, decompressed_bytes=4 * MEBIBYTE)) as now:
        got, told, answer = await post(now.traces_url, sent, headers)
        assert got == status
        if headers == JSON:
            assert json.loads(answer)["message"]
        else:
            assert Status.FromString(answer).message
        assert told["Content-Type"] == (JSON if headers == JSON else PROTOBUF)["Content-Type"]
        assert now.receiver.exports_refused == {("http", reason): 1}
        assert now.intake.exports == []


@on_a_loop
async def test_more_than_may_be_unpacked_is_refused_also_where_nothing_is_packed() -> None:
    async with listening(Limits(decompressed_bytes=10)) as now:
        status, _, _ = await post(now.traces_url, body(span()), PROTOBUF)
        assert status == 413


@on_a_loop
async def test_a_large_body_is_refused_before_it_is_sent() -> None:
    async with listening() as now, connection(now.http_port) as raw:
        raw.write(head(10**12))
        status, headers, _ = await raw.response()
        assert (status, headers["connection"]) == (413, "close")


@on_a_loop
async def test_a_large_body_in_chunks_is_refused_as_soon_as_it_is_too_large() -> None:
    async with listening(Limits(body_bytes=5)) as now, connection(now.http_port) as raw:
        raw.write(head(None) + b"6\r\nchunks\r\n")
        status, _, _ = await raw.response()
        assert status == 413


@on_a_loop
async def test_chunks_that_are_none_are_malformed() -> None:
    async with listening() as now, connection(now.http_port) as raw:
        raw.write(head(None) + b"not a length\r\n")
        status, _, _ = await raw.response()
        assert status == 400
        assert now.receiver.exports_refused == {("http", "malformed"): 1}


@on_a_loop
async def test_overload_asks_to_try_again() -> None:
    async with listening() as now:
        now.intake.overloaded = True
        status, headers, answer = await post(now.traces_url, body(span()), PROTOBUF)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert Status.FromString(answer).code == 14
        now.intake.overloaded = False
        status, _, _ = await post(now.traces_url, body(span()), PROTOBUF)
        assert status == 200
        assert now.receiver.exports_refused == {("http", "overload"): 1}


@on_a_loop
async def test_bytes_in_flight_are_bounded_over_all_senders() -> None:
    sent = body(span())
    async with listening(Limits(in_flight_bytes=len(sent) + 10)) as now, connection(now.http_port) as slow:
        slow.write(head(len(sent)) + sent[:20])
        async with connection(now.http_port) as waiting:
            waiting.write(head(len(sent), extra="Expect: 100-continue\r\n"))
            assert (await waiting.response())[0] == 100  # by now the first one's bytes are held
            waiting.write(sent)
            assert (await waiting.response())[0] == 503
        slow.write(sent[20:])
        assert (await slow.response())[0] == 200


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
@on_a_loop
async def test_other_signals_are_answered_so_that_nobody_tries_again_and_counted(path: str) -> None:
    async with listening() as now:
        status, _, answer = await post(now.url(path), b"whatever", PROTOBUF)
        assert status == 200
        assert ExportTraceServiceResponse.FromString(answer).partial_success.error_message
        status, _, answer = await post(now.url(path), b"{}", JSON)
        assert json.loads(answer)["partialSuccess"]["errorMessage"]
        assert now.receiver.exports_refused == {("http", "signal"): 2}


@on_a_loop
async def test_other_paths_and_methods_are_no_exports() -> None:
    async with listening() as now, aiohttp.ClientSession() as session:
        async with session.get(now.traces_url) as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
        async with session.post(now.url("/v1/other"), data=b"x") as response:
            assert response.status == 404
        assert now.receiver.exports_refused.total() == 0


@on_a_loop
async def test_a_retried_export_is_answered_as_success_and_taken_once() -> None:
    async with listening() as now:
        for _ in range(2):
            assert (await post(now.traces_url, body(span()), PROTOBUF))[0] == 200
        assert len(now.intake.exports) == 1
        assert now.receiver.spans_dropped["duplicate"] == 1


@on_a_loop
async def test_a_client_that_says_nothing_is_hung_up_on() -> None:
    async with listening(Limits(request_time=0.05)) as now, connection(now.http_port) as raw:
        assert await raw.rest() == b""
        assert now.receiver.exports_refused.total() == 0


@on_a_loop
async def test_headers_that_trickle_are_hung_up_on_and_counted() -> None:
    async with listening(Limits(request_time=0.1)) as now, connection(now.http_port) as raw:

        async def trickle() -> None:
            for byte in head(5):
                raw.write(bytes([byte]))
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert await raw.rest() == b""
        trickling.cancel()
        assert now.receiver.exports_refused == {("http", "malformed"): 1}


@on_a_loop
async def test_headers_of_a_second_request_that_trickle_are_hung_up_on_and_counted() -> None:
    async with listening(Limits(request_time=0.05)) as now, connection(now.http_port) as raw:
        raw.write(head(0))
        assert (await raw.response())[0] == 200
        raw.write(b"POST /v1/tra")
        assert await raw.rest() == b""
        assert now.receiver.exports_refused == {("http", "malformed"): 1}


@on_a_loop
async def test_a_body_that_takes_too_long_is_refused() -> None:
    async with listening(Limits(request_time=0.05)) as now, connection(now.http_port) as raw:
        raw.write(head(100) + b"some")
        status, headers, _ = await raw.response()
        assert (status, headers["connection"]) == (408, "close")
        assert now.receiver.exports_refused == {("http", "malformed"): 1}


@on_a_loop
async def test_a_connection_may_rest_between_exports_for_longer_than_a_request_may_take() -> None:
    async with listening(Limits(request_time=0.05)) as now, connection(now.http_port) as resting:
        resting.write(head(0))
        assert (await resting.response())[0] == 200
        async with connection(now.http_port) as silent:
            await silent.rest()  # hung up on after the time that a request may take
        resting.write(head(0))
        assert (await resting.response())[0] == 200


@on_a_loop
async def test_a_sender_that_vanishes_is_counted() -> None:
    async with listening() as now:
        async with connection(now.http_port) as raw:
            raw.write(head(100, extra="Expect: 100-continue\r\n"))
            assert (await raw.response())[0] == 100
            raw.abort()
        await settled(lambda: now.receiver.exports_refused == {("http", "malformed"): 1})


@pytest.mark.parametrize(
    "noise",
    [b"\x16\x03\x01 TLS, perhaps\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n"],
)
@on_a_loop
async def test_what_is_no_http_is_refused_counted_and_not_logged(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as now, connection(now.http_port) as raw:
        raw.write(noise)
        assert b"400" in (await raw.rest()).partition(b"\r\n")[0]
        assert now.receiver.exports_refused == {("http", "malformed"): 1}
    assert caplog.records == []


@on_a_loop
async def test_connections_are_bounded() -> None:
    async with listening(Limits(connections=1)) as now, connection(now.http_port) as first:
        first.write(head(0))
        assert (await first.response())[0] == 200
        async with connection(now.http_port) as second:
            assert b"503" in (await second.rest()).partition(b"\r\n")[0]
        assert now.receiver.exports_refused == {("http", "overload"): 1}
        first.write(head(0))
        assert (await first.response())[0] == 200


@on_a_loop
async def test_an_export_that_is_being_received_is_taken_before_the_end() -> None:
    sent = body(span())

    async def stopped_midway(now: Listening, raw: RawConnection) -> None:
        raw.write(head(len(sent), extra="Expect: 100-continue\r\n"))
        assert (await raw.response())[0] == 100
        stopping = asyncio.create_task(now.http.stop())
        raw.write(sent)
        assert (await raw.response())[0] == 200
        await stopping

    async with listening() as now, connection(now.http_port) as raw:
        await stopped_midway(now, raw)
        assert len(now.intake.exports) == 1
        assert await raw.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", now.http_port)


@on_a_loop
async def test_stopping_what_never_listened_is_nothing() -> None:
    async with listening() as now:
        await HttpReceiver(now.receiver).stop()


@on_a_loop
async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with listening() as now:
        with pytest.raises(OSError, match="address already in use"):
            await HttpReceiver(now.receiver).start(f"127.0.0.1:{now.http_port}")


@on_a_loop
async def test_our_own_mistakes_are_told_to_the_loop() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with listening() as now:
        now.intake.mistake = KeyError()
        assert (await post(now.traces_url, body(span()), PROTOBUF))[0] == 500
        assert told == [now.intake.mistake]

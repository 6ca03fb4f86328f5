"""Receivers that are down, slow, hanging, rejecting or coming back, behind the real program: ingestion never notices."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import grpc
import pytest
from aiohttp import web
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from infermeter import app
from infermeter.errors import ConfigErrors
from infermeter.forward.target import ANSWER_BYTES, ATTEMPTS_AT_ONCE
from infermeter.mapping import load_mappings
from infermeter.parsing.structure import load_config
from integration.forward.receivers import TOKEN, Receiver, grpc_receiver, http_receiver
from integration.otlp.listening import on_a_loop, settled
from support.running import LISTEN, PROTOBUF, Clock, Running, metrics, running, until, value
from unit.otlp.exports import END_NS, body, span

BOTH = pytest.mark.parametrize("protocol", ["http", "grpc"])
RECEIVERS: dict[str, Callable[[int], AbstractAsyncContextManager[Receiver]]] = {"http": http_receiver, "grpc": grpc_receiver}

DOWN = {"http": "Connection refused", "grpc": "gRPC UNAVAILABLE"}


def to(port: int, protocol: str, more: str = "") -> str:
    return f'forward: {{endpoint: "http://127.0.0.1:{port}", protocol: {protocol}{more}}}\n'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def dropped(text: str, reason: str) -> float | None:
    return value(text, "spans_forward_dropped_total", reason=reason)


async def send(sidecar: Running, *numbers: int) -> None:
    for number in numbers:
        assert await sidecar.send(body(span(number)), PROTOBUF) == 200


@BOTH
@on_a_loop
async def test_exports_are_answered_while_the_receiver_hangs_and_go_on_once_it_does_not(protocol: str) -> None:
    async with RECEIVERS[protocol](0) as receiver, running(to(receiver.port, protocol), Clock(END_NS)) as sidecar:
        receiver.answering.clear()
        await send(sidecar, *range(50))
        await receiver.exports(ATTEMPTS_AT_ONCE)
        text = await metrics(sidecar)
        assert value(text, "spans_received_total", protocol="http") == 50
        assert value(text, "spans_forwarded_total") == 0
        assert (value(text, "forward_queue_bytes") or 0) > 50 * len(body(span(1)))
        receiver.answering.set()
        text = await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 50)
        assert value(text, "forward_queue_bytes") == 0
        assert sorted(got.body for got in receiver.got) == sorted(body(span(number)) for number in range(50))


@BOTH
@on_a_loop
async def test_a_receiver_that_was_down_gets_everything_once_it_is_up(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "infermeter.forward")
    port = free_port()
    async with running(to(port, protocol), Clock(END_NS)) as sidecar:
        await send(sidecar, *range(20))
        await settled(lambda: "forward.endpoint doesn't answer" in caplog.text)
        async with RECEIVERS[protocol](port) as receiver:
            text = await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 20)
            assert sorted(got.body for got in receiver.got) == sorted(body(span(number)) for number in range(20))
        assert value(text, "spans_forward_dropped_total") == 0
    told = [record.getMessage() for record in caplog.records if record.name.startswith("infermeter.forward")]
    assert told == [f"forward.endpoint doesn't answer: {DOWN[protocol]}", "forward.endpoint answers again"]


@BOTH
@on_a_loop
async def test_a_receiver_that_stays_down_loses_what_is_too_old(protocol: str) -> None:
    clock = Clock(END_NS)
    async with running(to(free_port(), protocol, ", retry_for: 60s"), clock) as sidecar:
        await send(sidecar, *range(20))
        clock.turn(61)
        text = await until(sidecar, lambda text: dropped(text, "expired") == 20)
        assert value(text, "forward_queue_bytes") == 0


@BOTH
@on_a_loop
async def test_an_attempt_that_takes_too_long_is_made_again(protocol: str) -> None:
    async with RECEIVERS[protocol](0) as receiver, running(to(receiver.port, protocol, ", timeout: 100ms"), Clock(END_NS)) as sidecar:
        receiver.answering.clear()
        await send(sidecar, 1)
        await receiver.exports(2)
        receiver.answering.set()
        await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 1)
        assert {got.body for got in receiver.got} == {body(span(1))}


@on_a_loop
async def test_an_http_status_that_says_later_is_retried_and_one_that_says_never_is_not() -> None:
    async with http_receiver() as receiver, running(to(receiver.port, "http"), Clock(END_NS)) as sidecar:
        answers = iter((web.Response(status=503, headers={"Retry-After": "0"}), web.Response(status=200), web.Response(status=401)))
        receiver.deal = lambda _: next(answers)
        await send(sidecar, 1)
        await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 1)
        await send(sidecar, 2)
        text = await until(sidecar, lambda text: dropped(text, "rejected") == 1)
        assert (len(receiver.got), value(text, "spans_forwarded_total")) == (3, 1)


@on_a_loop
async def test_redirects_are_not_followed() -> None:
    async with http_receiver() as receiver, running(to(receiver.port, "http"), Clock(END_NS)) as sidecar:
        receiver.deal = lambda _: web.Response(status=307, headers={"Location": "/elsewhere"})
        await send(sidecar, 1)
        await until(sidecar, lambda text: dropped(text, "rejected") == 1)
        assert len(receiver.got) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED])
@on_a_loop
async def test_a_grpc_status_that_says_later_is_retried(code: grpc.StatusCode) -> None:
    async with grpc_receiver() as receiver, running(to(receiver.port, "grpc"), Clock(END_NS)) as sidecar:
        receiver.code = code
        await send(sidecar, 1)
        await receiver.exports(1)
        receiver.code = grpc.StatusCode.OK
        await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 1)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL])
@on_a_loop
async def test_a_grpc_status_that_says_never_is_not_retried(code: grpc.StatusCode) -> None:
    async with grpc_receiver() as receiver, running(to(receiver.port, "grpc"), Clock(END_NS)) as sidecar:
        receiver.code = code
        await send(sidecar, 1)
        await until(sidecar, lambda text: dropped(text, "rejected") == 1)
        assert len(receiver.got) == 1


def retry_info(seconds: int) -> bytes:
    detail = Packed()
    info = RetryInfo()
    info.retry_delay.seconds = seconds
    detail.Pack(info)
    return Status(code=8, details=[Packed(type_url="a/b"), detail]).SerializeToString()


BROKEN = Status(details=[Packed(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff")])


@pytest.mark.parametrize(
    ("details", "attempts"),
    [(retry_info(0), 2), (b"\xff", 1), (Status(code=8).SerializeToString(), 1), (BROKEN.SerializeToString(), 1)],
    ids=["retry", "nonsense", "no detail", "broken detail"],
)
@on_a_loop
async def test_an_exhausted_receiver_is_retried_only_if_it_asks_for_it(details: bytes, attempts: int) -> None:
    async with grpc_receiver() as receiver, running(to(receiver.port, "grpc"), Clock(END_NS)) as sidecar:
        receiver.code, receiver.details = grpc.StatusCode.RESOURCE_EXHAUSTED, details
        await send(sidecar, 1)
        await receiver.exports(1)
        if attempts > 1:
            receiver.code = grpc.StatusCode.OK
        text = await until(sidecar, lambda text: value(text, "forward_queue_bytes") == 0)
        assert (len(receiver.got), dropped(text, "rejected")) == (attempts, 2 - attempts)


@BOTH
@on_a_loop
async def test_what_is_rejected_of_an_export_is_counted(protocol: str) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    async with RECEIVERS[protocol](0) as receiver, running(to(receiver.port, protocol), Clock(END_NS)) as sidecar:
        receiver.answer = answer.SerializeToString()
        receiver.deal = lambda _: web.Response(body=receiver.answer, content_type="application/x-protobuf")
        assert await sidecar.send(body(span(1), span(2), span(3)), PROTOBUF) == 200
        text = await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 1)
        assert dropped(text, "rejected") == 2


@on_a_loop
async def test_an_answer_without_end_is_not_read_to_it() -> None:
    async with http_receiver() as receiver, running(to(receiver.port, "http"), Clock(END_NS)) as sidecar:
        receiver.deal = lambda _: web.Response(body=bytes(8 << 20))
        await send(sidecar, 1)
        await until(sidecar, lambda text: value(text, "spans_forwarded_total") == 1)


@BOTH
@on_a_loop
async def test_an_answer_longer_than_any_that_says_something_is_one_of_what_was_taken(protocol: str) -> None:
    async with RECEIVERS[protocol](0) as receiver, running(to(receiver.port, protocol), Clock(END_NS)) as sidecar:
        receiver.answer = bytes(ANSWER_BYTES + 1)
        receiver.deal = lambda _: web.Response(body=receiver.answer, content_type="application/x-protobuf")
        await send(sidecar, 1)
        text = await until(sidecar, lambda text: value(text, "forward_queue_bytes") == 0)
        assert (value(text, "spans_forwarded_total"), dropped(text, "rejected"), len(receiver.got)) == (1, 0, 1)


@on_a_loop
async def test_an_export_that_its_grpc_receiver_finds_too_long_is_rejected() -> None:
    async with grpc_receiver(limit_bytes=10) as receiver, running(to(receiver.port, "grpc"), Clock(END_NS)) as sidecar:
        await send(sidecar, 1)
        await until(sidecar, lambda text: dropped(text, "rejected") == 1)


@pytest.mark.parametrize(("status", "forwarded"), [(200, 1), (400, 0)])
@on_a_loop
async def test_a_status_stands_whatever_becomes_of_the_answers_body(status: int, forwarded: int) -> None:
    """A body that is announced and never comes: asked again, the receiver would get the export again and again."""
    got = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        got += 1
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 9\r\n\r\n" % status)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(to(port, "http", ", timeout: 100ms"), Clock(END_NS)) as sidecar:
        await send(sidecar, 1)
        text = await until(sidecar, lambda text: value(text, "forward_queue_bytes") == 0)
    assert (value(text, "spans_forwarded_total"), dropped(text, "rejected"), got) == (forwarded, 1 - forwarded, 1)


@on_a_loop
async def test_a_receiver_that_answers_an_error_is_not_said_to_be_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "infermeter.forward")
    async with http_receiver() as receiver, running(to(receiver.port, "http"), Clock(END_NS)) as sidecar:
        for status in (500, 503):
            receiver.deal = lambda _, status=status: web.Response(status=status, headers={"Retry-After": "0"})  # type: ignore[misc]
            await send(sidecar, status)
            await settled(lambda status=status: f"forward.endpoint answers HTTP {status}" in caplog.text)  # type: ignore[misc]
            receiver.deal = lambda _: web.Response()
            await send(sidecar, 1000 + status)
            await settled(lambda status=status: caplog.text.count("forward.endpoint answers again") == 1 + (status == 503))  # type: ignore[misc]
    assert "doesn't answer" not in caplog.text


@BOTH
@on_a_loop
async def test_a_queue_that_is_full_drops_and_counts_and_nobody_else_notices(protocol: str) -> None:
    config = to(free_port(), protocol, ", queue_bytes: 3000")
    async with running(config, Clock(END_NS)) as sidecar:
        await send(sidecar, *range(30))
        text = await metrics(sidecar)
        assert value(text, "spans_received_total", protocol="http") == 30
        assert (value(text, "forward_queue_bytes") or 0) <= 3000 == value(text, "forward_queue_limit_bytes")
        assert (dropped(text, "queue_full") or 0) >= 24


@BOTH
@on_a_loop
async def test_it_ends_with_a_full_queue_in_front_of_a_receiver_that_hangs(protocol: str) -> None:
    async with RECEIVERS[protocol](0) as receiver:
        async with running(to(receiver.port, protocol), Clock(END_NS)) as sidecar:
            receiver.answering.clear()
            await send(sidecar, *range(100))
            await receiver.exports(ATTEMPTS_AT_ONCE)
            counted = await sidecar.stopped()
        assert counted.forward is not None
        assert counted.forward.spans_dropped["shutdown"] == 100
        assert counted.forward.queue_bytes == 0


@BOTH
@on_a_loop
async def test_what_waits_at_the_end_still_goes(protocol: str) -> None:
    async with RECEIVERS[protocol](0) as receiver, running(to(receiver.port, protocol), Clock(END_NS)) as sidecar:
        await send(sidecar, *range(30))
        counted = await sidecar.stopped()
        assert counted.forward is not None
        assert counted.forward.spans_forwarded == len(receiver.got) == 30


@BOTH
@on_a_loop
async def test_headers_are_sent_with_what_the_environment_holds_and_no_log_shows_it(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with RECEIVERS[protocol](0) as receiver:
        more = ', headers: {Authorization: "Bearer ${env:TOKEN}", X-Scope-OrgID: chat}'
        config = load_config(LISTEN + to(receiver.port, protocol, more), "test")
        stop = asyncio.Event()
        addresses: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            app.run(
                config,
                load_mappings("auto", {}),
                gpus=lambda _: None,
                environ={"TOKEN": TOKEN},
                now=Clock(END_NS),
                stop=stop,
                on_listen=lambda told: addresses.set_result(dict(told)),
            )
        )
        channel = grpc.insecure_channel((await addresses)["otlp_grpc"])
        await asyncio.to_thread(channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export"), body(span(1)))
        channel.close()
        (got,) = await receiver.exports(1)
        stop.set()
        await serving
    headers = {name.lower(): text for name, text in got.headers.items()}
    assert (headers["authorization"], headers["x-scope-orgid"]) == (f"Bearer {TOKEN}", "chat")
    assert "infermeter/" in headers["user-agent"] or protocol == "grpc"
    assert TOKEN not in caplog.text


@on_a_loop
async def test_a_variable_that_is_missing_keeps_it_from_starting() -> None:
    with pytest.raises(ConfigErrors, match="TOKEN"):
        async with running(to(1, "http", ', headers: {a: "${env:TOKEN}"}'), Clock(END_NS)):
            pass


@on_a_loop
async def test_a_name_that_can_not_be_resolved_is_told(caplog: pytest.LogCaptureFixture) -> None:
    config = 'forward: {endpoint: "http://nowhere.invalid:4318", retry_for: 0s}\n'
    async with running(config, Clock(END_NS)) as sidecar:
        await send(sidecar, 1)
        await until(sidecar, lambda text: dropped(text, "expired") == 1)
    assert "forward.endpoint doesn't answer: its name can't be resolved" in caplog.text


@on_a_loop
async def test_of_what_unpacks_to_much_one_at_a_time_is_under_way_and_holds_up_no_other() -> None:
    large = [gzip.compress(body(span(number, {"text": "x" * (5 << 20)}))) for number in (1, 2)]
    async with grpc_receiver() as receiver, running(to(receiver.port, "grpc"), Clock(END_NS)) as sidecar:
        receiver.answering.clear()
        for sent in large:
            assert await send_packed(sidecar, sent) == 200
        await receiver.exports(1)
        await send(sidecar, 3)
        await receiver.exports(2)
        await sidecar.stopped()  # a while later
        assert sorted(len(each.unpacked) > 5 << 20 for each in receiver.got) == [False, True]


async def send_packed(sidecar: Running, sent: bytes) -> int:
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
    async with sidecar.http.post(f"http://{sidecar.addresses['otlp_http']}/v1/traces", data=sent, headers=headers) as response:
        return response.status

"""The OTLP listener over HTTP, attacked over a bare socket; what it really answers, and counts, is asserted."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from infermeter.config import Limits
from security.attacking import HEADER_SECONDS, SOON_SECONDS, otlp_port, sent, until_closed
from unit.otlp.exports import body, span

EXPORT = body(span())

HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nConnection: close\r\n"


def post(content: bytes, *headers: bytes) -> bytes:
    """An export."""
    return b"".join((HEAD, *(header + b"\r\n" for header in headers), b"Content-Length: %d\r\n\r\n" % len(content), content))


def answered(*parts: bytes, limits: Limits | None = None) -> tuple[list[int], dict[str, int]]:
    """The statuses that these bytes are answered with, and what was counted by reason; an honest export is taken after them."""

    async def run() -> tuple[list[int], dict[str, int]]:
        async with otlp_port(limits) as senders:
            statuses = (await sent(senders.port, *parts)).statuses
            refused = senders.refused
            assert (await sent(senders.port, post(EXPORT))).status == 200
            assert len(senders.exports) == 1
            return statuses, refused

    return asyncio.run(run())


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"X: a\r\n folded: b\r\n\r\n",
        b"X: a\x00b\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        b"Content-Length: 4, 4\r\n\r\nabcd",
        b"Content-Length: +4\r\n\r\nabcd",
        b"Content-Length: 99999999999999999999999\r\n\r\n",
        b"X: a\nContent-Length: 4\r\n\r\nabcd",
        b"X: a\rY: b\r\n\r\n",
        b"Host: y\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4 \r\nabcd\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 9000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 9000,
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcdef\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX y\r\n\r\n",
    ],
)
def test_an_export_that_others_could_end_elsewhere_is_refused_and_what_follows_is_not_read(headers: bytes) -> None:
    assert answered(HEAD + headers + post(EXPORT)) == ([400], {"malformed": 1})


def test_chunks_that_are_none_end_the_export() -> None:
    assert answered(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n") == ([400], {"malformed": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        bytes(100),
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET /v1/traces\r\n\r\n",
        b"POST /v1/traces HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/traces HTTP/3.0\r\nHost: x\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\n\r\n",
    ],
    ids=["HTTP/2", "TLS", "zeros", "line feeds alone", "HTTP/0.9", "chunks in HTTP/1.0", "HTTP/3", "no host"],
)
def test_what_is_another_protocol_is_refused(data: bytes) -> None:
    assert answered(data) == ([400], {"malformed": 1})


@pytest.mark.parametrize(
    "head",
    [
        b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(100)) + b"\r\n",
    ],
    ids=["path", "value", "count"],
)
def test_headers_that_are_too_long_or_too_many_are_refused(head: bytes) -> None:
    assert answered(head) == ([400], {"malformed": 1})


@pytest.mark.parametrize("path", ["/..", "//v1/traces", "/v1/../v1/traces", "/v1/traces/", "/v1/traces%00", "/v1/traces;x", "/V1/TRACES"])
def test_a_path_that_is_written_in_another_way_leads_nowhere(path: str) -> None:
    assert answered(post(EXPORT).replace(b"/v1/traces", path.encode())) == ([404], {})


def test_a_bomb_is_never_unpacked_further_than_its_limit() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    limits = Limits(body_bytes=1 << 20, decompressed_bytes=1 << 20, request_time=SOON_SECONDS)
    assert len(bomb) < limits.body_bytes
    assert answered(post(bomb, b"Content-Encoding: gzip"), limits=limits) == ([413], {"too_large": 1})
    twice = gzip.compress(bomb)
    assert answered(post(twice, b"Content-Encoding: gzip, gzip"), limits=limits) == ([415], {"malformed": 1})


def test_a_body_that_claims_to_be_huge_is_refused_before_it_is_sent() -> None:
    head = HEAD + b"Content-Length: 99999999999\r\n\r\n"
    assert answered(head, limits=Limits(request_time=SOON_SECONDS)) == ([413], {"too_large": 1})


@pytest.mark.parametrize(
    "head", [b"POST /v1/traces HTTP/1.1\r\nX: aaaaaaaaa", HEAD + b"Content-Length: 1000\r\n\r\n" + b"a" * 40], ids=["headers", "body"]
)
def test_what_drips_is_cut_off_at_a_bound_of_all_of_it_and_counted(head: bytes) -> None:
    async def run() -> None:
        async with otlp_port(Limits(request_time=HEADER_SECONDS)) as senders:
            loop = asyncio.get_running_loop()
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            began = loop.time()
            closed = asyncio.create_task(until_closed(reader))
            whole = head.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in head else 0
            writer.write(head[:whole])
            for byte in head[whole:] * 1000:
                if closed.done() or senders.refused or loop.time() - began > SOON_SECONDS:
                    break
                writer.write(bytes([byte]))
                await asyncio.wait((closed,), timeout=HEADER_SECONDS / 10)
            assert HEADER_SECONDS * 0.5 < loop.time() - began < SOON_SECONDS
            assert senders.refused == {"malformed": 1}
            writer.transport.abort()
            await closed

    asyncio.run(run())


def test_many_that_say_nothing_are_bounded_and_cut_off() -> None:
    async def run() -> None:
        async with otlp_port(Limits(request_time=HEADER_SECONDS, connections=8)) as senders:
            idle = [await asyncio.open_connection("127.0.0.1", senders.port) for _ in range(8)]
            assert (await sent(senders.port, post(EXPORT))).status == 503
            assert senders.refused == {"overload": 1}
            for reader, writer in idle:
                assert await until_closed(reader) == b""
                writer.close()
            assert (await sent(senders.port, post(EXPORT))).status == 200

    asyncio.run(run())


def test_after_an_upgrade_that_there_is_not_nothing_more_is_read() -> None:
    head = b"GET /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert answered(head + post(EXPORT)) == ([405], {})


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST /v1/traces HTTP/1.0\r\n",
        b"POST /v1/traces?query=1 HTTP/1.1\r\nHost: x\r\n",
        b"POST http://x/v1/traces HTTP/1.1\r\nHost: x\r\n",
    ],
    ids=["HTTP/1.0", "query", "as to a proxy"],
)
def test_what_is_http_as_well_is_taken_and_answered_in_http_1_1(request_line: bytes) -> None:
    async def run() -> None:
        async with otlp_port() as senders:
            fields = b"Content-Type: application/x-protobuf\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(EXPORT)
            answer = await sent(senders.port, request_line + fields + EXPORT)
            assert answer.data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert len(senders.exports) == 1

    asyncio.run(run())


def test_requests_that_come_at_once_are_answered_one_by_one_in_their_order() -> None:
    head = HEAD.replace(b"Connection: close\r\n", b"")
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(EXPORT), EXPORT)
    wrong = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    async def run() -> None:
        async with otlp_port() as senders:
            answer = await sent(senders.port, head + chunked + wrong + head + b"Content-Length: 1\r\n\r\na" + post(b""))
            assert answer.statuses == [200, 404, 400, 200]
            assert len(senders.exports) == 1

    asyncio.run(run())


def test_one_that_never_reads_its_answers_is_not_read_for_ever_and_keeps_nobody_waiting() -> None:
    async def is_read(writer: asyncio.StreamWriter, data: bytes) -> bool:
        writer.write(data)
        try:
            await asyncio.wait_for(writer.drain(), 5 * HEADER_SECONDS)
        except TimeoutError:
            return False
        return True

    async def run() -> None:
        async with otlp_port(Limits()) as senders:
            kept, writer = await asyncio.open_connection("127.0.0.1", senders.port, limit=1)
            flood = (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n") * 1000
            most = (64 << 20) // len(flood)  # several times what a socket's buffers hold
            assert not all([await is_read(writer, flood) for _ in range(most) if writer.transport.get_write_buffer_size() < len(flood)])
            assert (await sent(senders.port, post(EXPORT))).status == 200
            assert not kept.at_eof()
            writer.transport.abort()

    asyncio.run(run())

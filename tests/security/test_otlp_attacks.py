"""The OTLP listener over HTTP, attacked over a bare socket; what it really answers, and counts, is asserted."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter

import pytest

from infermeter.config import Limits
from security.attacking import HEADER_SECONDS, SOON_SECONDS, Senders, otlp_port, sent, until_closed
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
            refused = reasons(senders)
            assert (await sent(senders.port, post(EXPORT))).status == 200
            assert len(senders.exports) == 1
            return statuses, refused

    return asyncio.run(run())


def reasons(senders: Senders) -> dict[str, int]:
    """How many exports were refused, by reason."""
    return dict(Counter({reason: count for (_, reason), count in senders.receiver.exports_refused.items()}))


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
    ],
    ids=["HTTP/2", "TLS", "zeros", "line feeds alone"],
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
                if closed.done() or reasons(senders) or loop.time() - began > SOON_SECONDS:
                    break
                writer.write(bytes([byte]))
                await asyncio.wait((closed,), timeout=HEADER_SECONDS / 10)
            assert HEADER_SECONDS * 0.5 < loop.time() - began < SOON_SECONDS
            assert reasons(senders) == {"malformed": 1}
            writer.transport.abort()
            await closed

    asyncio.run(run())


def test_many_that_say_nothing_are_bounded_and_cut_off() -> None:
    async def run() -> None:
        async with otlp_port(Limits(request_time=HEADER_SECONDS, connections=8)) as senders:
            idle = [await asyncio.open_connection("127.0.0.1", senders.port) for _ in range(8)]
            assert (await sent(senders.port, post(EXPORT))).status == 503
            assert reasons(senders) == {"overload": 1}
            for reader, writer in idle:
                assert await until_closed(reader) == b""
                writer.close()
            assert (await sent(senders.port, post(EXPORT))).status == 200

    asyncio.run(run())


def test_after_an_upgrade_that_there_is_not_nothing_more_is_read() -> None:
    head = b"GET /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert answered(head + post(EXPORT)) == ([405], {})

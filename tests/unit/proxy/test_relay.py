"""What a client gets through the proxy is what the upstream server answers, and the other way round."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infermeter.config import Limits
from infermeter.proxy.relay import refused
from support.proxied import Handler, Proxied, Wire, listening, on_the_wire, proxied

LARGE = os.urandom(8 << 20)


def through(handler: Handler, scenario: Callable[[Proxied], Awaitable[Any]], **options: Any) -> Any:
    """What a scenario gives with a proxy before this handler."""

    async def run() -> Any:
        async with listening(handler) as port, proxied(port, **options) as proxy:
            return await scenario(proxy)

    return asyncio.run(run())


def through_wire(answer: Wire, scenario: Callable[[Proxied], Awaitable[Any]], **options: Any) -> Any:
    """Likewise, before a server that handles bytes."""

    async def run() -> Any:
        async with on_the_wire(answer) as port, proxied(port, **options) as proxy:
            return await scenario(proxy)

    return asyncio.run(run())


async def echo(request: web.BaseRequest) -> web.Response:
    return web.Response(body=await request.content.read())


def canned(answer: bytes) -> Wire:
    """Reads the head of a request, and writes these bytes."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return one


async def pieces(body: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


# --- bodies --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("body", [b"", b"x", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_a_body_comes_back_as_it_was_sent(body: bytes, *, chunked: bool) -> None:
    async def scenario(proxy: Proxied) -> bytes:
        async with proxy.http.post(proxy.url, data=pieces(body) if chunked else io.BytesIO(body)) as response:
            assert response.status == 200
            return await response.read()

    assert through(echo, scenario) == body


def test_a_body_that_is_sent_in_chunks_arrives_in_chunks_and_a_sized_one_with_its_size() -> None:
    async def framing(request: web.BaseRequest) -> web.StreamResponse:
        await request.content.read()
        return web.json_response([request.headers.get("Content-Length"), request.headers.get("Transfer-Encoding")])

    async def scenario(proxy: Proxied) -> list[Any]:
        told = []
        for data in (io.BytesIO(LARGE), pieces(LARGE)):
            async with proxy.http.post(proxy.url, data=data) as response:
                told.append(await response.json())
        return told

    assert through(framing, scenario) == [[str(len(LARGE)), None], [None, "chunked"]]


def test_an_answer_in_chunks_comes_in_chunks_and_a_sized_one_with_its_size() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        if request.method == "PUT":
            response.content_length = 5
        await response.prepare(request)
        await response.write(b"hello")
        return response

    async def scenario(proxy: Proxied) -> list[Any]:
        told = []
        for method in ("PUT", "POST"):
            async with proxy.http.request(method, proxy.url) as response:
                told.append((response.headers.get("Content-Length"), response.headers.get("Transfer-Encoding"), await response.read()))
        return told

    assert through(answer, scenario) == [("5", None, b"hello"), (None, "chunked", b"hello")]


def test_packed_bodies_stay_packed() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.content.read(), headers={"Content-Encoding": request.headers["Content-Encoding"]})

    async def scenario(proxy: Proxied) -> tuple[bytes, str]:
        async with proxy.http.post(proxy.url, data=gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"}) as response:
            return await response.read(), response.headers["Content-Encoding"]

    assert through(answer, scenario) == (gzip.compress(b"hello"), "gzip")


def test_pieces_of_an_answer_arrive_while_the_next_are_being_made() -> None:
    async def run() -> None:
        more = asyncio.Event()

        async def events(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            response._payload_writer.send_headers()  # type: ignore[union-attr]  # noqa: SLF001 - aiohttp would keep them back
            await more.wait()
            for number in range(3):
                more.clear()
                await response.write(b"data: %d\n\n" % number)
                await more.wait()
            return response

        async with listening(events) as port, proxied(port) as proxy, proxy.http.post(proxy.url) as response:
            assert response.headers["Content-Type"] == "text/event-stream"  # they are here before there is a body
            for number in range(3):
                more.set()
                assert await response.content.readany() == b"data: %d\n\n" % number
            more.set()
            assert await response.content.readany() == b""

    asyncio.run(run())


def test_an_answer_may_begin_before_the_body_has_ended() -> None:
    async def duplex(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while piece := await request.content.readany():
            await response.write(piece)
        return response

    async def scenario(proxy: Proxied) -> bytes:
        answered = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            await answered.wait()
            yield b"two"

        async with proxy.http.post(proxy.url, data=body()) as response:
            first = await response.content.readany()
            answered.set()
            return first + await response.read()

    assert through(duplex, scenario) == b"onetwo"


async def until_it_blocks(writer: asyncio.StreamWriter) -> int:
    """Writes until nobody takes more; how much went out."""
    piece, written = bytes(1 << 16), 0
    with suppress(TimeoutError):
        while written < 256 << 20:
            async with asyncio.timeout(0.5):
                writer.write(piece)
                await writer.drain()
                written += len(piece)
    return written


def test_a_client_that_takes_nothing_holds_the_upstream_server_back() -> None:
    async def run() -> int:
        blocked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            blocked.set_result(await until_it_blocks(writer))

        async with on_the_wire(answer) as port, proxied(port) as proxy:
            _, writer = await asyncio.open_connection(proxy.host, proxy.port, limit=1)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            sent = await blocked
            writer.transport.abort()
            return sent

    assert asyncio.run(run()) < 32 << 20  # the kernel's buffers, twice, and a little more


def test_an_upstream_server_that_takes_nothing_holds_the_client_back() -> None:
    async def run() -> int:
        done = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await done.wait()

        async with on_the_wire(answer) as port, proxied(port) as proxy:
            _, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n")
            sent = await until_it_blocks(writer)
            writer.transport.abort()
            done.set()
            return sent

    assert asyncio.run(run()) < 32 << 20


# --- messages ------------------------------------------------------------------------------------------------------------------------
def test_a_request_arrives_as_it_was_sent() -> None:
    async def run() -> bytes:
        heads = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        async with on_the_wire(answer) as port, proxied(port, base="/base/") as proxy:
            fields = b"Host: Example.com\r\nX-Odd:  two  words \r\nX-Odd: again\r\nConnection: close\r\n"
            await proxy.wire(b"GET /a%2Fb/../c//d?q=%20+%zz HTTP/1.1\r\n" + fields + b"\r\n")
        return heads[0]

    assert asyncio.run(run()).decode().splitlines() == [
        "GET /base/a%2Fb/../c//d?q=%20+%zz HTTP/1.1",
        "Host: Example.com",
        "X-Odd: two  words",
        "X-Odd: again",
        "Via: 1.1 infermeter",
        "X-Forwarded-For: 127.0.0.1",
        "",
    ]


ANSWER = b"HTTP/1.1 299 Rather Fine\r\nSet-Cookie: a=1\r\nx-one: 1\r\nSet-Cookie: b=2\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok"


def test_an_answer_comes_back_as_it_was_made() -> None:
    async def scenario(proxy: Proxied) -> bytes:
        return await proxy.wire(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")

    assert through_wire(canned(ANSWER), scenario).decode().splitlines() == [
        "HTTP/1.1 299 Rather Fine",
        "Set-Cookie: a=1",
        "x-one: 1",
        "Set-Cookie: b=2",
        "Content-Length: 2",
        "Connection: close",
        "",
        "ok",
    ]


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nEtag: x\r\nConnection: close\r\n\r\n"),
        ("GET", b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),  # noqa: E501
        ("GET", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),  # noqa: E501
        ("GET", b"HTTP/1.0 200 OK\r\n\r\nto the end", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\na\r\nto the end\r\n0\r\n\r\n"),  # noqa: E501
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n"),  # noqa: E501
    ],
    ids=["HEAD", "HEAD of chunks", "204", "304", "302", "no reason", "103 is kept back", "to the end", "trailers are left out"],
)  # fmt: skip
def test_answers_of_every_kind_end_where_they_end(method: str, answer: bytes, expected: bytes) -> None:
    async def scenario(proxy: Proxied) -> bytes:
        return await proxy.wire(f"{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    assert through_wire(canned(answer), scenario) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"Content-Length: 2\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"),
        (b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nok"),
    ],
    ids=["sized", "chunked"],
)
def test_an_old_client_gets_an_answer_that_it_understands(head: bytes, expected: bytes) -> None:
    body = b"ok" if b"Length" in head else b"2\r\nok\r\n0\r\n\r\n"

    async def scenario(proxy: Proxied) -> bytes:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await reader.readexactly(len(expected))
        writer.close()
        return answer

    assert through_wire(canned(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body), scenario) == expected


def test_a_server_that_hangs_up_after_a_stream_though_it_says_otherwise_loses_no_request() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await begun.wait()
        writer.write(b"1\r\ny\r\n0\r\n\r\n")
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")  # whatever comes is never answered

    async def scenario(proxy: Proxied) -> list[bytes]:
        answers = []
        async with aiohttp.ClientSession() as http:
            for _ in range(2):
                begun.clear()
                async with http.post(f"{proxy.url}/") as response:
                    first = await response.content.readexactly(1)
                    begun.set()
                    answers.append(first + await response.read())
        return answers

    begun = asyncio.Event()
    assert through_wire(answer, scenario) == [b"xy", b"xy"]


def test_a_connection_serves_one_request_after_the_other() -> None:
    async def scenario(proxy: Proxied) -> bytes:
        one = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n%s\r\nx"
        return await proxy.wire(one % b"" + one % b"Connection: close\r\n")

    assert through(echo, scenario).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async def scenario(proxy: Proxied) -> bytes:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        answer = await reader.read()
        writer.close()
        return answer

    assert through(echo, scenario).endswith(b"\r\n\r\nbody")


def test_an_old_client_that_can_t_be_asked_for_its_body_isn_t() -> None:
    async def run() -> bytes:
        begun = asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.Response:
            first = await request.content.readany()
            begun.set()
            return web.Response(body=first + await request.content.read())

        async with listening(answer) as port, proxied(port) as proxy:
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbo")
            await begun.wait()
            writer.write(b"dy")
            received = await reader.read()
            writer.close()
            return received

    received = asyncio.run(run())
    assert received.startswith(b"HTTP/1.0 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nbody")


def test_an_answer_whose_length_stays_on_its_connection_still_ends_for_an_old_client() -> None:
    async def scenario(proxy: Proxied) -> bytes:
        return await proxy.wire(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    answer = b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok"
    assert through_wire(canned(answer), scenario) == b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nok"


def test_clients_may_come_over_ipv6() -> None:
    async def run() -> tuple[str, str]:
        async def client(request: web.BaseRequest) -> web.Response:
            return web.Response(text=request.headers["X-Forwarded-For"])

        async with listening(client) as port, proxied(port, listen="[::1]:0") as proxy, proxy.http.post(proxy.url) as response:
            return proxy.url.rpartition(":")[0], await response.text()

    assert asyncio.run(run()) == ("http://[::1]", "::1")


# --- what doesn't go through ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"501"),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"400"),
        (b"GET @elsewhere/ HTTP/1.1\r\nHost: h\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"505"),
        (b"POST / HTTP/2.0\r\nHost: h\r\nContent-Length: 0\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 200 + b"\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\nx", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 1\r\n\r\nx", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\nHost: h\nContent-Length: 0\n\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", b"400"),
    ],
    ids=[
        "tunnel",
        "WebSocket",
        "coding",
        "no path",
        "another server",
        "no HTTP",
        "HTTP/0.9",
        "HTTP/2",
        "long target",
        "long field",
        "many fields",
        "length and chunks",
        "chunks and length",
        "two lengths",
        "signed length",
        "space before the colon",
        "two codings",
        "hidden coding",
        "folded field",
        "chunks without CR",
        "chunk beyond 64 bits",
        "two hosts",
        "lines without CR",
        "CR in a field",
    ],
)
def test_what_can_t_go_through_is_refused_and_reaches_nobody(request_head: bytes, status: bytes) -> None:
    async def unreached(_: web.BaseRequest) -> web.Response:
        raise AssertionError

    async def scenario(proxy: Proxied) -> bytes:
        answer = await proxy.wire(request_head)
        assert await proxy.spans() == ()
        return answer

    assert re.match(rb"HTTP/\d.\d " + status, through(unreached, scenario))


def test_an_upgrade_that_a_server_may_ignore_is_ignored() -> None:
    async def scenario(proxy: Proxied) -> bytes:
        return await proxy.wire(
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
            b"Content-Length: 2\r\n\r\nok"
        )

    assert through(echo, scenario).endswith(b"\r\n\r\nok")


def test_an_absolute_target_goes_to_the_upstream_server_all_the_same() -> None:
    async def path(request: web.BaseRequest) -> web.Response:
        return web.Response(text=request.raw_path)

    async def scenario(proxy: Proxied) -> bytes:
        return await proxy.wire(b"GET http://elsewhere.invalid/x?y=1 HTTP/1.1\r\nHost: elsewhere.invalid\r\nConnection: close\r\n\r\n")

    assert through(path, scenario).endswith(b"\r\n\r\n/x?y=1")


def test_a_refusal_says_whose_it_is() -> None:
    response = refused(web.HTTPBadGateway().status_code, "why")  # type: ignore[arg-type]
    assert (response.text, response.keep_alive) == ("infermeter proxy: why\n", False)


# --- failures ------------------------------------------------------------------------------------------------------------------------
async def failure_of(proxy: Proxied) -> tuple[str, str | None]:
    (span,) = await proxy.inferences()
    assert span.attributes is not None
    found = span.attributes.get("error.type")
    return span.status.status_code.name, None if found is None else str(found)


def test_a_server_that_is_down_is_a_bad_gateway_and_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with listening(echo) as port:
            pass
        async with proxied(port) as proxy:
            for _ in range(2):
                async with proxy.http.post(proxy.url, data=b"x") as response:
                    assert (response.status, await response.text()) == (502, "infermeter proxy: the upstream server doesn't answer\n")
            spans = await proxy.spans()
        assert [(span.name, span.attributes) for span in spans] == [("inference", {"error.type": "upstream_unavailable"})] * 2
        assert {span.status.status_code.name for span in spans} == {"ERROR"}

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ["the upstream server doesn't answer"]


def test_a_server_that_comes_back_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([b"", b"", ANSWER, ANSWER])

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))

    async def scenario(proxy: Proxied) -> list[int]:
        statuses = []
        for _ in range(4):
            async with proxy.http.post(proxy.url, headers={"Connection": "close"}) as response:
                statuses.append(response.status)
        return statuses

    with caplog.at_level("INFO"):
        assert through_wire(one, scenario) == [502, 502, 299, 299]
    assert [record.getMessage() for record in caplog.records] == ["the upstream server doesn't answer", "the upstream server answers again"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
    ids=["sized", "chunked"],
)
def test_an_answer_that_is_cut_off_looks_cut_off(answer: bytes) -> None:
    async def scenario(proxy: Proxied) -> tuple[str, str | None]:
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            async with proxy.http.post(proxy.url) as response:
                await response.read()
        return await failure_of(proxy)

    assert through_wire(canned(answer), scenario) == ("ERROR", "upstream_cut_off")


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["no HTTP", "long field", "coding", "another protocol"],
)
def test_what_is_no_answer_is_a_bad_gateway(answer: bytes) -> None:
    async def scenario(proxy: Proxied) -> int:
        async with proxy.http.post(proxy.url) as response:
            return response.status

    assert through_wire(canned(answer), scenario) == 502


@pytest.mark.parametrize("status", [200, 302, 400, 429, 500])
def test_an_answer_is_a_failure_from_400_on(status: int) -> None:
    async def scenario(proxy: Proxied) -> tuple[str, str | None]:
        async with proxy.http.post(proxy.url, allow_redirects=False) as response:
            assert response.status == status
        return await failure_of(proxy)

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    assert through(answer, scenario) == (("ERROR", str(status)) if status >= 400 else ("UNSET", None))


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "during the answer"])
def test_a_client_that_goes_away_stops_the_upstream_server(*, begun: bool) -> None:
    async def run() -> tuple[str, str | None]:
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            try:
                if begun:
                    await response.prepare(request)
                    await response.write(b"token")
                asked.set()
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return response

        async with listening(answer) as port, proxied(port) as proxy:
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            await asked.wait()
            if begun:
                await reader.readuntil(b"token")
            writer.close()
            await cancelled.wait()
            return await failure_of(proxy)

    assert asyncio.run(run()) == ("ERROR", "client_gone")


@pytest.mark.parametrize("rest", [b"", b"zz\r\n"], ids=["cut off", "malformed"])
def test_a_body_that_isn_t_whole_never_looks_whole(rest: bytes) -> None:
    async def run() -> tuple[str, str | None]:
        begun, ended = asyncio.Event(), asyncio.Event()
        whole: list[bytes] = []

        async def answer(request: web.BaseRequest) -> web.Response:
            try:
                assert await request.content.readany() == b"hello"
                begun.set()
                whole.append(await request.content.read())
            finally:
                ended.set()
            return web.Response()

        async with listening(answer) as port, proxied(port) as proxy:
            _, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await begun.wait()
            writer.write(rest)
            writer.close()
            await ended.wait()
            assert whole == []
            return await failure_of(proxy)

    assert asyncio.run(run()) == ("ERROR", "client_gone")


@pytest.mark.parametrize("rest", [b"", b"zz\r\n"], ids=["silent", "malformed"])
def test_a_body_that_doesn_t_go_on_is_a_bad_request(rest: bytes) -> None:
    async def scenario(proxy: Proxied) -> tuple[bytes, tuple[str, str | None]]:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(rest)
        answer = await reader.read()
        writer.close()
        return answer, await failure_of(proxy)

    answer, failure = through(echo, scenario, patience_seconds=0.05)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert failure == ("ERROR", "client_gone")


@pytest.mark.parametrize("closing", [False, True], ids=["server stays", "server closes"])
def test_an_answer_before_the_end_of_the_body_reaches_its_client_and_breaks_nothing(
    caplog: pytest.LogCaptureFixture, *, closing: bool
) -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        if not closing:
            await reader.read()

    async def scenario(proxy: Proxied) -> tuple[bytes, tuple[str, str | None]]:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        answers = b""
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf")
            answers += await reader.readuntil(b"no")
            writer.write(b"half")  # it is dropped, and the connection goes on
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf")
        await reader.readuntil(b"no")
        writer.transport.abort()
        return answers, [span.attributes for span in await proxy.inferences()]  # type: ignore[return-value]

    answers, failures = through_wire(early, scenario)
    assert answers.count(b"HTTP/1.1 413 Content Too Large\r\n") == 2
    assert failures == [{"error.type": "413"}] * 3
    assert [record.getMessage() for record in caplog.records] == []


def test_a_client_that_takes_nothing_doesn_t_keep_its_turn() -> None:
    async def run() -> list[Any]:
        cancelled = asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while request.path == "/endless":
                    await response.write(bytes(1 << 16))
            finally:
                cancelled.set()
            return response

        async with listening(answer) as port, proxied(port, in_flight=1, patience_seconds=0.1) as proxy:
            _, writer = await asyncio.open_connection(proxy.host, proxy.port, limit=1)
            writer.write(b"POST /endless HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            await cancelled.wait()
            async with proxy.http.post(proxy.url) as response:
                assert response.status == 200
            writer.transport.abort()
            return [span.attributes for span in await proxy.inferences()]

    assert asyncio.run(run()) == [{"error.type": "client_gone"}, {}]


# --- turns ---------------------------------------------------------------------------------------------------------------------------
def queue_seconds(spans: Any) -> list[float]:
    return sorted((span.end_time - span.start_time) / 1e9 for span in spans if span.name == "queue")


def test_requests_take_their_turns() -> None:
    async def run() -> None:
        most = now = 0
        proceed, two = asyncio.Event(), asyncio.Event()

        async def answer(_: web.BaseRequest) -> web.Response:
            nonlocal most, now
            now += 1
            most = max(most, now)
            if now == 2:
                two.set()
            await proceed.wait()
            await asyncio.sleep(0.01)
            now -= 1
            return web.Response()

        async with listening(answer) as port, proxied(port, in_flight=2) as proxy:

            async def one() -> int:
                async with proxy.http.post(proxy.url) as response:
                    return response.status

            requests = [asyncio.create_task(one()) for _ in range(6)]
            await two.wait()
            proceed.set()
            assert await asyncio.gather(*requests) == [200] * 6
            queued = queue_seconds(await proxy.spans())
        assert most == 2
        assert len(queued) == 6
        assert queued[-1] > 0.01

    asyncio.run(run())


def test_a_probe_for_health_takes_no_turn() -> None:
    async def run() -> None:
        done, asked = asyncio.Event(), asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.Response:
            if request.method == "POST":
                asked.set()
                await done.wait()
            return web.Response()

        async with listening(answer) as port, proxied(port, in_flight=1) as proxy:
            first = asyncio.create_task(proxy.http.post(proxy.url))
            await asked.wait()
            async with proxy.http.get(proxy.url) as response:
                assert response.status == 200
            done.set()
            assert (await first).status == 200

    asyncio.run(run())


def test_whoever_waits_too_long_is_asked_to_come_again() -> None:
    async def run() -> None:
        done, asked = asyncio.Event(), asyncio.Event()

        async def answer(_: web.BaseRequest) -> web.Response:
            asked.set()
            await done.wait()
            return web.Response()

        async with listening(answer) as port, proxied(port, in_flight=1, queue_timeout=0.05) as proxy:
            first = asyncio.create_task(proxy.http.post(proxy.url))
            await asked.wait()
            async with proxy.http.post(proxy.url) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
            done.set()
            assert (await first).status == 200
            failed = [span for span in await proxy.inferences() if span.status.status_code.name == "ERROR"]
            assert [span.attributes for span in failed] == [{"error.type": "no_turn"}]

    asyncio.run(run())


def test_whoever_leaves_while_waiting_takes_no_turn() -> None:
    async def run() -> None:
        done, asked = asyncio.Event(), asyncio.Event()
        served = 0

        async def answer(_: web.BaseRequest) -> web.Response:
            nonlocal served
            served += 1
            asked.set()
            await done.wait()
            return web.Response()

        async with listening(answer) as port, proxied(port, in_flight=1) as proxy:
            first = asyncio.create_task(proxy.http.post(proxy.url))
            await asked.wait()
            _, leaving = await asyncio.open_connection(proxy.host, proxy.port)
            leaving.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            await leaving.drain()
            leaving.close()
            while proxy.server.relay.failed == 0:  # noqa: ASYNC110 - nobody else notices
                await asyncio.sleep(0.001)
            done.set()
            await first
            async with proxy.http.post(proxy.url) as response:
                assert response.status == 200
        assert served == 2

    asyncio.run(run())


# --- connections and the end ---------------------------------------------------------------------------------------------------------
def test_connections_are_bounded() -> None:
    async def scenario(proxy: Proxied) -> bytes:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        refusal = await proxy.wire(b"")
        writer.close()
        return refusal

    assert re.match(rb"HTTP/1.1 503 .*\r\nRetry-After: 1\r\n", through(echo, scenario, limits=Limits(connections=1)))


@pytest.mark.parametrize("begun", [b"", b"POST / HTTP/1.1\r\nHo"], ids=["silent", "slow"])
def test_a_client_that_never_finishes_its_headers_is_left(begun: bytes) -> None:
    async def scenario(proxy: Proxied) -> bytes:
        return await proxy.wire(begun)

    assert through(echo, scenario, limits=Limits(request_time=0.05)) == b""


def test_requests_under_way_end_before_the_proxy_does() -> None:
    async def run() -> None:
        proceed, asked = asyncio.Event(), asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.Response:
            asked.set()
            await proceed.wait()
            return await echo(request)

        async with listening(answer) as port, proxied(port) as proxy:
            idle_reader, idle = await asyncio.open_connection(proxy.host, proxy.port)
            request = asyncio.create_task(proxy.wire(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok"))
            await asked.wait()
            stopping = asyncio.create_task(proxy.stop(drain_seconds=20))
            assert await idle_reader.read() == b""
            idle.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(proxy.host, proxy.port)
            proceed.set()
            answered = await request
            assert b"Connection: close\r\n" in answered
            assert answered.endswith(b"\r\n\r\nok")
            await stopping
            assert (await failure_of(proxy))[0] == "UNSET"

    asyncio.run(run())


def test_a_request_that_never_ends_is_ended() -> None:
    async def run() -> tuple[str, str | None]:
        asked = asyncio.Event()

        async def answer(_: web.BaseRequest) -> web.Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        async with listening(answer) as port, proxied(port) as proxy:
            request = asyncio.create_task(proxy.wire(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok"))
            await asked.wait()
            await proxy.stop(drain_seconds=0.01)
            assert await request == b""
            return await failure_of(proxy)

    assert asyncio.run(run()) == ("ERROR", "cancelled")

"""The web port, attacked over a bare socket; what it really answers is asserted."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infermeter.network.aiohttp_connection import AiohttpConnection
from infermeter.network.file_watch import FileWatch
from infermeter.web import server
from infermeter.web.access import read_access, weakened
from security.attacking import HEADER_SECONDS, SOON_SECONDS, sent, until_closed, web_port
from support.certificates import Authority

HEAD = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def against(scenario: Callable[[int], Awaitable[None]], **changes: Any) -> None:
    """Runs a scenario against a server, which still answers afterwards."""

    async def run() -> None:
        async with web_port(**changes) as port:
            await scenario(port)

    asyncio.run(run())


def answered(*parts: bytes, **changes: Any) -> list[int]:
    """The statuses that these bytes are answered with; an honest request is answered after them."""
    statuses: list[int] = []

    async def scenario(port: int) -> None:
        statuses.extend((await sent(port, *parts)).statuses)
        assert (await sent(port, b"GET /metrics" + HEAD)).status == 200

    against(scenario, **changes)
    return statuses


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../etc/passwd",
        "//metrics",
        "/%2e%2e/metrics",
        "/%2e/metrics",
        "/metrics/",
        "/metrics%00",
        "/metrics;x",
        "/./metrics",
        "/-/../metrics",
        "/-/healthy/../../metrics",
        "/METRICS",
        "/%6detrics",
        "/-/%72eady",
        "/api%2fv1/report",
        "/%ff",
    ],
)
def test_a_path_that_is_written_in_another_way_leads_nowhere(path: str) -> None:
    assert answered(b"GET " + path.encode() + HEAD) == [404]


@pytest.mark.parametrize("target", ["metrics", "?", "/\xff", "/a b", "\x00/metrics"])
def test_what_is_no_path_is_refused(target: str) -> None:
    assert answered(b"GET " + target.encode("latin-1") + HEAD) == [400]


def test_an_absolute_url_is_read_as_its_path_and_nothing_is_fetched() -> None:
    assert answered(b"GET http://other.example/metrics" + HEAD) == [200]
    assert answered(b"CONNECT other.example:443" + HEAD) == [404]


@pytest.mark.parametrize(
    ("method", "status"), [("OPTIONS", 405), ("TRACE", 405), ("PUT", 405), ("DELETE", 405), ("PROPFIND", 405), ("FROBNICATE", 400)]
)
def test_methods_that_change_or_repeat_something_are_not_taken(method: str, status: int) -> None:
    assert answered(method.encode() + b" /metrics" + HEAD) == [status]


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\n\n0\n\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +1\r\n\r\na",
        "Content-Length: 0x1\r\n\r\na",
        "X: a\r\n folded: b\r\n\r\n",
        "X: a\rb\r\n\r\n",
        "X: a\x00b\r\n\r\n",
        "X\x01: a\r\n\r\n",
    ],
)
def test_a_request_that_others_could_end_elsewhere_is_refused_and_what_follows_is_not_read(headers: str) -> None:
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    assert answered(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n" + headers.encode() + smuggled) == [400]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /metrics HTTP/1.1\nHost: x\n\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/3.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        bytes(100),
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
    ids=["line feeds alone", "no host", "HTTP/3", "HTTP/2", "TLS", "zeros", "SSH"],
)
def test_what_is_another_protocol_is_refused(data: bytes) -> None:
    assert answered(data) == [400]


@pytest.mark.parametrize(("path", "status"), [(b"/-/healthy", 200), (b"/nowhere", 404)])
@pytest.mark.parametrize("expected", [b"secret", b"secret \xd2", b"100-continue"])
def test_what_a_request_expects_is_neither_repeated_nor_logged(
    path: bytes, status: int, expected: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(port: int) -> None:
        answer = await sent(port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: " + expected + b"\r\n\r\n")
        assert answer.statuses[-1] == status
        assert b"secret" not in answer.data

    against(scenario)
    assert caplog.records == []


def test_after_an_upgrade_that_there_is_not_nothing_more_is_read() -> None:
    head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert answered(head + b"GET /metrics" + HEAD) == [200]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"A" * 9000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a" * 9000 + b": b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(100)) + b"\r\n",
    ],
    ids=["path", "method", "value", "name", "count"],
)
def test_headers_that_are_too_long_or_too_many_are_refused(head: bytes) -> None:
    assert answered(head) == [400]


def test_a_header_that_never_ends_is_refused_long_before_it_is_held() -> None:
    assert answered(b"GET / HTTP/1.1\r\nHost: x\r\nX: ", *[b"a" * 65_536] * 64) in ([400], [])  # it may hang up before all is sent


def test_a_body_that_nobody_wants_is_neither_read_nor_unpacked() -> None:
    bomb = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
    assert answered(bomb + b"\x1f\x8b" + bytes(18)) == [403]
    assert answered(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n" + b"a" * 1000) == [200]


def test_many_requests_in_one_write_are_answered_one_by_one() -> None:
    assert answered(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + b"GET /metrics" + HEAD) == [200] * 21


async def dripped(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> float:
    """Sends a byte every now and then, each well within the time for headers; after how many seconds it was hung up on."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    began = loop.time()
    closed = asyncio.create_task(until_closed(reader))
    for byte in data * 1000:
        if closed.done() or loop.time() - began > SOON_SECONDS:
            break
        writer.write(bytes([byte]))
        await asyncio.wait((closed,), timeout=HEADER_SECONDS / 10)
    took = loop.time() - began
    writer.transport.abort()
    await closed
    return took


def test_headers_that_drip_are_cut_off_at_a_bound_of_all_of_them() -> None:
    async def scenario(port: int) -> None:
        assert HEADER_SECONDS * 0.5 < await dripped(port, b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaa") < SOON_SECONDS

    against(scenario)


def test_headers_that_drip_after_an_answered_request_are_cut_off_too() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readuntil(b"healthy\n")
        writer.write(b"GET / HT")
        assert await until_closed(reader) == b""
        writer.close()

    against(scenario)


def test_a_connection_that_says_nothing_is_cut_off() -> None:
    async def scenario(port: int) -> None:
        assert (await sent(port)).status is None

    against(scenario)


def test_many_that_say_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 8)

    async def scenario(port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        assert (await sent(port, b"GET /metrics" + HEAD)).status == 200
        for _, writer in idle:
            writer.transport.abort()

    against(scenario, header_seconds=60.0)


def test_a_burst_that_comes_between_two_looks_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 8)

    async def scenario(port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        with ExitStack() as burst:
            for _ in range(40):  # the kernel takes them: the server hasn't seen one of them yet
                burst.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert (await sent(port, b"GET /-/ready" + HEAD)).status == 200
        for _, writer in idle:
            writer.transport.abort()

    against(scenario, header_seconds=60.0)


@pytest.mark.parametrize(
    "headers", ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin"]
)
def test_a_browser_can_not_be_made_to_reload(headers: str) -> None:
    asked: list[None] = []

    async def reload() -> tuple[bool, str]:
        asked.append(None)
        return True, "reloaded"

    assert answered(b"POST /-/reload HTTP/1.1\r\nConnection: close\r\nHost: x\r\n" + headers.encode() + b"\r\n\r\n", reload=reload) == [403]
    assert not asked
    assert answered(b"POST /-/reload" + HEAD, reload=reload) == [200]


def test_nothing_is_allowed_to_pages_of_others() -> None:
    async def scenario(port: int) -> None:
        answer = await sent(port, b"GET /api/v1/report HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n")
        assert b"Access-Control-Allow" not in answer.data
        assert b"Cross-Origin-Resource-Policy: same-origin" in answer.data

    against(scenario)


def secured(folder: Path) -> tuple[Authority, FileWatch[Any]]:
    """An authority, and access with a certificate of it."""
    authority = Authority(folder)
    authority.pem("server", "127.0.0.1")
    file = folder / "web.yml"
    file.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}")
    return authority, FileWatch("a file", lambda: read_access(str(file)), refused=weakened, fail=lambda _: None)


def test_a_handshake_that_never_comes_or_drips_is_cut_off(tmp_path: Path) -> None:
    authority, access = secured(tmp_path)

    async def scenario(port: int) -> None:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(480)
        assert await dripped(port, hello) < SOON_SECONDS
        assert (await sent(port)).status is None
        assert HEADER_SECONDS * 0.5 < await dripped(port, b"GET / HTTP/1.1\r\nX: aaaaaaaaaaa", authority.client()) < SOON_SECONDS
        assert (await sent(port, b"GET /metrics" + HEAD, tls=authority.client())).status == 200

    against(scenario, access=access)


def test_plain_text_to_a_port_with_tls_gets_no_answer(tmp_path: Path) -> None:
    authority, access = secured(tmp_path)

    async def scenario(port: int) -> None:
        assert b"HTTP" not in (await sent(port, b"GET /metrics" + HEAD)).data
        assert (await sent(port, b"GET /metrics" + HEAD, tls=authority.client())).status == 200

    against(scenario, access=access)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_below_1_2_is_not_spoken(tmp_path: Path) -> None:
    authority, access = secured(tmp_path)
    old = authority.client()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    async def scenario(port: int) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await sent(port, b"GET /metrics" + HEAD, tls=old)

    against(scenario, access=access)


def test_a_connection_that_spoke_no_http_holds_no_memory_until_the_collector_finds_it() -> None:
    def connections() -> int:
        return sum(isinstance(one, AiohttpConnection) for one in gc.get_objects())

    async def scenario(port: int) -> None:
        before = connections()
        for _ in range(3):
            assert (await sent(port, b"\x00\x01garbage\r\n\r\n")).status == 400
        for _ in range(100):  # turns of the loop, in which the server's side ends too
            await asyncio.sleep(0)
        assert connections() == before

    gc.collect()
    gc.disable()
    try:
        against(scenario)
    finally:
        gc.enable()

"""Connections that shake hands, and those that don't."""

from __future__ import annotations

import asyncio
import gc
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infermeter.network.listener import TlsListener
from infermeter.network.tls import TlsChoice, server_context
from support.certificates import Authority
from support.patience import SOON_SECONDS


class Greeting(asyncio.Protocol):
    """Says a word and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"welcome")
        transport.close()


def against(scenario: Callable[[TlsListener, int, ssl.SSLContext], Awaitable[None]], folder: Path, **bounds: float) -> None:
    """Runs a scenario against a listener; nothing is left on the loop, and nothing complained of."""
    authority = Authority(folder)
    pem = authority.pem("server", "127.0.0.1")
    context = server_context(TlsChoice(pem.cert_file, pem.key_file))
    complaints: list[object] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
        listener = TlsListener(Greeting, lambda: context, **bounds)  # type: ignore[arg-type]  # a count is a float too
        port = await listener.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(SOON_SECONDS):
                await scenario(listener, port, authority.client())
        finally:
            listener.close()

    asyncio.run(run())
    assert complaints == []


async def welcomed(port: int, client: ssl.SSLContext) -> bytes:
    """What is said to who shakes hands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    said = await reader.read()
    writer.close()
    return said


def test_more_handshakes_than_there_may_be_displace_the_one_that_takes_longest(tmp_path: Path) -> None:
    async def scenario(_: TlsListener, port: int, client: ssl.SSLContext) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await welcomed(port, client) == b"welcome"
        assert await silent[0][0].read() == b""
        for _, writer in silent:
            writer.transport.abort()

    against(scenario, tmp_path, handshakes=2)


def test_a_handshake_has_its_time(tmp_path: Path) -> None:
    async def scenario(_: TlsListener, port: int, client: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        assert await welcomed(port, client) == b"welcome"

    against(scenario, tmp_path, handshake_seconds=0.05)


def test_handshakes_that_fail_are_dropped_without_a_word(tmp_path: Path) -> None:
    async def scenario(_: TlsListener, port: int, client: ssl.SSLContext) -> None:
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            assert b"HTTP" not in await reader.read()
            writer.close()
        with pytest.raises(ssl.SSLError):
            await welcomed(port, ssl.create_default_context())
        assert await welcomed(port, client) == b"welcome"

    against(scenario, tmp_path)


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it, what holds itself stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def handshakes_in_memory() -> int:
    return sum(isinstance(one, SSLProtocol) for one in gc.get_objects())


def test_a_handshake_that_failed_holds_no_memory_until_the_collector_finds_it(tmp_path: Path) -> None:
    async def scenario(_listener: TlsListener, port: int, _client: ssl.SSLContext) -> None:
        before = handshakes_in_memory()
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            await reader.read()
            writer.close()
        for _ in range(100):  # turns of the loop, in which the listener's side ends too
            await asyncio.sleep(0)
        assert handshakes_in_memory() == before

    with uncollected():
        against(scenario, tmp_path)


def test_closing_ends_handshakes_and_takes_no_more_connections(tmp_path: Path) -> None:
    async def scenario(listener: TlsListener, port: int, client: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await welcomed(port, client) == b"welcome"
        listener.close()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionError):
            await welcomed(port, client)

    against(scenario, tmp_path)


def test_an_address_that_is_taken_is_an_error_of_the_system(tmp_path: Path) -> None:
    async def scenario(_: TlsListener, port: int, client: ssl.SSLContext) -> None:
        second = TlsListener(Greeting, lambda: client)
        with pytest.raises(OSError, match="in use"):
            await second.start("127.0.0.1", port)

    against(scenario, tmp_path)


def test_without_a_host_every_address_is_listened_at(tmp_path: Path) -> None:
    async def scenario(listener: TlsListener, _: int, client: ssl.SSLContext) -> None:
        everywhere = TlsListener(Greeting, lambda: client)
        await everywhere.start(None, 0)
        assert len(everywhere.sockets) >= 1
        everywhere.close()
        assert len(listener.sockets) == 1

    against(scenario, tmp_path)

"""Bytes of a peer, as they come in from a connection: each request has one whole answer, and none fails for our fault."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from fuzz.otlp import WANTED
from infermeter.config import Limits
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.receiver import Receiver
from infermeter.web.server import WebServer

TURNS = 12
"""Of the loop: as many as an answer takes that waits for nothing."""

STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) [ -~]*\r\n")
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)


class Loop(asyncio.SelectorEventLoop):
    """A loop on which nothing listens: whoever wants to is given connections by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.mistakes: list[str] = []
        self.made: Callable[[], asyncio.BaseProtocol] | None = None
        self.set_exception_handler(lambda _, context: self.mistakes.append(repr(context)))

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        self.made = protocol_factory
        return Listener()


class Listener:
    """Has a socket that says a port."""

    def __init__(self) -> None:
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def setsockopt(self, *_: object) -> None:
        """Takes any option."""

    async def start_serving(self) -> None:
        """Serves at once."""

    def close(self) -> None:
        """Needs no closing."""


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 2), "sockname": ("127.0.0.1", 1)})
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing more is read anyway."""

    def resume_reading(self) -> None:
        """Nothing more is read anyway."""

    def is_reading(self) -> bool:
        return True

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0


class Mistakes(logging.Handler):
    """Notes what is logged as a mistake."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(logging.ERROR)
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.mistakes.append(record.getMessage() + str(record.exc_info))


class Peer:
    """One who sends bytes to a server that was started on a loop of its own."""

    def __init__(self, start: Callable[[], Awaitable[object]]) -> None:
        self._loop = Loop()
        logging.getLogger().addHandler(Mistakes(self._loop))

        async def started() -> None:
            await start()

        self._loop.run_until_complete(started())

    def send(self, data: bytes) -> bytes:
        """What is written back. The bytes come in two pieces, parted where the first byte says."""
        assert self._loop.made is not None
        at = data[0] % max(len(data), 1) if data else 0
        wire, pieces = Wire(), [data[1 : 1 + at], data[1 + at :]]
        protocol: Any = self._loop.run_until_complete(self._connected(wire, pieces))
        self._loop.run_until_complete(_gone(protocol))
        mistakes, self._loop.mistakes = self._loop.mistakes, []
        assert not mistakes, mistakes
        return bytes(wire.written)

    async def _connected(self, wire: Wire, pieces: list[bytes]) -> Any:
        assert self._loop.made is not None
        protocol: Any = self._loop.made()
        protocol.connection_made(wire)
        for piece in pieces:
            if piece and not wire.closed:
                protocol.data_received(piece)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        return protocol


async def _gone(protocol: Any) -> None:
    protocol.connection_lost(None)
    for _ in range(TURNS):
        await asyncio.sleep(0)


def statuses(written: bytes) -> list[int]:
    """Of answers one after the other, of which each but a stream's says its length; one to HEAD is followed by none of its body."""
    found, at = [], 0
    while at < len(written):
        line = STATUS.match(written, at)
        assert line, written[at : at + 80]
        found.append(int(line[1]))
        head, _, _ = written[at:].partition(b"\r\n\r\n")
        at += len(head) + 4
        length = LENGTH.search(head)
        if length is None and found[-1] != 100:
            break
        if length is not None and not STATUS.match(written, at):
            at += int(length[1])
    return found


@cache
def _web() -> Peer:
    async def reload() -> tuple[bool, str]:
        return True, "reloaded"

    server = WebServer(
        render=lambda accept: ([accept.encode("utf-8", "replace")[:64] + b"\n"], "text/plain; version=0.0.4; charset=utf-8"),
        report=lambda: [b'{"schema":1}'],
        events=lambda: [b'{"schema":1}'],
        findings=lambda: {"findings": []},
        ready=lambda: (True, "ready"),
        reload=reload,
    )
    return Peer(lambda: server.start("127.0.0.1:0"))


@cache
def _otlp() -> Peer:
    return Peer(lambda: HttpReceiver(receiver()).start("127.0.0.1:0"))


def receiver() -> Receiver:
    """Of exports that nobody wants."""
    return Receiver(WANTED, lambda _: None, Limits(body_bytes=1 << 16, decompressed_bytes=1 << 18), overloaded=lambda: False)


def requests(data: bytes) -> None:
    """Bytes to the web server."""
    assert 500 not in statuses(_web().send(data))


def exports(data: bytes) -> None:
    """Bytes to the listener of exports over HTTP."""
    assert 500 not in statuses(_otlp().send(data))

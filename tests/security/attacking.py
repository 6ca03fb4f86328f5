"""Bytes on a bare socket, and what comes back until the other side hangs up."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from infermeter.config import Limits
from infermeter.model import Export
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.receiver import Receiver
from infermeter.web.server import WebServer
from unit.otlp.exports import wants

SOON_SECONDS = 20.0
"""Nothing here takes nearly as long."""

HEADER_SECONDS = 0.2


@dataclass(frozen=True)
class Answer:
    """All that came back before the other side hung up."""

    data: bytes

    @property
    def statuses(self) -> list[int]:
        """Of every answer on the connection, in order."""
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", self.data)]

    @property
    def status(self) -> int | None:
        """Of the only answer; None: it was hung up on."""
        assert len(self.statuses) <= 1, self.statuses
        return self.statuses[0] if self.statuses else None


async def sent(port: int, *parts: bytes, tls: ssl.SSLContext | None = None) -> Answer:
    """Sends parts one after the other; what came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        return Answer(await until_closed(reader))
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What arrives until the other side hangs up."""
    data = bytearray()
    with suppress(ConnectionError):
        async with asyncio.timeout(SOON_SECONDS):
            while piece := await reader.read(65_536):
                data += piece
    return bytes(data)


@asynccontextmanager
async def web_port(**changes: Any) -> AsyncIterator[int]:
    """The port of a web server that has little to tell, and little patience."""
    parts: dict[str, Any] = {
        "render": lambda _: ([b"metrics 1\n"], "text/plain"),
        "report": dict,
        "events": lambda: [b"{}"],
        "findings": dict,
        "ready": lambda: (True, "ready, without a GPU"),
        "header_seconds": HEADER_SECONDS,
    }
    server = WebServer(**{**parts, **changes})
    port = await server.start("127.0.0.1:0")
    try:
        yield port
    finally:
        await server.stop()


@dataclass
class Senders:
    """An OTLP listener over HTTP, and what has become of what was sent to it."""

    port: int
    receiver: Receiver
    exports: list[Export]

    @property
    def refused(self) -> dict[str, int]:
        """How many exports were, by reason."""
        return dict(Counter({reason: count for (_, reason), count in self.receiver.exports_refused.items()}))


@asynccontextmanager
async def otlp_port(
    limits: Limits | None = None, *, transport: Callable[[Receiver], HttpReceiver | GrpcReceiver] = HttpReceiver
) -> AsyncIterator[Senders]:
    """Listens with little patience."""
    exports: list[Export] = []
    receiver = Receiver(wants("a"), exports.append, limits or Limits(request_time=HEADER_SECONDS), overloaded=lambda: False)
    listener = transport(receiver)
    port = await listener.start("127.0.0.1:0")
    try:
        yield Senders(port, receiver, exports)
    finally:
        await listener.stop()

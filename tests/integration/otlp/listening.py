"""Both receivers on free ports, with what arrived at their end; and a bare connection to one of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps

from infermeter.config import Limits
from infermeter.model import Export
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.receiver import Receiver
from infermeter.otlp.turns import Turns
from unit.otlp.exports import wants

ANSWER_SECONDS = 10
"""Nothing here takes nearly as long; what does is stuck."""


def on_a_loop(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Runs a test on an event loop of its own."""

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 6 * ANSWER_SECONDS))

    return run


@dataclass
class Intake:
    """The end of the line. `overloaded` is what the receiver is told, `mistake` what is raised where exports are consumed."""

    exports: list[Export] = field(default_factory=list)
    overloaded: bool = False
    mistake: Exception | None = None

    def consume(self, export: Export) -> None:
        if self.mistake is not None:
            raise self.mistake
        self.exports.append(export)

    def attributes(self) -> list[object]:
        """The values of the first wanted attribute, over all exports."""
        return [value for export in self.exports for batch in export.batches if batch.layout.keys for value in batch.attributes[0]]


@dataclass
class Listening:
    """A receiver behind its transports."""

    intake: Intake
    receiver: Receiver
    http: HttpReceiver
    grpc: GrpcReceiver
    http_port: int
    grpc_port: int

    @property
    def traces_url(self) -> str:
        return self.url("/v1/traces")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"


@asynccontextmanager
async def listening(limits: Limits | None = None, turns: Turns | None = None) -> AsyncIterator[Listening]:
    intake = Intake()
    receiver = Receiver(wants("key"), intake.consume, limits or Limits(), overloaded=lambda: intake.overloaded, turns=turns)
    http, by_grpc = HttpReceiver(receiver), GrpcReceiver(receiver)
    now = Listening(intake, receiver, http, by_grpc, await http.start("127.0.0.1:0"), await by_grpc.start("127.0.0.1:0"))
    try:
        yield now
    finally:
        await http.stop()
        await by_grpc.stop()


class RawConnection:
    """A connection on which bytes are written as they are given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def write(self, raw: bytes) -> None:
        self._writer.write(raw)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body of the next response."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return int(first.split()[1]), headers, await self._reader.readexactly(int(headers.get("content-length", 0)))

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, which the other side makes."""
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    def abort(self) -> None:
        """Cuts the connection."""
        self._writer.transport.abort()


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[RawConnection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


async def settled(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event, and comes within a turn or two of the loop
            await asyncio.sleep(0)

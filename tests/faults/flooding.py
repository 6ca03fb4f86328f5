"""Senders that don't wait: processes that export as fast as they are answered, whatever the answer, and keep exact accounts of it.

A sender is this file run as a program: its one argument is a Flood as JSON; it sends until its standard input ends, then prints Accounts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import grpc
from bench.bodies import Body, bodies

ROOT = Path(__file__).parents[2]
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATIENCE_SECONDS = 30.0
"""After which a sender cuts the connection. Source: three times the default of OTEL_EXPORTER_OTLP_TIMEOUT."""

RECONNECT_SECONDS = 0.05
DIFFERENT_BODIES = 8
RENEWED_SECONDS = 1.0
"""After which one of them is made anew: what is sent tells of the last seconds, as a server's spans do."""

CATCHING_UP_RATIO = 0.6

REFUSED_STREAM = "RST_STREAM with error code 7"
HINTS = frozenset({"google.rpc.retryinfo-bin", "grpc-status-details-bin"})


@dataclass(frozen=True)
class Flood:
    """What one process sends: `connections` exports at a time; over gRPC so many calls share each of `channels` connections.

    `every_seconds`: each of them begins an export so often, later only where the one before isn't answered by then; 0: at once.
    `since`: the instant, by the monotonic clock, from which on they are due: what is late is then made up for, CATCHING_UP_RATIO of the
    time apart; None: it isn't.
    """

    transport: str
    address: str
    shape: str = "vllm"
    encoding: str = "protobuf"
    spans: int = 512
    connections: int = 64
    channels: int = 1
    every_seconds: float = 0.0
    since: float | None = None


@dataclass
class Accounts:
    """What became of exports: those answered with success by their spans, those refused by status, those without any answer.

    `unbegun` never were: their connection had too many under way before it knew the limit. Source: RFC 9113, REFUSED_STREAM.
    """

    exports: int = 0
    spans: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unhinted: int = 0
    cut: int = 0
    cut_spans: int = 0
    unbegun: int = 0
    longest_seconds: float = 0.0

    def __add__(self, other: Accounts) -> Accounts:
        return Accounts(
            self.exports + other.exports,
            self.spans + other.spans,
            self.refused + other.refused,
            self.unhinted + other.unhinted,
            self.cut + other.cut,
            self.cut_spans + other.cut_spans,
            self.unbegun + other.unbegun,
            max(self.longest_seconds, other.longest_seconds),
        )


@dataclass(frozen=True)
class Answer:
    """`refusal` None: taken. `hinted`: it says when to come back."""

    refusal: str | None
    hinted: bool = False


class Cut(Exception):
    """The connection ended, or the sender's patience, before an answer."""


class Unbegun(Exception):
    """The call never reached whoever answers."""


class Sender(Protocol):
    async def export(self, body: bytes) -> Answer:
        """Raises: Cut, Unbegun."""
        ...


class HttpSender:
    """One connection, made anew where it was closed."""

    def __init__(self, address: str, encoding: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        kind = "json" if encoding == "json" else "x-protobuf"
        self._head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def export(self, body: bytes) -> Answer:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._export(body)
        except (OSError, EOFError) as error:  # TimeoutError and IncompleteReadError are such
            self._close()
            raise Cut from error

    async def _export(self, body: bytes) -> Answer:
        reader, writer = self._streams = self._streams or await asyncio.open_connection(self._host, self._port)
        writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self._close()
        status = lines[0].split()[1]
        return Answer(None if status == "200" else status, headers.get("retry-after", "0") != "0")

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class GrpcSender:
    """A place among the calls in flight on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = channel.unary_unary(EXPORT)

    async def export(self, body: bytes) -> Answer:
        try:
            await self._call(body, timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            hinted = {key for key, _ in error.trailing_metadata() or ()} >= HINTS
            if REFUSED_STREAM in (error.details() or ""):
                raise Unbegun from error
            if not hinted and error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise Cut from error  # what grpcio says where nobody has answered
            return Answer(error.code().name, hinted)
        return Answer(None)


async def flood(what: Flood, ended: asyncio.Event) -> Accounts:
    """Sends until told to end, then waits for what is on its way."""
    told = Accounts()
    different = bodies(what.shape, what.encoding, what.spans, count=DIFFERENT_BODIES)
    renewing = asyncio.create_task(renewed(different, what))
    numbers = count(int.from_bytes(os.urandom(4), "big"))

    async def one(sender: Sender, start: int) -> None:
        due = (what.since or time.monotonic()) + what.every_seconds * start / what.connections
        for turn in count(start):
            await asyncio.sleep(due - time.monotonic())
            if ended.is_set():
                return
            body = different[turn % len(different)]
            began = time.monotonic()
            least_seconds = 0.0 if what.since is None else CATCHING_UP_RATIO * what.every_seconds
            due = max(due + what.every_seconds, began + least_seconds)
            try:
                answer = await sender.export(with_new_ids(body, next(numbers), what.encoding))
            except Unbegun:
                told.unbegun += 1
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            except Cut:
                told.cut += 1
                told.cut_spans += body.spans
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            told.longest_seconds = max(told.longest_seconds, time.monotonic() - began)
            if answer.refusal is None:
                told.exports += 1
                told.spans += body.spans
            else:
                told.refused[answer.refusal] += 1
                told.unhinted += not answer.hinted

    if what.transport == "http":
        await asyncio.gather(*(one(HttpSender(what.address, what.encoding), i) for i in range(what.connections)))
        renewing.cancel()
        return told
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(what.address, options) for _ in range(what.channels)]
    await asyncio.gather(*(one(GrpcSender(channels[i % what.channels]), i) for i in range(what.connections)))
    await asyncio.gather(*(channel.close() for channel in channels))
    renewing.cancel()
    return told


async def renewed(different: list[Body], what: Flood) -> None:
    """Makes one body after the other anew, for ever."""
    for turn in count():
        await asyncio.sleep(RENEWED_SECONDS)
        different[turn % len(different)] = bodies(what.shape, what.encoding, what.spans, count=1, seed=turn)[0]


def with_new_ids(body: Body, number: int, encoding: str) -> bytes:
    """An export with ids that none had before it: nothing of it is taken for a retry."""
    nonce = (number % 2**32).to_bytes(4, "big")
    return body.with_ids_of(nonce.hex().encode() if encoding == "json" else nonce)


@contextmanager
def flooded(floods: Sequence[Flood]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """These senders at work, each a process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    with ExitStack() as stack:
        senders = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, json.dumps(asdict(each))], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for each in floods
        ]
        try:
            yield senders
        finally:
            for sender in senders:
                sender.kill()


def accounts(senders: Sequence[subprocess.Popen[bytes]], *, seconds: float = 3 * PATIENCE_SECONDS) -> list[Accounts]:
    """Tells them to end; what became of all that they sent."""
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.close()
        sender.stdin = None
    told = [json.loads(sender.communicate(timeout=seconds)[0]) for sender in senders]
    return [Accounts(**{**each, "refused": Counter(each["refused"])}) for each in told]


async def main() -> None:
    """Reads what to send from the argument, and the end from standard input."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(None, sys.stdin.buffer.read)
    reading.add_done_callback(lambda _: ended.set())
    told = await flood(Flood(**json.loads(sys.argv[1])), ended)
    sys.stdout.write(json.dumps(vars(told)))


if __name__ == "__main__":
    asyncio.run(main())

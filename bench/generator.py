"""Sends OTLP exports to a receiver on this machine as fast as it takes them, and measures what the receiver used.

usage: generator.py --address 127.0.0.1:4318 --case http:protobuf:512:vllm --spans 500000 --pid PID

A case is transport:encoding:spans of an export:shape, with transport http or grpc, encoding protobuf, gzip or json (http only), shape vllm
or triton. Every export has ids that none had before it, since a receiver may drop what it has seen. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import psutil
from bodies import Body, bodies

DIFFERENT_BODIES = 32
CONNECTIONS = 4
GRPC_IN_FLIGHT = 8
PATIENCE_SECONDS = 60
SETTLE_SECONDS = 1.5
GZIP_LEVEL = 1
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True)
class Case:
    """What is sent."""

    transport: str
    encoding: str
    spans: int
    shape: str

    @classmethod
    def parse(cls, text: str) -> Case:
        """Raises: ValueError for what is no case."""
        transport, encoding, spans, shape = text.split(":")
        if transport not in {"http", "grpc"} or encoding not in {"protobuf", "gzip", "json"} or shape not in {"vllm", "triton"}:
            raise ValueError(text)
        if (transport, encoding) == ("grpc", "json"):
            raise ValueError(text)
        return cls(transport, encoding, int(spans), shape)


class Client(Protocol):
    """One export at a time."""

    async def export(self, body: bytes) -> bool:
        """Whether it was taken."""
        ...


class HttpClient:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case) -> None:
        kind = "application/json" if case.encoding == "json" else "application/x-protobuf"
        coding = "Content-Encoding: gzip\r\n" if case.encoding == "gzip" else ""
        self._head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{coding}Content-Length: "
        self._reader, self._writer = reader, writer

    async def export(self, body: bytes) -> bool:
        """Sends one request and reads its answer, which must have a Content-Length."""
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await self._reader.readexactly(int(length or 0))
        return head.split(b" ", 2)[1] == b"200"


class GrpcClient:
    """A place among the calls in flight on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = channel.unary_unary(EXPORT)

    async def export(self, body: bytes) -> bool:
        """Calls Export."""
        try:
            await self._call(body, timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return True


@asynccontextmanager
async def clients(address: str, case: Case) -> AsyncIterator[list[Client]]:
    """As many as send at the same time."""
    if case.transport == "http":
        host, _, port = address.partition(":")
        streams = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS)]
        yield [HttpClient(reader, writer, case) for reader, writer in streams]
        for _, writer in streams:
            writer.close()
    else:
        compression = grpc.Compression.Gzip if case.encoding == "gzip" else None
        options = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(address, options, compression=compression) as channel:
            await channel.channel_ready()
            yield [GrpcClient(channel) for _ in range(GRPC_IN_FLIGHT)]


def exports(different: list[Body], case: Case) -> Iterator[tuple[Body, bytes]]:
    """Endless exports: the bodies take turns, the ids are always new."""
    first = int.from_bytes(os.urandom(4), "big")
    for number, body in enumerate(itertools.cycle(different), first):
        nonce = (number % 2**32).to_bytes(4, "big")
        raw = body.with_ids_of(nonce.hex().encode() if case.encoding == "json" else nonce)
        yield body, gzip.compress(raw, GZIP_LEVEL) if (case.transport, case.encoding) == ("http", "gzip") else raw


@dataclass
class Sent:
    """What became of the exports of one run."""

    spans: int = 0
    inferences: int = 0
    refused: int = 0
    latencies_seconds: list[float] | None = None


async def send(senders: list[Client], source: Iterator[tuple[Body, bytes]], spans: int) -> Sent:
    """Sends until that many spans were sent."""
    sent = Sent(latencies_seconds=[])

    async def one(client: Client) -> None:
        while sent.spans < spans:
            body, encoded = next(source)
            sent.spans += body.spans
            begin = time.perf_counter()
            taken = await asyncio.wait_for(client.export(encoded), PATIENCE_SECONDS)
            sent.latencies_seconds.append(time.perf_counter() - begin)  # type: ignore[union-attr]  # a list here
            sent.inferences += body.inferences if taken else 0
            sent.refused += not taken

    await asyncio.gather(*(one(client) for client in senders))
    return sent


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time of all threads."""
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)


async def measured(address: str, case: Case, *, spans: int, warmup: int, pid: int) -> dict[str, Any]:
    """One run: figures of the receiver and of the exports."""
    receiver = psutil.Process(pid)
    processes = [receiver, *receiver.children(recursive=True)]
    source = exports(bodies(case.shape, "json" if case.encoding == "json" else "protobuf", case.spans, count=DIFFERENT_BODIES), case)
    async with clients(address, case) as senders:
        warm = await send(senders, source, warmup)
        cpu_before, begin = cpu_seconds(processes), time.perf_counter()
        sent = await send(senders, source, spans)
        seconds = time.perf_counter() - begin
        await asyncio.sleep(SETTLE_SECONDS)  # what was accepted may still be worked on
        cpu = cpu_seconds(processes) - cpu_before
    latencies = sorted(sent.latencies_seconds or [0.0])
    return {
        "spans": sent.spans,
        "inferences": sent.inferences + warm.inferences,
        "refused": sent.refused + warm.refused,
        "spans_per_second": sent.spans / seconds,
        "cpu_seconds_per_million_spans": cpu / sent.spans * 1e6,
        "p50_milliseconds": latencies[len(latencies) // 2] * 1e3,
        "p99_milliseconds": latencies[int(len(latencies) * 0.99)] * 1e3,
        "resident_mib": sum(process.memory_info().rss for process in processes) / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--case", type=Case.parse, required=True)
    parser.add_argument("--spans", type=int, default=500_000)
    parser.add_argument("--warmup", type=int, default=0, help="spans sent before measuring")
    parser.add_argument("--pid", type=int, required=True, help="the receiver")
    args = parser.parse_args()
    try:
        figures = asyncio.run(measured(args.address, args.case, spans=args.spans, warmup=args.warmup, pid=args.pid))
    except (OSError, EOFError) as error:  # TimeoutError and IncompleteReadError are such
        sys.exit(f"no answer from the receiver: {type(error).__name__} {error}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

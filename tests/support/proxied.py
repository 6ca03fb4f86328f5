"""A proxy in the test's own process, before an upstream server that the test writes, with the spans that it made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infermeter.config import Limits, Proxy
from infermeter.proxy import ProxyServer, Spans

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Wire = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE_SECONDS = 20


@dataclass
class Proxied:
    """A running proxy: its address, a client, and the spans once it has stopped."""

    host: str
    port: int
    server: ProxyServer
    http: aiohttp.ClientSession
    exported: InMemorySpanExporter
    stopped: bool = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    async def stop(self, **drain: Any) -> None:
        """As SIGTERM does, once."""
        if not self.stopped:
            self.stopped = True
            await self.server.stop(**drain)

    async def spans(self) -> tuple[ReadableSpan, ...]:
        """What it has made, after its end."""
        await self.stop()
        return self.exported.get_finished_spans()

    async def inferences(self) -> list[ReadableSpan]:
        """The SERVER spans."""
        return [span for span in await self.spans() if span.name == "inference"]

    async def wire(self, request: bytes) -> bytes:
        """Everything that comes back for these bytes until the proxy closes the connection."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(request)
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """An HTTP server with one handler; the port."""
    server = web.Server(handler, handler_cancellation=True, auto_decompress=False)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(0)


@asynccontextmanager
async def on_the_wire(answer: Wire) -> AsyncIterator[int]:
    """A server that handles bytes; the port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    listener = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


@asynccontextmanager
async def proxied(
    port: int, *, limits: Limits | None = None, base: str = "", patience_seconds: float = PATIENCE_SECONDS, **options: Any
) -> AsyncIterator[Proxied]:
    """A proxy for the server at this port; `options` are keys of `proxy`."""
    proxy = Proxy(**{"upstream": f"http://127.0.0.1:{port}{base}", "listen": "127.0.0.1:0", **options})
    exported = InMemorySpanExporter()
    spans = Spans(exported, service="test", model=proxy.model, limited=proxy.in_flight is not None)
    server = ProxyServer(proxy, limits or Limits(), spans, patience_seconds=patience_seconds)
    host, _, bound = (await server.start()).rpartition(":")
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        running = Proxied(host, int(bound), server, http, exported)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield running
        finally:
            await running.stop(drain_seconds=1)

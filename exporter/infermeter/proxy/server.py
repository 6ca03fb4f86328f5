"""The proxy as a server: it listens, and when it is told to stop it lets requests end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import cast

import aiohttp
from aiohttp import web

from infermeter.config import Limits, Proxy
from infermeter.instrument.layout import WallClock
from infermeter.proxy.connection import Connection
from infermeter.proxy.relay import PATIENCE_SECONDS, Relay
from infermeter.proxy.spans import Spans
from infermeter.proxy.turns import Turns

DRAIN_SECONDS = 25.0
"""How long requests may take to end once the proxy is told to stop."""

CANCEL_SECONDS = 0.5
CONNECT_SECONDS = 5.0

KEEPALIVE_SECONDS = 4.0
"""How long a connection to the upstream server rests: less than uvicorn's 5 s, lest one is closed that is just being used.

A server that closes sooner (gunicorn: 2 s) is noticed when it does. Much less than that, and every burst has to connect anew.
"""

LINGER_SECONDS = 2.0
"""How long the rest of a body that nobody wants is read and dropped, so that its sender gets to read the answer."""

ANSWER_FIELD_BYTES = 64 << 10
"""Bound of each header field of the upstream server; then 502."""

_ADDED_BY_CLIENTS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class ProxyServer:
    """Hands on what comes to `proxy.listen`. To be made, started and stopped within one event loop."""

    def __init__(self, proxy: Proxy, limits: Limits, spans: Spans, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`proxy.upstream` is set; `patience_seconds` is how long a body may pause."""
        self._proxy = proxy
        self._limits = limits
        self._spans = spans
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_ADDED_BY_CLIENTS,
            max_line_size=ANSWER_FIELD_BYTES,
            max_field_size=ANSWER_FIELD_BYTES,
        )
        self.relay = Relay(
            proxy.upstream or "",
            self._http,
            turns=Turns(proxy.in_flight, proxy.queue_timeout) if proxy.in_flight else None,
            paths=proxy.paths,
            clock=WallClock(),
            on_end=spans.add,
            patience_seconds=patience_seconds,
        )
        self._requests = web.Server(self._answer, handler_cancellation=True)
        self._answering: set[asyncio.Task[object]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self) -> str:
        """Listens, and returns the address with the port that it got. Raises: OSError."""
        host, _, port = self._proxy.listen.rpartition(":")
        loop = asyncio.get_running_loop()
        made = partial(Connection, self._requests, self._limits, loop=loop)
        self._listener = await loop.create_server(made, host.strip("[]"), int(port))
        return f"{host}:{self._listener.sockets[0].getsockname()[1]}"

    async def stop(self, *, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Takes no more connections, lets requests end, at most for so long, and sends the last spans."""
        self.relay.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in self._requests.connections:
            cast("Connection", connection).end()
        if self._answering:
            await asyncio.wait(self._answering, timeout=drain_seconds)
        self.relay.ending = True
        await self._requests.shutdown(CANCEL_SECONDS)
        await self._http.close()
        await self._spans.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        connection.request_began()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._answering.add(task)
        try:
            response = await self.relay.answer(request)
            if not request.content.is_eof():
                await response.prepare(request)
                await response.write_eof()
                await _drop(request.content)
            return response
        finally:
            self._answering.discard(task)
            connection.request_ended()


async def _drop(rest: aiohttp.StreamReader) -> None:
    """Reads what is left of a body, for a bounded time."""
    with suppress(Exception):  # cut off, malformed or endless: nobody wants it
        async with asyncio.timeout(LINGER_SECONDS):
            while not rest.is_eof():
                await rest.readany()

"""The web server: one port, every path of the contract, bounds on whoever connects."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from infermeter.web.encoding import packed
from infermeter.web.events import EventStream
from infermeter.web.page import LINKS, Page

log = logging.getLogger(__name__)

CONNECTIONS = 64
"""Connections at a time; then those that rest make room, or if all are busy 503."""

IDLE_SECONDS = 75
"""A connection without a whole request for so long is closed; longer than the usual scrape interval, which then keeps its connection."""

STALLED_SECONDS = 30
"""A peer that takes no byte for so long is cut off."""

STOP_SECONDS = 1.0
"""How long requests in progress may take to end once the server stops."""

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""What a browser may do with an answer, unless it is a page with a policy of its own: show it."""

HEADERS = {
    "Server": "infermeter",
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """`/metrics`, health, report, events, findings and reloading over HTTP.

    `render` takes an `Accept` header and gives a body and its content type; `report` and `findings` give what their end points
    answer, `events` what listeners are sent; `ready` says whether everything listens, and a line about it; `page` is what `/` shows;
    `reload` takes a new configuration over, and tells whether it did, and a line about it; None: that is switched off. All are called
    on the loop, for each request. What they raise is logged, and answered with 500.
    """

    def __init__(
        self,
        *,
        render: Callable[[str], tuple[bytes, str]],
        report: Callable[[], Mapping[str, Any]],
        events: Callable[[], Mapping[str, Any]],
        findings: Callable[[], Mapping[str, Any]],
        ready: Callable[[], tuple[bool, str]],
        page: Page = LINKS,
        reload: Callable[[], Awaitable[tuple[bool, str]]] | None = None,
        events_interval_seconds: float = 1.0,
    ) -> None:
        self._render = render
        self._report = report
        self._findings = findings
        self._ready = ready
        self._page = page
        self._reload = reload
        self._events = EventStream(lambda: orjson.dumps(events()), interval_seconds=events_interval_seconds)
        self._listener: asyncio.Server | None = None
        self._resting: dict[web.RequestHandler, None] = {}
        self._runner = web.AppRunner(self._application(), shutdown_timeout=STOP_SECONDS)

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        host, _, port = address.rpartition(":")
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connection, host.strip("[]") or None, int(port), start_serving=False)
        for listening in self._listener.sockets:
            _cut_off_when_stalled(listening)
        await self._listener.start_serving()
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Takes no more connections, ends the streams of events, answers what was asked, and closes."""
        if self._listener is not None:
            self._listener.close()
        self._events.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None  # noqa: S101 - nothing is accepted before `setup` or after `cleanup`
        if len(server.connections) >= CONNECTIONS:
            if not self._resting:
                return _Refusal()
            self._resting.pop(longest := next(iter(self._resting)))
            longest.force_close()
        return _Connection(server, self._resting)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._busy, _answered])
        application.on_response_prepare.append(_with_headers)
        application.add_routes(
            [
                web.get("/", self._index),
                web.get("/metrics", self._metrics),
                web.get("/-/healthy", self._healthy),
                web.get("/-/ready", self._readiness),
                web.post("/-/reload", self._reloading),
                web.get("/api/v1/report", self._json(self._report)),
                web.get("/api/v1/report/events", self._events.listen, allow_head=False),
                web.get("/api/v1/findings", self._json(self._findings)),
            ]
        )
        return application

    @web.middleware
    async def _busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A connection rests, but for the time in which it is answered."""
        connection = request.protocol
        self._resting.pop(connection, None)
        try:
            return await handler(request)
        finally:
            if connection.transport is not None:
                self._resting[connection] = None

    async def _index(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": self._page.policy}
        return web.Response(body=self._page.body, headers=headers)

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._render(", ".join(request.headers.getall("Accept", [])))
        return _response(request, body, content_type, vary="Accept, Accept-Encoding")

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        ready, text = self._ready()
        return web.Response(status=200 if ready else 503, text=f"{text}\n")

    async def _reloading(self, _: web.Request) -> web.Response:
        if self._reload is None:
            return web.Response(status=403, text="403 Forbidden: web.lifecycle is false\n")
        taken, text = await self._reload()
        return web.Response(status=200 if taken else 500, text=f"{text}\n")

    def _json(self, content: Callable[[], Mapping[str, Any]]) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            return _response(request, orjson.dumps(content()), "application/json", vary="Accept-Encoding")

        return answer


def _response(request: web.Request, body: bytes, content_type: str, *, vary: str) -> web.Response:
    body, headers = packed(body, ", ".join(request.headers.getall("Accept-Encoding", [])))
    return web.Response(body=body, headers={**headers, "Content-Type": content_type, "Vary": vary})


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every request gets a plain answer: what isn't there, what isn't allowed, and what we failed at."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        allow = {name: value for name, value in refusal.headers.items() if name == "Allow"}
        return web.Response(status=refusal.status, text=f"{refusal.status} {refusal.reason}\n", headers=allow)
    except Exception:
        resource = request.match_info.route.resource
        log.exception("%s failed", resource.canonical if resource else "a request")
        return web.Response(status=500, text="500 Internal Server Error\n")


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    policy = response.headers.get("Content-Security-Policy", POLICY)
    response.headers.update({**HEADERS, "Content-Security-Policy": policy})


def _cut_off_when_stalled(listening: socket.socket) -> None:
    """Sets the limit on a listening socket, whose connections inherit it. Source: tcp(7); Linux alone has it."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000)


class _Connection(web.RequestHandler):
    """aiohttp's connection, which logs and repeats nothing of what isn't HTTP.

    From its first to its last moment it is one of those that rest, longest first, unless somebody takes it out.
    """

    def __init__(self, server: web.Server, resting: dict[web.RequestHandler, None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # how aiohttp spells: no access log
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=STOP_SECONDS,
            max_headers=64,
        )
        self._resting = resting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Rests until it asks."""
        super().connection_made(transport)
        self._resting[self] = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Rests no more."""
        self._resting.pop(self, None)
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what isn't HTTP; what went wrong here, unless the peer has left, is handled as any error."""
        if status != web.HTTPBadRequest.status_code and not isinstance(exc, ConnectionError):
            return super().handle_error(request, status, exc, message)
        response = web.Response(status=web.HTTPBadRequest.status_code, text="400 Bad Request\n", headers=HEADERS)
        response.force_close()
        return response


class _Refusal(asyncio.Protocol):
    """What one connection too many gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - a TCP connection
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        transport.close()

"""The web server: one port, every path of the contract, bounds on whoever connects."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from infermeter.network.aiohttp_connection import AiohttpConnection
from infermeter.network.file_watch import FileWatch
from infermeter.network.listener import TlsListener
from infermeter.web.access import OPEN, Access
from infermeter.web.admission import Admission, Handler
from infermeter.web.encoding import in_turns, packed
from infermeter.web.events import EventStream
from infermeter.web.page import LINKS, Page

log = logging.getLogger(__name__)

CONNECTIONS = 64
"""Connections at a time; then those that rest make room, or if all are busy 503."""

IDLE_SECONDS = 75
"""A connection without a whole request for so long is closed; longer than the usual scrape interval, which then keeps its connection."""

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, from their first byte, and how long a connection may wait with it."""

HEADERS_MOST, HEADER_BYTES = 64, 8190
"""Header fields of a request, and the size of each at most; the line before them has 8190 bytes at most too."""

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

_OF_BROWSERS = ("Origin", "Sec-Fetch-Site")
"""Headers that a browser sends with every POST, and nothing else does. Source: the WHATWG Fetch standard; W3C Fetch Metadata."""


CONTINUE = "100-continue"
RequestFactory: TypeAlias = Callable[..., Any]


class WebServer:
    """`/metrics`, health, report, events, findings and reloading over HTTP.

    `render` takes an `Accept` header and gives a body in pieces and its content type; `report` gives JSON in pieces, and so does
    `events`, in one line, what listeners are sent; `findings` gives what its end point answers; `ready` says whether everything
    listens, and a line about it; `page` is what `/` shows; `reload` takes a new configuration over, and tells whether it did, and a
    line about it; None: that is switched off. All are called on the loop, for each request. What they raise is logged, and answered
    with 500.
    """

    def __init__(  # noqa: PLR0913 - what is shown, and to whom
        self,
        *,
        render: Callable[[str], tuple[Iterable[bytes], str]],
        report: Callable[[], Iterable[bytes]],
        events: Callable[[], Iterable[bytes]],
        findings: Callable[[], Mapping[str, Any]],
        ready: Callable[[], tuple[bool, str]],
        page: Page = LINKS,
        reload: Callable[[], Awaitable[tuple[bool, str]]] | None = None,
        access: FileWatch[Access] | None = None,
        auth_failures_per_minute: int = 30,
        events_interval_seconds: float = 1.0,
        header_seconds: float = HEADER_SECONDS,
    ) -> None:
        """`access` says who may ask, and is looked after while this listens; None: everybody."""
        self._render = render
        self._report = report
        self._findings = findings
        self._ready = ready
        self._page = page
        self._reload = reload
        self._watch = access
        self._events = EventStream(events, interval_seconds=events_interval_seconds, admission=self._access)
        self._admission = Admission(self._access, failures_per_minute=auth_failures_per_minute)
        self._header_seconds = header_seconds
        self._listener: asyncio.Server | TlsListener | None = None
        self._places = _Places()
        self._runner = web.AppRunner(self._application(), shutdown_timeout=STOP_SECONDS)

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        host, _, port = address.rpartition(":")
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 - `setup` made it
        self._runner.server.request_factory = _expecting_nothing_odd(self._runner.server.request_factory)
        if self._watch is not None:
            self._watch.start()
        if self._access().context is None:
            return await self._start_plain(host.strip("[]") or None, int(port))
        self._listener = TlsListener(self._connection, self._context, handshake_seconds=self._header_seconds)
        bound = await self._listener.start(host.strip("[]") or None, int(port))
        for listening in self._listener.sockets:
            _cut_off_when_stalled(listening)
        return bound

    async def stop(self) -> None:
        """Takes no more connections, ends the streams of events, answers what was asked, and closes."""
        if self._listener is not None:
            self._listener.close()
        if self._watch is not None:
            self._watch.stop()
        self._events.close()
        await self._runner.cleanup()
        self._admission.close()

    async def _start_plain(self, host: str | None, port: int) -> int:
        listener = await asyncio.get_running_loop().create_server(self._connection, host, port, start_serving=False)
        self._listener = listener
        for listening in listener.sockets:
            _cut_off_when_stalled(listening)
        await listener.start_serving()
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    def _access(self) -> Access:
        return OPEN if self._watch is None else self._watch.current

    def _context(self) -> ssl.SSLContext:
        context = self._access().context
        assert context is not None  # noqa: S101 - whoever began with TLS keeps it
        return context

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None  # noqa: S101 - nothing is accepted before `setup` or after `cleanup`
        if self._places.busy >= CONNECTIONS:
            return _Refusal()
        return _Connection(server, self._places, self._access, header_seconds=self._header_seconds)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._busy, _answered, self._admitted])
        application.on_response_prepare.append(self._with_headers)
        application.add_routes(
            [
                web.get("/", self._index),
                web.get("/metrics", self._metrics),
                web.get("/-/healthy", self._healthy),
                web.get("/-/ready", self._readiness),
                web.post("/-/reload", self._reloading),
                web.get("/api/v1/report", self._whole_report),
                web.get("/api/v1/report/events", self._events.listen, allow_head=False),
                web.get("/api/v1/findings", self._json(self._findings)),
            ]
        )
        return application

    @web.middleware
    async def _busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A connection rests, but for the time in which it is answered."""
        connection = request.protocol
        assert isinstance(connection, _Connection)  # noqa: S101 - the listener makes no others
        connection.request_began()
        self._places.leave(connection)
        self._places.busy += 1
        try:
            return await handler(request)
        finally:
            connection.request_ended()
            self._places.busy -= 1
            if connection.transport is not None:
                self._places.rest(connection)

    @web.middleware
    async def _admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whoever isn't let in learns no more than that, also of what isn't there; and no path is spelt in two ways."""
        if (refusal := await self._admission.refusal(request)) is not None:
            return refusal
        if "%" in request.rel_url.raw_path:  # who guards a path before us compares it as it is written
            raise web.HTTPNotFound
        return await handler(request)

    async def _with_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if "Upgrade" in request.headers:  # nothing else is spoken here, and what follows would be kept, and never read
            response.force_close()
        policy = response.headers.get("Content-Security-Policy", POLICY)
        response.headers.update({**HEADERS, "Content-Security-Policy": policy, **self._access().headers})

    async def _index(self, request: web.Request) -> web.Response:
        response = _response(request, self._page.body, "text/html; charset=utf-8", vary="Accept-Encoding")
        response.headers["Content-Security-Policy"] = self._page.policy
        return response

    async def _metrics(self, request: web.Request) -> web.Response:
        pieces, content_type = self._render(", ".join(request.headers.getall("Accept", [])))
        return await _in_pieces(request, pieces, content_type, vary="Accept, Accept-Encoding")

    async def _whole_report(self, request: web.Request) -> web.Response:
        return await _in_pieces(request, self._report(), "application/json", vary="Accept-Encoding")

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        ready, text = self._ready()
        if self._access().users:  # this path is answered to everybody, and everybody needn't know more
            text = "ready" if ready else "not ready"
        return web.Response(status=200 if ready else 503, text=f"{text}\n")

    async def _reloading(self, request: web.Request) -> web.Response:
        if self._reload is None:
            return web.Response(status=403, text="403 Forbidden: web.lifecycle is false\n")
        if any(name in request.headers for name in _OF_BROWSERS):  # on whose behalf nobody can tell
            return web.Response(status=403, text="403 Forbidden: no reload for a browser\n")
        taken, text = await self._reload()
        return web.Response(status=200 if taken else 500, text=f"{text}\n")

    def _json(self, content: Callable[[], Mapping[str, Any]]) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            return _response(request, orjson.dumps(content()), "application/json", vary="Accept-Encoding")

        return answer


async def _in_pieces(request: web.Request, pieces: Iterable[bytes], content_type: str, *, vary: str) -> web.Response:
    """A body that is made piece by piece, with turns of the loop in between, packed if the client takes that."""
    body, headers = await in_turns(pieces, ", ".join(request.headers.getall("Accept-Encoding", [])))
    return web.Response(body=body, headers={**headers, "Content-Type": content_type, "Vary": vary})


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


def _cut_off_when_stalled(listening: socket.socket) -> None:
    """Sets the limit on a listening socket, whose connections inherit it. Source: tcp(7); Linux alone has it."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000)


def _expecting_nothing_odd(made: RequestFactory) -> RequestFactory:
    """Requests without what they expect, unless that is to be told to go on: aiohttp would repeat it, or fail at it and log it."""

    def request(message: Any, *parts: Any) -> Any:  # noqa: ANN401 - as aiohttp's parsers make them
        if message.headers.get("Expect", CONTINUE).lower() != CONTINUE:
            headers = message.headers.copy()
            del headers["Expect"]
            message = message._replace(headers=type(message.headers)(headers))
        return made(message, *parts)

    return request


class _Places:
    """Who has a place among CONNECTIONS: those that rest, longest first, and how many are `busy`, as they are answered."""

    def __init__(self) -> None:
        self.busy = 0
        self._resting: dict[_Connection, None] = {}

    def rest(self, connection: _Connection) -> None:
        """It rests from now on; where there are too many, the one that has rested longest ends."""
        self._resting[connection] = None
        if len(self._resting) + self.busy > CONNECTIONS:
            self._resting.pop(longest := next(iter(self._resting)))
            longest.force_close()

    def leave(self, connection: _Connection) -> None:
        """It rests no more, if it did."""
        self._resting.pop(connection, None)


class _Connection(AiohttpConnection):
    """A connection which logs and repeats nothing of what isn't HTTP.

    From its first to its last moment it is one of those that rest, longest first, unless somebody takes it out.
    """

    def __init__(self, server: web.Server, places: _Places, access: Callable[[], Access], *, header_seconds: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            header_seconds=header_seconds,
            idle_seconds=IDLE_SECONDS,
            linger_seconds=STOP_SECONDS,
            headers_most=HEADERS_MOST,
            header_bytes=HEADER_BYTES,
        )
        self._places = places
        self._access = access

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Rests until it asks; ends here with a certificate that may not."""
        super().connection_made(transport)
        self._places.rest(self)
        if not self._access().lets_in(transport.get_extra_info("peercert")):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Rests no more."""
        self._places.leave(self)
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what isn't HTTP; what went wrong here, unless the peer has left, is handled as any error."""
        if status != web.HTTPBadRequest.status_code and not isinstance(exc, ConnectionError):
            return super().handle_error(request, status, exc, message)
        if exc is not None:  # its frames hold it, and with it this connection and its buffers
            traceback.clear_frames(exc.__traceback__)
        response = web.Response(status=web.HTTPBadRequest.status_code, text="400 Bad Request\n", headers=HEADERS)
        response.force_close()
        return response


class _Refusal(asyncio.Protocol):
    """What one connection too many gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - a TCP connection
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        transport.close()

"""One HTTP connection of a client: bounded in number and in the time its headers take, and quiet about what clients do wrong."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

from infermeter.config import Limits

IDLE_SECONDS = 75.0
"""How long a connection may rest between two requests."""

LINE_BYTES, FIELDS = 16 << 10, 128
"""Bounds of a request's target and of each of its header fields, and of their number; then 400."""

RETRY_AFTER_SECONDS = 1

_FULL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_SECONDS}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


class Connection(web.RequestHandler):
    """aiohttp's connection, with a bound on the time from the first byte of a request (or from connecting) to the end of its headers."""

    def __init__(self, requests: web.Server, limits: Limits, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            requests,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # how aiohttp spells: no access log
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=0,  # the server does it: what is left of a body may be no HTTP
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=FIELDS,
        )
        self._requests = requests
        self._limits = limits
        self._event_loop = loop
        self._in_request = False
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away where there are too many."""
        super().connection_made(transport)
        if len(self._requests.connections) > self._limits.connections:
            cast("asyncio.Transport", transport).write(_FULL)
            self.force_close()
        else:
            self._await_headers()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forgets the connection."""
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes bytes; the first of a request start its clock."""
        if not self._in_request and self._header_timer is None:
            self._await_headers()
        super().data_received(data)

    def request_began(self) -> None:
        """The headers of a request are complete."""
        self._headers_came()
        self._in_request = True

    def request_ended(self) -> None:
        """The request was answered; the connection may rest."""
        self._in_request = False

    def end(self) -> None:
        """Ends with the request that is under way, or now if there is none."""
        if self._in_request:
            self.close()
        else:
            self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what isn't HTTP, which isn't logged; what went wrong here is handled as any error."""
        if status != web.HTTPBadRequest.status_code:
            return super().handle_error(request, status, exc, message)
        response = web.Response(status=status, text="no HTTP request, or longer header fields than are taken\n")
        response.force_close()
        return response

    def log_exception(self, *args: object, **kw: object) -> None:
        """Hands our own mistakes to whoever watches over the loop."""
        self._event_loop.call_exception_handler({"message": str(args[0]), "exception": kw.get("exc_info")})

    def _await_headers(self) -> None:
        self._header_timer = self._event_loop.call_later(self._limits.request_time, self.force_close)

    def _headers_came(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

"""One HTTP connection of a sender: bounded in number, in the time its headers take, and quiet about what others do wrong."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

from infermeter.errors import DecodeError, Overloaded
from infermeter.http_connection import HttpConnection
from infermeter.otlp.receiver import Receiver
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS, TooSlow

_IDLE_SECONDS = 120.0
"""How long a connection may rest between two exports; senders export every few seconds."""

_LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that its sender gets to read the answer."""

_HEADERS_MOST, _HEADER_BYTES = 64, 4096
"""Enough for what exporters and proxies send, and for a token; a quarter of a MiB for each connection at the very most."""

_FULL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_SECONDS}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


class Connection(HttpConnection):
    """A sender's; what it does wrong is counted."""

    def __init__(self, requests: web.Server, receiver: Receiver, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            requests,
            loop=loop,
            header_seconds=receiver.limits.request_time,
            idle_seconds=_IDLE_SECONDS,
            linger_seconds=_LINGER_SECONDS,
            headers_most=_HEADERS_MOST,
            header_bytes=_HEADER_BYTES,
        )
        self._requests = requests
        self._receiver = receiver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away where there are too many."""
        super().connection_made(transport)
        if len(self._requests.connections) > self._receiver.limits.connections:
            self._receiver.refuse(Overloaded(), "http")
            cast("asyncio.Transport", transport).write(_FULL)
            self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what isn't HTTP, which is counted and not logged; what went wrong here is handled as any error."""
        if status != web.HTTPBadRequest.status_code:
            return super().handle_error(request, status, exc, message)
        self._receiver.refuse(DecodeError(), "http")
        response = web.Response(status=status, text="no HTTP request")
        response.force_close()
        return response

    def headers_too_slow(self) -> None:
        """Counts it."""
        self._receiver.refuse(TooSlow(), "http")

    def log_exception(self, *args: object, **kw: object) -> None:
        """Hands our own mistakes to whoever watches over the loop."""
        self._event_loop.call_exception_handler({"message": str(args[0]), "exception": kw.get("exc_info")})

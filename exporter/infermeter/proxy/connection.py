"""One HTTP connection of a client: bounded in number and in the time its headers take, and quiet about what clients do wrong."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

from infermeter.config import Limits
from infermeter.network.aiohttp_connection import AiohttpConnection

IDLE_SECONDS = 75.0
"""How long a connection may rest between two requests."""

LINE_BYTES, FIELDS = 16 << 10, 128
"""Bounds of a request's target and of each of its header fields, and of their number; then 400."""

RETRY_AFTER_SECONDS = 1

_FULL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_SECONDS}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


class Connection(AiohttpConnection):
    """A client's, turned away where there are too many."""

    def __init__(self, requests: web.Server, limits: Limits, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            requests,
            loop=loop,
            header_seconds=limits.request_time,
            idle_seconds=IDLE_SECONDS,
            linger_seconds=0,  # the server does it: what is left of a body may be no HTTP
            headers_most=FIELDS,
            header_bytes=LINE_BYTES,
            line_bytes=LINE_BYTES,
        )
        self._requests = requests
        self._limits = limits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away where there are too many."""
        super().connection_made(transport)
        if len(self._requests.connections) > self._limits.connections:
            cast("asyncio.Transport", transport).write(_FULL)
            self.force_close()

    def end(self) -> None:
        """Ends with the request that is under way, or now if there is none."""
        if self.in_request:
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
        self.event_loop.call_exception_handler({"message": str(args[0]), "exception": kw.get("exc_info")})

"""One HTTP connection of a sender: bounded in number, in the time its headers take, and quiet about what others do wrong."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

from infermeter.errors import DecodeError, Overloaded
from infermeter.otlp.receiver import Receiver
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS, TooSlow

_IDLE_SECONDS = 120.0
"""How long a connection may rest between two exports; senders export every few seconds."""

_LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that its sender gets to read the answer."""

_FULL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_SECONDS}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


class Connection(web.RequestHandler):
    """aiohttp's connection, with a bound on the time from the first byte of a request (or from connecting) to the end of its headers.

    aiohttp itself bounds neither that nor the number of connections.
    """

    def __init__(self, requests: web.Server, receiver: Receiver, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            requests,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # how aiohttp spells: no access log
            auto_decompress=False,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
        )
        self._requests = requests
        self._receiver = receiver
        self._event_loop = loop
        self._in_request = False
        self._in_headers = False
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away where there are too many."""
        super().connection_made(transport)
        if len(self._requests.connections) > self._receiver.limits.connections:
            self._receiver.refuse(Overloaded(), "http")
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
        if not self._in_request:
            self._in_headers = True
            if self._header_timer is None:
                self._await_headers()
        super().data_received(data)

    def request_began(self) -> None:
        """The headers of a request are complete."""
        self._headers_came()
        self._in_request = True

    def request_ended(self) -> None:
        """The request was answered; the connection may rest."""
        self._in_request = False

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

    def log_exception(self, *args: object, **kw: object) -> None:
        """Hands our own mistakes to whoever watches over the loop."""
        self._event_loop.call_exception_handler({"message": str(args[0]), "exception": kw.get("exc_info")})

    def _await_headers(self) -> None:
        self._header_timer = self._event_loop.call_later(self._receiver.limits.request_time, self._headers_too_slow)

    def _headers_came(self) -> None:
        self._in_headers = False
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_too_slow(self) -> None:
        if self._in_headers:
            self._receiver.refuse(TooSlow(), "http")
        self.force_close()

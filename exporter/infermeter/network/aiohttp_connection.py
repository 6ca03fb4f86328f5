"""One connection of a peer to an HTTP server of aiohttp, with a bound on the time that its headers take; aiohttp's own has none."""

from __future__ import annotations

import asyncio

from aiohttp import web

LINE_BYTES = 8190
"""As in most servers."""


class AiohttpConnection(web.RequestHandler):
    """Counts from the first byte of a request, or from connecting, to the end of its headers, however steadily they drip.

    Whoever answers requests calls `request_began` and `request_ended`; between them it is `in_request`. Nothing is unpacked, and nothing
    logged of a request.
    """

    def __init__(
        self,
        requests: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        header_seconds: float,
        idle_seconds: float,
        linger_seconds: float,
        headers_most: int,
        header_bytes: int,
        line_bytes: int = LINE_BYTES,
    ) -> None:
        """`line_bytes` bounds the first line of a request, `header_bytes` one field; a peer makes this hold `headers_most` of them.

        `idle_seconds` is how long it may rest between two requests, `linger_seconds` how long a body that nobody wants is dropped.
        """
        super().__init__(
            requests,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # how aiohttp spells: no access log
            auto_decompress=False,
            keepalive_timeout=idle_seconds,
            lingering_time=linger_seconds,
            max_line_size=line_bytes,
            max_headers=headers_most,
            max_field_size=header_bytes,
        )
        self.event_loop = loop
        self._header_seconds = header_seconds
        self.in_request = False
        self._in_headers = False
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Awaits the first headers."""
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Awaits nothing any more."""
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes bytes; the first of a request start its clock."""
        if data and not self.in_request:  # aiohttp calls it without any, to go on with what it has
            self._in_headers = True
            if self._header_timer is None:
                self._await_headers()
        super().data_received(data)

    def request_began(self) -> None:
        """The headers of a request are complete."""
        self._headers_came()
        self.in_request = True

    def request_ended(self) -> None:
        """The request was answered; the connection may rest."""
        self.in_request = False

    def headers_too_slow(self) -> None:
        """They began, and didn't end in time: the connection is closed after this."""

    def _await_headers(self) -> None:
        self._header_timer = self.event_loop.call_later(self._header_seconds, self._cut_off)

    def _headers_came(self) -> None:
        self._in_headers = False
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cut_off(self) -> None:
        if self._in_headers:
            self.headers_too_slow()
        self.force_close()

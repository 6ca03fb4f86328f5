"""Server-sent events: the report to whoever listens, at most once a second. Source: the WHATWG HTML standard, section 9.2."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from aiohttp import web

from infermeter.web.encoding import in_turns

log = logging.getLogger(__name__)

LISTENERS = 16
"""Listeners at a time; then 503."""

WRITE_SECONDS = 5.0
"""A listener that doesn't take an event for so long is dropped."""


class EventStream:
    """One frame for all listeners, made only while somebody listens; a slow listener misses frames, and is dropped if it stops reading."""

    def __init__(self, source: Callable[[], Iterable[bytes]], *, interval_seconds: float, admission: Callable[[], object]) -> None:
        """`source` gives the data of an event: one line, in pieces, between which others have their turn.

        `admission` is what says who may listen: once it is another object than when a stream began, that ends, and its listener asks again.
        """
        self._source = source
        self._interval_seconds = interval_seconds
        self._admission = admission
        self._frame = b""
        self._making = asyncio.Lock()
        self._made_at = float("-inf")
        self._listeners = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Ends every stream."""
        self._closing.set()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Streams events until the listener leaves, stops reading, others may listen, or the server stops."""
        if self._listeners >= LISTENERS or self._closing.is_set():
            return web.Response(status=503, text="too many listeners\n", headers={"Retry-After": "5"})
        self._listeners += 1
        try:
            return await self._stream(request, await self._newest(), self._admission())
        finally:
            self._listeners -= 1

    async def _stream(self, request: web.Request, frame: bytes, admitted: object) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        try:
            await _write(response, frame)
            while not await self._closes_within(self._interval_seconds) and self._admission() is admitted:
                newest = await self._newest()
                if newest is not frame:
                    await _write(response, frame := newest)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the listener has left
        except Exception:
            log.exception("an event could not be made")
        return response

    async def _newest(self) -> bytes:
        """The frame of this interval; who comes while it is made waits for it."""
        async with self._making:
            now = asyncio.get_running_loop().time()
            if now - self._made_at >= self._interval_seconds:
                data, _ = await in_turns(self._source(), "")
                self._frame, self._made_at = b"event: report\ndata: " + data + b"\n\n", now
            return self._frame

    async def _closes_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()


async def _write(response: web.StreamResponse, frame: bytes) -> None:
    """Raises: TimeoutError where the listener doesn't read, ConnectionError where it has left."""
    await asyncio.wait_for(response.write(frame), WRITE_SECONDS)

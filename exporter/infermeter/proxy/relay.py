"""One request: handed to the upstream server, its answer handed back, bodies as they are and piece by piece, and timed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import TypeAlias

import aiohttp
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

from infermeter.instrument.layout import WallClock
from infermeter.proxy.headers import SAFE_METHODS, end_to_end, framing_is_known, target_of, upstream_headers
from infermeter.proxy.spans import Trace, trace_of
from infermeter.proxy.timing import Timing
from infermeter.proxy.turns import NoTurn, Turns

log = logging.getLogger(__name__)

Clock: TypeAlias = Callable[[], int]
"""Tells unix nanoseconds, steadily."""

RETRY_AFTER_SECONDS = 1

PATIENCE_SECONDS = 60.0
"""How long a client may send nothing in the midst of a body, or take nothing of an answer. Else it would keep its turn for ever.

aiohttp doesn't tell of chunks that can't be read: they end like this too.
"""

SMALL_BYTES = 32 << 10
"""A piece that a transport takes at once if nothing waits in it: half of what it may hold before it asks to be waited for."""

CLIENT_GONE = "client_gone"
"""Nobody is there any more to be answered."""

_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
_EMPTY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class CutOff(Exception):
    """The upstream server ended its answer before it was complete."""


class Relay:
    """Answers requests with what the upstream server answers. `inferences` and `failed` are how many there were.

    Once `draining`, connections end with their request; once `ending`, what is cancelled wasn't left by its client.
    """

    def __init__(
        self,
        upstream: str,
        http: aiohttp.ClientSession,
        *,
        turns: Turns | None,
        paths: Sequence[str],
        clock: WallClock,
        on_end: Callable[[Trace, Timing], None],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`upstream` is a URL; `paths` are those of inferences, by their beginning (none: all but safe methods are inferences).

        `patience_seconds` is how long a body may pause.
        """
        self._upstream = upstream.rstrip("/")
        self._http = http
        self._turns = turns
        self._paths = tuple(paths)
        self._clock = clock
        self._on_end = on_end
        self._patience_seconds = patience_seconds
        self._upstream_answers = True
        self.draining = self.ending = False
        self.inferences = self.failed = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request: the upstream server's, already written, or why there is none."""
        if request.method == "CONNECT" or request.headers.get("Upgrade", "").strip().lower() == "websocket":
            return refused(HTTPStatus.NOT_IMPLEMENTED, "tunnels and WebSockets don't go through this proxy")
        if request.version not in _VERSIONS:
            return refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1 go through this proxy")
        target = target_of(request.raw_path)
        if target is None:
            return refused(HTTPStatus.BAD_REQUEST, "no path of a server")
        if not framing_is_known(request.headers):
            return refused(HTTPStatus.NOT_IMPLEMENTED, "no transfer coding but chunked goes through this proxy")
        url = URL(f"{self._upstream}{target}", encoded=True)
        headers = upstream_headers(request.headers, client=request.remote)
        now = self._clock.steady()
        timing = Timing(now(), upload=request.body_exists)
        if not self._is_inference(request.method, target):
            return await self._asked(request, url, headers, timing, now)  # a probe for health doesn't wait for its turn
        trace = trace_of(request.headers)
        trace.hand_on(headers)
        timing.failure = "cancelled"  # unless it gets so far as to say otherwise
        try:
            return await self._exchange(request, url, headers, timing, now)
        finally:
            timing.end_ns = now()
            if timing.failure == "cancelled" and not self.ending:
                timing.failure = CLIENT_GONE
            self.inferences += 1
            self.failed += timing.failure is not None
            self._on_end(trace, timing)

    def _is_inference(self, method: str, target: str) -> bool:
        return target.startswith(self._paths) if self._paths else method not in SAFE_METHODS

    async def _exchange(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str], timing: Timing, now: Clock
    ) -> web.StreamResponse:
        turn: AbstractAsyncContextManager[None] = nullcontext() if self._turns is None else self._turns.turn()
        try:
            async with turn:
                timing.turn_ns = now()
                return await self._asked(request, url, headers, timing, now)
        except NoTurn:
            timing.failure = "no_turn"
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are waiting for their turn", retry=True)

    async def _asked(self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str], timing: Timing, now: Clock) -> web.StreamResponse:
        """Asks the upstream server, and hands its answer back."""
        timing.asked = True
        upload = Upload(request, timing, now, self._patience_seconds)
        try:
            return await self._answered(request, url, headers, upload, timing, now)
        finally:
            await upload.give_up()

    async def _answered(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str], upload: Upload, timing: Timing, now: Clock
    ) -> web.StreamResponse:
        try:
            upstream = await self._http.request(request.method, url, headers=headers, data=upload.body(), allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            if upload.broken or self.ending:
                timing.failure = CLIENT_GONE if upload.broken else "cancelled"
                return refused(HTTPStatus.BAD_REQUEST, "the body was cut off, or isn't as it was announced")
            timing.asked = not isinstance(error, aiohttp.ClientConnectorError)
            timing.failure = "upstream_unavailable"
            self._upstream_now(answers=False)
            return refused(HTTPStatus.BAD_GATEWAY, "the upstream server doesn't answer")
        self._upstream_now(answers=True)
        if upstream.status < HTTPStatus.OK or not framing_is_known(upstream.headers):
            upstream.close()
            timing.failure = "upstream_unavailable"
            return refused(HTTPStatus.BAD_GATEWAY, "the upstream server's answer can't be handed on")
        try:
            keep_alive = await self._hand_back(upstream, request, timing, now)
        except CutOff:
            timing.failure = CLIENT_GONE if upload.broken else "upstream_cut_off"
        except OSError:  # a write to the client, or none in time: what the upstream server does wrong is CutOff
            timing.failure = CLIENT_GONE
        else:
            timing.failure = None if upstream.status < HTTPStatus.BAD_REQUEST else str(upstream.status)
            return Answered(keep_alive=keep_alive)
        finally:
            upstream.close()  # which ends it if it wasn't complete
        if request.transport is not None:
            request.transport.abort()  # so that the client sees that the answer isn't whole
        return Answered(keep_alive=False)

    async def _hand_back(self, upstream: aiohttp.ClientResponse, request: web.BaseRequest, timing: Timing, now: Clock) -> bool:
        """Writes the answer piece by piece, no faster than the client takes it. Whether the client's connection outlives it.

        Raises:
            CutOff: it isn't whole.
            OSError: the client is gone, or takes nothing any more.
        """
        writer, content, version = request.writer, upstream.content, request.version
        headers = end_to_end(upstream.headers)
        sized = request.method == "HEAD" or upstream.status in _EMPTY or "Content-Length" in headers
        protocol = None if sized or upstream.connection is None else upstream.connection.protocol
        if protocol is not None and "Keep-Alive" in upstream.headers:
            # llama.cpp's server announces that it lasts, and hangs up after a stream: the next request must not be lost in it
            protocol.force_close()
        if sized:
            timing.computed_ns = now()  # else its end could not be told in advance: it is made piece by piece
        elif version >= HttpVersion11:
            writer.enable_chunking()
            headers["Transfer-Encoding"] = "chunked"
        lasts = request.keep_alive and not self.draining and (sized or version >= HttpVersion11)  # else its end is told by closing
        if not lasts:
            headers["Connection"] = "close"
        elif version < HttpVersion11:
            headers["Connection"] = "keep-alive"
        await writer.write_headers(f"HTTP/{version.major}.{version.minor} {upstream.status} {upstream.reason or ''}", headers)
        if not content.is_eof():
            writer.send_headers()  # the body may be long in coming
        while piece := await _next_piece(content):
            before_ns = now()
            if timing.first_byte_ns is None:
                timing.first_byte_ns = before_ns
            await self._taken(writer.write(piece), len(piece), request.transport)
            if not sized:
                timing.written(before_ns, now())
        if not sized:
            timing.computed_ns = now()
        await self._taken(writer.write_eof(), 0, request.transport)
        return lasts and not self.draining

    async def _taken(self, writing: Awaitable[None], size_bytes: int, transport: asyncio.WriteTransport | None) -> None:
        """Waits for the client to take what is written. Raises: OSError, which TimeoutError is."""
        if size_bytes <= SMALL_BYTES and (transport is None or not transport.get_write_buffer_size()):
            await writing  # which won't wait, so no clock is needed
            return
        async with asyncio.timeout(self._patience_seconds):
            await writing

    def _upstream_now(self, *, answers: bool) -> None:
        if answers != self._upstream_answers:
            self._upstream_answers = answers
            if answers:
                log.info("the upstream server answers again")
            else:
                log.warning("the upstream server doesn't answer")


class Upload:
    """A request's body on its way. `broken`: the client didn't send all of it."""

    def __init__(self, request: web.BaseRequest, timing: Timing, now: Clock, patience_seconds: float) -> None:
        """A client that sends nothing for `patience_seconds` is taken for gone; so is one whose chunks can't be read."""
        self._patience_seconds = patience_seconds
        self._request = request
        self._timing = timing
        self._now = now
        self._sending: asyncio.Task[object] | None = None
        self.broken = False

    def body(self) -> bytes | AsyncIterator[bytes] | None:
        """What the client session takes: all of it if it is there already, its pieces as they come, or None for none."""
        if not self._timing.upload:
            return None
        content = self._request.content
        if content.is_eof():
            self._timing.sent_ns = self._now()
            return content.read_nowait()
        return self._pieces(content)

    async def give_up(self) -> None:
        """Sends no more of it: the request is over, and what is left of the body is somebody else's to read."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait((self._sending,))

    async def _pieces(self, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
        request = self._request
        self._sending = asyncio.current_task()  # the client session's, which reads the answer in another
        expected = request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11
        if expected and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            while piece := await asyncio.wait_for(content.readany(), self._patience_seconds):
                yield piece
        except Exception:  # whatever it is, it comes from the client's side
            self.broken = True
            raise
        self._timing.sent_ns = self._now()


class Answered(web.StreamResponse):
    """Stands for an answer that was written already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._lasts = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection outlives it."""
        return self._lasts

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is left to be done."""
        del request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""
        del data


def refused(status: HTTPStatus, why: str, *, retry: bool = False) -> web.Response:
    """The proxy's own answer, after which the connection ends: the request's body may not have been read."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if retry else None
    response = web.Response(status=status, text=f"infermeter proxy: {why}\n", headers=headers)
    response.force_close()
    return response


async def _next_piece(content: aiohttp.StreamReader) -> bytes:
    """What has come of the upstream server's answer; empty at its end. Raises: CutOff."""
    try:
        return await content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise CutOff from error

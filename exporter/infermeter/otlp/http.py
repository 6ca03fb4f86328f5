"""OTLP over HTTP/1.1: protobuf and JSON, each with and without gzip."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import cast

from aiohttp import web

from infermeter.endpoints import PASSED_BY, sidecars_told
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.file_watch import FileWatch
from infermeter.listener import TlsListener
from infermeter.model import Export
from infermeter.otlp.access import OPEN, Access
from infermeter.otlp.answers import CONTENT_TYPES, UNFIT_SPANS, Encoding, failure, success
from infermeter.otlp.connection import Connection
from infermeter.otlp.receiver import Packing, Receiver
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS, TooSlow, Unauthorised, WrongContentType, WrongSignal

_TRACES = "/v1/traces"
_PATHS = frozenset({_TRACES, "/v1/metrics", "/v1/logs"})
_ENCODINGS: dict[str, Encoding] = {content_type: encoding for encoding, content_type in CONTENT_TYPES.items()}
_PACKINGS: dict[str, Packing] = {"identity": "identity", "gzip": "gzip"}
_STOP_SECONDS = 0.5
_CANCEL_SECONDS = 0.1


class HttpReceiver:
    """Listens for exports over HTTP and answers each after it was decoded."""

    def __init__(self, receiver: Receiver, access: FileWatch[Access] | None = None) -> None:
        """`access` says who may send, and is looked after while this listens; None: everybody."""
        self._receiver = receiver
        self._watch = access
        self._requests: web.Server | None = None
        self._listener: asyncio.Server | TlsListener | None = None
        self._answering: set[asyncio.Task[object]] = set()

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        requests = web.Server(self._answer)
        made = partial(Connection, requests, self._receiver, loop=loop)
        if self._watch is not None:
            self._watch.start()
        if self._access().certificates is None:
            self._listener = await loop.create_server(made, host.strip("[]") or None, int(port))
            bound: int = self._listener.sockets[0].getsockname()[1]
        else:
            seconds = self._receiver.limits.request_time
            self._listener = listener = TlsListener(made, self._context, handshake_seconds=seconds)
            bound = await listener.start(host.strip("[]") or None, int(port))
        self._requests = requests
        return bound

    async def stop(self) -> None:
        """Takes no more connections, lets exports that are being received end, at most for half a second, and closes."""
        if self._listener is not None and self._requests is not None:
            self._listener.close()
            if self._watch is not None:
                self._watch.stop()
            if self._answering:
                await asyncio.wait(self._answering, timeout=_STOP_SECONDS)
            self._requests.pre_shutdown()
            await self._requests.shutdown(_CANCEL_SECONDS)
            self._listener = None

    def _access(self) -> Access:
        return OPEN if self._watch is None else self._watch.current

    def _context(self) -> ssl.SSLContext:
        certificates = self._access().certificates
        assert certificates is not None  # noqa: S101 - the files are named once, and always there
        return certificates.context

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request."""
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - the listener makes no others
        connection.request_began()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        try:
            response = await self._response(request)
        finally:
            connection.request_ended()
        if not request.content.is_eof() or "Upgrade" in request.headers:  # of which the rest is dropped, or would be kept unread
            response.force_close()
        return response

    async def _response(self, request: web.BaseRequest) -> web.Response:
        if request.path not in _PATHS:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="not found")
        if request.method != "POST":
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, text="only POST", headers={"Allow": "POST"})
        encoding = _ENCODINGS.get(request.content_type, "protobuf")
        try:
            export = await self._take(request)
        except (DecodeError, Overloaded, Unauthorised, WrongSignal) as error:
            refusal = self._receiver.refuse(error, "http")
            refused = refusal.http_status != HTTPStatus.OK
            body = failure(encoding, refusal.grpc_status, str(error)) if refused else success(encoding, message=str(error))
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if refusal.retry else {}
            if isinstance(error, Unauthorised):
                headers["WWW-Authenticate"] = "Bearer"
            return web.Response(status=refusal.http_status, body=body, content_type=CONTENT_TYPES[encoding], headers=headers)
        body = success(encoding, rejected=export.malformed, message=UNFIT_SPANS if export.malformed else "")
        return web.Response(body=body, content_type=CONTENT_TYPES[encoding])

    async def _take(self, request: web.BaseRequest) -> Export:
        """Receives and decodes one export.

        Raises:
            DecodeError, Overloaded, Unauthorised, WrongSignal: as in REFUSALS.
        """
        self._access().check(request.headers.getall("Authorization", []))
        encoding = _ENCODINGS.get(request.content_type)
        if encoding is None:
            raise WrongContentType("the content type is neither application/x-protobuf nor application/json")
        packing = _PACKINGS.get(request.headers.get("Content-Encoding", "identity").strip().lower())
        if packing is None:
            raise WrongContentType("the content encoding is neither gzip nor identity")
        with self._receiver.receiving() as hold:
            body = await self._body(request, hold)
            if request.path != _TRACES:
                raise WrongSignal("only traces are taken here: nothing of this export was kept")
            passed_by = sidecars_told(request.headers.get(PASSED_BY, ""))
            return await self._receiver.turns.take(lambda: self._receiver.take(body, encoding, packing, "http", passed_by=passed_by))

    async def _body(self, request: web.BaseRequest, hold: Callable[[int], None]) -> bytes:
        """The body as it was sent, within its bounds of bytes and time."""
        limits = self._receiver.limits
        if (request.content_length or 0) > limits.body_bytes:
            raise TooLarge("more than limits.body_bytes")
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunks: list[bytes] = []
        left_bytes = limits.body_bytes
        try:
            async with asyncio.timeout(limits.request_time):
                async for chunk in request.content.iter_any():
                    left_bytes -= len(chunk)
                    if left_bytes < 0:
                        raise TooLarge("more than limits.body_bytes")
                    hold(len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            raise TooSlow("the body took longer than limits.request_time") from None
        except (web.RequestPayloadError, OSError):
            raise DecodeError("the body was cut off") from None
        return b"".join(chunks)

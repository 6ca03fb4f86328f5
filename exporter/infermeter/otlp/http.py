"""OTLP over HTTP/1.1: protobuf and JSON, each with and without gzip."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Generator
from email.utils import formatdate
from functools import partial
from http import HTTPStatus

from infermeter.endpoints import PASSED_BY, sidecars_told
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.model import Export
from infermeter.network.file_watch import FileWatch
from infermeter.network.listener import TlsListener
from infermeter.otlp.access import OPEN, Access
from infermeter.otlp.answers import CONTENT_TYPES, UNFIT_SPANS, Encoding, failure, success
from infermeter.otlp.connection import Connection, Exchange, Listener
from infermeter.otlp.decoder import Checked
from infermeter.otlp.http_answers import Answer
from infermeter.otlp.http_requests import Head
from infermeter.otlp.receiver import Packing, Receiver
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS, Unauthorised, WrongContentType, WrongSignal

_TRACES = "/v1/traces"
_PATHS = frozenset({_TRACES, "/v1/metrics", "/v1/logs"})
_ENCODINGS: dict[str, Encoding] = {content_type: encoding for encoding, content_type in CONTENT_TYPES.items()}
_PACKINGS: dict[str, Packing] = {"identity": "identity", "gzip": "gzip"}
_ALL_TAKEN = {encoding: Answer(HTTPStatus.OK, success(encoding), content_type) for encoding, content_type in CONTENT_TYPES.items()}
_PASSED_BY = PASSED_BY.lower()
_STOP_SECONDS = 0.5


class HttpReceiver:
    """Listens for exports over HTTP and answers each after it was judged or decoded."""

    def __init__(self, receiver: Receiver, access: FileWatch[Access] | None = None) -> None:
        """`access` says who may send, and is looked after while this listens; None: everybody."""
        self._receiver = receiver
        self._watch = access
        self._common = Listener(receiver, self.exchange, self.at_once, _Dates().now)
        self._listener: asyncio.Server | TlsListener | None = None

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        made = partial(Connection, self._common, loop)
        if self._watch is not None:
            self._watch.start()
        if self._access().certificates is None:
            self._listener = await loop.create_server(made, host.strip("[]") or None, int(port))
            bound: int = self._listener.sockets[0].getsockname()[1]
        else:
            seconds = self._receiver.limits.request_time
            self._listener = listener = TlsListener(made, self._context, handshake_seconds=seconds)
            bound = await listener.start(host.strip("[]") or None, int(port))
        return bound

    async def stop(self) -> None:
        """Takes no more connections, lets exports that are being received end, at most for half a second, and closes."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            if self._watch is not None:
                self._watch.stop()
            connections = tuple(self._common.connections)
            if under_way := [answered for connection in connections if (answered := connection.wind_up()) is not None]:
                await asyncio.wait(under_way, timeout=_STOP_SECONDS)
            for connection in connections:
                connection.cut()
            await asyncio.sleep(0)

    def _access(self) -> Access:
        return OPEN if self._watch is None else self._watch.current

    def _context(self) -> ssl.SSLContext:
        certificates = self._access().certificates
        assert certificates is not None  # noqa: S101 - the files are named once, and always there
        return certificates.context

    def exchange(self, head: Head) -> Exchange:
        """The answer to any request."""
        if head.path not in _PATHS:
            return Answer(HTTPStatus.NOT_FOUND, b"not found")
        if head.method != "POST":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only POST", more=(("Allow", "POST"),))
        told = _encoding(head)
        encoding = told or "protobuf"
        try:
            export = yield from self._take(head, told)
        except (DecodeError, Overloaded, Unauthorised, WrongSignal) as error:
            return self._refused(error, encoding)
        return _taken(export, encoding)

    def at_once(self, head: Head, body: bytes) -> Answer | None:
        """What `exchange` answers to an export of usual fields that has come whole; None: it is another request."""
        told = head.fields
        encoding = _ENCODINGS.get(told.get("content-type", ""))
        packing = _PACKINGS.get(told.get("content-encoding", "identity"))
        if head.path != _TRACES or head.method != "POST" or encoding is None or packing is None:
            return None
        if len(body) > self._receiver.limits.body_bytes:
            return None
        try:
            self._check(head)
            self._receiver.check_room(len(body))
            export = self._receiver.take(body, encoding, packing, "http", passed_by=_passed_by(head))
        except (DecodeError, Overloaded, Unauthorised) as error:
            return self._refused(error, encoding)
        return _taken(export, encoding)

    def _check(self, head: Head) -> None:
        """Raises: Unauthorised."""
        authorization = head.fields.get("authorization")
        self._access().check(() if authorization is None else (authorization,))

    def _refused(self, error: Exception, encoding: Encoding) -> Answer:
        """Counts it."""
        refusal = self._receiver.refuse(error, "http")
        refused = refusal.http_status != HTTPStatus.OK
        body = failure(encoding, refusal.grpc_status, str(error)) if refused else success(encoding, message=str(error))
        more = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if refusal.retry else ()
        if isinstance(error, Unauthorised):
            more = (("WWW-Authenticate", "Bearer"),)
        return Answer(refusal.http_status, body, CONTENT_TYPES[encoding], more)

    def _take(self, head: Head, encoding: Encoding | None) -> Generator[None, bytes | None, Export | Checked]:
        """Receives and takes one export.

        Raises:
            DecodeError, Overloaded, Unauthorised, WrongSignal: as in REFUSALS.
        """
        self._check(head)
        if encoding is None:
            raise WrongContentType("the content type is neither application/x-protobuf nor application/json")
        packing = _PACKINGS.get(head.fields.get("content-encoding", "identity").lower())
        if packing is None:
            raise WrongContentType("the content encoding is neither gzip nor identity")
        with self._receiver.receiving() as hold:
            body = yield from self._body(head, hold)
            if head.path != _TRACES:
                raise WrongSignal("only traces are taken here: nothing of this export was kept")
            return self._receiver.take(body, encoding, packing, "http", passed_by=_passed_by(head))

    def _body(self, head: Head, hold: Callable[[int], None]) -> Generator[None, bytes | None, bytes]:
        """The body as it was sent, within its bound; of time the connection takes care."""
        left_bytes = self._receiver.limits.body_bytes
        if (head.length_bytes or 0) > left_bytes:
            raise TooLarge("more than limits.body_bytes")
        pieces: list[bytes] = []
        while (piece := (yield)) is not None:
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise TooLarge("more than limits.body_bytes")
            hold(len(piece))
            pieces.append(piece)
        return b"".join(pieces)


class _Dates:
    """The time as HTTP writes it, which is the same for a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


def _taken(export: Export | Checked, encoding: Encoding) -> Answer:
    if not export.malformed:
        return _ALL_TAKEN[encoding]
    return Answer(HTTPStatus.OK, success(encoding, rejected=export.malformed, message=UNFIT_SPANS), CONTENT_TYPES[encoding])


def _passed_by(head: Head) -> tuple[str, ...]:
    told = head.fields.get(_PASSED_BY)
    return sidecars_told(told) if told else ()


def _encoding(head: Head) -> Encoding | None:
    """What the body is said to be; None: something else."""
    return _ENCODINGS.get(head.fields.get("content-type", "").partition(";")[0].strip().lower())

"""OTLP over HTTP/1.1: protobuf and JSON, each with and without gzip."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from operator import attrgetter

from infermeter.endpoints import PASSED_BY, sidecars_told
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.model import Export
from infermeter.network.file_watch import FileWatch
from infermeter.otlp.access import Access
from infermeter.otlp.answers import CONTENT_TYPES, UNFIT_SPANS, Encoding, failure, success
from infermeter.otlp.connection import Connection
from infermeter.otlp.decoder import Checked
from infermeter.otlp.http_answers import Answer
from infermeter.otlp.http_connection import Exchange, HttpConnection, Shared
from infermeter.otlp.http_requests import Head
from infermeter.otlp.listening import Listening
from infermeter.otlp.places import Places
from infermeter.otlp.receiver import Packing, Receiver
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS, Unauthorised, WrongContentType, WrongSignal

_TRACES = "/v1/traces"
_PATHS = frozenset({_TRACES, "/v1/metrics", "/v1/logs"})
_ENCODINGS: dict[str, Encoding] = {content_type: encoding for encoding, content_type in CONTENT_TYPES.items()}
_PACKINGS: dict[str, Packing] = {"identity": "identity", "gzip": "gzip"}
_ALL_TAKEN = {encoding: Answer(HTTPStatus.OK, success(encoding), content_type) for encoding, content_type in CONTENT_TYPES.items()}
_PASSED_BY = PASSED_BY.lower()


class HttpReceiver(Listening):
    """Listens for exports over HTTP and answers each after it was judged or decoded."""

    def __init__(self, receiver: Receiver, access: FileWatch[Access] | None = None) -> None:
        """`access` says who may send, and is looked after while this listens; None: everybody."""
        self._receiver = receiver
        places = Places[Connection](receiver.limits.connections)
        made = partial(HttpConnection, Shared(receiver, places, self.exchange, self.at_once, _Dates().now))
        super().__init__(made, places, access, attrgetter("context"), handshake_seconds=receiver.limits.request_time)

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
        self.access.check(() if authorization is None else (authorization,))

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

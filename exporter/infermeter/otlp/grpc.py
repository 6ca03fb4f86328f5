"""OTLP over gRPC: protobuf, with and without gzip."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from http import HTTPStatus
from operator import attrgetter
from typing import Final

from infermeter.endpoints import sidecars_told
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.model import Export
from infermeter.network.file_watch import FileWatch
from infermeter.otlp.access import Access
from infermeter.otlp.answers import UNFIT_SPANS, retry_metadata, success
from infermeter.otlp.connection import Connection
from infermeter.otlp.decoder import Checked
from infermeter.otlp.grpc_answers import OK, Answer
from infermeter.otlp.grpc_connection import Exchange, GrpcConnection, Shared
from infermeter.otlp.grpc_heads import Head
from infermeter.otlp.listening import Listening
from infermeter.otlp.places import Places
from infermeter.otlp.receiver import Packing, Receiver
from infermeter.otlp.refusals import Unauthorised, UnknownPacking, WrongContentType, WrongSignal

_TRACES: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_METHODS: Final = frozenset(
    {
        _TRACES,
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
)
_CONTENT_TYPES: Final = frozenset({"application/grpc", "application/grpc+proto"})
_PACKINGS: Final[dict[str, Packing]] = {"gzip": "gzip"}
_PREFIX_BYTES: Final = 5
"""Before a message: whether it is packed, and its length. Source: gRPC over HTTP2, "Length-Prefixed-Message"."""

_ALL_TAKEN: Final = Answer(OK, success("protobuf"))
_UNKNOWN: Final = Answer(12, text="unknown method")
_NO_GRPC: Final = Answer(12, text="only POST", http_status=HTTPStatus.METHOD_NOT_ALLOWED)


class GrpcReceiver(Listening):
    """Listens for exports over gRPC and answers each after it was judged or decoded."""

    def __init__(self, receiver: Receiver, access: FileWatch[Access] | None = None) -> None:
        """`access` says who may send, and is looked after while this listens; None: everybody."""
        self._receiver = receiver
        self._message_bytes_most = min(receiver.limits.body_bytes, receiver.limits.decompressed_bytes)
        places = Places[Connection](receiver.limits.connections)
        made = partial(GrpcConnection, Shared(receiver, places, self.exchange, self._message_bytes_most + _PREFIX_BYTES))
        super().__init__(made, places, access, attrgetter("http2_context"), handshake_seconds=receiver.limits.request_time)

    def exchange(self, head: Head) -> Exchange:
        """The answer to any call."""
        if head.method != "POST":
            return _NO_GRPC
        if head.path not in _METHODS:
            return _UNKNOWN
        try:
            export = yield from self._take(head)
        except (DecodeError, Overloaded, Unauthorised, WrongSignal) as error:
            refusal = self._receiver.refuse(error, "grpc")
            more = retry_metadata(refusal.grpc_status, str(error)) if refusal.retry else ()
            http_status = HTTPStatus.OK if head.content_type in _CONTENT_TYPES else HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            return Answer(refusal.grpc_status, text=str(error), metadata=more, http_status=http_status)
        return Answer(OK, success("protobuf", rejected=export.malformed, message=UNFIT_SPANS)) if export.malformed else _ALL_TAKEN

    def _take(self, head: Head) -> Generator[None, bytes | None, Export | Checked]:
        """Receives and decodes one export.

        Raises:
            DecodeError, Overloaded, Unauthorised, WrongSignal: as in REFUSALS.
        """
        self.access.check(head.authorizations)
        if head.path != _TRACES:
            raise WrongSignal("only traces are taken here")
        if head.content_type not in _CONTENT_TYPES:
            raise WrongContentType("the content type isn't application/grpc")
        with self._receiver.receiving() as hold:
            is_packed, message = yield from self._message(hold)
            if not is_packed:
                packing: Packing = "identity"
            elif head.packing == "identity":
                raise DecodeError("the message is packed, and nothing says how")
            elif head.packing in _PACKINGS:
                packing = _PACKINGS[head.packing]
            else:
                raise UnknownPacking("the message is packed in another way than gzip")
            return self._receiver.take(message, "protobuf", packing, "grpc", passed_by=sidecars_told(head.passed_by))

    def _message(self, hold: Callable[[int], None]) -> Generator[None, bytes | None, tuple[bool, bytes]]:
        """The only message of a call, and whether it is packed, within its bound; of time the connection takes care."""
        prefix = b""
        pieces: list[bytes] = []
        left_bytes = 0
        while (piece := (yield)) is not None:
            hold(len(piece))
            if len(prefix) < _PREFIX_BYTES:
                prefix, piece = _split(prefix + piece)
                if len(prefix) < _PREFIX_BYTES:
                    continue
                left_bytes = int.from_bytes(prefix[1:], "big")
                if prefix[0] > 1:
                    raise DecodeError("no message of gRPC")
                if left_bytes > self._message_bytes_most:
                    raise TooLarge("more than limits.body_bytes")
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise DecodeError("more than one message")
            pieces.append(piece)
        if left_bytes or len(prefix) < _PREFIX_BYTES:
            raise DecodeError("the message was cut off")
        return bool(prefix[0]), b"".join(pieces)


def _split(begun: bytes) -> tuple[bytes, bytes]:
    """What precedes a message, as far as it has come, and what has come of the message."""
    return begun[:_PREFIX_BYTES], begun[_PREFIX_BYTES:]

"""OTLP over gRPC: protobuf, with and without gzip."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Generator
from functools import partial
from http import HTTPStatus
from typing import Final

from infermeter.endpoints import sidecars_told
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.model import Export
from infermeter.network.file_watch import FileWatch
from infermeter.network.listener import TlsListener
from infermeter.otlp.access import OPEN, Access
from infermeter.otlp.answers import UNFIT_SPANS, retry_metadata, success
from infermeter.otlp.decoder import Checked
from infermeter.otlp.grpc_answers import OK, Answer
from infermeter.otlp.grpc_connection import Connection, Exchange, Listener
from infermeter.otlp.grpc_heads import Head
from infermeter.otlp.receiver import Packing, Receiver
from infermeter.otlp.refusals import Unauthorised, WrongContentType, WrongSignal

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
_STOP_SECONDS: Final = 0.5


class GrpcReceiver:
    """Listens for exports over gRPC and answers each after it was judged or decoded."""

    def __init__(self, receiver: Receiver, access: FileWatch[Access] | None = None) -> None:
        """`access` says who may send, and is looked after while this listens; None: everybody."""
        self._receiver = receiver
        self._watch = access
        self._message_bytes_most = min(receiver.limits.body_bytes, receiver.limits.decompressed_bytes)
        self._common = Listener(receiver, self.exchange, self._message_bytes_most + _PREFIX_BYTES)
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
        return certificates.http2_context

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
        self._access().check(head.authorizations)
        if head.path != _TRACES:
            raise WrongSignal("only traces are taken here")
        if head.content_type not in _CONTENT_TYPES:
            raise WrongContentType("the content type isn't application/grpc")
        with self._receiver.receiving() as hold:
            is_packed, message = yield from self._message(hold)
            packing = _PACKINGS.get(head.packing) if is_packed else "identity"
            if packing is None:
                raise WrongContentType("the message is packed in another way than gzip")
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

"""Exports over gRPC: the message that came, packed if it came packed. grpcio's calls block, so each has a thread of a few.

What came as gzip is unpacked for the call, since grpcio packs by itself; what came as JSON is encoded anew.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError as WireError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # googleapis-common-protos has no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # likewise

from infermeter.endpoints import PASSED_BY, Endpoint
from infermeter.forward.outcomes import Busy, Outcome, Rejected, Taken, rejected_spans
from infermeter.forward.reencoding import reencoded
from infermeter.forward.target import ANSWER_BYTES, ATTEMPTS_AT_ONCE
from infermeter.model import Accepted

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_RETRIED: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""And RESOURCE_EXHAUSTED where the receiver says for how long. Source: OTLP specification 1.x, "Failures"."""

_OWN: Final = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE})
"""Statuses that grpcio has for calls that nobody answered, too."""

_LARGE_BYTES: Final = 4 << 20
"""Unpacked. One call at a time holds more than that, and most receivers refuse it."""

_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # they are tried again here, and counted
    ("grpc.max_receive_message_length", ANSWER_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 15_000),
    ("grpc.keepalive_time_ms", 30_000),  # a peer that vanished without a word: only while a call waits
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
)
_GZIP_LEVEL: Final = 1

_TOO_LONG: Final = "CLIENT: Received message larger than max"
"""What grpcio says of an answer; of an export that its receiver finds too long it says SERVER."""

_T = TypeVar("_T")


class GrpcTarget:
    """An OTLP/gRPC receiver."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], *, timeout_seconds: float) -> None:
        """Connects with the first call. TLS trusts the file that OpenSSL does ($SSL_CERT_FILE), else grpcio's own list."""
        self._timeout_seconds = timeout_seconds
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._channel = (
            grpc.secure_channel(endpoint.address, grpc.ssl_channel_credentials(_trusted()), options=_OPTIONS)
            if endpoint.tls
            else grpc.insecure_channel(endpoint.address, options=_OPTIONS)
        )
        self._export = self._channel.unary_unary(_EXPORT, request_serializer=None, response_deserializer=None)
        self._calls = ThreadPoolExecutor(ATTEMPTS_AT_ONCE, thread_name_prefix="forward-call")
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="forward-encode")  # one: it is Python at work, beside the loop's
        self._closed = threading.Event()
        self._large = asyncio.Lock()

    async def fitted(self, accepted: Accepted) -> Accepted:
        """Protobuf as it is, JSON encoded anew."""
        return accepted if accepted.encoding == "protobuf" else await _in_thread(self._encoder, lambda: self._protobuf(accepted))

    async def send(self, accepted: Accepted) -> Outcome:
        """One attempt."""
        async with self._large if accepted.unpacked_bytes > _LARGE_BYTES else nullcontext():
            return await _in_thread(self._calls, lambda: self._call(accepted))

    async def close(self) -> None:
        """Breaks off what is under way."""
        self._closed.set()
        self._channel.close()
        for threads in (self._calls, self._encoder):
            threads.shutdown(wait=False, cancel_futures=True)

    def _protobuf(self, accepted: Accepted) -> Accepted:
        """In the encoder's thread."""
        packed = accepted.packing == "gzip"
        message, spans = reencoded(gzip.decompress(accepted.body) if packed else accepted.body, broken_off=self._broken_off)
        body = gzip.compress(message, _GZIP_LEVEL) if packed else message
        return Accepted(body, "protobuf", accepted.packing, spans, len(message), accepted.passed_by)

    def _broken_off(self) -> bool:
        """In the encoder's thread, before each span: lets the loop go first if it waits, which else takes 5 ms each time."""
        time.sleep(0)
        return self._closed.is_set()

    def _call(self, accepted: Accepted) -> Outcome:
        """In a thread."""
        packed = accepted.packing == "gzip"
        try:
            answer: bytes = self._export(
                gzip.decompress(accepted.body) if packed else accepted.body,
                timeout=self._timeout_seconds,
                metadata=(*self._metadata, (PASSED_BY, ",".join(accepted.passed_by))),
                compression=grpc.Compression.Gzip if packed else grpc.Compression.NoCompression,
            )
        except grpc.RpcError as error:
            return Taken() if _is_answer_too_long(error) else _outcome(error)
        return Taken(rejected_spans(answer, json=False, most=accepted.spans))


def _is_answer_too_long(error: grpc.RpcError) -> bool:
    """Whether the export was answered, at greater length than is read: that comes after it was taken."""
    assert isinstance(error, grpc.Call)  # noqa: S101 - as grpcio has it, for an error of a call
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LONG in (error.details() or "")


def _outcome(error: grpc.RpcError) -> Outcome:
    """What a status other than OK means."""
    assert isinstance(error, grpc.Call)  # noqa: S101 - as grpcio has it, for an error of a call
    code, asked_seconds = error.code(), _asked_seconds(error)
    if code in _RETRIED or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and asked_seconds is not None):
        return Busy(f"gRPC {code.name}", asked_seconds, answered=code not in _OWN)
    return Rejected(f"gRPC {code.name}")


def _asked_seconds(call: grpc.Call) -> float | None:
    """How long the receiver wants to be left alone. Source: google/rpc/status.proto, google/rpc/error_details.proto."""
    details = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin")
    try:
        return None if details is None else _told_seconds(Status.FromString(details))
    except WireError:
        return None


def _told_seconds(status: Status) -> float | None:
    """Whole seconds. Raises: WireError."""
    for detail in status.details:
        if detail.Is(RetryInfo.DESCRIPTOR):
            info = RetryInfo.FromString(detail.value)
            return max(float(info.retry_delay.seconds), 0.0)
    return None


def _trusted() -> bytes | None:
    path = ssl.get_default_verify_paths().cafile
    return Path(path).read_bytes() if path else None


async def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(threads, work)

"""OTLP over gRPC. grpcio's threads hand bytes over to the event loop and wait for its answer; they touch no state.

The methods are unary in OTLP and served as methods that take a stream, which is the same on the wire: only so the time that an
export takes to arrive can be bounded, and what arrives is bytes that grpcio didn't look into. It doesn't unpack them either: what was sent
is what may be passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from threading import BoundedSemaphore
from typing import Any, NoReturn

import grpc

from infermeter.endpoints import PASSED_BY, sidecars_told
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.file_watch import FileWatch
from infermeter.otlp.access import OPEN, Access, Certificates
from infermeter.otlp.answers import UNFIT_SPANS, retry_metadata, success
from infermeter.otlp.receiver import Packing, Receiver
from infermeter.otlp.refusals import REFUSALS, TooSlow, Unauthorised, WrongContentType, WrongSignal

_TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
_OTHER_SIGNALS = ("opentelemetry.proto.collector.metrics.v1.MetricsService", "opentelemetry.proto.collector.logs.v1.LogsService")

_CONCURRENT_EXPORTS = 16
"""Exports that may be arriving at once, each in a thread that is made when none is idle; one thread more tells others to come back."""

_IDLE_MILLISECONDS = 600_000
"""How long a connection may rest between two exports."""

_GZIP = b"\x1f\x8b"
"""How gzip begins, and protobuf never does: 0x1f would be wire type 7, which there isn't. Source: RFC 1952, protobuf encoding guide."""

_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""How the other packing that grpcio knows begins, which OTLP doesn't. Source: RFC 1950, section 2.2."""

_STOP_SECONDS = 0.5
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcReceiver:
    """Listens for exports over gRPC and answers each after it was decoded."""

    def __init__(self, receiver: Receiver, access: FileWatch[Access] | None = None) -> None:
        """`access` says who may send, and is looked after while this listens; None: everybody."""
        self._receiver = receiver
        self._watch = access
        self._limit_bytes = min(receiver.limits.body_bytes, receiver.limits.decompressed_bytes)
        self._server: grpc.Server | None = None
        self._arriving: dict[grpc.ServicerContext, asyncio.TimerHandle] = {}
        self._free = BoundedSemaphore(_CONCURRENT_EXPORTS)
        self._waiting: set[asyncio.Task[None]] = set()

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        loop = asyncio.get_running_loop()
        services = {_TRACES: partial(self._export, loop)} | dict.fromkeys(_OTHER_SIGNALS, partial(self._refuse_signal, loop))
        limits = self._receiver.limits
        host, _, port = address.rpartition(":")
        server = grpc.server(
            ThreadPoolExecutor(_CONCURRENT_EXPORTS + 1, thread_name_prefix="otlp-grpc"),
            handlers=[
                grpc.method_handlers_generic_handler(service, {"Export": grpc.stream_unary_rpc_method_handler(answer)})
                for service, answer in services.items()
            ],
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.per_message_decompression", 0),
                ("grpc.max_receive_message_length", 2 * self._limit_bytes),  # grpcio tells nobody what it refuses: most is refused here
                ("grpc.max_concurrent_streams", _CONCURRENT_EXPORTS),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.server_handshake_timeout_ms", round(limits.request_time * 1000)),
                ("grpc.max_connection_idle_ms", _IDLE_MILLISECONDS),
            ),
        )
        try:
            bound = self._bind(server, f"{host or '[::]'}:{port}")
        except RuntimeError:
            raise OSError("is taken, or isn't this machine's") from None
        if self._watch is not None:
            self._watch.start()
        server.start()
        self._server = server
        return bound

    async def stop(self) -> None:
        """Takes no more exports, answers those that are being received, at most for half a second, and closes."""
        if self._server is not None:
            if self._watch is not None:
                self._watch.stop()
            await asyncio.to_thread(self._server.stop(_STOP_SECONDS).wait)
            self._server = None

    def _access(self) -> Access:
        """By any thread."""
        return OPEN if self._watch is None else self._watch.current

    def _bind(self, server: grpc.Server, address: str) -> int:
        """Raises: RuntimeError."""
        certificates = self._access().certificates
        if certificates is None:
            return server.add_insecure_port(address)
        is_client_asked = certificates.client_ca is not None
        shown = [certificates]

        def renewed() -> Any:  # noqa: ANN401 - the stubs know no None
            """In a thread of grpcio's, for each connection; None: as before."""
            newest = self._access().certificates
            if newest is None or newest is shown[0]:
                return None
            shown[0] = newest
            return _configuration(newest)

        return server.add_secure_port(
            address,
            grpc.dynamic_ssl_server_credentials(_configuration(certificates), renewed, require_client_authentication=is_client_asked),
        )

    def _export(self, loop: asyncio.AbstractEventLoop, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """In a thread of grpcio's: the answer to one export of spans."""
        self._check(loop, context)
        if not self._free.acquire(blocking=False):
            self._refuse(loop, Overloaded("too many exports at once"), context)
        try:
            return self._received(loop, messages, context)
        finally:
            self._free.release()

    def _received(self, loop: asyncio.AbstractEventLoop, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """In a thread of grpcio's, one of few: the answer to one export of spans."""
        loop.call_soon_threadsafe(self._arrives, loop, context)
        try:
            body = next(messages)
        except (StopIteration, grpc.RpcError):
            loop.call_soon_threadsafe(self._broke_off, context)
            _abort(context, DecodeError("the export broke off"))
        answer: Future[bytes] = Future()
        passed_by = sidecars_told(next(iter(_metadata(context, PASSED_BY)), ""))
        loop.call_soon_threadsafe(self._came, body, passed_by, context, answer)
        with suppress(TimeoutError):
            answer.exception(self._receiver.limits.request_time)
        if answer.cancel():  # its turn hasn't come: nothing of it will be taken, which the loop counts
            _abort(context, Overloaded("not taken in time"))
        try:
            return answer.result()
        except (DecodeError, Overloaded) as error:
            _abort(context, error)

    def _refuse_signal(self, loop: asyncio.AbstractEventLoop, _messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """In a thread of grpcio's: the answer to metrics and logs."""
        self._check(loop, context)
        self._refuse(loop, WrongSignal("only traces are taken here"), context)

    def _check(self, loop: asyncio.AbstractEventLoop, context: grpc.ServicerContext) -> None:
        """In a thread of grpcio's: ends a call that shows no token, before anything of it is read."""
        try:
            self._access().check(_metadata(context, "authorization"))
        except Unauthorised as error:
            self._refuse(loop, error, context)

    def _refuse(self, loop: asyncio.AbstractEventLoop, error: Exception, context: grpc.ServicerContext) -> NoReturn:
        """In a thread of grpcio's: ends a call of which nothing was read."""
        loop.call_soon_threadsafe(self._receiver.refuse, error, "grpc")
        _abort(context, error)

    def _arrives(self, loop: asyncio.AbstractEventLoop, context: grpc.ServicerContext) -> None:
        """On the loop: the message of a call is awaited from now on."""
        self._arriving[context] = loop.call_later(self._receiver.limits.request_time, self._too_slow, context)

    def _too_slow(self, context: grpc.ServicerContext) -> None:
        """On the loop: the message of a call didn't come in time."""
        del self._arriving[context]
        self._receiver.refuse(TooSlow(), "grpc")
        context.cancel()  # type: ignore[no-untyped-call]  # in the stubs

    def _broke_off(self, context: grpc.ServicerContext) -> None:
        """On the loop: the message of a call will not come; its sender vanished, or grpcio found it too large."""
        if context in self._arriving:
            self._arriving.pop(context).cancel()
            self._receiver.refuse(DecodeError(), "grpc")

    def _came(self, body: bytes, passed_by: Sequence[str], context: grpc.ServicerContext, answer: Future[bytes]) -> None:
        """On the loop: takes one export, at once or when it is its turn."""
        with suppress(KeyError):  # it may come in the very moment in which it was given up
            self._arriving.pop(context).cancel()
        if self._receiver.turns.free():
            with self._refusals_counted(answer), self._receiver.receiving() as hold:
                hold(len(body))
                self._take(body, passed_by, answer)
        else:
            waiting = asyncio.create_task(self._wait(body, passed_by, answer))
            self._waiting.add(waiting)
            waiting.add_done_callback(self._waiting.discard)

    async def _wait(self, body: bytes, passed_by: Sequence[str], answer: Future[bytes]) -> None:
        """On the loop: takes one export when it is its turn."""
        with self._refusals_counted(answer), self._receiver.receiving() as hold:
            hold(len(body))
            await self._receiver.turns.take(lambda: self._take(body, passed_by, answer))

    @contextmanager
    def _refusals_counted(self, answer: Future[bytes]) -> Iterator[None]:
        """On the loop: an export that is refused within, and one that nobody waits for any more, is counted and answered so."""
        try:
            yield
        except (DecodeError, Overloaded) as error:
            self._receiver.refuse(error, "grpc")
            if answer.running() or answer.set_running_or_notify_cancel():
                answer.set_exception(error)
        except BaseException:  # a mistake of ours, or the end
            if answer.running() or answer.set_running_or_notify_cancel():
                answer.set_exception(CancelledError())
            raise

    def _take(self, body: bytes, passed_by: Sequence[str], answer: Future[bytes]) -> None:
        """On the loop: decodes one export and settles its answer, unless nobody waits for that any more.

        Raises:
            DecodeError, Overloaded: as in REFUSALS.
        """
        if not answer.set_running_or_notify_cancel():
            raise Overloaded("not taken in time")
        if len(body) > self._limit_bytes:
            raise TooLarge("more than limits.body_bytes")
        if body.startswith(_ZLIB):
            raise WrongContentType("the message is packed in another way than gzip")
        packing: Packing = "gzip" if body.startswith(_GZIP) else "identity"
        export = self._receiver.take(body, "protobuf", packing, "grpc", passed_by=passed_by)
        answer.set_result(success("protobuf", rejected=export.malformed, message=UNFIT_SPANS if export.malformed else ""))


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    """As grpcio has them; it speaks TLS 1.2 at least. Source: grpc, grpc_ssl_server_config."""
    return grpc.ssl_server_certificate_configuration([(certificates.key, certificates.chain)], root_certificates=certificates.client_ca)


def _metadata(context: grpc.ServicerContext, key: str) -> list[str]:
    """Those of the call that have this key."""
    return [str(value) for name, value in context.invocation_metadata() or () if name == key]


def _abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """Ends a call with what REFUSALS says of the error."""
    refusal = REFUSALS[type(error)]
    if refusal.retry:
        context.set_trailing_metadata(retry_metadata(refusal.grpc_status, str(error)))
    context.abort(_STATUS_CODES[refusal.grpc_status], str(error))

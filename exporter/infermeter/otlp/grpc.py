"""OTLP over gRPC. grpcio's threads hand bytes over to the event loop and wait for its answer; they touch no state."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NoReturn

import grpc

from infermeter.errors import DecodeError, Overloaded
from infermeter.otlp.answers import UNFIT_SPANS, retry_metadata, success
from infermeter.otlp.parts import check_parts
from infermeter.otlp.receiver import Receiver
from infermeter.otlp.refusals import REFUSALS, WrongSignal

_TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
_OTHER_SIGNALS = ("opentelemetry.proto.collector.metrics.v1.MetricsService", "opentelemetry.proto.collector.logs.v1.LogsService")

_THREADS = 2
"""One waits for the loop, which decodes one export at a time, and one is about to."""

_CONCURRENT_EXPORTS = 64
"""Exports that grpcio may be receiving at once; it refuses more itself, as RESOURCE_EXHAUSTED."""

_CONNECTION_SECONDS = 120
"""A connection is renewed after so long: it bounds what a sender that never finishes its export can hold."""

_STOP_SECONDS = 0.5
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcReceiver:
    """Listens for exports over gRPC and answers each after it was decoded."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._server: grpc.Server | None = None

    async def start(self, address: str) -> int:
        """Listens at `host:port` (port 0: any) and returns the port.

        Raises:
            OSError: the address can't be had.
        """
        loop = asyncio.get_running_loop()
        services = {_TRACES: partial(self._export, loop)} | dict.fromkeys(_OTHER_SIGNALS, partial(self._refuse_signal, loop))
        limits = self._receiver.limits
        host, _, port = address.rpartition(":")
        request_ms = round(limits.request_time * 1000)
        server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="otlp-grpc"),
            handlers=[
                grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(answer)})
                for service, answer in services.items()
            ],
            maximum_concurrent_rpcs=_CONCURRENT_EXPORTS,
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", min(limits.body_bytes, limits.decompressed_bytes)),
                ("grpc.max_concurrent_streams", _CONCURRENT_EXPORTS),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.server_handshake_timeout_ms", request_ms),
                ("grpc.max_connection_age_ms", _CONNECTION_SECONDS * 1000),
                ("grpc.max_connection_age_grace_ms", request_ms),
            ),
        )
        try:
            bound = server.add_insecure_port(f"{host or '[::]'}:{port}")
        except RuntimeError:
            raise OSError(f"can't listen at {address}") from None
        server.start()
        self._server = server
        return bound

    async def stop(self) -> None:
        """Takes no more exports, answers those that are being received, at most for half a second, and closes."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop(_STOP_SECONDS).wait)
            self._server = None

    def _export(self, loop: asyncio.AbstractEventLoop, body: bytes, context: grpc.ServicerContext) -> bytes:
        """In a thread of grpcio's: the answer to one export of spans."""
        answer: Future[bytes] = Future()
        loop.call_soon_threadsafe(self._take, body, answer)
        try:
            return answer.result(self._receiver.limits.request_time)
        except (DecodeError, Overloaded) as error:
            _abort(context, error)
        except TimeoutError:
            _abort(context, Overloaded("not decoded in time"))  # it will be: the retry is then recognised

    def _refuse_signal(self, loop: asyncio.AbstractEventLoop, _body: bytes, context: grpc.ServicerContext) -> bytes:
        """In a thread of grpcio's: the answer to metrics and logs."""
        error = WrongSignal("only traces are taken here")
        loop.call_soon_threadsafe(self._receiver.refuse, error, "grpc")
        _abort(context, error)

    def _take(self, body: bytes, answer: Future[bytes]) -> None:
        """On the loop: decodes one export and settles its answer."""
        try:
            with self._receiver.receiving() as hold:
                hold(len(body))
                check_parts(body, "protobuf")
                export = self._receiver.export(body, "protobuf", "grpc")
        except (DecodeError, Overloaded) as error:
            self._receiver.refuse(error, "grpc")
            answer.set_exception(error)
        except BaseException:
            answer.cancel()
            raise
        else:
            answer.set_result(success("protobuf", rejected=export.malformed, message=UNFIT_SPANS if export.malformed else ""))


def _abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """Ends a call with what REFUSALS says of the error."""
    refusal = REFUSALS[type(error)]
    if refusal.retry:
        context.set_trailing_metadata(retry_metadata(refusal.grpc_status, str(error)))
    context.abort(_STATUS_CODES[refusal.grpc_status], str(error))

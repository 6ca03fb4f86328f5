"""Real receivers of OTLP on ports of their own, which keep what they got byte for byte and answer as the test says."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceServicer, add_TraceServiceServicer_to_server

from support.patience import SOON_SECONDS

EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"
TOKEN = "s3cret"

Deal = Callable[[web.Request], web.Response]


@dataclass
class Got:
    """One export as it arrived: its bytes, content type and encoding, and its path. Over gRPC `packed` is the message's own flag."""

    body: bytes
    content_type: str = ""
    packed: bool = False
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def unpacked(self) -> bytes:
        return gzip.decompress(self.body) if self.packed else self.body


@dataclass
class Receiver:
    """What was got, and how to deal with what comes; `hanging` exports are read, and not answered until it is cleared."""

    port: int = 0
    got: list[Got] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    deal: Deal = field(default=lambda _: web.Response())
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: bytes = b""
    answer: bytes = b""
    answering: threading.Event = field(default_factory=threading.Event)

    async def take(self, got: Got) -> None:
        async with self.arrived:
            self.got.append(got)
            self.arrived.notify_all()

    async def exports(self, count: int) -> list[Got]:
        """What was got, once it is so many."""
        async with asyncio.timeout(SOON_SECONDS), self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)
            return self.got[:]


@asynccontextmanager
async def http_receiver(port: int = 0, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.answering.set()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        packed = request.headers.get("Content-Encoding") == "gzip"
        body = await request.content.read()
        await receiver.take(Got(body, request.headers["Content-Type"], packed, request.path, dict(request.headers)))
        while not receiver.answering.is_set():  # noqa: ASYNC110 - an event of threads, for the sake of gRPC
            await asyncio.sleep(0.01)
        return receiver.deal(request)  # type: ignore[arg-type]

    server = web.Server(answer, auto_decompress=False)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, ssl=tls)
    receiver.port = listener.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.answering.set()
        listener.close()
        await server.shutdown(0.1)


@asynccontextmanager
async def grpc_receiver(
    port: int = 0, *, tls: grpc.ServerCredentials | None = None, limit_bytes: int = 64 << 20
) -> AsyncIterator[Receiver]:
    """A bare one, which sees messages as they were sent, up to so long ones."""
    receiver = Receiver()
    receiver.answering.set()
    loop = asyncio.get_running_loop()

    def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
        code = receiver.code  # as it was when the export came
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        asyncio.run_coroutine_threadsafe(receiver.take(Got(body, packed=body.startswith(b"\x1f\x8b"), headers=metadata)), loop)
        while not receiver.answering.wait(0.05):
            if not context.is_active():
                break
        if code is not grpc.StatusCode.OK:
            context.set_trailing_metadata((("grpc-status-details-bin", receiver.details),) if receiver.details else ())
            context.abort(code, "as told")
        return receiver.answer

    handlers = {"Export": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(
        ThreadPoolExecutor(16),
        handlers=[grpc.method_handlers_generic_handler(EXPORT, handlers)],
        options=(("grpc.per_message_decompression", 0), ("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", limit_bytes)),
    )
    address = f"127.0.0.1:{port}"
    receiver.port = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls)
    server.start()
    try:
        yield receiver
    finally:
        receiver.answering.set()
        await asyncio.to_thread(server.stop(None).wait)


class Collector(TraceServiceServicer):
    """OpenTelemetry's own service."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []

    def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: ARG002, N802 - as generated
        self.requests.append(request)
        return ExportTraceServiceResponse()


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[Collector, int]]:
    """OpenTelemetry's own service over gRPC, and its port."""
    service = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield service, port
    finally:
        await asyncio.to_thread(server.stop(None).wait)

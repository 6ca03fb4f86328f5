"""A place on the way of spans over gRPC, from which every export goes on, as it is, to several sidecars: they must say the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import grpc

SERVICE, METHOD = "opentelemetry.proto.collector.trace.v1.TraceService", "Export"
PATIENCE_SECONDS = 10


@contextlib.contextmanager
def grpc_junction(*endpoints: str, folder: Path) -> Iterator[str]:
    """The address of an OTLP/gRPC end point that keeps every export in `folder` (001.pb, 002.pb, ..), in the order of arrival."""
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(endpoint)) for endpoint in endpoints]
        exports = [channel.unary_unary(f"/{SERVICE}/{METHOD}") for channel in channels]
        lock = Lock()
        kept: list[Path] = []

        def export(body: bytes, _context: grpc.ServicerContext) -> bytes:
            with lock:  # one after the other, so that all of them see one order
                kept.append(folder / f"{len(kept) + 1:03}.pb")
                kept[-1].write_bytes(body)
                answers = [bytes(onward(body, timeout=PATIENCE_SECONDS)) for onward in exports]
                return answers[0]

        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(export)})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stack.callback(lambda: server.stop(None).wait())
        yield f"127.0.0.1:{port}"

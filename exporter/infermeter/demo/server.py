"""A small real inference server: `python -m infermeter.demo.server --port P [--otlp URL]`.

HTTP in and out as JSON, dynamic batching, matrix work in a thread, and a span for each inference. It knows nothing of the sidecar but
where its OTLP goes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable

import numpy as np
from aiohttp import web
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

from infermeter.demo.batching import Answer, Batcher
from infermeter.demo.network import INPUTS, MODEL, Matrix, Network
from infermeter.instrument import SCOPE, StageInterval, TimedInference, WallClock, emit

log = logging.getLogger(__name__)

EXPORT_EVERY_MILLISECONDS = 200


class InferenceServer:
    """The web application's handlers."""

    def __init__(self, batcher: Batcher, tracer: Tracer, now_ns: Callable[[], int]) -> None:
        self._batcher = batcher
        self._tracer = tracer
        self._now_ns = now_ns

    def application(self) -> web.Application:
        """POST /infer {"input": [INPUTS numbers]} -> {"output": [OUTPUTS numbers]}; GET /ready."""
        application = web.Application()
        application.add_routes([web.post("/infer", self.infer), web.get("/ready", self.ready)])
        application.cleanup_ctx.append(self._batching)
        return application

    async def ready(self, _: web.Request) -> web.Response:
        """200 as soon as inferences are served."""
        return web.Response()

    async def infer(self, request: web.Request) -> web.StreamResponse:
        """One inference, timed from the call of this handler to the last byte of the answer; a bad one is a failed inference too."""
        start_ns = self._now_ns()
        body = await request.read()
        received_ns = self._now_ns()
        intervals = [StageInterval("serialisation", start_ns, received_ns, "net_in")]
        answer = None
        try:
            row = _row(body)
            decoded_ns = self._now_ns()
            answer = await self._batcher.submit(row)
            encoding_ns = self._now_ns()
            intervals += [StageInterval("serialisation", received_ns, decoded_ns, "decode"), *_stages(decoded_ns, answer, encoding_ns)]
            response = web.Response(body=_encoded(answer), content_type="application/json")
        except ValueError:
            encoding_ns = self._now_ns()
            response = web.Response(status=400, text=f"wanted {{'input': [{INPUTS} numbers]}}\n")
        except Exception:
            log.exception("an inference failed")
            encoding_ns = self._now_ns()
            response = web.Response(status=500)
        encoded_ns = self._now_ns()
        await response.prepare(request)
        await response.write_eof()
        end_ns = self._now_ns()
        intervals += [
            StageInterval("serialisation", encoding_ns, encoded_ns, "encode"),
            StageInterval("serialisation", encoded_ns, end_ns, "net_out"),
        ]
        size = None if answer is None else answer.batch_size
        emit(self._tracer, TimedInference(MODEL, start_ns, end_ns, intervals, size, failed=answer is None))
        return response

    async def _batching(self, _: web.Application) -> AsyncIterator[None]:
        batches = asyncio.create_task(self._batcher.run())
        yield
        batches.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await batches


def _stages(decoded_ns: int, answer: Answer, encoding_ns: int) -> tuple[StageInterval, ...]:
    """Between decoding and encoding: it waits for a batch, and at last for the event loop, which has other answers to send first."""
    return (
        StageInterval("queue", decoded_ns, answer.taken_ns, "batch"),
        StageInterval("transfer", answer.taken_ns, answer.gathered_ns, "gather"),
        StageInterval("compute", answer.gathered_ns, answer.computed_ns, batch_id=answer.batch_id),
        StageInterval("transfer", answer.computed_ns, answer.scattered_ns, "scatter"),
        StageInterval("queue", answer.scattered_ns, encoding_ns, "event_loop"),
    )


def _row(body: bytes) -> Matrix:
    """Raises: ValueError for anything but INPUTS numbers."""
    try:
        row = np.asarray(json.loads(body)["input"], dtype=np.float32)
    except (KeyError, TypeError) as error:
        raise ValueError("no numbers") from error
    if row.shape != (INPUTS,):
        raise ValueError("not so many numbers")
    return row


def _encoded(answer: Answer) -> bytes:
    return json.dumps({"output": answer.output[0].tolist()}).encode()


def main() -> None:
    """Serves until SIGTERM or SIGINT, then sends the last spans."""
    parser = argparse.ArgumentParser(description="the demo's inference server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--otlp", metavar="URL", help="OTLP over HTTP: http://host:port; without it spans go nowhere")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--max-delay-seconds", type=float, default=0.005)
    args = parser.parse_args()

    provider = TracerProvider(resource=Resource.create({"service.name": "infermeter-demo"}))
    if args.otlp:
        exporter = OTLPSpanExporter(endpoint=f"{args.otlp}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MILLISECONDS))
    now_ns = WallClock().steady()
    batcher = Batcher(Network(), now_ns, max_batch=args.max_batch, max_delay_seconds=args.max_delay_seconds)
    server = InferenceServer(batcher, provider.get_tracer(SCOPE), now_ns)
    try:
        web.run_app(server.application(), host="127.0.0.1", port=args.port, print=None, shutdown_timeout=1)
    finally:
        provider.shutdown()


if __name__ == "__main__":
    main()

"""Two deployments of Ray Serve, one that calls the other: `doubling.py HTTP_PORT METRICS_PORT FOLDER ITEM_SECONDS`.

Runs in Ray's own environment. `Front` is a FastAPI application and hands a number to `Model`, which works in batches. Says "ready" once it
serves, and ends with SIGTERM. A negative number is refused (422), 13 makes the model raise, 14 the front.
"""

import os
import signal
import sys
import threading
import time
from typing import Any

import ray
from fastapi import FastAPI, HTTPException
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from ray import serve

EXPORT_EVERY_MILLISECONDS = 500
BATCH = 4

web = FastAPI(telemetry={"tracing": False})  # its spans would not be below those of Ray Serve that they are within


def span_processors() -> list[BatchSpanProcessor]:
    """What RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH names: spans go where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    return [BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=EXPORT_EVERY_MILLISECONDS)]


@serve.deployment(max_ongoing_requests=8, ray_actor_options={"num_cpus": 0})
class Model:
    """Computes for as long as there are numbers in the batch."""

    def __init__(self, item_seconds: float) -> None:
        self.item_seconds = item_seconds

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.005)
    async def many(self, numbers: list[float]) -> list[float]:
        """The whole batch fails with one."""
        end = time.perf_counter() + self.item_seconds * len(numbers)
        total = 0.0
        while time.perf_counter() < end:
            total += sum(number * number for number in numbers)
        if 13 in numbers:
            raise ValueError("unlucky")
        return [number * 2 for number in numbers]

    async def __call__(self, number: float) -> float:
        """One of a batch."""
        result: float = await self.many(number)
        return result


@serve.deployment(max_ongoing_requests=4, ray_actor_options={"num_cpus": 0})
@serve.ingress(web)
class Front:
    """The way in."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @web.post("/double")
    async def double(self, body: dict[str, float]) -> dict[str, float]:
        """Twice the number."""
        if body["number"] < 0:
            raise HTTPException(422, "negative")
        if body["number"] == 14:
            raise ValueError("unlucky")
        return {"number": await self.model.remote(body["number"])}


def main(http_port: int, metrics_port: int, folder: str, item_seconds: float) -> None:
    """Serves until SIGTERM."""
    asked_to_end = threading.Event()
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        _metrics_export_port=metrics_port,
        _temp_dir=folder,
        configure_logging=False,
        _system_config={"metrics_report_interval_ms": 1000},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": http_port})
    serve.run(Front.bind(Model.bind(item_seconds)), name="doubling", route_prefix="/")
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())  # Ray's own would end it before its replicas have sent their spans
    os.write(1, b"ready\n")
    asked_to_end.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))

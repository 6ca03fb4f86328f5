"""A real PyTriton 0.7.0, which runs the Triton 2.51.0 that it bundles, with one model in Python. 380 MB of disk.

Triton sends OTLP/HTTP JSON, the Python processes beside it protobuf: a trace comes in several posts of two encodings.
"""

from __future__ import annotations

import contextlib
import os
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from e2e.clients import Answer, Question, ask
from e2e.environments import environment, pip
from e2e.processes import Crashed, answers, free_ports, running, text_at, wait_until

OPENTELEMETRY = "1.45.2"
REQUIREMENTS = (
    "nvidia-pytriton==0.7.0",
    *(f"opentelemetry-{part}=={OPENTELEMETRY}" for part in ("api", "sdk", "exporter-otlp-proto-http")),
)
APP = Path(__file__).parent / "apps" / "pytriton_model.py"  # a folder of its own: e2e.pytriton would hide pytriton from it
MODEL, WIDTH = "doubling", 4
GOOD, FAILING = 1.0, 1e7
START_SECONDS = 90
EXPORT_EVERY_MILLISECONDS = 500


@dataclass(frozen=True)
class PyTriton:
    """A running server."""

    url: str
    metrics_url: str

    def ask(self, questions: Sequence[Question], *, at_a_time: int) -> list[Answer]:
        """The answers, in the order of the questions. Raises: Crashed."""
        try:
            return ask(self.url, questions, at_a_time=at_a_time)
        except (aiohttp.ClientError, TimeoutError) as gone:
            raise Crashed("it was gone under load") from gone

    def metrics(self) -> str:
        """What the server itself exposes."""
        return text_at(self.metrics_url)


def question(number: float, *, model: str = MODEL, width: int = WIDTH) -> Question:
    """A request over HTTP, of one row."""
    tensor = {"name": "x", "shape": [1, width], "datatype": "FP32", "data": [number] * width}
    return Question(f"/v2/models/{model}/infer", {"inputs": [tensor]})


@contextlib.contextmanager
def pytriton(otlp_url: str, *, folder: Path, metrics_port: int, trace_rate: int = 1) -> Iterator[PyTriton]:
    """A ready server that sends the spans of one request in `trace_rate` to `otlp_url`; when left, it has sent the last of them."""
    home = environment("pytriton", lambda made: pip(made, "install", *REQUIREMENTS))
    http, grpc = free_ports(2)
    own = os.environ | {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",  # the backend takes its numpy from the first python
        "OPENBLAS_NUM_THREADS": "1",  # leaves the other core to Triton's own threads
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),  # the backend's stub needs libpython, of the same Python
        "OTEL_BSP_SCHEDULE_DELAY": str(EXPORT_EVERY_MILLISECONDS),
    }
    numbers = (http, grpc, metrics_port, otlp_url, trace_rate, EXPORT_EVERY_MILLISECONDS)
    log, url = folder / "pytriton.log", f"http://127.0.0.1:{http}"
    with running([home / "bin" / "python", APP, *map(str, numbers)], log=log, environment=own, stop_seconds=30) as process:
        ready = f"{url}/v2/models/{MODEL}/ready"
        wait_until(lambda: answers(ready), seconds=START_SECONDS, process=process, log=log, what="ready PyTriton")
        yield PyTriton(url, f"http://127.0.0.1:{metrics_port}/metrics")

"""A real MLServer 1.7.1 with two models in Python, one of them behind its adaptive batching. 330 MB of disk.

It speaks OTLP over gRPC only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.clients import Question
from e2e.environments import environment, pip
from e2e.processes import answers, free_ports, running, text_at, wait_until

REQUIREMENTS = (
    *("mlserver==1.7.1", "opentelemetry-sdk==1.45.2", "opentelemetry-instrumentation-fastapi==0.66b2", "numpy==2.4.6"),
    "uvloop==0.21.0",  # with a newer one its worker processes end as soon as they start
)
APPS = Path(__file__).parent / "apps"  # a folder of its own: e2e.mlserver would hide mlserver from it
PLAIN: Mapping[str, Any] = {"name": "plain"}
BATCHED: Mapping[str, Any] = {"name": "batched", "max_batch_size": 8, "max_batch_time": 0.02}
"""The models' settings; seconds."""

GOOD, REFUSED, FAILING = 1.0, -1.0, 1e7
START_SECONDS = 60
LOAD_SECONDS = 120
EXPORT_EVERY_MILLISECONDS = 500


@dataclass(frozen=True)
class GrpcAnswer:
    """How a request over gRPC ended: 0 is good."""

    status: int
    seconds: float


@dataclass(frozen=True)
class MLServer:
    """A running server."""

    python: Path
    url: str
    grpc: str
    metrics_url: str

    def metrics(self) -> str:
        """What the server itself exposes."""
        return text_at(self.metrics_url)

    def ask_over_grpc(self, model: str, numbers: Sequence[float]) -> list[GrpcAnswer]:
        """One request for each number, one after the other."""
        command = [self.python, APPS / "mlserver_grpc_load.py", self.grpc, model, *map(str, numbers)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_SECONDS, check=True)
        return [GrpcAnswer(int(status), float(seconds)) for status, seconds in map(str.split, done.stdout.splitlines())]


def question(model: str, number: float) -> Question:
    """A request over REST."""
    tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [number]}
    return Question(f"/v2/models/{model}/infer", {"inputs": [tensor]})


@contextlib.contextmanager
def mlserver(otlp_grpc: str, *, folder: Path, metrics_port: int) -> Iterator[MLServer]:
    """A ready server that sends its spans to `otlp_grpc`; when left, it has sent the last of them."""
    home = environment("mlserver", lambda made: pip(made, "install", *REQUIREMENTS))
    http, grpc = free_ports(2)
    served = folder / "served"
    served.mkdir()
    shutil.copy(APPS / "mlserver_model.py", served)
    for model in (PLAIN, BATCHED):
        (served / model["name"]).mkdir()
        (served / model["name"] / "model-settings.json").write_text(json.dumps({**model, "implementation": "mlserver_model.Doubling"}))
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics_port,
        "metrics_dir": str(folder),
        "tracing_server": f"http://{otlp_grpc}",
    }
    (served / "settings.json").write_text(json.dumps(settings))
    own = os.environ | {"OTEL_BSP_SCHEDULE_DELAY": str(EXPORT_EVERY_MILLISECONDS), "OPENBLAS_NUM_THREADS": "1"}
    log, url = folder / "mlserver.log", f"http://127.0.0.1:{http}"
    with running([home / "bin" / "mlserver", "start", served], log=log, environment=own) as process:
        for model in (PLAIN, BATCHED):
            ready = f"{url}/v2/models/{model['name']}/ready"
            wait_until(lambda: answers(ready), seconds=START_SECONDS, process=process, log=log, what=f"ready {model['name']}")  # noqa: B023
        yield MLServer(home / "bin" / "python", url, f"127.0.0.1:{grpc}", f"http://127.0.0.1:{metrics_port}/metrics")

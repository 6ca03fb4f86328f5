"""A real BentoML 1.4.39 with one service of two methods, one of them behind its adaptive batching. 210 MB of disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.clients import Question
from e2e.environments import environment, pip
from e2e.processes import answers, running, text_at, wait_until

REQUIREMENTS = ("bentoml==1.4.39", "opentelemetry-exporter-otlp==1.26.0", "opentelemetry-instrumentation-asgi==0.47b0", "numpy==2.4.6")
APPS = Path(__file__).parent / "apps"  # a folder of its own: e2e.bentoml would hide bentoml from it
GOOD, REFUSED, FAILING = 1.0, -1.0, 1e7
START_SECONDS = 60
EXPORT_EVERY_MILLISECONDS = 500


@dataclass(frozen=True)
class BentoML:
    """A running server."""

    url: str

    def metrics(self) -> str:
        """What the server itself exposes."""
        return text_at(f"{self.url}/metrics")


def question(number: float) -> Question:
    """A request to the method that takes one number."""
    return Question("/double", {"number": number})


BATCHED = Question("/double_all", {"numbers": [GOOD]})


@contextlib.contextmanager
def bentoml(otlp_url: str, *, folder: Path, port: int, sample_rate: float | None) -> Iterator[BentoML]:
    """A ready server that sends spans to `otlp_url`, as many as BentoML does by default where no rate is given."""
    home = environment("bentoml", lambda made: pip(made, "install", *REQUIREMENTS))
    own = os.environ | {
        "PYTHONPATH": str(APPS),
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
        "OTLP": f"{otlp_url}/v1/traces",
        "OTEL_BSP_SCHEDULE_DELAY": str(EXPORT_EVERY_MILLISECONDS),
        "OPENBLAS_NUM_THREADS": "1",
    }
    if sample_rate is not None:
        own["SAMPLE_RATE"] = str(sample_rate)
    command = [home / "bin" / "bentoml", "serve", "bentoml_service:Doubling", "--host", "127.0.0.1", "--port", str(port)]
    log, url = folder / "bentoml.log", f"http://127.0.0.1:{port}"
    with running(command, log=log, environment=own) as process:
        wait_until(lambda: answers(f"{url}/readyz"), seconds=START_SECONDS, process=process, log=log, what="ready BentoML")
        yield BentoML(url)

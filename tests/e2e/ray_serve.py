"""A real Ray Serve 2.60.0 with two deployments, one of which calls the other in batches. 490 MB of disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.environments import environment, pip
from e2e.exposition import total
from e2e.processes import free_ports, running, tail, text_at, wait_until

REQUIREMENTS = (
    *("ray[serve]==2.60.0", "fastapi==0.165.0", "starlette==1.10.0"),
    *("opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2"),
)
APPS = Path(__file__).parent / "apps"
START_SECONDS = 120

ITEM_SECONDS = 0.004
"""How long the model works on one number."""


@dataclass(frozen=True)
class RayServe:
    """A running server."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    metrics_url: str

    def count(self, name: str, **labels: str) -> float:
        """The sum of its own samples of that name with these labels."""
        return total(text_at(self.metrics_url), f"ray_serve_{name}", **labels)

    def wait_until_counted(self, name: str, value: float, **labels: str) -> None:
        """Waits until its own page says so; it is seconds old."""
        wait_until(
            lambda: self.count(name, **labels) >= value,
            seconds=40,
            process=self.process,
            log=self.log,
            what=f"{name} of {value}, which is {self.count(name, **labels)}",
        )


@contextlib.contextmanager
def ray_serve(otlp_url: str, *, metrics_port: int, sampling_ratio: float | None, log: Path) -> Iterator[RayServe]:
    """A ready server whose spans go to `otlp_url`; without `sampling_ratio` it takes its own default.

    When left, it has sent the last of them.
    """
    home = environment("ray_serve", lambda made: pip(made, "install", *REQUIREMENTS))
    (port,) = free_ports(1)
    own = os.environ | {
        "PYTHONPATH": str(APPS),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "doubling:span_processors",
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_url,
    }
    if sampling_ratio is not None:
        own["RAY_SERVE_TRACING_SAMPLING_RATIO"] = str(sampling_ratio)
    with tempfile.TemporaryDirectory(prefix="ray") as short:  # its sockets' paths must be
        command = [home / "bin" / "python", APPS / "doubling.py", str(port), str(metrics_port), short, str(ITEM_SECONDS)]
        with running(command, log=log, environment=own, stop_seconds=30) as process:
            wait_until(lambda: "\nready\n" in f"\n{tail(log)}", seconds=START_SECONDS, process=process, log=log, what="ready Ray Serve")
            yield RayServe(process, log, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics")

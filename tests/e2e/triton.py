"""The real Triton Inference Server 2.51.0 that PyPI's nvidia-pytriton bundles, on a CPU, with a trace for every request or for some.

It speaks OTLP/HTTP JSON only. Triton before 2.57 can crash while it traces under load, hence `Crashed` and few clients.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.environments import environment, pip, site_packages
from e2e.processes import Crashed, answers, free_ports, running, text_at, wait_until

REQUIREMENTS = ("nvidia-pytriton==0.7.0", "tritonclient==2.73.0", "numpy==1.26.4")
MODELS = Path(__file__).parent / "triton_models"
LOAD = Path(__file__).parent / "triton_load.py"
START_SECONDS = 60
LOAD_SECONDS = 120
EXPORT_EVERY_MILLISECONDS = 500
RESOURCE = "triton-mlp"


@dataclass(frozen=True)
class Triton:
    """A running server."""

    python: Path
    process: subprocess.Popen[bytes]
    log: Path
    http: str
    grpc: str

    def load(self) -> int:
        """Sends real requests over both protocols; how many, all answered. Raises: Crashed."""
        try:
            done = subprocess.run(
                [self.python, LOAD, self.http, self.grpc], capture_output=True, text=True, timeout=LOAD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as hung:
            raise Crashed("hung under load") from hung
        if done.returncode:
            raise Crashed(f"a request failed: {done.stderr[-500:]}")
        return int(json.loads(done.stdout)["sent"])

    def statistics(self) -> dict[str, Any]:
        """What the server itself says of the model: counts and nanoseconds."""
        (model,) = json.loads(text_at(f"http://{self.http}/v2/models/mlp/stats"))["model_stats"]
        statistics: dict[str, Any] = model
        return statistics


@contextlib.contextmanager
def triton(otlp_url: str, *, log: Path, metrics_port: int, trace_rate: int = 1) -> Iterator[Triton]:
    """A ready server that sends the spans of one request in `trace_rate` to `otlp_url`; when left, it has sent the last of them."""
    folder = environment("triton", _install)
    site = site_packages(folder)
    http, grpc = free_ports(2)
    own = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",  # the backend takes its numpy from the first python
        "OPENBLAS_NUM_THREADS": "1",  # leaves the other core to Triton's own threads
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),  # the backend's stub needs libpython
    }
    bundled = site / "pytriton" / "tritonserver"
    command = [
        bundled / "bin" / "tritonserver",
        f"--model-repository={MODELS}",
        f"--backend-directory={bundled / 'backends'}",
        *("--http-address=127.0.0.1", f"--http-port={http}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={grpc}"),
        *("--metrics-address=127.0.0.1", f"--metrics-port={metrics_port}"),
        "--trace-config=mode=opentelemetry",
        *("--trace-config=level=TIMESTAMPS", f"--trace-config=rate={trace_rate}", "--trace-config=count=-1"),
        f"--trace-config=opentelemetry,url={otlp_url}/v1/traces",
        f"--trace-config=opentelemetry,resource=service.name={RESOURCE}",
        f"--trace-config=opentelemetry,bsp_schedule_delay={EXPORT_EVERY_MILLISECONDS}",
    ]
    with running(command, log=log, environment=own, stop_with=signal.SIGINT) as process:
        ready = f"http://127.0.0.1:{http}/v2/health/ready"
        wait_until(lambda: answers(ready), seconds=START_SECONDS, process=process, log=log, what="ready Triton")
        yield Triton(folder / "bin" / "python", process, log, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")


def _install(folder: Path) -> None:
    pip(folder, "install", *REQUIREMENTS)
    bundled = site_packages(folder) / "pytriton" / "tritonserver"
    stub = bundled / "python_backend_stubs" / sysconfig.get_python_version() / "triton_python_backend_stub"
    placed = Path(shutil.copy(stub, bundled / "backends" / "python"))
    for program in (placed, bundled / "bin" / "tritonserver"):
        program.chmod(0o755)

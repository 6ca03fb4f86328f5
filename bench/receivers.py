"""What is measured, as real processes pinned to one core: Infermeter's sidecar, and as a peer rotel-agent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 15

CONFIGURATION = """\
server: {{kind: {kind}, name: bench, sampled: false}}
sla: {{default: {{quantile: 0.99, duration_seconds: 2, ttft_seconds: 0.5, tpot_seconds: 0.05}}}}
cost:
  currency: USD
  as_of: 2026-11-01
  source: example prices of the benchmark
  rent: {{per_hour: 3.43, per: gpu}}
gpu: {gpu}
listen: {{web: "127.0.0.1:{web}", otlp_http: "127.0.0.1:{http}", otlp_grpc: {grpc}}}
log: {{level: warning}}
"""


@dataclass(frozen=True)
class Receiver:
    """A running receiver. `web` is the port of its /metrics, None where it has none."""

    name: str
    pid: int
    http: int
    grpc: int
    web: int | None = None


def free_ports(count: int) -> list[int]:
    """So many different TCP ports that nobody listens on right now."""
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


@contextlib.contextmanager
def infermeter(
    kind: str, *, core: int | None = None, gpu: str = "{source: simulated}", more: str = "", takes_grpc: bool = True
) -> Iterator[Receiver]:
    """`infermeter serve`, ready; `more` are further lines of its configuration."""
    web, http, grpc = free_ports(3)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "infermeter.yaml"
        config.write_text(
            CONFIGURATION.format(kind=kind, gpu=gpu, web=web, http=http, grpc=f"'127.0.0.1:{grpc}'" if takes_grpc else "null") + more
        )
        with _running(
            [sys.executable, "-m", "infermeter", "serve", "--config", str(config)],
            core=core,
            ready=lambda: _answers(f"http://127.0.0.1:{web}/-/ready"),
        ) as pid:
            yield Receiver("infermeter", pid, http, grpc, web)


@contextlib.contextmanager
def rotel(*, core: int | None = None) -> Iterator[Receiver]:
    """rotel-agent (Rust) into its blackhole exporter: decodes, and throws away."""
    http, grpc = free_ports(2)
    command = ["rotel-agent", "start", "--exporter", "blackhole"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    with _running(command, core=core, ready=lambda: _listens(http) and _listens(grpc)) as pid:
        yield Receiver("rotel", pid, http, grpc)


def rotel_is_there() -> bool:
    """Whether the peer is installed (PyPI: rotel)."""
    return shutil.which("rotel-agent") is not None


@contextlib.contextmanager
def _running(command: list[str], *, core: int | None, ready: Callable[[], bool]) -> Iterator[int]:
    pinned = command if core is None else ["taskset", "--cpu-list", str(core), *command]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(pinned, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(process, ready)
            yield process.pid
        except Exception as error:
            log.seek(0)
            error.add_note(f"{command[0]} said: {log.read()[-1000:]}")
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"not ready, exit status {process.returncode}")
        time.sleep(0.01)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True

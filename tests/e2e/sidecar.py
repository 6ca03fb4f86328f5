"""`infermeter serve` as a real process, and what it exposes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.exposition import total
from e2e.processes import answers, free_ports, running, text_at, wait_until

START_SECONDS = 30


@dataclass(frozen=True)
class Scrape:
    """One scrape of /metrics, made between two instants of the monotonic clock."""

    text: str
    begin_seconds: float
    end_seconds: float

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name which carry these labels; 0 if there is none."""
        return total(self.text, f"infermeter_{name}", **labels)


@dataclass(frozen=True)
class Ending:
    """How the sidecar ended: how long after SIGTERM, and everything that it logged."""

    exit_status: int
    seconds: float
    log: str


@dataclass(frozen=True)
class Sidecar:
    """A running sidecar."""

    process: subprocess.Popen[bytes]
    log: Path
    web: str
    otlp_http: str
    otlp_grpc: str

    def scrape(self) -> Scrape:
        """What /metrics says now."""
        begin = time.monotonic()
        text = text_at(f"{self.web}/metrics")
        return Scrape(text, begin, time.monotonic())

    def wait_until(self, name: str, value: float, *, seconds: float, **labels: str) -> None:
        """Waits until a family's sum has reached a value."""
        wait_until(
            lambda: self.scrape().total(name, **labels) >= value,
            seconds=seconds,
            process=self.process,
            log=self.log,
            what=f"{name} of {value}",
        )

    def stop(self) -> Ending:
        """Sends SIGTERM, and waits."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        exit_status = self.process.wait(30)
        return Ending(exit_status, time.monotonic() - begin, self.log.read_text())


@contextlib.contextmanager
def sidecar(configuration: str, folder: Path) -> Iterator[Sidecar]:
    """A ready sidecar with this configuration, to which the addresses are added."""
    web, otlp_http, otlp_grpc = (f"127.0.0.1:{port}" for port in free_ports(3))
    config, log = folder / "infermeter.yaml", folder / "infermeter.log"
    config.write_text(f'{configuration}\nlisten: {{web: "{web}", otlp_http: "{otlp_http}", otlp_grpc: "{otlp_grpc}"}}\n')
    with running([sys.executable, "-m", "infermeter", "serve", "--config", config], log=log) as process:
        ready = f"http://{web}/-/ready"
        wait_until(lambda: answers(ready), seconds=START_SECONDS, process=process, log=log, what="ready sidecar")
        yield Sidecar(process, log, f"http://{web}", f"http://{otlp_http}", otlp_grpc)

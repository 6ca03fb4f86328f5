"""`infermeter serve` as a process of its own, at which faults are thrown: what it says, what it counts, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from support.running import value

LISTEN = 'listen: {web: "127.0.0.1:0", otlp_grpc: "127.0.0.1:0", otlp_http: "127.0.0.1:0"}\n'
CONFIG = f"{LISTEN}server: {{kind: infermeter, name: test}}\ngpu: {{source: none}}\n"
SOON = 30.0
"""Seconds until a test gives up."""

END_SECONDS = 2.0 + 1.0
"""Within which the process has ended after it was told to; the second that is added is a busy machine's."""


@dataclass
class Sidecar:
    """A running sidecar, where it listens and what it says."""

    process: subprocess.Popen[bytes]
    addresses: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _listening: threading.Event = field(default_factory=threading.Event)
    _said_all: threading.Event = field(default_factory=threading.Event)

    def follow(self, log: IO[bytes]) -> None:
        """Reads all that it says, in a thread of the test's."""
        for line in log:
            self.lines.append(line.decode().rstrip("\n"))
            key, _, address = self.lines[-1].partition("listening: ")[2].partition(" on ")
            if key:
                self.addresses[key] = address
            if "otlp_http" in self.addresses:
                self._listening.set()
        self._listening.set()  # it has ended, or says nothing any more
        self._said_all.set()

    def wait_until_it_listens(self) -> None:
        assert self._listening.wait(SOON), self.lines
        assert self.addresses, self.lines

    def connect(self, key: str) -> socket.socket:
        """A bare connection."""
        host, _, port = self.addresses[key].rpartition(":")
        return socket.create_connection((host, int(port)), timeout=SOON)

    def text(self, path: str, *, seconds: float = SOON) -> str:
        """A page of the web face, also if it is one of refusal."""
        try:
            with urlopen(f"http://{self.addresses['web']}{path}", timeout=seconds) as answer:
                return str(answer.read().decode())
        except HTTPError as refusal:
            return refusal.read().decode()

    def openmetrics(self) -> str:
        """What /metrics says."""
        request = Request(f"http://{self.addresses['web']}/metrics", headers={"Accept": "application/openmetrics-text"})
        with urlopen(request, timeout=SOON) as answer:
            return str(answer.read().decode())

    def value(self, name: str, **labels: str) -> float | None:
        """What /metrics says of a family."""
        return value(self.openmetrics(), name, **labels)

    def send(self, body: bytes) -> tuple[int, Mapping[str, str]]:
        """Exports over HTTP: the status, and the headers of the answer."""
        headers = {"Content-Type": "application/json"}
        try:
            with urlopen(Request(f"http://{self.addresses['otlp_http']}/v1/traces", body, headers), timeout=SOON) as answer:
                return answer.status, answer.headers
        except HTTPError as refusal:
            return refusal.code, refusal.headers

    def until(self, holds: Callable[[], bool]) -> None:
        """Waits until this holds; not to be reached is not to hold."""
        give_up = time.monotonic() + SOON
        while time.monotonic() < give_up:
            with suppress(OSError, HTTPException):
                if holds():
                    return
            time.sleep(0.02)
        raise AssertionError(f"not after {SOON:g} s: {self.lines}")

    def stopped(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Tells it to end: its exit code, and how many seconds that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(SOON)
        seconds = time.monotonic() - began
        assert self._said_all.wait(SOON)
        return code, seconds


@contextmanager
def serving(
    folder: Path,
    config: str = CONFIG,
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    shell: str = "",
    wrapped: Sequence[str] = (),
) -> Iterator[Sidecar]:
    """A sidecar that listens; it is gone in the end. `shell` is run before it, in the shell that becomes it, `wrapped` by a command."""
    file = folder / "infermeter.yaml"
    file.write_text(config)
    command = [sys.executable, "-m", "infermeter", "serve", "--config", str(file)]
    line = ["sh", "-c", f'{shell}\nexec "$@"', "sh", *wrapped, *command]
    with subprocess.Popen(line, stderr=subprocess.PIPE, env={**os.environ, **environment}) as process:
        assert process.stderr is not None
        sidecar = Sidecar(process)
        threading.Thread(target=sidecar.follow, args=(process.stderr,), daemon=True).start()
        try:
            sidecar.wait_until_it_listens()
            yield sidecar
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def export(first: int, count: int = 1, *, now_ns: int | None = None) -> bytes:
    """So many native inferences of 10 ms that have just ended, numbered from `first`, as JSON."""
    end_ns = time.time_ns() if now_ns is None else now_ns
    spans = [
        {
            "traceId": f"{number:032x}",
            "spanId": f"{number:016x}",
            "name": "inference",
            "kind": 2,
            "startTimeUnixNano": str(end_ns - 10_000_000),
            "endTimeUnixNano": str(end_ns),
            "attributes": [{"key": "infermeter.model", "value": {"stringValue": "m"}}],
        }
        for number in range(first, first + count)
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "infermeter"}, "spans": spans}]}]}).encode()

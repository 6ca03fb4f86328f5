"""`infermeter serve` as a process of its own: what the system does to it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LISTEN = 'listen: {web: "127.0.0.1:0", otlp_grpc: "127.0.0.1:0", otlp_http: "127.0.0.1:0"}\n'


@contextmanager
def serving(folder: Path, config: str = LISTEN) -> Iterator[subprocess.Popen[str]]:
    """A sidecar that listens; it is gone in the end."""
    file = folder / "infermeter.yaml"
    file.write_text(config)
    command = [sys.executable, "-m", "infermeter", "serve", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "listening: otlp_http" in line:
                    break
            yield process
        finally:
            process.kill()


def test_it_ends_with_0_however_often_it_is_told_to_stop(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)

        assert process.stderr is not None
        assert process.stderr.read().endswith("stopped: 0 spans received, 0 inferences observed, 0 spans dropped, 0 unmapped\n")
        assert process.returncode == 0

"""Standard error that nobody reads, or whose reader has gone: the sidecar serves on."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.request import Request, urlopen

from faults.serving import CONFIG, SOON, Sidecar

F_SETPIPE_SZ = 1031
"""Source: fcntl(2)."""

RELOADS = 80
"""Each is a line of the log; a pipe of two pages takes some fifty: what is begun in its last page may not fit."""


@contextmanager
def unread(folder: Path) -> Iterator[tuple[Sidecar, IO[str]]]:
    """A sidecar with a small pipe for its log, which is read only until it listens, and the end at which it can be read."""
    file = folder / "infermeter.yaml"
    file.write_text(f"{CONFIG}web: {{lifecycle: true}}\n")
    read, written = os.pipe()
    fcntl.fcntl(written, F_SETPIPE_SZ, 8192)
    with (
        open(read, encoding="utf-8") as log,  # noqa: PTH123 - a descriptor
        subprocess.Popen([sys.executable, "-m", "infermeter", "serve", "--config", str(file)], stderr=written) as process,
    ):
        os.close(written)
        sidecar = Sidecar(process)
        try:
            while "otlp_http" not in sidecar.addresses:
                line = log.readline()
                assert line, "it has ended"
                key, _, address = line.strip().partition("listening: ")[2].partition(" on ")
                sidecar.addresses[key] = address
            yield sidecar, log
        finally:
            process.kill()


def reload(sidecar: Sidecar) -> None:
    """Has it say a line."""
    with urlopen(Request(f"http://{sidecar.addresses['web']}/-/reload", method="POST"), timeout=SOON) as answer:
        assert answer.read() == b"reloaded: nothing has changed\n"


def test_a_log_that_nobody_reads_stops_nothing_and_tells_later_how_much_was_lost(tmp_path: Path) -> None:
    with unread(tmp_path) as (sidecar, log):
        for _ in range(RELOADS):
            reload(sidecar)
        lines = [log.readline() for _ in range(10)]
        while len(lines) < RELOADS and "were lost" not in lines[-1]:
            reload(sidecar)
            lines.append(log.readline())
        assert "lines of the log were lost: nobody took them from standard error" in lines[-1]
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.process.wait(SOON) == 0


def test_a_log_whose_reader_has_gone_stops_nothing(tmp_path: Path) -> None:
    with unread(tmp_path) as (sidecar, log):
        log.close()
        reload(sidecar)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.process.wait(SOON) == 0

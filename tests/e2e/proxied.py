"""`infermeter proxy` as a real process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e.processes import answers, free_ports, running, wait_until

START_SECONDS = 30


@contextlib.contextmanager
def proxy(upstream: str, endpoint: str, *options: str, log: Path, probe: str) -> Iterator[str]:
    """The URL of a proxy before `upstream` whose spans go to `endpoint`, once `probe`, a path, is answered through it.

    When left, its last spans have been sent.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "infermeter", "proxy", "--upstream", upstream, "--endpoint", endpoint, *options]
    url = f"http://127.0.0.1:{port}"
    with running([*command, "--listen", f"127.0.0.1:{port}"], log=log) as process:
        wait_until(lambda: answers(f"{url}{probe}"), seconds=START_SECONDS, process=process, log=log, what="answer through the proxy")
        yield url

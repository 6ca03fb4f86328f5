"""Real processes for end-to-end tests: each in a process group of its own, ended with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "e2e"
"""Where the servers' own environments are kept between runs."""


class Crashed(Exception):
    """A process ended before it was told to."""


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    stop_with: signal.Signals = signal.SIGTERM,
    stop_seconds: float = 15,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `command`, its output in `log`; in the end `stop_with`, and SIGKILL to what is left of its group."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
        if process.poll() is None:
            process.send_signal(stop_with)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(stop_seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float, process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    """Returns once the condition holds. Raises: Crashed if the process ends before, TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise Crashed(f"exit status {process.returncode} while waiting for {what}: {tail(log)}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds:.0f} s: {tail(log)}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200. The answer is read to its end: who hangs up before may not be counted."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            response.read()
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def text_at(url: str) -> str:
    """What a GET answers."""
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read()).decode()


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-2000:]


def free_ports(count: int) -> list[int]:
    """So many different TCP ports that nobody listens on right now."""
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]

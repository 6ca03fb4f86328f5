"""Child processes that never outlive the demo."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence

PR_SET_PDEATHSIG = 1  # prctl(2)


class DemoFailed(Exception):
    """The demo can't go on: one line that says why."""


class Child:
    """A running child, in a session of its own: Ctrl-C reaches the parent alone, which stops its children in order.

    `last_line` is the last thing that it said on standard error.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, stderr: asyncio.StreamReader) -> None:
        self.pid = process.pid
        self.last_line = ""
        self._name = name
        self._process = process
        self._reading = asyncio.create_task(self._read(stderr))

    @classmethod
    async def start(cls, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Starts `command`. If this process dies in whatever way, the child gets SIGTERM (on Linux)."""
        tie = _death_signal() if sys.platform == "linux" else None
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=tie,  # one system call, before any thread of this process was started
        )
        if process.stderr is None:  # it was asked for
            raise RuntimeError("no pipe")
        return cls(name, process, process.stderr)

    async def died(self) -> DemoFailed:
        """Returns once the child has ended, with what there is to say about it."""
        status = await self._process.wait()
        await asyncio.shield(self._reading)  # whoever stops waiting here doesn't stop the reading
        return DemoFailed(f"the {self._name} ended with status {status}: {self.last_line or 'it said nothing'}")

    async def stop(self, timeout_seconds: float) -> int:
        """SIGTERM, SIGKILL after the timeout; the exit status (negative: the signal)."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        status = await self._process.wait()
        await self._reading
        return status

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            self.last_line = line.decode(errors="replace").strip() or self.last_line


def _death_signal() -> Callable[[], object]:
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: between fork and exec as little as can be
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_ports(count: int) -> list[int]:
    """So many different TCP ports of the loopback that nobody listens on right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()

"""What systemd is told of the process: ready, reloading, stopping, how it is, and that its loop turns. Any other supervisor may listen.

Nothing here waits, and nothing fails where nobody listens. Source: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

log = logging.getLogger(__name__)

LEAST_BEAT_SECONDS: Final = 0.05
"""However impatient the supervisor is."""

_MICROSECONDS: Final = re.compile(r"[1-9][0-9]{0,14}")


class Supervisor:
    """Whoever started the process and listens at a datagram socket, or nobody. The loop's alone."""

    def __init__(
        self,
        address: str | None,
        *,
        watchdog_seconds: float | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`address`: a path, or `@` and an abstract name; None or anything else: nobody.

        `watchdog_seconds`: it takes the process for dead that says nothing for so long; None: it doesn't watch.
        """
        heard = address is not None and address[:1] in ("/", "@")
        self._address = os.fsencode(address.replace("@", "\0", 1) if address[0] == "@" else address) if address and heard else None
        self._beat_seconds = None if watchdog_seconds is None or not heard else max(watchdog_seconds / 2, LEAST_BEAT_SECONDS)
        self._monotonic_ns = monotonic_ns
        self._owed: dict[str, str] = {}
        self._status: str | None = None
        self._failing = False

    @classmethod
    def named_by(cls, environ: Mapping[str, str], *, pid: int) -> Supervisor:
        """As the environment says: NOTIFY_SOCKET, WATCHDOG_USEC, and WATCHDOG_PID if it is meant for this process alone."""
        usec, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
        watches = _MICROSECONDS.fullmatch(usec) and meant == str(pid)
        return cls(environ.get("NOTIFY_SOCKET"), watchdog_seconds=int(usec) / 1e6 if watches else None)

    def ready(self, status: str) -> None:
        """It serves, after its start or a reload."""
        self._tell(READY="1", STATUS=status)

    def reloading(self) -> None:
        """It takes another configuration over; `ready` ends that."""
        self._tell(RELOADING="1", MONOTONIC_USEC=str(self._monotonic_ns() // 1000))

    def stopping(self) -> None:
        """It ends."""
        self._tell(STOPPING="1", STATUS="stopping")

    def is_told(self, status: str) -> None:
        """How it is, in one line; told when that changes. What couldn't be told before is told with it."""
        if status != self._status or self._owed:
            self._tell(STATUS=status)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within it, the loop's turning is told, twice in the time that the watchdog has patience."""
        if self._beat_seconds is None:
            yield
            return
        loop, seconds = asyncio.get_running_loop(), self._beat_seconds
        next_beat: asyncio.Handle

        def beat() -> None:
            nonlocal next_beat
            self._tell(WATCHDOG="1")
            next_beat = loop.call_later(seconds, beat)

        next_beat = loop.call_soon(beat)
        try:
            yield
        finally:
            next_beat.cancel()

    def _tell(self, **lines: str) -> None:
        """Sends assignments, and those owed; what isn't taken at once is owed."""
        if self._address is None:
            return
        self._status = lines.get("STATUS", self._status)
        self._owed |= lines
        message = "\n".join(f"{name}={value}" for name, value in self._owed.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as telling:
                telling.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failing:
                log.warning("NOTIFY_SOCKET: the supervisor can't be told anything: %s", error.strerror or error)
            self._failing = True
        else:
            self._owed.clear()
            self._failing = False

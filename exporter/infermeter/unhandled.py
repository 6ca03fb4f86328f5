"""What the event loop can't hand to anybody: that no connection can be taken, or a mistake of ours. Told, and not without bound."""

from __future__ import annotations

import errno
import logging
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger(__name__)

TOLD, SECONDS = 10, 60.0
"""No more than so many in so long."""

SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accepting a connection fails with while the process or the system has no more files or memory. Source: accept(2)."""


class Unhandled:
    """The loop's exception handler.

    A listener that can't accept has asyncio tell so up to a hundred times a second, and try again a second later.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` in seconds."""
        self._monotonic = monotonic
        self._scarce_told: float | None = None
        self._told: deque[float] = deque(maxlen=TOLD)

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tells what happened, unless it was told often of late."""
        now, error = self._monotonic(), context.get("exception")
        if isinstance(error, OSError) and error.errno in SCARCE:
            if self._scarce_told is None or now - self._scarce_told >= SECONDS:
                self._scarce_told = now
                log.warning("no connection can be taken: %s; tried again every second, told once a minute at most", error.strerror)
            return
        if len(self._told) == TOLD and now - self._told[0] < SECONDS:
            return
        self._told.append(now)
        loop.default_exception_handler(context)

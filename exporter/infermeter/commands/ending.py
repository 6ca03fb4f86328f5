"""How `serve` is told to end, and that it does: signals, in every phase from its start to its last instant."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

STOPPING: Final = signal.SIGTERM, signal.SIGINT

END_SECONDS: Final = 1.8
"""After this it ends whatever still hangs: in a disk, a library, a thread that Python would wait for."""


class Ending:
    """The first signal sets `stop`, the next `hurry`; and the process is gone with code 0 within END_SECONDS of the first.

    Python calls what is set by `signal.signal` also while the loop's thread waits in a system call, which the loop's own handlers don't
    outlive. What it calls may interrupt anything, so it waits for no lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, end_seconds: float = END_SECONDS, end: Callable[[int], None] = os._exit) -> None:
        """Listens to nothing yet; `end` is called on a thread of its own, with the exit code."""
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self._loop = loop
        self._end_seconds = end_seconds
        self._end = end
        self._is_told = threading.Lock()
        self._untold = threading.Lock()
        self._untold.acquire()
        threading.Thread(target=self._see_to_it, name="ending", daemon=True).start()

    def listen(self, *, hang_up: Callable[[], None]) -> None:
        """From now on signals are taken, on the main thread; `hang_up` is called on the loop."""
        for number in STOPPING:
            signal.signal(number, lambda *_: self._told())
        signal.signal(signal.SIGHUP, lambda *_: self._on_loop(hang_up))

    def listen_no_more(self) -> None:
        """It ends already: whoever asks again doesn't get another exit code."""
        for number in (*STOPPING, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _told(self) -> None:
        if self._is_told.acquire(blocking=False):  # in one step: true for the first alone
            self._untold.release()
            self._on_loop(self.stop.set)
        else:
            self._on_loop(self.hurry.set)

    def _on_loop(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # it was closed
            self._loop.call_soon_threadsafe(call)

    def _see_to_it(self) -> None:
        self._untold.acquire()
        time.sleep(self._end_seconds)
        self._end(0)

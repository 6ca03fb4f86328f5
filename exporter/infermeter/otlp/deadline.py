"""A point in time that moves with each request, and as a rule doesn't trouble the loop's timers by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `passed` once its time has come, unless that was moved or cleared before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        """Far away at first. `since` is when it was moved last."""
        self._loop = loop
        self._passed = passed
        self.since = self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def move(self, seconds: float) -> None:
        """To so long from now. A timer that comes before it is left to find that out."""
        self.since = self._loop.time()
        self._at = self.since + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._at, self._look)
        elif self._timer.when() > self._at:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._at, self._look)

    def clear(self) -> None:
        """There is none any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """There is none ever again, and nobody whom it would call is held by it."""
        self.clear()
        self._passed = _nothing

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._look)
        else:
            self._passed()


def _nothing() -> None:
    """Whom an ended deadline calls."""

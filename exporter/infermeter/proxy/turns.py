"""Who may ask the upstream server now: so many at a time, in the order in which they came, and none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NoTurn(Exception):
    """It didn't come to this one's turn in time."""


class Turns:
    """At most `in_flight` at a time. How many wait is bounded by the clients' connections, each of which has one request."""

    def __init__(self, in_flight: int, patience_seconds: float) -> None:
        self._free = asyncio.Semaphore(in_flight)
        self._patience_seconds = patience_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn, and has it for as long as the block runs. Raises: NoTurn."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise NoTurn from None
        try:
            yield
        finally:
            self._free.release()

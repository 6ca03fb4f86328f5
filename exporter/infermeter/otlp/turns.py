"""Whose turn it is on the event loop: exports come after each other, and after some time of them everything else comes first.

A turn of the loop runs whatever is ready, and hundreds of exports can be: without a bound nothing else would be read or answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic as _monotonic
from typing import Final, TypeVar

from infermeter.errors import Overloaded

T = TypeVar("T")

TURN_SECONDS: Final = 0.05
"""How long exports may keep a turn of the loop; the one that is being taken when it is over is taken to its end."""

SPENT_SECONDS: Final = 0.25
"""Once they have kept it for so long, because a transport took more without asking whose turn it is, the others are refused."""

FULL_SECONDS: Final = 0.5
"""Once the first in the line has waited for so long, nobody joins it, and nothing of an export is received that would have to."""

WAIT_SECONDS: Final = 1.0
"""How long an export waits for its turn, before its sender is told to come back: far below what senders wait for an answer."""


class Turns:
    """A line of exports, which belongs to the event loop. It has no more places than there are connections and bytes in flight."""

    def __init__(self, *, monotonic: Callable[[], float] = _monotonic) -> None:
        """`monotonic` in seconds."""
        self._monotonic = monotonic
        self._line: deque[tuple[float, Callable[[Overloaded | None], None]]] = deque()
        self._began: float | None = None
        self._goes_on = False

    def full(self) -> bool:
        """Whether who comes now would wait for too long."""
        return bool(self._line) and self._monotonic() - self._line[0][0] > FULL_SECONDS

    def free(self) -> bool:
        """Whether an export may be taken at once: nobody waits, and exports have time left in this turn."""
        return not self._line and self._kept_seconds() < TURN_SECONDS

    def spent(self) -> bool:
        """Whether exports have kept this turn of the loop for far too long."""
        return self._kept_seconds() > SPENT_SECONDS

    def wait(self, call: Callable[[Overloaded | None], None]) -> None:
        """Calls back when it is the export's turn, with None, or once it has waited too long, with what its sender is told."""
        self._line.append((self._monotonic(), call))
        self._go_on_soon()

    async def take(self, export: Callable[[], T]) -> T:
        """What this returns or raises, called when it is its turn: at once as a rule.

        Raises:
            Overloaded: it wasn't called.
        """
        if self.free():
            return export()
        taken: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.wait(partial(_settle, taken, export))
        try:
            return await taken
        finally:
            del taken  # as below

    def _kept_seconds(self) -> float:
        """How long this turn of the loop has lasted since exports began in it, which is now if none has."""
        now = self._monotonic()
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._end)
        return now - self._began

    def _end(self) -> None:
        """In the next turn."""
        self._began = None

    def _go_on(self) -> None:
        """Calls those in the line for the time of one turn, one at least."""
        self._began = None
        now = began = self._monotonic()
        while self._line and now - began < TURN_SECONDS:
            too_late = Overloaded("waited too long") if began - self._line[0][0] > WAIT_SECONDS else None
            self._line.popleft()[1](too_late)  # by no name: what it fails over would keep that, as below
            now = self._monotonic()
        self._goes_on = False
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        """In the next turn, once."""
        if self._line and not self._goes_on:
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._go_on)


def _settle(taken: asyncio.Future[T], export: Callable[[], T], too_late: Overloaded | None) -> None:
    """Calls the export for the one who waits, unless that has given up."""
    if taken.cancelled():
        return
    if too_late:
        taken.set_exception(too_late)
        return
    try:
        taken.set_result(export())
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
        taken.set_exception(error)
        del taken  # the error knows this frame, and would keep itself and the export until garbage is looked for

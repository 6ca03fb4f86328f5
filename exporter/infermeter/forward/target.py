"""What a way out looks like to the forwarder."""

from __future__ import annotations

from typing import Final, Protocol

from infermeter.forward.outcomes import Outcome
from infermeter.model import Accepted

ATTEMPTS_AT_ONCE: Final = 8
"""Exports that are under way at once."""

ANSWER_BYTES: Final = 64 << 10
"""Of an answer that are read; what it must hold takes some twenty."""


class Target(Protocol):
    """A receiver of OTLP. Everything is called on the loop, and never blocks it."""

    async def fitted(self, accepted: Accepted) -> Accepted:
        """The export as it can be sent: itself, or encoded anew, then with those of its spans only that could be. Nothing is sent yet."""
        ...

    async def send(self, accepted: Accepted) -> Outcome:
        """One attempt with what was fitted, which ends within the time-out."""
        ...

    async def close(self) -> None:
        """Breaks off what is under way."""
        ...

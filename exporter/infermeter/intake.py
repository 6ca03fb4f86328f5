"""From the transports to the meter: exports are answered at once, and decoded and mapped together with those that come soon after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from infermeter.config import Limits
from infermeter.meter import Meter
from infermeter.model import Accepted, Export
from infermeter.otlp.backlog import Backlog
from infermeter.otlp.decoders import best_decoder
from infermeter.otlp.receiver import Receiver
from infermeter.otlp.turns import Turns

FLUSH_SECONDS = 0.1
"""How long exports that were answered wait for company before they are decoded and mapped together."""


class Intake:
    """What all transports hand exports to, on the loop."""

    def __init__(
        self,
        meter: Meter,
        limits: Limits,
        *,
        now_ns: Callable[[], int],
        exhausted: Callable[[], bool],
        accepted: Callable[[Accepted], None] | None,
        guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`exhausted`: there is no memory for more; `accepted` is told of each export that was taken; `guard` sees mistakes of ours."""
        self._meter = meter
        self._now_ns = now_ns
        self._guard = guard
        self._flush: asyncio.TimerHandle | None = None
        turns = Turns()
        self._backlog = Backlog(best_decoder(meter.wanted), self._flush_in_time)
        self.decoder = self._backlog.decoder
        self.receiver = Receiver(
            meter.wanted,
            self._consume,
            limits,
            overloaded=lambda: exhausted() or turns.spent(),
            accepted=accepted,
            turns=turns,
            backlog=self._backlog,
        )

    def drain(self) -> None:
        """To be called before the meter is read or told of time: what was answered is part of what is known."""
        if (export := self._backlog.drained()) is not None:
            self._meter.consume(export, self._now_ns())

    def _consume(self, export: Export) -> None:
        with self._guard():
            self._meter.consume(export, self._now_ns())
        self._flush_in_time()

    def _flush_in_time(self) -> None:
        if self._backlog.is_full:
            with self._guard():
                self.drain()
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_now)

    def _flush_now(self) -> None:
        self._flush = None
        with self._guard():
            self.drain()
            self._meter.flush(self._now_ns())

"""Advice over time: what is measured is told once it has held for a while. Pure: snapshots and their times are handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from infermeter.advice import advice_with, measured, premises_of
from infermeter.advice.holding import Holding
from infermeter.catalogue import Catalogue
from infermeter.config import Config, DevicePrice
from infermeter.model import Advice, LedgerSnapshot

EVERY_NS: Final = 10_000_000_000
"""How often it is considered what holds: a slot, in which nothing is settled twice."""


class Adviser:
    """Considers snapshots as time passes, and says what it thinks of one."""

    def __init__(self, config: Config, catalogue: Catalogue, prices: Sequence[DevicePrice]) -> None:
        """`prices` are those of candidates."""
        self._config, self._catalogue, self._prices = config, catalogue, prices
        self._holding = Holding()
        self._considered_ns: int | None = None

    def reconfigure(self, config: Config, catalogue: Catalogue, prices: Sequence[DevicePrice]) -> None:
        """Other thresholds, devices or prices hold from now on; what is told stays until it is gone for long enough.

        Advice that is switched off forgets all of it.
        """
        if not config.advice.enabled:
            self._holding = Holding()
        self._config, self._catalogue, self._prices = config, catalogue, prices

    def consider(
        self, now_ns: int, snapshot: Callable[[], LedgerSnapshot], *, price_as_of_ns: int | None, every_ns: int = EVERY_NS
    ) -> None:
        """Looks at what holds now, if the last time is so long ago."""
        if not self._config.advice.enabled or (self._considered_ns is not None and 0 <= now_ns - self._considered_ns < every_ns):
            return
        self._considered_ns = now_ns
        premises = premises_of(self._config, snapshot(), self._catalogue, price_as_of_ns=price_as_of_ns)
        self._holding.update(now_ns, measured(premises), hold_seconds=self._config.advice.hold)

    def advice(self, ledger: LedgerSnapshot, *, price_as_of_ns: int | None, reserves_memory: bool = False) -> Advice:
        """Of a snapshot, with those of the measured findings that have held for long enough."""
        premises = premises_of(self._config, ledger, self._catalogue, price_as_of_ns=price_as_of_ns, reserves_memory=reserves_memory)
        return advice_with(premises, self._holding.told, prices=self._prices)

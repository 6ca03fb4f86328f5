"""Findings that don't flap: told once they have held for a while, withdrawn once they are gone for as long. Pure: time is handed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from infermeter.model import Finding

_Key: TypeAlias = tuple[str, str | None]


@dataclass(slots=True)
class _Held:
    """A finding as it was last seen. `turned_ns`: since when it holds without a break (or, while told, is gone); `told`: whether it is."""

    finding: Finding
    turned_ns: int
    told: bool
    holds: bool


class Holding:
    """What is told of the findings that hold, each by its code and model."""

    def __init__(self, hold_seconds: float) -> None:
        self._hold_ns = round(hold_seconds * 1e9)
        self._held: dict[_Key, _Held] = {}

    def update(self, now_ns: int, findings: Iterable[Finding]) -> None:
        """Takes in what holds now. A clock that was set back begins every wait anew."""
        holding = {(finding.code, finding.model): finding for finding in findings}
        for key, finding in holding.items():
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held(finding, now_ns, told=False, holds=True)
            self._see(held, now_ns, holds=True)
            held.finding = finding
        for key in [key for key in self._held if key not in holding]:
            self._see(self._held[key], now_ns, holds=False)
            if not self._held[key].told:
                del self._held[key]

    @property
    def told(self) -> tuple[Finding, ...]:
        """In the order in which they came up, with the evidence as it was last seen."""
        return tuple(held.finding for held in self._held.values() if held.told)

    def _see(self, held: _Held, now_ns: int, *, holds: bool) -> None:
        if holds != held.holds or now_ns < held.turned_ns:
            held.holds, held.turned_ns = holds, now_ns
        if holds != held.told and now_ns - held.turned_ns >= self._hold_ns:
            held.told = holds

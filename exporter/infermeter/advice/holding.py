"""Findings that don't flap: told once they have held for a while, withdrawn once they are gone for as long. Pure: time is handed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from infermeter.model import Finding

_Key: TypeAlias = tuple[str, str | None]

LONGEST_GAP_NS: Final = 120_000_000_000
"""After a longer time without a look (a machine that slept, a clock that was set) nothing says what held meanwhile."""


@dataclass(slots=True)
class _Held:
    """A finding as it was last seen. `turned_ns`: since when it holds without a break (or, while told, is gone); `told`: whether it is."""

    finding: Finding
    turned_ns: int
    told: bool
    holds: bool


class Holding:
    """What is told of the findings that hold, each by its code and model: no more of them than hold, or are told, at once."""

    def __init__(self) -> None:
        self._held: dict[_Key, _Held] = {}
        self._seen_ns: int | None = None

    def update(self, now_ns: int, findings: Iterable[Finding], *, hold_seconds: float) -> None:
        """Takes in what holds now, of which each waits for `hold_seconds`. A clock that was set begins every wait anew."""
        holding = {(finding.code, finding.model): finding for finding in findings}
        watched = self._seen_ns is not None and 0 <= now_ns - self._seen_ns <= LONGEST_GAP_NS
        hold_ns, self._seen_ns = round(hold_seconds * 1e9), now_ns
        for key, finding in holding.items():
            held = self._held.setdefault(key, _Held(finding, now_ns, told=False, holds=True))
            held.finding = finding
        for key, held in list(self._held.items()):
            holds = key in holding
            if holds != held.holds or not watched:
                held.holds, held.turned_ns = holds, now_ns
            if now_ns - held.turned_ns >= hold_ns:
                held.told = holds
            if not (holds or held.told):
                del self._held[key]

    @property
    def kept(self) -> int:
        """How many are told, or wait."""
        return len(self._held)

    @property
    def told(self) -> tuple[Finding, ...]:
        """In the order in which they came up, with the evidence as it was last seen."""
        return tuple(held.finding for held in self._held.values() if held.told)

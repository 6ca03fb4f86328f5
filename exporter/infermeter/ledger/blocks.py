"""Blocks: slots joined in order until they hold enough inferences for a verdict. What the in-SLA-state counters and `compliant` count."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from infermeter.ledger.instants import DAY_SLOTS, HOUR_SECONDS, SLOT_SECONDS
from infermeter.ledger.sla import holds
from infermeter.ledger.verdict import least_observed, verdict
from infermeter.model import SlaState, SlaTarget

_MOST_SLOTS: Final = HOUR_SECONDS // SLOT_SECONDS


@dataclass(slots=True)
class _Block:
    """Idle time before the first inference belongs to the block, and doesn't age it."""

    first_busy_slot: int | None = None
    observed: int = 0
    ok: int = 0
    within: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class _Held:
    """A closed block in which the SLA held, counted."""

    last_slot: int
    ok: int
    cost: float


@dataclass(slots=True, eq=False)
class Blocks:
    """The blocks of one model: cut at enough inferences to be `met`, or an hour after the first; never partitioned anew.

    A change of the SLA cuts them too, and while there is none (None) nothing is counted.
    """

    sla: SlaTarget | None
    confidence: float
    inferences: dict[SlaState, int] = field(default_factory=lambda: {"met": 0, "missed": 0, "insufficient": 0})
    cost: dict[SlaState, float] = field(default_factory=lambda: {"met": 0.0, "missed": 0.0, "insufficient": 0.0})
    _least: int | None = field(init=False)
    _open: _Block = field(default_factory=_Block)
    _held: deque[_Held] = field(default_factory=deque)
    _next: deque[tuple[int, SlaTarget | None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._judge_by(self.sla)

    def change(self, sla: SlaTarget | None, *, first_slot: int) -> None:
        """From this slot on another SLA is in force; such slots don't go back."""
        while self._next and self._next[-1][0] >= first_slot:
            self._next.pop()
        self._next.append((first_slot, sla))

    def add(self, slot: int, *, observed: int, ok: int, within: int, cost: float) -> None:
        """Joins the next closed slot; slots come in order. `ok` counts all that were served, `observed` and `within` what was seen."""
        while self._next and self._next[0][0] <= slot:
            first_slot, sla = self._next.popleft()
            self.cut(first_slot - 1)
            self._judge_by(sla)
        if self.sla is None:
            return
        block = self._open
        if block.first_busy_slot is not None and slot - block.first_busy_slot >= _MOST_SLOTS:
            self.cut(slot - 1)
            block = self._open
        if block.first_busy_slot is None and observed:
            block.first_busy_slot = slot
        block.observed += observed
        block.ok += ok
        block.within += within
        block.cost += cost
        if self._least is not None and block.observed >= self._least:
            self.cut(slot)

    def _judge_by(self, sla: SlaTarget | None) -> None:
        self.sla = sla
        self._least = None if sla is None else least_observed(sla, confidence=self.confidence)

    def cut(self, last_slot: int) -> None:
        """Ends the open block with `last_slot`, if it holds anything."""
        block, self._open = self._open, _Block()
        if self.sla is None or not block.observed:
            self._open.cost, self._open.ok = block.cost, block.ok
            return
        state = verdict(self.sla, observed=block.observed, within=block.within, confidence=self.confidence)
        self.inferences[state] += block.ok
        self.cost[state] += block.cost
        if holds(self.sla, observed=block.observed, within=block.within):
            self._held.append(_Held(last_slot, block.ok, block.cost))
        while self._held and self._held[0].last_slot <= last_slot - DAY_SLOTS:
            self._held.popleft()

    def compliant_cost(self, first_slot: int) -> float | None:
        """Cost per ok inference over the blocks since `first_slot` in which the SLA held; None without one."""
        held = [block for block in self._held if block.last_slot >= first_slot]
        ok = sum(block.ok for block in held)
        return sum(block.cost for block in held) / ok if ok else None

"""How much of what was served left a span, and whether the spans of a slot are therefore a sample. Pure counting, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from infermeter.ledger.instants import HOUR_SECONDS, SLOT_SECONDS, SLOT_TICKS
from infermeter.ledger.slots import Slots
from infermeter.ledger.totals import Totals
from infermeter.model import Bools, Ints

LEAST_INFERENCES: Final = 30
"""Fewer served inferences tell no coverage."""

SLOTS_BEFORE: Final = HOUR_SECONDS // SLOT_SECONDS
"""A judgement reaches back until it has enough inferences, so far at most."""

_SLOTS_AFTER: Final = 6
_SLOTS_BEFORE_AT_LEAST: Final = 12
"""Three minutes around a slot: both ends of them are as blurred as two scrapes lie apart, the slots to come show a change at once."""

_RECOVERY: Final = 0.25
"""Of the way from the limit to 1: so far coverage must rise until spans are believed again."""

_LEAST_BLOCK_SLOTS: Final = 6
MOST_BLOCK_SLOTS: Final = 30


def coverage_ratio(observed: Ints, served: Ints, *, unnamed: int | None) -> float | None:
    """Observed over served, both of shape (slots, models); None with too few. No model has more than all of it observed.

    `unnamed` is the model of those of which spans, or counters, name none; None: there are none. They may be any model's, so that what
    was observed of it beyond what was served makes up for what is missing of others, and the other way round.
    """
    seen = observed.sum(axis=0)
    surplus = seen - served.sum(axis=0)
    missing = int(np.maximum(-surplus, 0).sum()) - (0 if unnamed is None else _found(surplus, unnamed))
    whole = int(seen.sum()) + missing
    return int(seen.sum()) / whole if whole >= LEAST_INFERENCES else None


def _found(surplus: Ints, unnamed: int) -> int:
    """How much of what is missing of some models may be what others have too much of, one of the two being unnamed."""
    nameless, named = int(surplus[unnamed]), np.delete(surplus, unnamed)
    opposite = -named if nameless > 0 else named
    return min(abs(nameless), int(np.maximum(opposite, 0).sum()))


def block_slots(observed: Ints, served: Ints, counted: Bools) -> int | None:
    """How many of these slots make a block: a minute, then until 30 were observed, 5 minutes at most; None: that can't be told yet.

    Shapes as in `Sampling.judge`. A minute in which nothing was served, nor seen, is a block of its own.
    """
    minute = slice(0, _LEAST_BLOCK_SLOTS)
    if len(counted) >= _LEAST_BLOCK_SLOTS and counted[minute].all() and not (served[minute].any() or observed[minute].any()):
        return _LEAST_BLOCK_SLOTS
    reached = np.flatnonzero(np.cumsum(observed.sum(axis=1)) >= LEAST_INFERENCES)
    slots = max(_LEAST_BLOCK_SLOTS, int(reached[0]) + 1) if len(reached) else MOST_BLOCK_SLOTS
    return slots if slots <= len(counted) else None


@dataclass(slots=True)
class Sampling:
    """Judges slot after slot. `thin`: the spans are a sample, by the server's counts, and `ratio` of all; None: those don't tell yet."""

    below_ratio: float
    thin: bool | None = None
    ratio: float | None = None

    def judge(self, observed: Ints, served: Ints, counted: Bools, *, before: int, sampled: bool, unnamed: int | None) -> None:
        """Takes the slots around one: `observed` and `served` of shape (slots, models), `counted` (slots,): the server told them whole.

        The slot itself has the index `before`. `sampled` is what is known without counts; `unnamed` as in `coverage_ratio`. Where the
        last hour has no count at all, evidence that spans are complete is no longer any; with a count but too few inferences, what was
        judged stays.
        """
        if not counted.any():
            self.thin = self.thin or None
            return
        observed, served = observed * counted[:, None], served * counted[:, None]
        reached = np.cumsum(np.maximum(observed.sum(axis=1), served.sum(axis=1))[::-1])[::-1]
        enough = np.flatnonzero(reached >= LEAST_INFERENCES)
        first = min(max(before - _SLOTS_BEFORE_AT_LEAST, 0), int(enough[-1])) if len(enough) else 0
        ratio = coverage_ratio(observed[first:], served[first:], unnamed=unnamed)
        if ratio is None:
            return
        self.ratio = ratio
        doubted = sampled if self.thin is None else self.thin
        self.thin = ratio < self.below_ratio + (1.0 - self.below_ratio) * _RECOVERY * doubted


class Stretch(NamedTuple):
    """Ticks up to `stop_tick` that are settled in one; `thin`: the spans in them are a sample."""

    stop_tick: int
    thin: bool


class Coverage:
    """What of the ticks to come can be settled in one, and whether the spans in them are a sample: by the slots around them."""

    def __init__(self, totals: Totals, slots: Slots, *, below_ratio: float) -> None:
        self._totals = totals
        self._slots = slots
        self._sampling = Sampling(below_ratio)
        self._judged_slot: int | None = None

    def thin(self, *, sampled: bool) -> bool:
        """Whether spans are a sample, by what was judged last, else by what is known without counts."""
        return sampled if self._sampling.thin is None else self._sampling.thin

    @property
    def per_observed(self) -> float:
        """How many served inferences each one stands for that was seen, by what was judged last."""
        return 1.0 / self._sampling.ratio if self._sampling.thin and self._sampling.ratio else 1.0

    def ratio(self, slots: int) -> float | None:
        """Observed over served in the last so many closed slots that the server has told whole."""
        if not self._totals.known:
            return None
        closed = self._slots.closed
        observed, served, counted = self._totals.around(max(closed - slots, self._slots.first_slot), closed)
        return coverage_ratio(observed[counted], served[counted], unnamed=self._totals.unnamed)

    def next(self, first_tick: int, *, counting_slot: int, sampled: bool, ends: bool) -> Stretch | None:
        """What is to be settled from `first_tick` on: a slot, or a block where spans are a sample; None: it isn't known yet.

        `ends`: nothing more comes, so that whatever there is makes a block.
        """
        slot = first_tick // SLOT_TICKS
        self._judge(slot, counting_slot, sampled=sampled)
        if not self.thin(sampled=sampled):
            return Stretch((slot + 1) * SLOT_TICKS, thin=False)
        stop = min(counting_slot, slot + MOST_BLOCK_SLOTS)
        slots = block_slots(*self._totals.around(slot, stop))
        if slots is None and ends:
            slots = max(stop - slot, 1)
        return None if slots is None else Stretch((slot + slots) * SLOT_TICKS, thin=True)

    def _judge(self, slot: int, counting_slot: int, *, sampled: bool) -> None:
        """Once for each slot."""
        if slot == self._judged_slot:
            return
        self._judged_slot = slot
        first = max(slot - SLOTS_BEFORE, self._slots.first_slot)
        observed, served, counted = self._totals.around(first, max(min(slot + _SLOTS_AFTER, counting_slot), slot + 1))
        self._sampling.judge(observed, served, counted, before=slot - first, sampled=sampled, unnamed=self._totals.unnamed)

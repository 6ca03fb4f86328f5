"""How much of what was served left a span, and whether the spans of a slot are therefore a sample. Pure counting, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from infermeter.ledger.instants import HOUR_SECONDS, SLOT_SECONDS
from infermeter.model import Bools, Ints

LEAST_INFERENCES: Final = 30
"""Fewer served inferences tell no coverage."""

SLOTS_BEFORE: Final = HOUR_SECONDS // SLOT_SECONDS
"""A judgement reaches back until it has enough inferences, so far at most."""

SLOTS_AFTER: Final = 6
_SLOTS_BEFORE_AT_LEAST: Final = 12
"""Three minutes around a slot: both ends of them are as blurred as two scrapes lie apart, the slots to come show a change at once."""

_RECOVERY: Final = 0.25
"""Of the way from the limit to 1: so far coverage must rise until spans are believed again."""

_LEAST_BLOCK_SLOTS: Final = 6
MOST_BLOCK_SLOTS: Final = 30


def coverage_ratio(observed: Ints, served: Ints) -> float | None:
    """Observed over served, both of shape (slots, models); None with too few. No model has more than all of it observed."""
    seen = observed.sum(axis=0)
    whole = int(np.maximum(seen, served.sum(axis=0)).sum())
    return int(seen.sum()) / whole if whole >= LEAST_INFERENCES else None


def block_slots(observed: Ints) -> int | None:
    """How many of the slots with these counts make a block: a minute, then until 30 were observed, 5 minutes at most; None: not yet."""
    reached = np.flatnonzero(np.cumsum(observed[:MOST_BLOCK_SLOTS]) >= LEAST_INFERENCES)
    slots = max(_LEAST_BLOCK_SLOTS, int(reached[0]) + 1) if len(reached) else MOST_BLOCK_SLOTS
    return slots if slots <= len(observed) else None


@dataclass(slots=True)
class Coverage:
    """Judges slot after slot. `thin`: the spans are a sample, by the server's counts; None: those don't tell yet."""

    below_ratio: float
    thin: bool | None = None

    def judge(self, observed: Ints, served: Ints, counted: Bools, *, before: int, sampled: bool) -> None:
        """Takes the slots around one: `observed` and `served` of shape (slots, models), `counted` (slots,): the server told them whole.

        The slot itself has the index `before`. `sampled` is what is known without counts. Where the last hour has no count at all,
        evidence that spans are complete is no longer any; with a count but too few inferences, what was judged stays.
        """
        if not counted.any():
            self.thin = self.thin or None
            return
        observed, served = observed * counted[:, None], served * counted[:, None]
        reached = np.cumsum(np.maximum(observed.sum(axis=1), served.sum(axis=1))[::-1])[::-1]
        enough = np.flatnonzero(reached >= LEAST_INFERENCES)
        first = min(max(before - _SLOTS_BEFORE_AT_LEAST, 0), int(enough[-1])) if len(enough) else 0
        ratio = coverage_ratio(observed[first:], served[first:])
        if ratio is None:
            return
        doubted = sampled if self.thin is None else self.thin
        self.thin = ratio < self.below_ratio + (1.0 - self.below_ratio) * _RECOVERY * doubted

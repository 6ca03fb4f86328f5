"""Tokens by the server's own counters: by model and direction, since the first reading and by slot.

A direction has one source for the life of the process: the server where it counts that direction, else the spans. The first reading with
such a count settles it, or the first that tells of inferences and has none: a counter may not be there before it counts. Until then
there are no totals, and windows are made of spans.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from infermeter.ledger.arrivals import Arrivals
from infermeter.ledger.columns import widened
from infermeter.ledger.instants import DAY_SLOTS
from infermeter.ledger.slots import Slots
from infermeter.ledger.stretch import stretch
from infermeter.ledger.timeline import Timeline
from infermeter.model import Direction, Ints, ServerReading

Both: TypeAlias = tuple[int | None, int | None]
"""Input and output tokens; None: not known."""

_DIRECTIONS: Final[tuple[Direction, ...]] = ("input", "output")


class Tokens:
    """The tokens that the server has counted. Bounded by the models that there are, and by a day of slots."""

    def __init__(self, arrivals: Arrivals, slots: Slots, *, waits: bool) -> None:
        """`waits`: readings are to come, and there are no totals before they settle where these come from."""
        self._arrivals = arrivals
        self._slots = slots
        self._counted: list[bool | None] = [None if waits else False] * len(_DIRECTIONS)
        self._named = np.zeros((0, 2), np.int64)
        self._sums = np.zeros((0, 2), np.int64)
        self._placed: Timeline[np.int64] = Timeline(slots.first_slot, (1, 2), np.int64)

    def read(self, reading: ServerReading) -> None:
        """Takes in what was counted since the last reading; models that the server names are known from now on."""
        for place, direction in enumerate(_DIRECTIONS):
            if reading.tokens.get(direction):
                self._counted[place] = self._counted[place] is not False
            elif direction not in reading.tokens or any(reading.inferences.values()):
                self._counted[place] = bool(self._counted[place])
        told = [
            (self._arrivals.code(model), place, round(more))
            for place, direction in enumerate(_DIRECTIONS)
            for model, more in sorted(reading.tokens.get(direction, {}).items(), key=lambda item: item[0] or "")
        ]
        models = len(self._arrivals.names)
        self._named, self._sums = widened(self._named, models), widened(self._sums, models)
        more_by_model = np.zeros_like(self._sums)
        for code, place, more in told:
            self._named[code, place] = 1
            more_by_model[code, place] += more
        if reading.since_ns is not None and more_by_model.any():
            self._sums += more_by_model
            self._place(more_by_model, reading.since_ns, reading.time_ns)

    def close(self, stop: int) -> None:
        """Slots before `stop` have closed."""
        self._placed.drop(stop - DAY_SLOTS)

    def sums(self, first: int, stop: int) -> Ints:
        """Those in the slots [first, stop), shape (models, 2); models without any may be missing."""
        sums: Ints = self._placed.rows(first, stop).sum(axis=0)
        return sums

    def total(self, code: int, of_spans: Both) -> Both:
        """Those of a model since the start, each direction from its source."""
        tokens = self.choose(code, of_spans, self._sums)
        return None if self._counted[0] is None else tokens[0], None if self._counted[1] is None else tokens[1]

    def choose(self, code: int, of_spans: Both, sums: Ints) -> Both:
        """What `sums` hold of a model, of the directions that the server counts; of others what the spans say."""
        tokens_input, tokens_output = (self._of(code, place, sums) if self._counted[place] else of_spans[place] for place in (0, 1))
        return tokens_input, tokens_output

    def _of(self, code: int, place: int, sums: Ints) -> int | None:
        """None: the server doesn't name that model."""
        if code >= len(self._named) or not self._named[code, place]:
            return None
        return int(sums[code, place]) if code < len(sums) else 0

    def _place(self, more: Ints, since_ns: int, time_ns: int) -> None:
        """Spreads increases over the slots of their time, evenly; what belongs to slots that have closed goes to the oldest open one."""
        between = stretch(since_ns, time_ns, open_slot=self._slots.closed)
        self._placed.widen(len(more))
        for slot, share, _ in between.spread(more.reshape(-1), between.parts_ns):
            if share.any():
                self._placed.row(slot)[: len(more)] += share.reshape(more.shape)

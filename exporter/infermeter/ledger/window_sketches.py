"""Counts by key in each window: slots enter it when they close, and leave when it has passed them. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from infermeter.ledger.columns import widened
from infermeter.ledger.instants import SLOT_SECONDS
from infermeter.ledger.sketch import SlotSketches
from infermeter.model import Ints, Window


class WindowSketches:
    """A row of `width` counts for each model in each window; a key is code x width + place in the row."""

    def __init__(self, windows: Sequence[Window], width: int) -> None:
        self.width = width
        self._arriving = SlotSketches()
        self._lengths = {window.label: round(window.seconds) // SLOT_SECONDS for window in windows}
        self._sums = {window.label: np.zeros((0, width), np.int64) for window in windows}
        self._inside: deque[tuple[int, Ints, Ints]] = deque()
        self._left = dict.fromkeys(self._sums, 0)

    def add(self, slots: Ints, keys: Ints) -> None:
        """Counts each key in its slot, which is still open."""
        self._arriving.add(slots, keys)

    def close(self, slot: int, models: int) -> tuple[Ints, Ints]:
        """A slot has closed: it enters every window, and the oldest leave. What was counted in it: (keys, counts), ascending."""
        keys, counts = self._arriving.take(slot)
        self._inside.append((slot, keys, counts))
        for label, sums in self._sums.items():
            self._sums[label] = widened(sums, models)
            self._sums[label].reshape(-1)[keys] += counts
        self._leave(slot)
        return keys, counts

    def skip(self, stop: int) -> None:
        """Slots before `stop` have closed without anything in them."""
        self._arriving.drop(stop)
        self._leave(stop - 1)

    def length(self, window: Window) -> int:
        """How many slots a window holds."""
        return self._lengths[window.label]

    def stretch(self, window: Window, slots: int) -> None:
        """A window that is longer than the period covers it, slots cut at both ends included."""
        self._lengths[window.label] = slots

    def row(self, window: Window, code: int) -> Ints:
        """The counts of a model in a window, shape (width,)."""
        sums = self._sums[window.label]
        return sums[code] if code < len(sums) else np.zeros(self.width, np.int64)

    def _leave(self, newest: int) -> None:
        for label, length in self._lengths.items():
            sums = self._sums[label].reshape(-1)
            while self._left[label] < len(self._inside) and self._inside[self._left[label]][0] <= newest - length:
                _, keys, counts = self._inside[self._left[label]]
                sums[keys] -= counts
                self._left[label] += 1
        for _ in range(min(self._left.values(), default=len(self._inside))):
            self._inside.popleft()
            self._left = {label: left - 1 for label, left in self._left.items()}

"""Counts by key in each window: slots enter it when they close, and leave when it has passed them. Pure."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infermeter.ledger.columns import widened
from infermeter.ledger.instants import SLOT_SECONDS
from infermeter.ledger.sketch import SlotSketches
from infermeter.model import Bools, Ints, Window


class _Inside(NamedTuple):
    """A closed slot until the longest window has passed it, packed to a sixth, since a day of them may be kept."""

    slot: int
    keys: int
    steps_type: npt.DTypeLike
    counts_type: npt.DTypeLike
    packed: bytes

    @classmethod
    def of(cls, slot: int, keys: Ints, counts: Ints) -> _Inside:
        """Ascending keys and their counts: from key to key it is never far, and most counts are small."""
        steps = np.diff(keys.astype(np.int64), prepend=0)
        steps = steps.astype(np.min_scalar_type(int(steps.max(initial=0))))
        return cls(slot, len(keys), steps.dtype, counts.dtype, zlib.compress(steps.tobytes() + counts.tobytes(), 1))

    def unpacked(self) -> tuple[Ints, npt.NDArray[Any]]:
        """Keys and counts."""
        both = zlib.decompress(self.packed)
        steps = np.frombuffer(both, self.steps_type, self.keys)
        return np.cumsum(steps, dtype=np.int64), np.frombuffer(both, self.counts_type, self.keys, steps.nbytes)


class WindowSketches:
    """A row of `width` counts for each model in each window; a key is code x width + place in the row."""

    def __init__(self, windows: Sequence[Window], width: int) -> None:
        self.width = width
        self._arriving = SlotSketches()
        self._lengths = {window.label: round(window.seconds) // SLOT_SECONDS for window in windows}
        self._sums = {window.label: np.zeros((0, width), np.int64) for window in windows}
        self._inside: deque[_Inside] = deque()
        self._left = dict.fromkeys(self._sums, 0)

    def add(self, slots: Ints, keys: Ints, counted: Bools) -> None:
        """Counts keys in slots that are still open, as `SlotSketches.add` does."""
        self._arriving.add(slots, keys, counted)

    def close(self, slot: int, models: int) -> tuple[Ints, Ints]:
        """A slot has closed: it enters every window, and the oldest leave. What was counted in it: (keys, counts), ascending."""
        keys, counts = self._arriving.take(slot)
        self._inside.append(_Inside.of(slot, keys, counts))
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
            while self._left[label] < len(self._inside) and self._inside[self._left[label]].slot <= newest - length:
                keys, counts = self._inside[self._left[label]].unpacked()
                sums[keys] -= counts
                self._left[label] += 1
        for _ in range(min(self._left.values(), default=len(self._inside))):
            self._inside.popleft()
            self._left = {label: left - 1 for label, left in self._left.items()}

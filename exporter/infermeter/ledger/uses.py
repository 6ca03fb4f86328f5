"""Joules and money by use and model, as ticks are settled: the counters, and who was active in the last hour."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from infermeter.ledger.attribution import USES, Split, shares
from infermeter.ledger.columns import widened
from infermeter.ledger.instants import HOUR_SECONDS, SLOT_SECONDS
from infermeter.model import Floats, Ints, Use

_HOUR_SLOTS: Final = HOUR_SECONDS // SLOT_SECONDS


class Activity:
    """Nanoseconds in which each model was active, in the slot of the present and the hour before it."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, Ints]] = deque()
        self.ns = np.zeros(0, np.int64)

    def add(self, slot: int, active_ns: Ints) -> None:
        """Adds a tick; slots come in order, and every model that there is has its place in `active_ns`."""
        models = len(active_ns)
        self.ns = widened(self.ns, models)
        while self._slots and self._slots[0][0] <= slot - _HOUR_SLOTS:
            self.ns -= widened(self._slots.popleft()[1], models)
        if not active_ns.any():
            return
        self.ns += active_ns
        same_slot = self._slots and self._slots[-1][0] == slot
        before = widened(self._slots.pop()[1], models) if same_slot else 0
        self._slots.append((slot, active_ns + before))


class Uses:
    """The settled counters: `joules` and `cost` have shape (3, models), uses in the order of USES."""

    def __init__(self) -> None:
        self.activity = Activity()
        self.joules = np.zeros((len(USES), 0))
        self.cost = np.zeros((len(USES), 0))

    @property
    def models(self) -> int:
        """How many models there is room for."""
        return int(self.cost.shape[1])

    def widen(self, models: int) -> None:
        """Makes room for this many models."""
        self.joules, self.cost = widened(self.joules, models, axis=1), widened(self.cost, models, axis=1)

    def book(self, *, cost: Split, joules: Split, active_seconds: float, compute_ns: Ints, default_code: int | None) -> Floats:
        """Books a settled tick: active by the overlap `compute_ns` (all 0: nothing is active), the rest by the activity of the last hour.

        Where there was none, the rest goes to `default_code` (None: there is no rest).
        Returns what each model got, shape (models, 3): cost, joules and seconds of activity.
        """
        weights = np.zeros(self.cost.shape, np.int64)
        weights[0, : len(compute_ns)] = compute_ns
        weights[1:, : len(self.activity.ns)] = self.activity.ns
        if default_code is not None:
            weights[1:, default_code] = 1
        portions = shares(np.array((cost, joules, (active_seconds, 0.0, 0.0))).T, weights)
        self.cost += portions[:, 0]
        self.joules += portions[:, 1]
        booked: Floats = portions.sum(axis=0).T
        return booked

    def by_model(self, table: Floats) -> list[dict[Use, float]]:
        """Each model's part of `cost` or `joules`, by use."""
        return [dict(zip(USES, row, strict=True)) for row in table.T.tolist()]

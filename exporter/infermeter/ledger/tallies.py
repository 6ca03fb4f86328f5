"""Counters that a device keeps since some instant of its own, made into counters since our start."""

from __future__ import annotations

import math
from typing import Final

from infermeter.ledger.instants import SECOND_NS
from infermeter.model import GpuSample, ThrottleReason

_SLACK_SECONDS: Final = 1.0
"""Beyond the time that has passed: drivers bring their counters up to date in steps, and not at the instant of reading."""

_MOST_BYTES_PER_SECOND: Final = 1e12
"""Of one device in one direction; 16 lanes of PCIe 7.0 carry a quarter of it."""


class Tally:
    """One such counter. `total` is what it has gained since it was first told, None before.

    The first value is the baseline. A counter that falls was reset, and goes on from there: what it gained in between isn't known.
    One that gains more than the passing of time allows is rejected, and goes on from there.
    """

    def __init__(self, most_per_second: float) -> None:
        self.total: float | None = None
        self._most_per_second = most_per_second
        self._time_ns = 0
        self._value = 0.0

    def read(self, time_ns: int, value: float | None) -> bool:
        """Takes in what the device says (None: nothing); whether that was rejected."""
        if value is None:
            return False
        if value == self._value and self.total is not None:
            self._time_ns = time_ns
            return False
        if not 0 <= value < math.inf:
            return True
        gained = 0.0 if self.total is None else value - self._value
        most = self._most_per_second * (max(0, time_ns - self._time_ns) / SECOND_NS + _SLACK_SECONDS)
        self._time_ns, self._value = time_ns, value
        self.total = (self.total or 0) + (gained if 0 < gained <= most else 0)
        return gained > most


class Tallies:
    """Throttled seconds and PCIe bytes of one device."""

    def __init__(self) -> None:
        self._throttled: dict[ThrottleReason, Tally] = {"power": Tally(1.0), "thermal": Tally(1.0), "other": Tally(1.0)}
        self._transmitted = Tally(_MOST_BYTES_PER_SECOND)
        self._received = Tally(_MOST_BYTES_PER_SECOND)

    def read(self, sample: GpuSample) -> int:
        """Takes a sample in; how many of its values were rejected."""
        time_ns, throttled = sample.time_ns, self._throttled
        return (
            throttled["power"].read(time_ns, sample.throttled_power_seconds)
            + throttled["thermal"].read(time_ns, sample.throttled_thermal_seconds)
            + throttled["other"].read(time_ns, sample.throttled_other_seconds)
            + self._transmitted.read(time_ns, sample.pcie_transmitted_bytes)
            + self._received.read(time_ns, sample.pcie_received_bytes)
        )

    @property
    def throttled_seconds(self) -> dict[ThrottleReason, float]:
        """By reason, those that were told."""
        return {reason: tally.total for reason, tally in self._throttled.items() if tally.total is not None}

    @property
    def held_down_seconds(self) -> float | None:
        """By power and heat together, None where neither is told: other reasons (a clock that was set, idleness) are nobody's loss."""
        told = [tally.total for reason, tally in self._throttled.items() if reason != "other" and tally.total is not None]
        return sum(told) if told else None

    @property
    def transmitted_bytes(self) -> int | None:
        """From the device."""
        return None if self._transmitted.total is None else int(self._transmitted.total)

    @property
    def received_bytes(self) -> int | None:
        """By the device."""
        return None if self._received.total is None else int(self._received.total)

"""How far the ledger waits: the counting watermark (a slot's counts close) and, behind it, the energy watermark (ticks are settled)."""

from __future__ import annotations

from typing import Final

import numpy as np

from infermeter.ledger.instants import HOUR_SECONDS, SECOND_NS, SLOT_NS, TICK_NS, nanoseconds
from infermeter.ledger.sketch import BUCKETS, bucket_of, quantile_bucket, upper_edge_ns
from infermeter.model import Ints

_QUANTILE: Final = 0.999
_MOST_DELAY_NS: Final = 120 * SECOND_NS
_MOST_DURATION_NS: Final = 900 * SECOND_NS
_SAMPLES: Final = 3


class Recent:
    """The 99.9th percentile of what was seen in this hour and the one before."""

    def __init__(self) -> None:
        self._hour = 0
        self._now = np.zeros(BUCKETS, np.int64)
        self._before = np.zeros(BUCKETS, np.int64)

    def add(self, values_ns: Ints) -> None:
        """Counts values in."""
        np.add.at(self._now, bucket_of(values_ns), 1)

    def high_ns(self, now_ns: int) -> int:
        """The percentile, rounded up to its bucket's edge; 0 while nothing was seen. Begins a new hour if it is time."""
        hour = now_ns // (HOUR_SECONDS * SECOND_NS)
        if hour != self._hour:
            self._hour, self._before, self._now = hour, self._now, np.zeros(BUCKETS, np.int64)
        bucket = quantile_bucket(self._now + self._before, _QUANTILE)
        return 0 if bucket is None else upper_edge_ns(bucket)


class Watermarks:
    """Both watermarks; neither ever moves back, whatever the clock does.

    The span delay is the configured one, grown to the 99.9th percentile of arrival minus end, at most 2 minutes; the longest is the
    99.9th percentile of the durations, at least twice the delay, at most 15 minutes, and never less than it takes to get the GPU
    samples on both sides of a tick.
    """

    def __init__(self, start_ns: int, *, span_delay_seconds: float, sampling_seconds: float) -> None:
        self.counting_slot = start_ns // SLOT_NS
        self.energy_tick = start_ns // TICK_NS
        self._span_delay_ns = nanoseconds(span_delay_seconds)
        self._sampling_ns = _SAMPLES * nanoseconds(sampling_seconds)
        self._delays = Recent()
        self._durations = Recent()
        self._second = 0

    def observe(self, delays_ns: Ints, durations_ns: Ints) -> None:
        """Learns from inferences that arrived."""
        self._delays.add(delays_ns)
        self._durations.add(durations_ns)

    def move(self, now_ns: int) -> None:
        """Moves both up to what this instant allows, at most once a second."""
        if now_ns // SECOND_NS <= self._second:
            return
        self._second = now_ns // SECOND_NS
        delay_ns = min(max(self._span_delay_ns, self._delays.high_ns(now_ns)), _MOST_DELAY_NS)
        longest_ns = max(min(max(2 * delay_ns, self._durations.high_ns(now_ns)), _MOST_DURATION_NS), self._sampling_ns)
        self.counting_slot = max(self.counting_slot, (now_ns - delay_ns) // SLOT_NS)
        self.energy_tick = max(self.energy_tick, (now_ns - delay_ns - longest_ns) // TICK_NS)

    def finish(self, end_ns: int) -> None:
        """Everything up to the end has arrived."""
        self.counting_slot = max(self.counting_slot, -(-end_ns // SLOT_NS))
        self.energy_tick = max(self.energy_tick, -(-end_ns // TICK_NS))

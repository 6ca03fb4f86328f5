"""How many inferences ran at once: by the server's own gauge, and by Little's law from its spans. Both speak of one queue."""

from __future__ import annotations

import math
from typing import Final

from infermeter.ledger import slots as columns
from infermeter.ledger.slots import Sums
from infermeter.model import Concurrency

_LEAST_CHANGE: Final = 0.25
"""Of the gauge's mean: so much its scrapes differ from those of any number before, squared and on average, where arrivals are random."""

_LONG_INTERVALS: Final = 3.0
"""Inferences of so many intervals are met by a like number of scrapes, whatever their phase."""


def concurrency(sums: Sums, *, coverage_ratio: float | None, interval_seconds: float) -> Concurrency | None:
    """Both means over the time in which the gauge is told, of slots that are closed; None where either isn't known.

    `coverage_ratio`: observed over served, 1 where spans are all there is, None where they are a sample of nobody knows what.

    The spans' mean is their compute time in the ticks that the gauge tells, over the length of these: by Little's law the throughput times
    the mean compute time, for any arrivals, and of the same seconds. The gauge is an instant every `interval_seconds`: its mean is off by
    its spread over the root of the independent instants, of which there is one every two mean compute times at most.
    Instants prove nothing where a short load is as regular as they are: then each scrape repeats one of those before it.

    Source: L = lambda W (Little, 1961); the integral time of an M/G/infinity queue's autocorrelation.
    """
    computing_seconds, seconds, running_seconds, squares, compared, *changes = sums.running.tolist()
    observed = int(sums.counts[:, columns.OBSERVED].sum())
    accrued_seconds = float(sums.server[columns.ACCRUED_SECONDS])
    if seconds <= 0 or accrued_seconds <= 0 or not coverage_ratio:
        return None
    inferences = round(observed * min(1.0, seconds / accrued_seconds))
    running, computing = running_seconds / seconds, computing_seconds / seconds / coverage_ratio
    variance = max(0.0, squares / seconds - running**2)
    mean_seconds = computing_seconds / max(inferences, 1)
    gauge_error = math.sqrt(variance * max(interval_seconds, 2 * mean_seconds) / seconds)
    spans_error = computing * math.sqrt(2 * (1 - coverage_ratio) / max(inferences, 1))
    changing = running > 0 and compared > 0 and min(changes) / compared >= _LEAST_CHANGE * running
    seen_at_random = changing or mean_seconds >= _LONG_INTERVALS * interval_seconds
    return Concurrency(
        seconds=seconds,
        inferences=inferences,
        running=running,
        computing=computing,
        standard_error=math.hypot(gauge_error, spans_error) if seen_at_random else None,
    )

"""Capacity at the SLA of a server that serves one inference at a time: a queue with known service times. Pure.

Without it a server that is asked ten times a minute and answers in 50 ms could never be seen as over-provisioned: what was observed
never exceeds the demand there was.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from infermeter.model import Floats

MOST_BUSY: Final = 0.8
"""Of the time: nearer to 1 the wait hangs on assumptions that traffic doesn't keep."""

ONE_AT_A_TIME: Final = 1.05
"""Mean inferences computing at once, while any does: up to this, a server does one after the other."""

_STEPS: Final = 50


def highest_rate(service_seconds: Floats, counts: Floats, *, target_seconds: float, quantile_ratio: float) -> float | None:
    """The highest rate (inferences per second) at which the quantile of wait plus service stays within the target.

    `service_seconds` (> 0) are the service times seen, `counts` how often each; arrays of one length >= 1. At most MOST_BUSY over their
    mean. None where the service alone misses the target, so that no rate is low enough.

    Source: M/G/1. A share rho waits, on average E[S^2] / (2 E[S] (1 - rho)) (Pollaczek 1930, Khinchine 1932); the tail of the wait is
    taken as exponential (Kingman 1961).
    """
    weights = counts / counts.sum()
    mean, square = float(weights @ service_seconds), float(weights @ service_seconds**2)
    allowed = 1.0 - quantile_ratio

    def late(rate: float) -> float:
        busy = rate * mean
        wait = square / (2 * mean * (1 - busy))
        slack = target_seconds - service_seconds
        return float(weights @ np.where(slack < 0, 1.0, busy * np.exp(-np.maximum(slack, 0.0) / wait)))

    if late(0.0) > allowed:
        return None
    low, high = 0.0, MOST_BUSY / mean
    if late(high) <= allowed:
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if late(middle) <= allowed else (low, middle)
    return low

"""How much slower the hardware could be within the SLA, by histograms alone. Pure.

Whatever a histogram can't tell finer than its buckets is taken at the worse edge, so that no factor is above the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from infermeter.ledger.slowdown import most_misses
from infermeter.model import SIGNALS, Signal, SlaTarget

_CONFIDENCE: Final = 0.95
_ROUNDING: Final = 1e-9


def slowdown(sla: SlaTarget, buckets: Mapping[Signal, Sequence[tuple[float, float]]], *, inferences: int, errors: int) -> float | None:
    """By what factor every inference may take longer, and the SLA is still proven to be met; None: there are too few to prove it.

    `buckets`: of each signal the ascending edges (the last is infinite) with how many were at most that. No inference is longer than the
    edge above it, and whoever misses one target is counted as if it met the others (Boole's inequality), so that this is a lower bound.
    """
    allowed = most_misses(sla, observed=inferences, confidence=_CONFIDENCE)
    if allowed is None:
        return None
    targets: dict[Signal, float] = {
        signal: target for signal in SIGNALS if (target := getattr(sla, f"{signal}_seconds")) is not None and signal in buckets
    }
    factors: set[float] = {target / edge for signal, target in targets.items() for edge, _ in buckets[signal] if 0 < edge < math.inf}
    for factor in sorted(factors, reverse=True):
        missed = sum(_beyond(buckets[signal], target / factor) for signal, target in targets.items())
        if errors + missed <= allowed:
            return factor
    return 0.0


def _beyond(buckets: Sequence[tuple[float, float]], seconds: float) -> float:
    """How many may have taken longer."""
    within = max((count for edge, count in buckets if edge <= seconds * (1 + _ROUNDING)), default=0.0)
    return math.ceil(max((count for _, count in buckets), default=0.0) - within - 1e-6)

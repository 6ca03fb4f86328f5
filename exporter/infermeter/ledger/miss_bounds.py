"""What the inferences that were judged say of the share that misses: its bounds, and how far it is to a verdict. Own arithmetic, pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from infermeter.ledger.sla import allowed_miss_ratio
from infermeter.ledger.verdict import by_logarithms
from infermeter.model import Judged, SlaTarget

FURTHEST: Final = 10_000_000
"""More inferences than this ahead, and nothing is said of how many."""

_HALVINGS: Final = 30
"""To about 1e-9."""

_KEPT: Final = 1_024
"""Answers that are kept: what was judged changes as slots close, and a report is made each second while somebody watches."""


@lru_cache(_KEPT)
def miss_ratio_bounds(judged: Judged) -> tuple[float, float]:
    """The one-sided lower and the one-sided upper bound of the share that misses, each at the confidence.

    Source: Clopper and Pearson 1934: the ratios at which as few misses, or as many, would be seen in 1 - confidence of the cases.
    """
    n, misses, alpha = judged.observed, judged.observed - judged.within, 1 - judged.confidence
    lower = _first(lambda p: 1 - by_logarithms(misses - 1, n, p) >= alpha) if misses else 0.0
    upper = _first(lambda p: by_logarithms(misses, n, p) <= alpha) if judged.within else 1.0
    return lower, upper


@lru_cache(_KEPT)
def inferences_until_met(sla: SlaTarget, judged: Judged) -> int | None:
    """How many more inferences it takes at least, all of them within, until the SLA is `met`; None: no number, or more than FURTHEST."""
    misses, allowed, alpha = judged.observed - judged.within, float(allowed_miss_ratio(sla)), 1 - judged.confidence

    def met(more: int) -> bool:
        return misses < allowed * (judged.observed + more) and by_logarithms(misses, judged.observed + more, allowed) <= alpha

    if allowed == 0 or not met(FURTHEST):
        return None
    least, most = -1, FURTHEST
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if met(middle) else (middle, most)
    return most


def _first(holds: Callable[[float], bool]) -> float:
    """The least ratio from which on it holds, between 0, where it doesn't, and 1, where it does."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high

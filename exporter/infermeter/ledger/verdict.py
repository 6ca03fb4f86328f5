"""What the inferences that were seen say about the server: met, missed, or not enough evidence. Own arithmetic, no estimate of p."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final

from infermeter.ledger.sla import allowed_miss_ratio
from infermeter.model import SlaState, SlaTarget

_EXACT_TO: Final = 1_200
"""Up to so many inferences the tail is summed in whole numbers; beyond, in logarithms, to about 1e-9."""

_NEAR: Final = 1e-6
"""Nearer than this to a limit, logarithms don't decide: a thousand times their error."""

_KEPT: Final = 256
"""SLAs, and confidences, whose fractions are kept: making one takes longer than all else that a verdict takes."""

_NEGLIGIBLE: Final = 1e-18
_NEGLIGIBLE_OF_ONE: Final = 1e-9


def verdict(sla: SlaTarget, *, observed: int, within: int, confidence: float) -> SlaState:
    """`met` if the one-sided upper bound of the miss share is <= 1 - quantile, `missed` if the lower bound is above it.

    Source: Clopper and Pearson 1934, through the tails: the upper bound for k misses of n is <= p exactly if P(X <= k; n, p) <= alpha,
    the lower bound is > p exactly if P(X >= k; n, p) < alpha. Since alpha is
    below one half, only the tail on k's side of the mean can be that small.
    """
    misses, miss_ratio = observed - within, _allowed_miss_ratio(sla)
    if misses * miss_ratio.denominator < miss_ratio.numerator * observed:
        return "met" if is_met(misses, observed, miss_ratio, confidence=confidence) else "insufficient"
    alpha = _chance_of_error(confidence, exact=observed <= _EXACT_TO)
    return "missed" if misses and 1 - _against(1 - float(alpha), misses - 1, observed, miss_ratio) < alpha else "insufficient"


def is_met(misses: int, observed: int, miss_ratio: Fraction, *, confidence: float) -> bool:
    """Whether so many misses prove that no more than this ratio miss: the verdict's first half, for who asks it of many numbers."""
    if misses * miss_ratio.denominator >= miss_ratio.numerator * observed:
        return False
    alpha = _chance_of_error(confidence, exact=False)
    chance = _against(alpha, misses, observed, miss_ratio)
    return chance <= (alpha if isinstance(chance, float) else _chance_of_error(confidence, exact=True))


def _against(limit: Fraction | float, k: int, n: int, p: Fraction) -> Fraction | float:
    """`at_most` as exactly as it takes to hold it against a limit: whole numbers of a thousand digits only where logarithms can't tell."""
    if n > _EXACT_TO or p == 0:
        return at_most(k, n, p)
    roughly = by_logarithms(k, n, p.numerator / p.denominator)
    return roughly if abs(roughly - limit) > _NEAR else _exact(k, n, p)


_allowed_miss_ratio = lru_cache(_KEPT)(allowed_miss_ratio)


@lru_cache(_KEPT)
def _chance_of_error(confidence: float, *, exact: bool) -> Fraction | float:
    """1 - confidence, as confidence is written in decimals; as a float for what is itself one."""
    alpha = 1 - Fraction(repr(confidence))
    return alpha if exact else float(alpha)


def least_observed(sla: SlaTarget, *, confidence: float) -> int | None:
    """The least number of inferences that can be `met`, all of them within; None if no number can (a quantile of 1)."""
    if sla.quantile_ratio >= 1:
        return None
    return max(1, math.ceil(math.log(1 - confidence) / math.log(sla.quantile_ratio) - _NEGLIGIBLE_OF_ONE))


def at_most(k: int, n: int, p: Fraction) -> Fraction | float:
    """P(X <= k) for X binomial with n trials of chance p: exact for small n."""
    if p == 0:
        return 1.0
    return _exact(k, n, p) if n <= _EXACT_TO else by_logarithms(k, n, float(p))


def _exact(k: int, n: int, p: Fraction) -> Fraction:
    hit, miss = p.numerator, p.denominator - p.numerator
    term = miss**n
    total = term
    for i in range(k):
        term = term * (n - i) * hit // ((i + 1) * miss)
        total += term
    return Fraction(total, p.denominator**n)


def by_logarithms(k: int, n: int, p: float) -> float:
    """As `at_most`, for 0 < p < 1, to about 1e-9 whatever the number of trials."""
    if k >= n * p:
        return 1.0 - _tail(n - k - 1, n, 1.0 - p)
    return _tail(k, n, p)


def _tail(k: int, n: int, p: float) -> float:
    """P(X <= k) for k below about the mean, where the terms fall as k does: summed from k down until they no longer count."""
    if k < 0:
        return 0.0
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    ratio = total = 1.0
    for i in range(k, 0, -1):
        ratio *= i * (1.0 - p) / ((n - i + 1) * p)
        total += ratio
        if ratio < _NEGLIGIBLE * total:
            break
    return min(1.0, math.exp(log_term) * total)

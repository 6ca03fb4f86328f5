"""The SLA of each model, and whether an inference was within it: decided in whole nanoseconds."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import numpy as np

from infermeter.config import Sla, Slas
from infermeter.ledger.instants import nanoseconds
from infermeter.model import Bools, Ints, Signal, SlaTarget

SIGNALS: Final[tuple[Signal, ...]] = ("duration", "ttft", "tpot")
"""In the order of the columns of signal arrays, shape (n, 3), in nanoseconds, -1 where an inference has no value."""

_QUANTILE: Final = 0.99
_NO_TARGET: Final = np.iinfo(np.int64).max


def sla_of(model: str, slas: Slas | None) -> SlaTarget | None:
    """The SLA of one model: its own keys, else the default's; None without a target."""
    if slas is None:
        return None
    base = slas.default or Sla()
    keys = {
        "quantile": base.quantile,
        "duration_seconds": base.duration_seconds,
        "ttft_seconds": base.ttft_seconds,
        "tpot_seconds": base.tpot_seconds,
        **slas.models.get(model, {}),
    }
    targets = (keys["duration_seconds"], keys["ttft_seconds"], keys["tpot_seconds"])
    if targets == (None, None, None):
        return None
    quantile = keys["quantile"]
    return SlaTarget(_QUANTILE if quantile is None else quantile, *targets)


def targets_ns(sla: SlaTarget | None) -> tuple[int | None, ...]:
    """The targets in the order of SIGNALS; None where none is set."""
    if sla is None:
        return (None,) * len(SIGNALS)
    return tuple(
        None if seconds is None else nanoseconds(seconds) for seconds in (sla.duration_seconds, sla.ttft_seconds, sla.tpot_seconds)
    )


def allowed_miss_ratio(sla: SlaTarget) -> Fraction:
    """1 - quantile, exactly as the quantile is written in decimals: floor((1 - .9) x 10) is 0 in floats."""
    return 1 - Fraction(repr(sla.quantile_ratio))


def holds(sla: SlaTarget, *, observed: int, within: int) -> bool:
    """Whether at least the quantile's share of a set of seen inferences was within: counted, no estimate."""
    return observed - within <= allowed_miss_ratio(sla) * observed


class Targets:
    """The SLA of each model by code, as columns."""

    def __init__(self, slas: Slas | None) -> None:
        self._slas = slas
        self._limits_ns = np.empty((0, len(SIGNALS)), np.int64)
        self.slas: list[SlaTarget | None] = []

    def know(self, models: Iterable[str]) -> None:
        """Takes in models beyond those that are known, in the order of their codes."""
        for model in models:
            sla = sla_of(model, self._slas)
            self.slas.append(sla)
            limits = [_NO_TARGET if target is None else target for target in targets_ns(sla)]
            self._limits_ns = np.vstack((self._limits_ns, np.array([limits], np.int64)))

    def within(self, codes: Ints, signals_ns: Ints, ok: Bools) -> Bools:
        """Which inferences ended well and met every target that they have a value for; equal to the target is within."""
        return ok & (signals_ns <= self._limits_ns[codes]).all(axis=1)

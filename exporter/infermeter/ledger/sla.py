"""The SLA of each model, and whether an inference was within it: decided in whole nanoseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from infermeter.config import Sla, Slas
from infermeter.ledger.instants import nanoseconds
from infermeter.model import SIGNALS, Bools, Ints, SlaTarget

_QUANTILE: Final = 0.99
_NO_TARGET: Final = np.iinfo(np.int64).max
_NO_SLA: Final = (-1, -1, -1)
"""No duration is as short: nothing is within an SLA that isn't there."""

_EVER: Final = np.iinfo(np.int64).min


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


def is_within(signals_ns: Ints, limits_ns: Ints, ok: Bools) -> Bools:
    """Which inferences ended well and met every target that they have a value for; equal to the target is within. Rows as `SIGNALS`."""
    within: Bools = np.logical_and.reduce(signals_ns <= limits_ns, initial=True)
    within &= ok
    return within


@dataclass(slots=True, eq=False)
class _Era:
    """The SLAs of what ends after an instant, in nanoseconds, and alone from a slot on; `limits_ns` has shape (3, models)."""

    since_ns: int
    first_slot: int
    slas: Slas | None
    limits_ns: Ints

    def know(self, model: str) -> None:
        self.limits_ns = np.column_stack((self.limits_ns, np.array(_limits_ns(sla_of(model, self.slas)), np.int64)))


class Targets:
    """The SLA of each model by code, as columns. An inference is judged by the SLA of the time at which it ended, whenever it arrives."""

    def __init__(self, slas: Slas | None) -> None:
        """`slas` and `since_slots` are those in force, by code: the SLA, and the first slot in which nothing else judges (0: always)."""
        self._models: list[str] = []
        self._eras = [_Era(_EVER, 0, slas, np.empty((len(SIGNALS), 0), np.int64))]
        self.slas: list[SlaTarget | None] = []
        self.since_slots: list[int] = []

    def know(self, models: Iterable[str]) -> None:
        """Takes in models beyond those that are known, in the order of their codes."""
        for model in models:
            self._models.append(model)
            for era in self._eras:
                era.know(model)
            self.slas.append(sla_of(model, self._eras[-1].slas))
            self.since_slots.append(self.history(len(self.slas) - 1)[-1][0])

    def history(self, code: int) -> list[tuple[int, SlaTarget | None]]:
        """The SLAs of a model that inferences may still be judged by, each with its first slot, in order."""
        past: list[tuple[int, SlaTarget | None]] = []
        for era in self._eras:
            sla = sla_of(self._models[code], era.slas)
            if not past or past[-1][1] != sla:
                past.append((era.first_slot, sla))
        return [(0, past[0][1]), *past[1:]]

    def change(self, slas: Slas | None, *, since_ns: int, first_slot: int, open_ns: int) -> list[int]:
        """Other SLAs are in force for what ends after `since_ns`, and alone from `first_slot` on; the codes of the models concerned.

        What ended by `open_ns` comes too late to be placed: what was in force until then may be forgotten.
        """
        since_ns, first_slot = max(since_ns, self._eras[-1].since_ns), max(first_slot, self._eras[-1].first_slot)
        era = _Era(since_ns, first_slot, slas, np.empty((len(SIGNALS), 0), np.int64))
        for model in self._models:
            era.know(model)
        kept = [one for one, after in zip(self._eras, (*self._eras[1:], era), strict=True) if open_ns < after.since_ns]
        self._eras = [*(one for one in kept if one.since_ns < since_ns), era]
        concerned = [code for code, model in enumerate(self._models) if sla_of(model, slas) != self.slas[code]]
        for code in concerned:
            self.slas[code], self.since_slots[code] = sla_of(self._models[code], slas), first_slot
        return concerned

    def limits_ns(self, codes: Ints, ends_ns: Ints) -> Ints:
        """The targets that inferences with these ends are held against, shape (3, n).

        Where there is none it is what nothing exceeds, and -1 without an SLA: nothing is within one that isn't there.
        """
        limits_ns: Ints = self._eras[-1].limits_ns.take(codes, axis=1)
        for era, after in zip(self._eras[-2::-1], self._eras[:0:-1], strict=True):
            before = ends_ns <= after.since_ns
            limits_ns[:, before] = era.limits_ns[:, codes[before]]
        return limits_ns


def _limits_ns(sla: SlaTarget | None) -> tuple[int, ...]:
    return _NO_SLA if sla is None else tuple(_NO_TARGET if target is None else target for target in targets_ns(sla))

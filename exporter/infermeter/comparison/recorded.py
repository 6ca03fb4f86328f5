"""Counters that a Prometheus recorded, to one side of a comparison: what they rose by from step to step are its slots. Pure.

A step in which any counter fell is left out whole: a restart, whose losses nobody tells. So is one in which nothing was scraped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from infermeter.comparison.stretch import Column, Slots, Stretch
from infermeter.errors import ConfigError
from infermeter.model import SIGNALS, Bools, Floats, SlaTarget

PREFIX: Final = "infermeter_"

INFERENCES: Final = "inferences_total"
OBSERVED: Final = "inferences_observed_total"
WITHIN: Final = "inferences_observed_within_sla_total"
COST: Final = "cost_by_use_total"
ENERGY: Final = "energy_joules_total"
TOKENS: Final = "tokens_total"
BUSY: Final = "busy_seconds_total"
STAGES: Final = "stage_duration_seconds_sum"
SLA_TARGET: Final = "sla_target_seconds"
SLA_QUANTILE: Final = "sla_quantile_ratio"
BUILD: Final = "build_info"

FAMILIES: Final = (INFERENCES, OBSERVED, WITHIN, COST, ENERGY, TOKENS, BUSY, STAGES, SLA_TARGET, SLA_QUANTILE, BUILD)
"""What must be asked for, without the prefix."""

_COUNTERS: Final = (INFERENCES, OBSERVED, WITHIN, COST, ENERGY, TOKENS, BUSY, STAGES)
_SERVERS_TOLD: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One series: samples at some of the instants of the range."""

    labels: Mapping[str, str]
    unix_seconds: Floats
    values: Floats


Answers: TypeAlias = Mapping[str, Sequence[Recorded]]
"""By family of FAMILIES."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rises:
    """What a series rose by in each step; 0 where it isn't known."""

    labels: Mapping[str, str]
    steps: Floats


def recorded_stretch(answers: Answers, *, start_unix_seconds: float, step_seconds: float, steps: int, where: str) -> Stretch:
    """The side that these answers tell, of a range of so many steps. Raises: ConfigError at `where`, where they tell none."""
    server = _server(answers, where)
    usable = np.zeros(steps, np.bool_)
    fell = np.zeros(steps, np.bool_)
    rises: dict[str, list[_Rises]] = {}
    for family in _COUNTERS:
        rises[family] = []
        for series in answers[family]:
            grid = _on_grid(series, start_unix_seconds, step_seconds, steps)
            rose = np.diff(grid)
            known = np.isfinite(rose)
            fell |= known & (np.where(known, rose, 0.0) < 0)
            if family in (INFERENCES, OBSERVED):
                usable |= known
            rises[family].append(_Rises(series.labels, np.where(known, rose, 0.0)))
    kept = usable & ~fell
    if not kept.any():
        raise ConfigError(where, "holds no two samples in a row; it is too short, or Prometheus doesn't keep that time any more")
    slots = {model: _slots(rises, model, kept, step_seconds) for model in _models(rises)}
    if not slots:
        raise ConfigError(where, "tells no model")
    starts = start_unix_seconds + step_seconds * np.flatnonzero(kept).astype(np.float64)
    return Stretch(
        server=server,
        version=_version(answers),
        starts_unix_seconds=starts,
        end_unix_seconds=float(starts[-1] + step_seconds),
        currency=_currency(answers, where),
        slas=_slas(answers, where),
        slots=slots,
        queue_share_ratio=_queue_shares(rises[STAGES], kept),
        notes=_notes(kept, fell, step_seconds),
        busy_seconds=_busy(rises[BUSY], kept),
    )


def _server(answers: Answers, where: str) -> str:
    """The one server that the series speak of. Raises: ConfigError."""
    servers = sorted({series.labels.get("server", "") for family in (INFERENCES, OBSERVED) for series in answers[family]})
    if not servers:
        raise ConfigError(where, f"Prometheus has no {PREFIX}{INFERENCES} of that time that fits; see --server and --matchers")
    if len(servers) > 1:
        told = ", ".join(servers[:_SERVERS_TOLD]) + (", ..." if len(servers) > _SERVERS_TOLD else "")
        raise ConfigError(where, f"Prometheus tells of {len(servers)} servers ({told}); --server chooses one")
    return servers[0]


def _on_grid(series: Recorded, start_unix_seconds: float, step_seconds: float, steps: int) -> Floats:
    """Shape (steps + 1,); NaN where there is no sample."""
    grid = np.full(steps + 1, np.nan)
    places = np.rint((series.unix_seconds - start_unix_seconds) / step_seconds).astype(np.int64)
    inside = (places >= 0) & (places <= steps)
    grid[places[inside]] = series.values[inside]
    return grid


def _models(rises: Mapping[str, Sequence[_Rises]]) -> list[str]:
    return sorted({one.labels["model"] for family in (INFERENCES, OBSERVED) for one in rises[family] if "model" in one.labels})


def _slots(rises: Mapping[str, Sequence[_Rises]], model: str, kept: Bools, step_seconds: float) -> Slots:
    def summed(family: str, **labels: str) -> Floats | None:
        wanted = labels | {"model": model}
        own = [one.steps for one in rises[family] if wanted.items() <= one.labels.items()]
        return np.sum(own, axis=0)[kept] if own else None

    within = summed(WITHIN)
    told: dict[Column, Floats | None] = {
        "seconds": np.full(int(kept.sum()), step_seconds),
        "cost": summed(COST),
        "inferences": summed(INFERENCES, outcome="ok"),
        "seen_ok": summed(OBSERVED, outcome="ok"),
        "judged": None if within is None else summed(OBSERVED),
        "judged_ok": None if within is None else summed(OBSERVED, outcome="ok"),
        "within": within,
        "joules": summed(ENERGY),
        "tokens": summed(TOKENS),
        "tokens_input": summed(TOKENS, direction="input"),
        "tokens_output": summed(TOKENS, direction="output"),
    }
    return Slots({name: values for name, values in told.items() if values is not None})


def _busy(rises: Sequence[_Rises], kept: Bools) -> Floats | None:
    """Of the replicas, their mean."""
    busy: Floats = np.mean([one.steps for one in rises], axis=0)[kept] if rises else np.zeros(0)
    return busy if rises else None


def _queue_shares(rises: Sequence[_Rises], kept: Bools) -> dict[str, float]:
    sums: dict[str, dict[str, float]] = {}
    for one in rises:
        own = sums.setdefault(one.labels.get("model", ""), {})
        stage = one.labels.get("stage", "")
        own[stage] = own.get(stage, 0.0) + float(one.steps[kept].sum())
    return {model: own["queue"] / total for model, own in sums.items() if "queue" in own and (total := sum(own.values())) > 0}


def _currency(answers: Answers, where: str) -> str | None:
    """Raises: ConfigError."""
    currencies = {series.labels.get("currency", "") for series in answers[COST]}
    if len(currencies) > 1:
        raise ConfigError(where, "is priced in more than one currency")
    return next(iter(currencies), None)


def _slas(answers: Answers, where: str) -> dict[str, SlaTarget]:
    """The SLA of each model that has one. Raises: ConfigError, if it changed."""
    quantiles = {series.labels.get("model", ""): _constant(answers[SLA_QUANTILE], where, series) for series in answers[SLA_QUANTILE]}
    asked: dict[str, dict[str, float]] = {model: {} for model in quantiles}
    for series in answers[SLA_TARGET]:
        model, signal = series.labels.get("model", ""), series.labels.get("signal", "")
        if model in asked and signal in SIGNALS:
            asked[model][f"{signal}_seconds"] = _constant(answers[SLA_TARGET], where, series)
    return {model: SlaTarget(quantile, **asked[model]) for model, quantile in quantiles.items()}


def _constant(family: Sequence[Recorded], where: str, series: Recorded) -> float:
    """The one value of all series of the same model and signal. Raises: ConfigError."""
    alike = [other for other in family if all(other.labels.get(name) == series.labels.get(name) for name in ("model", "signal"))]
    values = {float(value) for other in alike for value in other.values}
    if len(values) > 1:
        raise ConfigError(
            where, "holds more than one SLA of a model: it changed, or replicas have different ones; choose a time or a replica"
        )
    return values.pop()


def _version(answers: Answers) -> str | None:
    versions = sorted({series.labels.get("version", "") for series in answers[BUILD]})
    return " and ".join(versions[:2]) if versions else None


def _notes(kept: Bools, fell: Bools, step_seconds: float) -> list[str]:
    notes = []
    if fell.any():
        notes.append(f"{int(fell.sum())} steps of {step_seconds:g} s in which a counter began anew (a restart) are left out")
    missing = ~kept & ~fell
    if missing.any():
        notes.append(f"for {int(missing.sum())} of {len(kept)} steps Prometheus has no samples; they are left out")
    return notes

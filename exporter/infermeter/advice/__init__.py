"""Advice: what to act on, what binds, which hardware would do; each with its evidence and what would prove it wrong. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from infermeter.advice.batching import batch_too_large, queue_bound
from infermeter.advice.bound import resource_bound
from infermeter.advice.capacity import over_provisioned, scale_out, scale_out_useless, sla_missed
from infermeter.advice.evidence import sizing_evidence
from infermeter.advice.idle import held_idle_gpu, idle_gpu
from infermeter.advice.moves import moves
from infermeter.advice.precision import compute_bound_no_latency_gain_from_quantisation, memory_bound_try_lower_precision
from infermeter.advice.premises import Premises, premises_of
from infermeter.advice.prices import price_missing, price_stale
from infermeter.advice.sizing import SizingSettings, candidates
from infermeter.advice.stages import serialisation_bound, transfer_bound
from infermeter.advice.telemetry import coverage_biased, gpu_mapping_unknown, low_coverage, telemetry_inconsistent
from infermeter.advice.workload import workload
from infermeter.catalogue import Catalogue
from infermeter.config import Config, Cost, DevicePrice
from infermeter.model import Advice, Finding, RightSizing, SizingEvidence

__all__ = [
    "Premises",
    "SizingSettings",
    "advice_with",
    "advise",
    "measured",
    "premises_of",
    "pressing",
    "right_size",
    "sizing_settings",
]


def advise(premises: Premises, *, prices: Sequence[DevicePrice] = ()) -> Advice:
    """Everything that the advice says of one snapshot; nothing where `advice.enabled` is false. `prices` are those of candidates."""
    return advice_with(premises, measured(premises), prices=prices)


def advice_with(premises: Premises, told: Iterable[Finding], *, prices: Sequence[DevicePrice] = ()) -> Advice:
    """The same, with these of the measured findings; the most pressing first."""
    config = premises.config
    if not config.advice.enabled:
        return Advice()
    evidence = sizing_evidence(premises)
    sizing = None
    if evidence is not None:
        sizing = right_size(evidence, premises.catalogue, prices, sizing_settings(config), now_ns=premises.ledger.time_ns)
    return Advice(
        findings=pressing((*_at_once(premises), *told)),
        workloads={
            model.model: workload(config, model.sla, premises.device, batch_mean=premises.batch_mean) for model in premises.ledger.models
        },
        bound=resource_bound(premises),
        sizing=sizing,
    )


def pressing(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Warnings before what is only worth knowing; otherwise in their order."""
    return tuple(sorted(findings, key=lambda finding: finding.level == "info"))


def measured(premises: Premises) -> Iterator[Finding]:
    """What holds in this snapshot of what comes and goes with the traffic: to be told once it has held for a while."""
    yield from telemetry_inconsistent(premises.ledger)
    for rule in _RULES:
        yield from rule(premises)
    bound = resource_bound(premises)
    yield from memory_bound_try_lower_precision(premises, bound)
    yield from compute_bound_no_latency_gain_from_quantisation(premises, bound)


def _at_once(premises: Premises) -> Iterator[Finding]:
    """Findings on the configuration, and those that wait for their evidence, and for its end, themselves."""
    config, ledger = premises.config, premises.ledger
    yield from price_missing(config, ledger)
    yield from price_stale(config, ledger, as_of_ns=premises.price_as_of_ns)
    yield from gpu_mapping_unknown(ledger)
    yield from low_coverage(config, ledger)
    yield from coverage_biased(ledger)


_RULES: Final[tuple[Callable[[Premises], tuple[Finding, ...]], ...]] = (
    idle_gpu,
    held_idle_gpu,
    sla_missed,
    queue_bound,
    batch_too_large,
    scale_out,
    scale_out_useless,
    transfer_bound,
    serialisation_bound,
    over_provisioned,
)


def right_size(
    evidence: SizingEvidence, catalogue: Catalogue, prices: Sequence[DevicePrice], settings: SizingSettings, *, now_ns: int
) -> RightSizing:
    """What else would do, by this evidence: at `now_ns` (unix), by which the prices' age is told."""
    return RightSizing(
        evidence=evidence,
        candidates=candidates(evidence, catalogue, prices, settings, now_ns=now_ns),
        moves=moves(evidence, catalogue, settings),
    )


def sizing_settings(config: Config) -> SizingSettings:
    """What the configuration says of right-sizing."""
    advice, cost = config.advice, config.cost or Cost()
    return SizingSettings(
        headroom=advice.headroom,
        stale_after_seconds=cost.stale_after,
        minimum_saving_ratio=advice.minimum_saving_ratio,
        devices=None if advice.candidates == "all" else tuple(advice.candidates),
    )

"""The findings on capacity against demand: too much of it, too little, and what more of it would not change. Pure."""

from __future__ import annotations

import math

from infermeter.advice.premises import Premises, Seen
from infermeter.model import Finding

OVER_PROVISIONED = "over_provisioned"
SLA_MISSED = "sla_missed"
SCALE_OUT = "scale_out"
SCALE_OUT_USELESS = "scale_out_useless"


def over_provisioned(premises: Premises) -> tuple[Finding, ...]:
    """One finding where the peak load is so low that part of the server is never needed; a capacity must be reached or modelled."""
    peak = premises.ledger.peak_load_ratio
    if peak is None or peak > premises.thresholds.peak_load_low_ratio:
        return ()
    advice, cost = premises.config.advice, premises.cost_per_hour
    needed = min(1.0, peak * advice.headroom)
    if 1 - needed < advice.minimum_saving_ratio:
        return ()
    evidence: dict[str, float | str] = {"peak_load_ratio": peak, "needed_ratio": needed, "headroom": advice.headroom}
    if peak > 0:
        evidence["over_provisioning_ratio"] = 1 / peak
    return (
        Finding(
            code=OVER_PROVISIONED,
            level="warning",
            model=None,
            evidence=evidence,
            what_to_do="Serve the demand by fewer replicas, or on smaller or shared hardware: `infermeter advise` says which fits.",
            falsified_by="The SLA is missed at less than the capacity that is told, or a higher peak is still to come.",
            saving_per_hour=None if cost is None else cost * (1 - needed),
        ),
    )


def sla_missed(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that is proven to miss its SLA in the longest window."""
    return tuple(_missed(seen) for seen in _missing(premises))


def scale_out(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that misses its SLA because inferences wait, on GPUs that have no room left."""
    utilisation = premises.utilisation_ratio
    if utilisation is None or utilisation < premises.thresholds.utilisation_high_ratio:
        return ()
    return tuple(
        Finding(
            code=SCALE_OUT,
            level="warning",
            model=seen.model.model,
            evidence={"queue_ratio": queue, "utilisation_ratio": utilisation, "window": seen.window.window.label, **_replicas(premises)},
            what_to_do="Add replicas, or send this one less: it is full, and what waits is late.",
            falsified_by="The queue stays as long with less traffic on each replica.",
        )
        for seen in _missing(premises)
        if (queue := seen.queue_ratio or 0.0) > premises.thresholds.stage_dominant_ratio
    )


def scale_out_useless(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that misses its SLA though nothing waits and the GPUs have little to do."""
    utilisation = premises.utilisation_ratio
    if utilisation is None or utilisation >= premises.thresholds.utilisation_low_ratio:
        return ()
    return tuple(
        Finding(
            code=SCALE_OUT_USELESS,
            level="warning",
            model=seen.model.model,
            evidence={
                "utilisation_ratio": utilisation,
                "queue_ratio": queue,
                "dominant_stage": seen.dominant_stage,
                "dominant_ratio": seen.ratios[seen.dominant_stage],
                "window": seen.window.window.label,
            },
            what_to_do=f"Don't add replicas: each inference is as slow alone. Shorten {seen.dominant_stage}, or move to a faster device.",
            falsified_by="With less traffic on each replica the quantile falls below the target.",
        )
        for seen in _missing(premises)
        if (queue := seen.queue_ratio) is not None and queue <= premises.thresholds.queue_small_ratio
    )


def _missing(premises: Premises) -> list[Seen]:
    """The models that are proven to miss their SLA in the longest window."""
    return [seen for seen in premises.models if seen.window.sla_state == "missed"]


def _missed(seen: Seen) -> Finding:
    model, window, largest = seen.model, seen.window, seen.dominant_stage
    evidence: dict[str, float | str] = {"window": window.window.label, "inferences_observed": window.inferences_observed}
    evidence |= {f"{signal}_at_quantile_seconds": seconds for signal, seconds in window.latency_at_sla_quantile_seconds.items()}
    if model.sla is not None:
        evidence["quantile_ratio"] = model.sla.quantile_ratio
    if window.inferences_within_sla is not None:
        evidence["within_ratio"] = window.inferences_within_sla / window.inferences_ok
    evidence |= {"dominant_stage": largest, "dominant_ratio": seen.ratios[largest]}
    return Finding(
        code=SLA_MISSED,
        level="warning",
        model=model.model,
        evidence=evidence,
        what_to_do=f"Shorten {largest}, where most of the time goes; until then everything else changes little.",
        falsified_by="window_sla_state is met, or the target isn't what users need.",
    )


def _replicas(premises: Premises) -> dict[str, float | str]:
    """How many of these servers the demand needs, where demand and capacity are known."""
    window, peak = premises.window, premises.ledger.peak_load_ratio
    load = peak if peak is not None else None if window is None else window.load_ratio
    return {} if load is None else {"load_ratio": load, "replicas_needed": math.ceil(max(load, 1.0) * premises.config.advice.headroom)}

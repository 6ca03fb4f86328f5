"""The findings on capacity against demand: too much of it, too little, and what more of it would not change. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from infermeter.advice.batching import could_batch
from infermeter.advice.premises import Premises, Seen, dominant, fails, is_early_sample
from infermeter.model import Finding, ModelFacts, ModelWindow, Signal, SlaTarget, Stage

OVER_PROVISIONED = "over_provisioned"
SLA_MISSED = "sla_missed"
SCALE_OUT = "scale_out"
SCALE_OUT_USELESS = "scale_out_useless"

MOST_UNEXPLAINED_RATIO: Final = 0.2
"""Of the time; with more of it that is neither idle nor any inference's, the demand that is seen isn't all there is."""

_SIGNALS: Final[Mapping[Signal, str]] = {"duration": "duration", "ttft": "time to first token", "tpot": "time per output token"}


def over_provisioned(premises: Premises) -> tuple[Finding, ...]:
    """One finding where the peak load is so low that part of the server is never needed; a capacity must be reached or modelled.

    Not without any demand (then the GPUs idle, which is told as such, or what asks leaves no span), not while the GPUs work for nobody
    that is seen, nor while any model misses its SLA.
    """
    peak, unexplained = premises.ledger.peak_load_ratio, premises.unexplained_ratio
    if not peak or peak > premises.thresholds.peak_load_low_ratio:
        return ()
    if unexplained is None or unexplained > MOST_UNEXPLAINED_RATIO or _missing(premises):
        return ()
    advice, cost = premises.config.advice, premises.cost_per_hour
    needed = min(1.0, peak * advice.headroom)
    if 1 - needed < advice.minimum_saving_ratio:
        return ()
    return (
        Finding(
            code=OVER_PROVISIONED,
            level="warning",
            model=None,
            evidence={
                "peak_load_ratio": peak,
                "over_provisioning_ratio": 1 / peak,
                "needed_ratio": needed,
                "headroom": advice.headroom,
            },
            what_to_do="Serve the demand by fewer replicas, or on smaller or shared hardware: `infermeter advise` says which fits.",
            falsified_by="The SLA is missed at less than the capacity that is told, or a higher peak is still to come.",
            saving_per_hour=None if cost is None else cost * (1 - needed),
        ),
    )


def sla_missed(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that is proven to miss its SLA in the longest window."""
    seen = {seen.model.model: seen for seen in premises.models}
    return tuple(_missed(model, model.windows[-1], seen.get(model.model)) for model in _missing(premises))


def scale_out(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that misses its SLA because inferences wait, on GPUs and in batches that have no room left."""
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
        for seen in _late(premises)
        if (queue := seen.late_queue_ratio or 0.0) > premises.thresholds.stage_dominant_ratio and not could_batch(premises, seen)
    )


def scale_out_useless(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model of which inferences are late that don't wait, on GPUs that have little to do."""
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
                "window": seen.window.window.label,
                **_stage(seen.late_ratios),
            },
            what_to_do=f"Don't add replicas: what is late is as late alone. {_lever(seen.late_ratios)}{_faster(seen.late_ratios)}.",
            falsified_by="With less traffic on each replica the quantile falls below the target.",
        )
        for seen in _late(premises)
        if (queue := seen.late_queue_ratio) is not None and queue <= premises.thresholds.queue_small_ratio
    )


def _missing(premises: Premises) -> list[ModelFacts]:
    """The models that are proven to miss their SLA in the longest window."""
    ledger = premises.ledger
    return [] if is_early_sample(ledger) else [one for one in ledger.models if one.windows and one.windows[-1].sla_state == "missed"]


def _late(premises: Premises) -> list[Seen]:
    """Those of them that miss it by time: most of what misses it ended without an error."""
    return [seen for seen in premises.models if seen.window.sla_state == "missed" and not fails(seen.window)]


def _missed(model: ModelFacts, window: ModelWindow, seen: Seen | None) -> Finding:
    evidence: dict[str, float | str] = {"window": window.window.label, "inferences_observed": window.inferences_observed}
    evidence |= {f"{signal}_at_quantile_seconds": seconds for signal, seconds in window.latency_at_sla_quantile_seconds.items()}
    if model.sla is not None:
        evidence |= {f"{signal}_target_seconds": seconds for signal, seconds in _targets(model.sla).items()}
        evidence["quantile_ratio"] = model.sla.quantile_ratio
    if window.misses is not None:
        evidence["within_ratio"] = 1 - window.misses.inferences / window.misses.observed
        evidence["error_ratio"] = window.misses.errors / window.misses.observed
    what_to_do = "Look at what fails first: errors are most of what misses it, and no hardware makes them less."
    if not fails(window):
        late = {} if seen is None else seen.late_ratios
        evidence |= _stage(late)
        what_to_do = f"{_lever(late)}{_signals(model, window)}; until then everything else changes little."
    return Finding(
        code=SLA_MISSED,
        level="warning",
        model=model.model,
        evidence=evidence,
        what_to_do=what_to_do,
        falsified_by="window_sla_state is met, or the target isn't what users need.",
    )


def _targets(sla: SlaTarget) -> dict[Signal, float]:
    told: dict[Signal, float | None] = {"duration": sla.duration_seconds, "ttft": sla.ttft_seconds, "tpot": sla.tpot_seconds}
    return {signal: seconds for signal, seconds in told.items() if seconds is not None}


def _lever(late: Mapping[Stage, float]) -> str:
    """What to shorten of those that are late."""
    if not late:
        return "Look at what is late"
    stage = dominant(late)
    if stage == "other":
        return "Look at traces of the late ones: most of what makes them late is in no stage that the server's spans tell"
    return f"Shorten {stage}, the largest part of what makes the late ones late"


def _faster(late: Mapping[Stage, float]) -> str:
    """No faster device copies or parses faster."""
    return ", or move to a faster device" if dominant(late) in ("compute", "other") else ""


def _signals(model: ModelFacts, window: ModelWindow) -> str:
    """Which of the targets are missed at the quantile, in words; nothing where they are only together."""
    targets = {} if model.sla is None else _targets(model.sla)
    told = window.latency_at_sla_quantile_seconds.items()
    over = [_SIGNALS[signal] for signal, seconds in told if seconds > targets.get(signal, math.inf)]
    return f" ({', '.join(over)})" if over else ""


def _stage(ratios: Mapping[Stage, float]) -> dict[str, float | str]:
    return {"dominant_stage": dominant(ratios), "dominant_ratio": max(ratios.values())} if ratios else {}


def _replicas(premises: Premises) -> dict[str, float | str]:
    """How many of these servers the demand needs, where demand and capacity are known."""
    window, peak = premises.window, premises.ledger.peak_load_ratio
    load = peak if peak is not None else None if window is None else window.load_ratio
    return {} if load is None else {"load_ratio": load, "replicas_needed": math.ceil(max(load, 1.0) * premises.config.advice.headroom)}

"""The findings on stages that no faster GPU shortens: copying, and parsing or encoding. Pure."""

from __future__ import annotations

from infermeter.advice.premises import Premises
from infermeter.model import Finding, Stage

TRANSFER_BOUND = "transfer_bound"
SERIALISATION_BOUND = "serialisation_bound"


def transfer_bound(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that spends a large part of its time copying tensors or KV blocks."""
    return _large(
        premises,
        "transfer",
        code=TRANSFER_BOUND,
        what_to_do="Pin the host's memory, keep tensors on the device between models, put workers that exchange KV blocks together.",
    )


def serialisation_bound(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that spends a large part of its time parsing, tokenising or encoding."""
    return _large(
        premises,
        "serialisation",
        code=SERIALISATION_BOUND,
        what_to_do="Use a binary protocol or shared memory, more tokeniser or front-end processes, or send less.",
    )


def _large(premises: Premises, stage: Stage, *, code: str, what_to_do: str) -> tuple[Finding, ...]:
    found = []
    for seen in premises.models:
        ratio, window = seen.ratios.get(stage, 0.0), seen.window
        if ratio <= premises.thresholds.stage_large_ratio:
            continue
        evidence: dict[str, float | str] = {f"{stage}_ratio": ratio, "window": window.window.label}
        evidence["quality"] = premises.ledger.stage_quality.get(stage, "measured")
        parts = {part: seconds for (of, part), seconds in seen.model.part_seconds.items() if of == stage}
        if parts:
            evidence["largest_part"] = max(parts, key=parts.__getitem__)
        found.append(
            Finding(
                code=code,
                level="warning",
                model=seen.model.model,
                evidence=evidence,
                what_to_do=f"{what_to_do} A faster GPU doesn't shorten this.",
                falsified_by=f"The part of {stage} falls to {premises.thresholds.stage_large_ratio:g} or below at the same traffic.",
            )
        )
    return tuple(found)

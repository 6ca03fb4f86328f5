"""Cheaper first moves, before other hardware: fewer replicas, a slice of the device, sharing it, or none while nobody asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infermeter.advice.sizing import BOUND, MEMORY_MARGIN, SizingSettings, present_device
from infermeter.advice.waiting import Slowing
from infermeter.catalogue import Catalogue, MigProfile
from infermeter.model import Move, SizingEvidence

_HALF: Final = 0.5
_SELDOM_BUSY: Final = 0.1
_ONE: Final = 1.0 + 1e-9
_STAY_SECONDS: Final = 300.0
"""So long it would stay after each inference before it stops. Source: starts break even with 1 to 5 minutes of idling, arXiv 2605.23918."""


def moves(evidence: SizingEvidence, catalogue: Catalogue, settings: SizingSettings) -> tuple[Move, ...]:
    """Those that the evidence speaks for. Their savings overlap, and none is sure before what it says of others is known."""
    return (
        *_fewer_replicas(evidence, settings),
        *_mig_slice(evidence, catalogue, settings),
        *_share(evidence, catalogue, settings),
        *_scale_to_zero(evidence, settings),
    )


def _fewer_replicas(evidence: SizingEvidence, settings: SizingSettings) -> Iterator[Move]:
    needed = _needed(evidence, settings)
    if needed is None or needed > _HALF:
        return
    yield Move(
        kind="fewer_replicas",
        verdict="unsure",
        evidence={"needed_ratio": needed, "headroom": settings.headroom},
        what_to_do=f"{1 / needed:.1f} servers like this one fit into one, at their peaks: if it has replicas, run fewer."
        if needed > 0
        else "Nobody asks: if it has replicas, run fewer.",
        falsified_by="The sum of the replicas' peak loads, with headroom, is more than the number that is left.",
        saving_per_hour=_part(evidence, 1 - needed),
    )


def _mig_slice(evidence: SizingEvidence, catalogue: Catalogue, settings: SizingSettings) -> Iterator[Move]:
    present = present_device(evidence, catalogue)
    if present is None or present.memory_bytes is None or present.mig_profiles is None or not _is_one_whole(evidence):
        return
    whole_bytes, slowing = present.memory_bytes.value, Slowing(evidence)
    fitting = [
        (_part_taken(profile, whole_bytes), profile)
        for profile in present.mig_profiles.value
        if _carries(evidence, slowing, profile, settings)
    ]
    part, smallest = min(fitting, key=lambda one: (one[0], one[1].compute_ratio), default=(1.0, None))
    if smallest is None or 1 - part < settings.minimum_saving_ratio or part >= 1:
        return
    yield Move(
        kind="mig_slice",
        verdict="unsure",
        evidence={
            "profile": smallest.name,
            "compute_ratio": smallest.compute_ratio,
            "bandwidth_ratio": smallest.bandwidth_ratio,
            "part_ratio": part,
            "peak_load_ratio": evidence.peak_load_ratio or 0.0,
        },
        what_to_do=f"Try it on a MIG slice {smallest.name}; it saves what others then pay for the rest of the device.",
        falsified_by="The SLA is missed on the slice: the bound it goes by was measured between whole devices.",
        saving_per_hour=_part(evidence, 1 - part),
    )


def _carries(evidence: SizingEvidence, slowing: Slowing, profile: MigProfile, settings: SizingSettings) -> bool:
    """Whether a slice holds the model, the load and the SLA, by the same bound as whole devices."""
    peak, memory = evidence.peak_load_ratio, evidence.memory_peak_bytes
    if peak is None or memory is None or evidence.memory_is_reserved or MEMORY_MARGIN * memory > profile.memory_bytes:
        return False
    low = BOUND * min(profile.compute_ratio, profile.bandwidth_ratio)
    slowdown = slowing.by(low)
    if slowdown is None or peak / low * settings.headroom > _ONE:
        return False
    if any(model.has_sla and model.slowdown_at_sla_ratio is None for model in evidence.models):
        return False
    return slowdown.allowed_ratio is None or slowdown.needed_ratio <= slowdown.allowed_ratio


def _part_taken(profile: MigProfile, whole_bytes: float) -> float:
    """Of the device: whatever a slice takes most of, nobody else can have."""
    return max(profile.compute_ratio, profile.bandwidth_ratio, profile.memory_bytes / whole_bytes)


def _share(evidence: SizingEvidence, catalogue: Catalogue, settings: SizingSettings) -> Iterator[Move]:
    needed, present, memory = _needed(evidence, settings), present_device(evidence, catalogue), evidence.memory_peak_bytes
    if needed is None or needed > _HALF or not _is_one_whole(evidence) or evidence.memory_is_reserved or memory is None:
        return
    if present is None or present.memory_bytes is None or MEMORY_MARGIN * memory > _HALF * present.memory_bytes.value:
        return
    yield Move(
        kind="share",
        verdict="unsure",
        evidence={"needed_ratio": needed, "memory_peak_bytes": memory},
        what_to_do="Put another server beside it on the same GPU (time slicing, MPS), if the memory of both fits.",
        falsified_by="Either server misses its SLA beside the other: what they cost each other isn't known before.",
        saving_per_hour=_part(evidence, _HALF),
    )


def _scale_to_zero(evidence: SizingEvidence, settings: SizingSettings) -> Iterator[Move]:
    """As if inferences came one by one: where they come in bursts, fewer starts are needed."""
    busy, seconds = evidence.busy_ratio, evidence.window_seconds
    if busy is None or not seconds:
        return
    inferences = sum(model.inferences for model in evidence.models)
    up = busy + inferences * _STAY_SECONDS / seconds
    if busy > _SELDOM_BUSY or 1 - up < settings.minimum_saving_ratio or up >= 1:
        return
    yield Move(
        kind="scale_to_zero",
        verdict="unsure",
        evidence={"busy_ratio": busy, "inferences": inferences, "window_seconds": seconds, "up_ratio": up},
        what_to_do="Stop it while nobody asks, if it is idle for longer at a time than a start takes, and the first to ask may wait.",
        falsified_by="Idle times are shorter than five minutes, or the wait for a start misses the SLA.",
        saving_per_hour=_part(evidence, 1 - up),
    )


def _is_one_whole(evidence: SizingEvidence) -> bool:
    return len(evidence.products) == 1 and evidence.gpus >= 1 / _ONE and not evidence.is_partitioned


def _needed(evidence: SizingEvidence, settings: SizingSettings) -> float | None:
    return None if evidence.peak_load_ratio is None else evidence.peak_load_ratio * settings.headroom


def _part(evidence: SizingEvidence, ratio: float) -> float | None:
    return sum(evidence.cost_per_hour.values()) * ratio if evidence.cost_per_hour else None

"""Cheaper first moves, before other hardware: fewer replicas, a slice of the device, sharing it, or none while nobody asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infermeter.advice.sizing import BOUND, MEMORY_MARGIN, SizingSettings, present_device
from infermeter.catalogue import Catalogue, MigProfile
from infermeter.model import Move, SizingEvidence

_HALF: Final = 0.5
_SELDOM_BUSY: Final = 0.1
_ONE: Final = 1.0 + 1e-9


def moves(evidence: SizingEvidence, catalogue: Catalogue, settings: SizingSettings) -> tuple[Move, ...]:
    """Those that the evidence speaks for, the surest first."""
    found = (
        *_fewer_replicas(evidence, settings),
        *_mig_slice(evidence, catalogue, settings),
        *_share(evidence, settings),
        *_scale_to_zero(evidence),
    )
    return tuple(sorted(found, key=lambda move: move.verdict != "fits"))


def _fewer_replicas(evidence: SizingEvidence, settings: SizingSettings) -> Iterator[Move]:
    needed = _needed(evidence, settings)
    if needed is None or needed > _HALF:
        return
    yield Move(
        kind="fewer_replicas",
        verdict="fits",
        evidence={"needed_ratio": needed, "headroom": settings.headroom},
        what_to_do=f"{1 / needed:.1f} servers like this one fit into one, at their peaks: if it has replicas, run fewer."
        if needed > 0
        else "Nobody asks: if it has replicas, run fewer.",
        falsified_by="The sum of the replicas' peak loads, with headroom, is more than the number that is left.",
        saving_per_hour=_part(evidence, 1 - needed),
    )


def _mig_slice(evidence: SizingEvidence, catalogue: Catalogue, settings: SizingSettings) -> Iterator[Move]:
    present = present_device(evidence, catalogue)
    if present is None or present.mig_profiles is None or evidence.is_partitioned or len(evidence.products) != 1:
        return
    fitting = [profile for profile in present.mig_profiles.value if _carries(evidence, profile, settings)]
    smallest = min(fitting, key=lambda profile: (profile.compute_ratio, profile.memory_bytes), default=None)
    if smallest is None or smallest.compute_ratio >= 1:
        return
    yield Move(
        kind="mig_slice",
        verdict="unsure",
        evidence={
            "profile": smallest.name,
            "compute_ratio": smallest.compute_ratio,
            "bandwidth_ratio": smallest.bandwidth_ratio,
            "peak_load_ratio": evidence.peak_load_ratio or 0.0,
        },
        what_to_do=f"Try it on a MIG slice {smallest.name}, and give the rest of the device to others.",
        falsified_by="The SLA is missed on the slice: the bound it goes by was measured between whole devices.",
        saving_per_hour=_part(evidence, 1 - smallest.compute_ratio),
    )


def _carries(evidence: SizingEvidence, profile: MigProfile, settings: SizingSettings) -> bool:
    """Whether a slice holds the model, the load and the SLA, by the same bound as whole devices."""
    peak, memory = evidence.peak_load_ratio, evidence.memory_peak_bytes
    if peak is None or memory is None or evidence.memory_is_reserved or MEMORY_MARGIN * memory > profile.memory_bytes:
        return False
    low = BOUND * min(profile.compute_ratio, profile.bandwidth_ratio)
    load = peak / low
    if load * settings.headroom > _ONE:
        return False
    allowed = [model.slowdown_at_sla_ratio for model in evidence.models if model.has_sla]
    return all(ratio is not None and 1 / low / (1 - load) <= ratio for ratio in allowed)


def _share(evidence: SizingEvidence, settings: SizingSettings) -> Iterator[Move]:
    needed = _needed(evidence, settings)
    if needed is None or needed > _HALF or evidence.is_partitioned or evidence.memory_is_reserved or evidence.memory_peak_bytes is None:
        return
    yield Move(
        kind="share",
        verdict="unsure",
        evidence={"needed_ratio": needed, "memory_peak_bytes": evidence.memory_peak_bytes},
        what_to_do="Put another server beside it on the same GPU (time slicing, MPS), if the memory of both fits.",
        falsified_by="Either server misses its SLA beside the other: what they cost each other isn't known before.",
        saving_per_hour=_part(evidence, _HALF),
    )


def _scale_to_zero(evidence: SizingEvidence) -> Iterator[Move]:
    if evidence.busy_ratio is None or evidence.busy_ratio > _SELDOM_BUSY:
        return
    yield Move(
        kind="scale_to_zero",
        verdict="unsure",
        evidence={"busy_ratio": evidence.busy_ratio, "window_seconds": evidence.window_seconds or 0.0},
        what_to_do="Stop it while nobody asks, if it is idle for longer at a time than a start takes, and the first to ask may wait.",
        falsified_by="Idle times are shorter than five minutes, or the wait for a start misses the SLA.",
        saving_per_hour=_part(evidence, 1 - evidence.busy_ratio),
    )


def _needed(evidence: SizingEvidence, settings: SizingSettings) -> float | None:
    return None if evidence.peak_load_ratio is None else evidence.peak_load_ratio * settings.headroom


def _part(evidence: SizingEvidence, ratio: float) -> float | None:
    return sum(evidence.cost_per_hour.values()) * ratio if evidence.cost_per_hour else None

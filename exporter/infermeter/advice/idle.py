"""The findings on GPUs that nobody uses: with a model on them, and without. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from infermeter.advice.premises import Premises
from infermeter.model import Component, Finding, GpuFacts

IDLE_GPU = "idle_gpu"
HELD_IDLE_GPU = "held_idle_gpu"

_NS = 1_000_000_000
_OF_GPUS: Final[frozenset[Component]] = frozenset({"instance", "amortisation"})


def idle_gpu(premises: Premises) -> tuple[Finding, ...]:
    """One finding where GPUs without a model on them have done nothing for `advice.idle_after`."""
    return _finding(
        premises,
        [gpu for gpu in _quiet(premises) if not gpu.held],
        code=IDLE_GPU,
        what_to_do="Release the GPU, or start on it what it is paid for; a spare that is wanted is worth a silence for this finding.",
    )


def held_idle_gpu(premises: Premises) -> tuple[Finding, ...]:
    """One finding where GPUs with a model on them have done nothing for `advice.idle_after`."""
    return _finding(
        premises,
        [gpu for gpu in _quiet(premises) if gpu.held],
        code=HELD_IDLE_GPU,
        what_to_do="Scale to zero while nobody asks, put the model beside another one, or unload it; a new start costs its loading time.",
    )


def _quiet(premises: Premises) -> list[GpuFacts]:
    """Those that are known to have done nothing for long enough, up to the last instant that is settled."""
    ledger = premises.ledger
    if ledger.settled_ns is None:
        return []
    since_ns = ledger.settled_ns - premises.config.advice.idle_after * _NS
    return [gpu for gpu in ledger.gpus if gpu.up and gpu.quiet_since_ns is not None and gpu.quiet_since_ns <= since_ns]


def _finding(premises: Premises, quiet: Sequence[GpuFacts], *, code: str, what_to_do: str) -> tuple[Finding, ...]:
    settled_ns = premises.ledger.settled_ns
    if not quiet or settled_ns is None:
        return ()
    seconds = min((settled_ns - gpu.quiet_since_ns) / _NS for gpu in quiet if gpu.quiet_since_ns is not None)
    watts = [gpu.identity.share_ratio * gpu.last.power_watts for gpu in quiet if gpu.last is not None and gpu.last.power_watts is not None]
    evidence: dict[str, float | str] = {"gpus": len(quiet), "gpus_up": sum(gpu.up for gpu in premises.ledger.gpus), "idle_seconds": seconds}
    if watts:
        evidence["power_watts"] = sum(watts)
    return (
        Finding(
            code=code,
            level="warning",
            model=None,
            evidence=evidence,
            what_to_do=what_to_do,
            falsified_by="An inference that computes on it, or a utilisation above 0.",
            saving_per_hour=_saving_per_hour(premises, quiet),
        ),
    )


def _saving_per_hour(premises: Premises, quiet: Sequence[GpuFacts]) -> float | None:
    """All that the server costs if none of its GPUs works; else their part of what GPUs cost: the host goes on, and so does power."""
    cost = premises.cost_per_hour
    paid = sum(gpu.identity.share_ratio for gpu in premises.ledger.gpus if gpu.up)
    part = sum(gpu.identity.share_ratio for gpu in quiet) / paid
    if cost is None or part >= 1:
        return cost
    return part * sum(cost for component, cost in premises.ledger.cost_per_hour.items() if component in _OF_GPUS)

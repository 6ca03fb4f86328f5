"""What is missing before anything can be said of other hardware, and what to set or wait for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from infermeter.advice.sizing import present_device
from infermeter.catalogue import Catalogue
from infermeter.model import Candidate, SizingEvidence


class Gap(NamedTuple):
    """A piece of evidence that nobody tells, and what would bring it."""

    missing: str
    what_to_do: str


def gaps(evidence: SizingEvidence | None, candidates: Sequence[Candidate], catalogue: Catalogue, *, gpus_seen: bool) -> tuple[Gap, ...]:
    """While there is one, no device is said to fit; `candidates` are those of the evidence."""
    if evidence is None and gpus_seen:
        return (Gap("nothing was judged", "set advice.enabled, and see whether the GPUs answer: gpu_up"),)
    if evidence is None:
        return (Gap("no GPU was seen", "let the GPUs be read: gpu.source, server.gpus"),)
    return (*_present(evidence, candidates, catalogue), *_measured(evidence), *_priced(evidence, candidates))


def _present(evidence: SizingEvidence, candidates: Sequence[Candidate], catalogue: Catalogue) -> Iterator[Gap]:
    """Of what it runs on. Candidates that have a throughput know the present device from a list that isn't here."""
    known = present_device(evidence, catalogue) is not None or any(one.throughput_ratio_low is not None for one in candidates)
    if evidence.is_partitioned:
        yield Gap("the server has a part of a device", "nothing: what was measured of a part says nothing of whole devices")
    elif len(set(evidence.products)) > 1:
        yield Gap("its GPUs are of several kinds", "nothing: the bound compares one kind with another")
    elif len(evidence.products) > 1:
        yield Gap("several GPUs work together", "nothing: what they exchange isn't told, and the bound is of single devices")
    elif not known:
        yield Gap("its GPU isn't in the catalogue", "add it to advice.devices_file, or here by --devices F")
    if evidence.precision is None:
        yield Gap("the precision isn't known", "set server.precision, or here --precision")


def _measured(evidence: SizingEvidence) -> Iterator[Gap]:
    if evidence.peak_load_ratio is None:
        yield Gap("no peak load", "set sla, and let advice.minimum_history of traffic pass: its capacity must be reached or modelled too")
    if evidence.memory_is_reserved:
        yield Gap("the server reserves all memory", "say what it needs: --what-if gpu=...,memory=20GB")
    elif evidence.memory_peak_bytes is None:
        yield Gap("no reading of GPU memory", "let the GPUs be read, or say what it needs: --what-if gpu=...,memory=20GB")
    if any(model.has_sla and model.slowdown_at_sla_ratio is None for model in evidence.models):
        yield Gap(
            "too few inferences to prove the SLA", "wait: at a quantile of 0.99 it takes 299 without a miss in the longest of windows"
        )


def _priced(evidence: SizingEvidence, candidates: Sequence[Candidate]) -> Iterator[Gap]:
    if not evidence.cost_per_hour or evidence.currency is None:
        yield Gap("what it costs isn't known", "set cost.rent or cost.purchase, with currency, as_of and source")
    elif evidence.price_age_seconds is None:
        yield Gap("the age of its price isn't known", "set cost.as_of")
    elif not any(one.cost_per_hour is not None for one in candidates):
        yield Gap(
            f"no price of another device in {evidence.currency} that is young enough",
            "set advice.prices_file, or here --prices FILE, --prices examples, or --what-if gpu=l4,price=0.76",
        )

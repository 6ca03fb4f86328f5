from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infermeter.advice.gaps import gaps
from infermeter.catalogue import shipped_catalogue
from infermeter.model import Candidate, SizingEvidence
from support.snapshots import sizing

FULL = sizing()
UNKNOWN = replace(FULL.candidates[0], throughput_ratio_low=None, cost_per_hour=None)


def missing(evidence: SizingEvidence | None, *candidates: Candidate, seen: bool = True) -> list[str]:
    return [gap.missing for gap in gaps(evidence, candidates, shipped_catalogue(), gpus_seen=seen)]


def test_nothing_is_missing_where_everything_is_told() -> None:
    assert missing(FULL.evidence, *FULL.candidates) == []


def test_without_a_gpu_nothing_else_is_asked_for() -> None:
    assert missing(None, seen=False) == ["no GPU was seen"]


def test_advice_that_is_turned_off_is_not_taken_for_a_missing_gpu() -> None:
    assert missing(None) == ["nothing was judged"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"is_partitioned": True}, "the server has a part of a device"),
        ({"products": ("NVIDIA L4", "Tesla T4")}, "its GPUs are of several kinds"),
        ({"products": ("NVIDIA L4", "NVIDIA L4")}, "several GPUs work together"),
        ({"products": ("ACME",)}, "its GPU isn't in the catalogue"),
        ({"precision": None}, "the precision isn't known"),
        ({"peak_load_ratio": None}, "no peak load"),
        ({"memory_is_reserved": True}, "the server reserves all memory"),
        ({"memory_peak_bytes": None}, "no reading of GPU memory"),
        ({"models": (replace(FULL.evidence.models[0], slowdown_at_sla_ratio=None),)}, "too few inferences to prove the SLA"),
        ({"cost_per_hour": {}}, "what it costs isn't known"),
        ({"currency": None}, "what it costs isn't known"),
        ({"price_age_seconds": None}, "the age of its price isn't known"),
    ],
)
def test_what_is_missing_is_named_alone(changed: dict[str, Any], words: str) -> None:
    priced = replace(UNKNOWN, cost_per_hour=1.0)
    assert missing(replace(FULL.evidence, **changed), priced) == [words]


def test_a_device_of_one_s_own_is_known_by_what_the_candidates_tell() -> None:
    assert missing(replace(FULL.evidence, products=("ACME",)), *FULL.candidates) == []


def test_a_price_of_nothing_else_is_missing_in_the_server_s_currency() -> None:
    assert missing(FULL.evidence, UNKNOWN) == ["no price of another device in USD that is young enough"]

"""Cheaper first moves: what speaks for each, and what against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from infermeter.advice.moves import moves
from infermeter.advice.sizing import SizingSettings
from infermeter.catalogue import Catalogue, Device
from infermeter.model import Move, SizingEvidence
from support.sizing import EVIDENCE, MODEL, PRESENT, SLICES, device, fact

SLICED = replace(PRESENT, mig_profiles=fact(SLICES))
NOW = sum(EVIDENCE.cost_per_hour.values())
QUIET = replace(EVIDENCE, busy_ratio=0.01, models=(replace(MODEL, inferences=3),))
"""Three inferences an hour."""


def told(evidence: SizingEvidence = EVIDENCE, *, present: Device = SLICED, **settings: Any) -> Mapping[str, Move]:
    return {move.kind: move for move in moves(evidence, Catalogue([present]), SizingSettings(**settings))}


def test_a_device_that_is_little_used_could_have_fewer_replicas_be_sliced_or_shared() -> None:
    found = told()
    assert list(found) == ["fewer_replicas", "mig_slice", "share"]
    assert {move.verdict for move in found.values()} == {"unsure"}


def test_of_replicas_that_need_a_fifteenth_each_most_could_go() -> None:
    fewer = told()["fewer_replicas"]
    assert fewer.evidence == {"needed_ratio": pytest.approx(0.065), "headroom": 1.3}
    assert fewer.what_to_do.startswith("15.4 servers like this one")
    assert fewer.saving_per_hour == pytest.approx(NOW * (1 - 0.065))


def test_where_nobody_asks_all_of_it_is_saved() -> None:
    fewer = told(replace(EVIDENCE, peak_load_ratio=0.0))["fewer_replicas"]
    assert fewer.what_to_do.startswith("Nobody asks")
    assert fewer.saving_per_hour == NOW


@pytest.mark.parametrize("peak", [None, 0.39])
def test_without_a_peak_or_above_half_of_it_nothing_is_said_of_replicas_and_sharing(peak: float | None) -> None:
    assert not {"fewer_replicas", "share"} & told(replace(EVIDENCE, peak_load_ratio=peak)).keys()


def test_what_costs_nothing_known_saves_nothing_known() -> None:
    assert {move.saving_per_hour for move in told(replace(QUIET, cost_per_hour={})).values()} == {None}


def test_a_slice_saves_what_others_can_have_of_the_device_and_not_only_its_arithmetic() -> None:
    """2g.20gb is a quarter of the arithmetic and half of the memory: only one other of its kind fits beside it."""
    slice_ = told(replace(EVIDENCE, memory_peak_bytes=15_000_000_000))["mig_slice"]
    assert (slice_.evidence["profile"], slice_.evidence["part_ratio"]) == ("2g.20gb", 0.5)
    assert slice_.saving_per_hour == NOW * 0.5


def test_the_smallest_slice_that_holds_memory_load_and_sla_is_named() -> None:
    light = replace(EVIDENCE, memory_peak_bytes=5_000_000_000, peak_load_ratio=0.001)
    assert told(light)["mig_slice"].evidence["profile"] == "1g.10gb"
    busier = replace(light, peak_load_ratio=0.1, models=(replace(MODEL, slowdown_at_sla_ratio=1e6),))
    assert told(busier)["mig_slice"].evidence["profile"] == "2g.20gb"
    tighter = replace(light, models=(replace(MODEL, slowdown_at_sla_ratio=9.5),))
    assert told(tighter)["mig_slice"].evidence["profile"] == "2g.20gb"


@pytest.mark.parametrize(
    "different",
    [
        {"peak_load_ratio": None},
        {"peak_load_ratio": 0.5},
        {"memory_peak_bytes": None},
        {"memory_peak_bytes": 30_000_000_000},
        {"memory_is_reserved": True},
        {"is_partitioned": True},
        {"gpus": 0.5},
        {"products": ("HERE", "HERE"), "gpus": 2.0},
        {"products": ("ELSE",)},
        {"models": (replace(MODEL, slowdown_at_sla_ratio=None),)},
        {"models": (replace(MODEL, slowdown_at_sla_ratio=1.2),)},
    ],
)
def test_no_slice_is_named_without_the_evidence_for_it(different: dict[str, Any]) -> None:
    assert "mig_slice" not in told(replace(EVIDENCE, **different))


def test_a_slice_that_is_full_has_no_room_to_wait_in() -> None:
    """0.8 of the quarter of its bandwidth: exactly the load, and no headroom."""
    light = replace(EVIDENCE, memory_peak_bytes=5_000_000_000, peak_load_ratio=0.1, models=())
    assert told(light, headroom=1.0)["mig_slice"].evidence["profile"] == "2g.20gb"


def test_a_slice_that_is_nearly_the_whole_device_saves_too_little_to_be_told() -> None:
    nearly = device("here", mig_profiles=fact((replace(SLICES[3], compute_ratio=0.9, bandwidth_ratio=0.9, memory_bytes=38e9),)))
    assert "mig_slice" not in told(present=nearly)
    assert "mig_slice" in told(present=nearly, minimum_saving_ratio=0.04)
    assert "mig_slice" not in told(present=replace(PRESENT, mig_profiles=fact(SLICES[3:])), minimum_saving_ratio=0.0)


@pytest.mark.parametrize("present", [PRESENT, replace(SLICED, memory_bytes=None)])
def test_a_device_without_slices_or_of_unknown_memory_has_none_named(present: Device) -> None:
    assert "mig_slice" not in told(present=present)


def test_sharing_halves_the_cost() -> None:
    share = told()["share"]
    assert share.saving_per_hour == NOW / 2
    assert share.evidence == {"needed_ratio": pytest.approx(0.065), "memory_peak_bytes": 10_000_000_000}


@pytest.mark.parametrize(
    "different",
    [
        {"memory_peak_bytes": 18_200_000_000},
        {"memory_peak_bytes": None},
        {"memory_is_reserved": True},
        {"is_partitioned": True},
        {"gpus": 0.5},
        {"products": ("ELSE",)},
    ],
)
def test_nothing_is_shared_twice_nor_where_the_memory_of_two_does_not_fit(different: dict[str, Any]) -> None:
    assert "share" not in told(replace(EVIDENCE, **different))
    assert "share" not in told(present=replace(PRESENT, memory_bytes=None))


def test_a_server_that_is_asked_three_times_an_hour_could_be_stopped_in_between() -> None:
    """Each time it stays up for five minutes: a quarter of the hour, and what it is busy."""
    zero = told(QUIET)["scale_to_zero"]
    assert zero.evidence["up_ratio"] == pytest.approx(0.01 + 3 * 300 / 3600)
    assert zero.saving_per_hour == pytest.approx(NOW * (1 - 0.26))


@pytest.mark.parametrize(
    "different",
    [
        {"busy_ratio": None},
        {"window_seconds": None},
        {"busy_ratio": 0.11},
        {"models": (replace(MODEL, inferences=11),)},
        {"models": (replace(MODEL, inferences=600),)},
        {"models": (replace(MODEL, inferences=6), replace(MODEL, model="n", inferences=5))},
    ],
    ids=["busy not known", "no window", "busy", "every five minutes", "ten a minute", "two models"],
)
def test_a_server_that_is_asked_all_the_time_however_little_it_computes_is_not_stopped(different: dict[str, Any]) -> None:
    assert "scale_to_zero" not in told(replace(QUIET, **different))
    assert "scale_to_zero" not in told(replace(QUIET, models=(replace(MODEL, inferences=12),)), minimum_saving_ratio=0.0)

"""Laws of right-sizing: less evidence, more load or a tighter SLA never speaks for a device; sums add up; nothing is NaN."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.advice import right_size
from infermeter.advice.sizing import SizingSettings, candidates
from infermeter.catalogue import Device, shipped_catalogue
from infermeter.model import Candidate, SizingEvidence
from support.sizing import EVIDENCE, MODEL, NOW_NS, device, price, tried

FINE = settings(max_examples=150, deadline=None)
ratio = st.floats(0.01, 4.0)
loads = st.floats(0.0, 3.0)
slowdowns = st.floats(0.0, 100.0) | st.none()
memories = st.integers(0, 80_000_000_000) | st.none()

evidences = st.builds(
    lambda load, memory, slowdown, cost, quantile: replace(
        EVIDENCE,
        peak_load_ratio=load,
        memory_peak_bytes=memory,
        cost_per_hour={"instance": cost, "licence": 0.5},
        models=(replace(MODEL, slowdown_at_sla_ratio=slowdown, quantile_ratio=quantile),),
    ),
    loads | st.none(),
    memories,
    slowdowns,
    st.floats(0.0, 10.0),
    st.sampled_from([0.5, 0.9, 0.99, 0.999]),
)
devices = st.builds(lambda bandwidth, flops: device("there", bandwidth=bandwidth, flops=flops), ratio, ratio)
SURENESS = {"fits": 2, "unsure": 1, "no": 0}


def sure(told: Candidate) -> bool:
    return told.verdict == "fits"


@FINE
@given(evidences, devices, loads, st.integers(0, 80_000_000_000), st.floats(0.0, 1.0))
def test_more_load_more_memory_or_a_tighter_sla_never_makes_a_device_fit(
    evidence: SizingEvidence, target: Device, load: float, memory: int, tighter: float
) -> None:
    if sure(tried(evidence, target=target)):
        return
    (model,) = evidence.models
    worse = [
        replace(evidence, peak_load_ratio=(evidence.peak_load_ratio or 0.0) + load) if evidence.peak_load_ratio is not None else evidence,
        replace(evidence, memory_peak_bytes=evidence.memory_peak_bytes + memory) if evidence.memory_peak_bytes is not None else evidence,
        replace(evidence, models=(replace(model, slowdown_at_sla_ratio=(model.slowdown_at_sla_ratio or 0.0) * tighter),))
        if model.slowdown_at_sla_ratio is not None
        else evidence,
        replace(evidence, models=(replace(model, quantile_ratio=0.9999),)),
        replace(evidence, models=(model, replace(model, model="n", slowdown_at_sla_ratio=tighter))),
    ]
    assert not any(sure(tried(one, target=target)) for one in worse)


@FINE
@given(evidences, devices)
def test_what_is_told_less_never_makes_a_device_fit(evidence: SizingEvidence, target: Device) -> None:
    if sure(tried(evidence, target=target)):
        return
    (model,) = evidence.models
    for less in (
        {"peak_load_ratio": None},
        {"memory_peak_bytes": None},
        {"precision": None},
        {"currency": None},
        {"price_age_seconds": None},
        {"cost_per_hour": {}},
        {"products": ("?",)},
        {"models": (replace(model, slowdown_at_sla_ratio=None),)},
    ):
        assert not sure(tried(replace(evidence, **less), target=target))


@FINE
@given(evidences, devices, st.floats(0.0, 10.0), st.floats(0.0, 1.0))
def test_nothing_fits_that_saves_less_than_the_least_and_costs_add_up(
    evidence: SizingEvidence, target: Device, per_hour: float, least: float
) -> None:
    told = tried(evidence, target=target, prices=[price(per_hour=per_hour)], minimum_saving_ratio=least)
    now = sum(evidence.cost_per_hour.values())
    assert told.cost_per_hour is not None
    assert told.saving_per_hour is not None
    assert told.cost_per_hour == pytest.approx(per_hour + 0.5)
    assert told.cost_per_hour + told.saving_per_hour == pytest.approx(now)
    if sure(told):
        assert told.saving_per_hour >= least * now


@FINE
@given(evidences, devices)
def test_numbers_are_finite_the_range_is_in_order_and_reasons_are_told_for_what_blocks(evidence: SizingEvidence, target: Device) -> None:
    told = tried(evidence, target=target)
    numbers = [value for one in fields(told) if isinstance(value := getattr(told, one.name), float)]
    assert all(math.isfinite(number) for number in numbers)
    assert told.throughput_ratio_low is not None
    assert 0 < told.throughput_ratio_low <= (told.throughput_ratio_point or 0.0) <= (told.throughput_ratio_high or 0.0)
    assert set(told.reasons) == set(told.blocked_by)
    assert sure(told) is (not told.blocked_by)
    assert told.slowdown_ratio is None or told.slowdown_ratio * told.throughput_ratio_low >= 1 - 1e-12


@FINE
@given(evidences)
def test_verdicts_come_in_order_and_of_the_shipped_devices_each_once(evidence: SizingEvidence) -> None:
    catalogue = shipped_catalogue()
    at_home = replace(evidence, products=("NVIDIA A100-SXM4-40GB",))
    told = candidates(at_home, catalogue, [price("t4"), price("l4")], SizingSettings(), now_ns=NOW_NS)
    sureness = [SURENESS[one.verdict] for one in told]
    assert sureness == sorted(sureness, reverse=True)
    assert sorted(one.product for one in told) == sorted({one.name for one in catalogue.devices} - {"a100-sxm4-40gb"})
    assert {one.product for one in told if sure(one)} <= {"t4", "l4"}


@FINE
@given(evidences)
def test_moves_save_no_more_than_there_is_and_at_least_what_is_worth_telling(evidence: SizingEvidence) -> None:
    now = sum(evidence.cost_per_hour.values())
    for product in ("NVIDIA A100-SXM4-40GB", "?"):
        sizing = right_size(replace(evidence, products=(product,)), shipped_catalogue(), [], SizingSettings(), now_ns=NOW_NS)
        for move in sizing.moves:
            assert move.saving_per_hour is not None
            assert 0.1 * now - 1e-9 <= move.saving_per_hour <= now + 1e-9
            assert all(math.isfinite(value) for value in move.evidence.values() if not isinstance(value, str))

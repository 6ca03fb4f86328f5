"""Each thing that can speak against another device, planted alone in evidence that otherwise speaks for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from infermeter.advice.sizing import SizingSettings, candidates, present_device, ratios_of
from infermeter.catalogue import Catalogue, Device, Fact
from infermeter.model import BlockedBy, SizingVerdict, Workload
from support.sizing import EVIDENCE, HERE, MODEL, NOW_NS, PRESENT, TARGET, THERE, device, fact, price, tried


def unverified(known: Device, name: str) -> Device:
    value = getattr(known, name)
    return replace(known, **{name: replace(value, verified=False)})


def rated(known: Device, *, verified: bool) -> Device:
    rate: Fact[float] = fact(known.dense_flops["fp16"].value, verified=verified)
    return replace(known, dense_flops={"fp16": rate})


def test_half_the_device_for_a_quarter_of_the_price_fits() -> None:
    told = tried()
    assert (told.product, told.verdict, told.blocked_by, told.reasons) == (THERE, "fits", (), {})
    assert (told.throughput_ratio_low, told.throughput_ratio_point, told.throughput_ratio_high) == (0.4, 0.5, 0.5)
    assert told.load_ratio == pytest.approx(0.125)
    assert told.cost_per_hour == pytest.approx(1.5)
    assert told.saving_per_hour == pytest.approx(2.5)
    assert told.provider == "ACME"
    assert told.facts_verified


@pytest.mark.parametrize(
    ("different", "verdict", "by"),
    [
        ({"memory_peak_bytes": 40_000_000_000}, "no", "memory"),
        ({"memory_peak_bytes": None}, "unsure", "evidence"),
        ({"memory_is_reserved": True}, "unsure", "evidence"),
        ({"precision": "bf16"}, "no", "precision"),
        ({"precision": None}, "unsure", "precision"),
        ({"precision": "fp32"}, "unsure", "unknown"),
        ({"peak_load_ratio": 0.31, "models": (replace(MODEL, slowdown_at_sla_ratio=1e6),)}, "no", "load"),
        ({"peak_load_ratio": None}, "unsure", "evidence"),
        ({"models": (replace(MODEL, slowdown_at_sla_ratio=2.5),)}, "no", "latency"),
        ({"models": (replace(MODEL, slowdown_at_sla_ratio=0.0),)}, "no", "latency"),
        ({"models": (MODEL, replace(MODEL, model="thin", slowdown_at_sla_ratio=None, inferences=298))}, "unsure", "evidence"),
        ({"cost_per_hour": {}}, "unsure", "price"),
        ({"currency": None}, "unsure", "price"),
        ({"price_age_seconds": None}, "unsure", "price"),
        ({"price_age_seconds": 90 * 86_400.0 + 1}, "unsure", "price"),
        ({"currency": "EUR"}, "unsure", "price"),
        ({"cost_per_hour": {"instance": 1.1}}, "no", "price"),
        ({"cost_per_hour": {"instance": 0.5, "licence": 10.0}}, "no", "price"),
        ({"is_partitioned": True}, "unsure", "evidence"),
        ({"gpus": 0.5, "cost_per_hour": {"instance": 10.0}}, "unsure", "evidence"),
        ({"products": ("HERE", "HERE"), "gpus": 2.0}, "unsure", "evidence"),
        ({"throttled_ratio": 0.11}, "unsure", "evidence"),
    ],
)
def test_evidence_blocks_by_its_own_name(different: dict[str, Any], verdict: SizingVerdict, by: BlockedBy) -> None:
    told = tried(replace(EVIDENCE, **different))
    assert (told.verdict, told.blocked_by) == (verdict, (by,))
    assert told.reasons.keys() == {by}


@pytest.mark.parametrize(
    ("different", "by"),
    [
        ({"products": ("ELSE",)}, "unknown"),
        ({"products": ()}, "unknown"),
        ({"products": ("HERE", "ELSE"), "gpus": 2.0}, "evidence"),
    ],
)
def test_nothing_is_sure_of_devices_that_are_not_known_or_of_several_kinds(different: dict[str, Any], by: BlockedBy) -> None:
    told = tried(replace(EVIDENCE, **different))
    assert told.verdict == "unsure"
    assert by in told.blocked_by
    assert told.throughput_ratio_low is None
    assert not told.facts_verified


@pytest.mark.parametrize(
    ("target", "verdict", "by"),
    [
        (replace(TARGET, memory_bytes=None), "unsure", "unknown"),
        (replace(TARGET, memory_bytes=fact(10.9e9)), "no", "memory"),
        (replace(TARGET, memory_bytes=fact(10.9e9, verified=False)), "unsure", "memory"),
        (unverified(TARGET, "memory_bytes"), "unsure", "unknown"),
        (replace(TARGET, precisions=None), "unsure", "unknown"),
        (replace(TARGET, precisions=fact(("fp32",))), "no", "precision"),
        (replace(TARGET, precisions=fact(("fp32",), verified=False)), "unsure", "precision"),
        (unverified(TARGET, "precisions"), "unsure", "unknown"),
        (replace(TARGET, memory_bandwidth_bytes_per_second=None), "unsure", "unknown"),
        (unverified(TARGET, "memory_bandwidth_bytes_per_second"), "unsure", "unknown"),
        (replace(TARGET, dense_flops={}), "unsure", "unknown"),
        (rated(TARGET, verified=False), "unsure", "unknown"),
        (replace(TARGET, architecture="cdna3"), "unsure", "evidence"),
        (replace(TARGET, architecture=None), "unsure", "evidence"),
        (replace(TARGET, form_factor="module"), "unsure", "evidence"),
    ],
)
def test_a_device_is_blocked_by_what_is_wrong_or_not_known_of_it(target: Device, verdict: SizingVerdict, by: BlockedBy) -> None:
    told = tried(target=target)
    assert (told.verdict, told.blocked_by) == (verdict, (by,))


@pytest.mark.parametrize("present", [rated(PRESENT, verified=False), unverified(PRESENT, "memory_bandwidth_bytes_per_second")])
def test_facts_of_the_present_device_that_nobody_verified_never_decide(present: Device) -> None:
    assert (tried(present=present).verdict, tried(present=present).blocked_by) == ("unsure", ("unknown",))
    heavy = replace(EVIDENCE, peak_load_ratio=5.0)
    assert tried(heavy, present=present).verdict == "unsure"
    slow = replace(EVIDENCE, models=(replace(MODEL, slowdown_at_sla_ratio=0.0),))
    assert tried(slow, present=present).verdict == "unsure"


def test_what_was_measured_between_nvidia_s_cards_says_nothing_of_a_server_on_others() -> None:
    told = tried(present=replace(PRESENT, architecture="cdna3"))
    assert (told.verdict, told.blocked_by) == ("unsure", ("evidence",))
    assert HERE in told.reasons["evidence"]


def test_several_reasons_of_one_kind_are_told_together() -> None:
    told = tried(replace(EVIDENCE, memory_peak_bytes=None, peak_load_ratio=None, throttled_ratio=0.5))
    assert told.blocked_by == ("evidence",)
    assert told.reasons["evidence"].count("; ") == 2


def test_the_peak_of_memory_with_a_tenth_on_top_must_fit() -> None:
    assert tried(replace(EVIDENCE, memory_peak_bytes=36_363_636_363)).verdict == "fits"
    assert tried(replace(EVIDENCE, memory_peak_bytes=36_363_636_364)).blocked_by == ("memory",)


def test_throttling_of_a_tenth_of_the_time_and_none_that_is_told_are_no_reason() -> None:
    assert tried(replace(EVIDENCE, throttled_ratio=0.1)).verdict == "fits"
    assert tried(replace(EVIDENCE, throttled_ratio=None)).verdict == "fits"


def test_a_load_of_exactly_all_there_is_never_fits() -> None:
    full = replace(EVIDENCE, peak_load_ratio=0.4, models=())
    assert tried(full, headroom=1.0).blocked_by == ("load",)
    assert tried(replace(full, peak_load_ratio=0.399), headroom=1.0).verdict == "fits"


def test_a_larger_device_is_taken_to_do_no_more_than_the_present_one() -> None:
    told = tried(target=device(THERE, bandwidth=8.0, flops=4.0))
    assert (told.throughput_ratio_low, told.throughput_ratio_high) == (0.8, 4.0)


def test_the_lesser_ratio_bounds() -> None:
    assert tried(target=device(THERE, bandwidth=0.5, flops=1.5)).throughput_ratio_low == pytest.approx(0.8 * 0.25)
    assert tried(target=device(THERE, bandwidth=1.5, flops=0.5)).throughput_ratio_low == pytest.approx(0.8 * 0.25)


def test_the_strictest_model_decides_and_one_without_an_sla_does_not() -> None:
    alike = replace(MODEL, longest_service_ratio=1.0)
    free = replace(alike, model="free", has_sla=False, slowdown_at_sla_ratio=None)
    assert tried(replace(EVIDENCE, models=(free, alike))).verdict == "fits"
    assert tried(replace(EVIDENCE, models=(alike, replace(alike, model="n", slowdown_at_sla_ratio=1.0)))).blocked_by == ("latency",)


def test_models_that_may_wait_for_ones_of_unknown_length_are_unsure() -> None:
    told = tried(replace(EVIDENCE, models=(MODEL, replace(MODEL, model="n"))))
    assert (told.verdict, told.blocked_by) == ("unsure", ("evidence",))


def test_a_stricter_quantile_leaves_less_for_waiting() -> None:
    slowdowns = [
        tried(replace(EVIDENCE, models=(replace(MODEL, quantile_ratio=quantile),))).slowdown_ratio or 0.0 for quantile in (0.9, 0.99, 0.999)
    ]
    assert slowdowns == sorted(slowdowns)
    assert slowdowns[0] < slowdowns[2]


@pytest.mark.parametrize(
    ("prices", "fits"),
    [
        ([], False),
        ([price(currency="EUR")], False),
        ([price(as_of=date(2026, 5, 3))], True),
        ([price(as_of=date(2026, 5, 2))], False),
        ([price(as_of=date(2026, 8, 2))], True),
        ([price(as_of=date(2026, 8, 3))], False),
        ([price("elsewhere")], False),
        ([price("THERE")], True),
        ([price(per_hour=9.0), price(per_hour=1.0), price(per_hour=9.0)], True),
        ([price(per_hour=3.0)], True),
        ([price(per_hour=3.2)], False),
    ],
)
def test_prices_of_today_in_the_currency_of_the_server_count(prices: list[Any], fits: bool) -> None:
    told = tried(prices=prices)
    assert (told.verdict == "fits") is fits
    assert told.blocked_by == (() if fits else ("price",))


def test_the_lowest_price_counts_and_its_provider_is_named() -> None:
    told = tried(prices=[price(per_hour=2.0), price(per_hour=1.25, provider="Best"), price(per_hour=1.5)])
    assert (told.provider, told.cost_per_hour) == ("Best", 1.75)


def test_only_devices_that_are_asked_for_are_tried() -> None:
    catalogue = Catalogue([PRESENT, TARGET, device("other")])
    everything = candidates(EVIDENCE, catalogue, [], SizingSettings(), now_ns=NOW_NS)
    assert [one.product for one in everything] == ["other", THERE]
    chosen = candidates(EVIDENCE, catalogue, [], SizingSettings(devices=("other", HERE)), now_ns=NOW_NS)
    assert [one.product for one in chosen] == ["other"]


@pytest.mark.parametrize(
    ("workload", "first"), [("latency", "wide"), ("batch", "strong"), ("edge", "frugal")], ids=["bandwidth", "arithmetic", "by the watt"]
)
def test_devices_that_fit_are_ranked_by_what_the_workload_hangs_on(workload: Workload, first: str) -> None:
    catalogue = Catalogue(
        [
            PRESENT,
            device("strong", bandwidth=1.0, flops=2.0),
            device("wide", bandwidth=1.9, flops=1.0),
            device("frugal", power_limit_watts=fact(20.0)),
            device("unpriced", bandwidth=9.0, flops=9.0, power_limit_watts=None),
        ]
    )
    prices = [price(name) for name in ("wide", "strong", "frugal")]
    evidence = replace(EVIDENCE, models=(replace(MODEL, model="b", workload="batch"), replace(MODEL, workload=workload)))
    told = candidates(evidence, catalogue, prices, SizingSettings(), now_ns=NOW_NS)
    assert told[0].product == first
    assert (told[-1].product, told[-1].verdict) == ("unpriced", "unsure")


def test_what_fits_comes_before_what_is_unsure_and_what_does_not_comes_last() -> None:
    small = device("a-small", memory_bytes=fact(1e9))
    catalogue = Catalogue([PRESENT, small, device("b-unpriced"), TARGET])
    told = candidates(EVIDENCE, catalogue, [price(), price("a-small", 0.01)], SizingSettings(), now_ns=NOW_NS)
    assert [one.verdict for one in told] == ["fits", "unsure", "no"]


def test_ratios_need_both_devices_and_a_precision() -> None:
    assert ratios_of(None, TARGET, "fp16") is None
    assert ratios_of(PRESENT, TARGET, None) is None
    assert ratios_of(PRESENT, TARGET, "fp16") == (0.5, 0.5, True)


def test_several_products_of_one_device_are_one_kind() -> None:
    catalogue = Catalogue([replace(PRESENT, match=("HERE", "HERE*"))])
    assert present_device(replace(EVIDENCE, products=("HERE", "HERE 2")), catalogue) is catalogue.devices[0]
    assert present_device(replace(EVIDENCE, products=("HERE", "ELSE")), catalogue) is None

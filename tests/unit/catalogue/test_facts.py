"""The shipped facts: physical sanity, the traps of published figures, and agreement with what was measured on the devices."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest

from infermeter.catalogue import PRECISIONS, Device, Fact, Precision, device_of, example_prices, shipped_catalogue, shipped_devices

DEVICES = pytest.mark.parametrize("device", shipped_devices(), ids=lambda device: device.name)
NEUSIGHT = "neusight-asplos25-fp32"
PAIRS = Path(__file__).parents[2] / "advice" / "transfer_pairs.csv"

PRODUCTS = {
    "NVIDIA B200-SXM-180GB": "b200-sxm",
    "NVIDIA GeForce RTX 4090": "rtx-4090",
    "NVIDIA H100-NVL-94GB": "h100-nvl-94gb",
    "NVIDIA H100-SXM-80GB": "h100-sxm5-80gb",
    "NVIDIA H200-NVL-141GB": "h200-nvl-141gb",
    "NVIDIA H200-SXM-141GB": "h200-sxm-141gb",
    "NVIDIA L4-PCIe-24GB": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtx-pro-6000-server",
    "NVIDIA_A100-PCIE-40GB": "a100-pcie-40gb",
    "NVIDIA_H100_80GB_HBM3": "h100-sxm5-80gb",
    "NVIDIA_L4": "l4",
    "Tesla_T4": "t4",
    "Tesla_V100-PCIE-32GB": "v100-pcie-32gb",
}
"""What the published pairs call the devices."""


def named(name: str) -> Device:
    device = shipped_catalogue().named(name)
    assert device is not None, name
    return device


def value(fact: Fact[float] | None) -> float:
    assert fact is not None
    return fact.value


def bandwidth(device: Device) -> float:
    return value(device.memory_bandwidth_bytes_per_second)


def rate(name: str, precision: Precision) -> float:
    return named(name).dense_flops[precision].value


@DEVICES
def test_every_fact_names_its_source(device: Device) -> None:
    assert {"memory_bytes", "precisions"} <= device.facts.keys()
    assert all(fact.source.strip() for fact in device.facts.values())
    assert device.architecture
    assert device.form_factor


@DEVICES
def test_sizes_are_in_bytes_and_watts(device: Device) -> None:
    assert 0.5e9 <= value(device.memory_bytes) <= 400e9
    if device.name != "myriad-x":
        assert 0.06e12 <= bandwidth(device) <= 10e12
        assert 0.01 <= value(device.memory_bytes) / bandwidth(device) <= 0.5, "all of a memory is read in 10 to 500 ms"
    if device.power_limit_watts is not None:
        assert 1 <= device.power_limit_watts.value <= 2_000


@DEVICES
def test_a_device_without_a_power_limit_is_one_that_no_library_tells(device: Device) -> None:
    assert (device.power_limit_watts is None) == (device.match == ())


@DEVICES
def test_rates_are_flops_of_precisions_that_the_device_has(device: Device) -> None:
    assert device.precisions is not None
    assert set(device.dense_flops) <= set(device.precisions.value) <= set(PRECISIONS)
    assert all(1e12 <= fact.value <= 15e15 for fact in device.dense_flops.values())


@DEVICES
def test_rates_over_bandwidth_are_those_of_balanced_devices(device: Device) -> None:
    for precision, most in (("fp32", 200), ("fp16", 600), ("bf16", 600), ("fp8", 2_000), ("fp4", 4_000)):
        if (found := device.dense_flops.get(precision)) is not None and device.memory_bandwidth_bytes_per_second is not None:
            assert 5 <= found.value / bandwidth(device) <= most


def steps(device: Device) -> list[tuple[Precision, Precision, float]]:
    """How much faster a narrower precision is, by architecture. Those that break the rule are the traps below."""
    is_geforce = device.name.startswith("rtx-") and device.name[4:].isdigit()  # half the rate where products are summed in fp32
    doubled: list[tuple[Precision, Precision, float]] = [("tf32", "fp16", 2), ("bf16", "fp16", 1), ("fp16", "fp8", 2)]
    doubled += [("fp8", "fp4", 3 if device.name == "b300-sxm" else 4 if is_geforce else 2)]
    if device.name not in ("mi210", "mi250x", "b300-sxm"):
        doubled += [("fp16", "int8", 4 if is_geforce else 2), ("int8", "int4", 2)]
    if device.architecture == "neuroncore-v2":
        doubled = [("tf32", "bf16", 1), ("bf16", "fp8", 1), ("bf16", "int8", 2)]
    if device.architecture == "gaudi":
        doubled = [("bf16", "fp8", 1 if device.name == "gaudi3" else 2)]
    return doubled


@DEVICES
def test_half_the_bits_are_twice_the_rate_but_where_it_is_known_not_to_be(device: Device) -> None:
    for wide, narrow, ratio in steps(device):
        if wide in device.dense_flops and narrow in device.dense_flops:
            assert device.dense_flops[narrow].value / device.dense_flops[wide].value == pytest.approx(ratio, rel=0.03), (wide, narrow)


@pytest.mark.parametrize(
    "family",
    [
        ("t4", "l4", "l40s"),
        ("a10g", "a10", "a100-pcie-40gb"),
        ("h100-pcie-80gb", "h100-nvl-94gb", "h100-sxm5-80gb", "b200-sxm", "gb200-nvl72"),
        ("rtx-4090", "rtx-5090"),
        ("mi210", "mi300x", "mi325x", "mi355x"),
    ],
)
def test_rates_grow_within_a_family(family: tuple[str, ...]) -> None:
    assert all(rate(smaller, "fp16") <= rate(larger, "fp16") for smaller, larger in pairwise(family))


@pytest.mark.parametrize(
    "family",
    [
        ("a100-sxm4-40gb", "a100-pcie-80gb", "h100-sxm5-80gb", "h200-sxm-141gb", "b200-sxm", "b300-sxm"),
        ("jetson-orin-nano-8gb", "jetson-orin-nano-8gb-super", "jetson-orin-nx-16gb", "jetson-agx-orin-64gb", "jetson-thor-t5000"),
        ("mi210", "mi300x", "mi325x", "mi355x"),
        ("tpu-v5e", "tpu-v6e"),
        ("gaudi2", "gaudi3"),
    ],
)
def test_memory_and_bandwidth_grow_within_a_family(family: tuple[str, ...]) -> None:
    for smaller, larger in pairwise(map(named, family)):
        assert value(smaller.memory_bytes) <= value(larger.memory_bytes)
        assert bandwidth(smaller) <= bandwidth(larger)


@pytest.mark.parametrize(
    ("name", "precision", "advertised"),
    [
        ("a100-sxm4-80gb", "fp16", 624e12),
        ("a30", "fp16", 330e12),
        ("l4", "fp8", 485e12),
        ("l40s", "fp8", 1466e12),
        ("h100-sxm5-80gb", "fp8", 3958e12),
        ("h200-nvl-141gb", "fp8", 3341e12),
        ("jetson-orin-nano-8gb", "int8", 40e12),
        ("jetson-agx-orin-64gb", "int8", 275e12),
        ("jetson-thor-t5000", "fp4", 2070e12),
    ],
)
def test_what_is_advertised_with_sparsity_is_halved(name: str, precision: Precision, advertised: float) -> None:
    assert rate(name, precision) == pytest.approx(advertised / 2, rel=0.01)


def test_int8_is_a_thirtieth_of_fp8_on_a_b300() -> None:
    assert rate("b300-sxm", "fp8") / rate("b300-sxm", "int8") == pytest.approx(29.3, rel=0.01)


@pytest.mark.parametrize("name", ["mi210", "mi250x"])
def test_int8_gains_nothing_over_fp16_on_cdna2(name: str) -> None:
    assert rate(name, "int8") == rate(name, "fp16")


def test_fp8_gains_nothing_over_bf16_on_a_gaudi3() -> None:
    assert rate("gaudi3", "fp8") == rate("gaudi3", "bf16")


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("t4", {"bf16", "tf32", "fp8"}),
        ("v100-sxm2-16gb", {"bf16", "int8", "fp8"}),
        ("a100-sxm4-80gb", {"fp8", "fp4"}),
        ("h100-sxm5-80gb", {"fp4", "int4"}),
        ("mi300x", {"fp4"}),
        ("gaudi3", {"int8"}),
        ("tpu-v5e", {"fp16", "fp8"}),
    ],
)
def test_a_precision_that_a_device_has_not_is_not_there(name: str, without: set[str]) -> None:
    precisions = named(name).precisions
    assert precisions is not None
    assert not without & set(precisions.value)


def test_bandwidths_that_other_tables_have_wrong_are_right() -> None:
    told = {"v100-sxm2-16gb": 900e9, "t4": 320e9, "mi300x": 5300e9, "mi325x": 6000e9, "b200-sxm": 8000e9, "h20-96gb": 4000e9}
    assert {name: bandwidth(named(name)) for name in told} == told
    assert value(named("mi325x").memory_bytes) == 256e9
    assert value(named("a10").memory_bytes) == 24e9


def test_an_h20_has_eight_times_the_bandwidth_for_a_flop_of_an_h100() -> None:
    h20, h100 = named("h20-96gb"), named("h100-sxm5-80gb")
    assert bandwidth(h20) / rate("h20-96gb", "fp16") == pytest.approx(8 * bandwidth(h100) / rate("h100-sxm5-80gb", "fp16"), rel=0.01)


def test_what_was_not_read_in_a_source_is_not_verified() -> None:
    facts = named("h100-nvl-94gb").facts
    assert not facts["dense_flops.fp8"].verified
    assert facts["memory_bandwidth_bytes_per_second"].verified
    assert not named("h100-nvl-94gb").verified
    assert named("l4").verified
    assert not named("a10g").facts["power_limit_watts"].verified


@DEVICES
def test_mig_instances_are_parts_of_the_device(device: Device) -> None:
    profiles = () if device.mig_profiles is None else device.mig_profiles.value
    for profile in profiles:
        slices, gigabytes = profile.name.removesuffix("gb").split("g.")
        assert profile.memory_bytes == pytest.approx(int(gigabytes) * 1e9, rel=0.08)
        assert profile.memory_bytes <= 1.07 * value(device.memory_bytes), "memory is advertised in decimal, and has a few percent more"
        assert profile.compute_ratio <= int(slices) / (4 if device.name == "a30" else 7) + 0.06
    assert len({profile.name for profile in profiles}) == len(profiles)


def test_what_has_a_price_has_facts() -> None:
    prices = example_prices()
    assert len(prices) == 25
    assert len({(price.device, price.provider) for price in prices}) == len(prices)
    for price in prices:
        assert bandwidth(named(price.device)) > 0
        assert 0.1 < price.per_hour < 50
        assert price.currency == "USD"


def test_published_pairs_are_of_devices_that_are_known_with_the_same_bandwidths_and_rates() -> None:
    with PAIRS.open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == 166
    for pair in pairs:
        source, target = (named(PRODUCTS[pair[column]]) for column in ("from_gpu", "to_gpu"))
        assert bandwidth(target) / bandwidth(source) == pytest.approx(float(pair["bandwidth_ratio"]), rel=0.05)
        found = [
            target.dense_flops[precision].value / source.dense_flops[precision].value
            for precision in (["fp32"] if pair["source"] == NEUSIGHT else ["fp16", "fp8", "int8", "fp4"])
            if precision in target.dense_flops and precision in source.dense_flops
        ]
        assert any(ratio == pytest.approx(float(pair["flops_ratio"]), rel=0.05) for ratio in found), pair


def test_products_of_the_published_pairs_are_told_apart() -> None:
    for product in ("NVIDIA H200 NVL", "NVIDIA H200", "Tesla V100-PCIE-32GB", "NVIDIA L40S", "NVIDIA L4"):
        assert device_of(product) is not None

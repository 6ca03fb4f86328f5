"""The devices that are known, and which of them a product name means."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from infermeter.catalogue import Catalogue, Device, device_of, shipped_catalogue, shipped_devices

DEVICES = pytest.mark.parametrize("device", shipped_devices(), ids=lambda device: device.name)


def name_of(product: str) -> str | None:
    device = device_of(product)
    return None if device is None else device.name


@DEVICES
def test_a_device_is_named_as_an_option_can_be(device: Device) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", device.name)
    assert device.source


@DEVICES
def test_every_product_name_means_its_own_device(device: Device) -> None:
    for pattern in device.match:
        assert name_of(pattern.replace("*", "Engineering Reference ")) == device.name


def test_no_two_devices_share_a_name_or_a_pattern() -> None:
    names = [device.name for device in shipped_devices()]
    patterns = [pattern for device in shipped_devices() for pattern in device.match]
    assert len(names) == len(set(names)) == 43
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("product", "name", "watts"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb", 700),
        ("NVIDIA H100 PCIe", "h100-pcie-80gb", 350),
        ("NVIDIA H100 NVL", "h100-nvl-94gb", 400),
        ("NVIDIA H200", "h200-sxm-141gb", 700),
        ("NVIDIA H200 NVL", "h200-nvl-141gb", 600),
        ("NVIDIA A10", "a10", 150),
        ("NVIDIA A10G", "a10g", 300),
        ("Tesla T4", "t4", 70),
        ("NVIDIA L4", "l4", 72),
        ("NVIDIA L40S", "l40s", 350),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb", 300),
        ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano-8gb", 15),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "jetson-orin-nano-8gb-super", 25),
        ("AMD Instinct MI300X", "mi300x", 750),
    ],
)
def test_products_that_look_alike_are_told_apart(product: str, name: str, watts: float) -> None:
    device = device_of(product)
    assert device is not None
    assert device.power_limit_watts is not None
    assert (device.name, device.power_limit_watts.value) == (name, watts)


@pytest.mark.parametrize(
    "product",
    [
        "",
        "NVIDIA",
        "NVIDIA H100",
        "NVIDIA H200 NVL 141GB",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "GRID T4-16Q",
        "NVIDIA A10-24Q",
        "NVIDIA L40",
        "simulated",
    ],
)
def test_what_is_not_listed_is_unknown_a_slice_of_a_device_too(product: str) -> None:
    assert device_of(product) is None


@pytest.mark.parametrize("product", ["A100-SXM4-40GB", " NVIDIA A100-SXM4-40GB\n"])
def test_an_older_drivers_spelling_is_known(product: str) -> None:
    assert name_of(product) == "a100-sxm4-40gb"


def test_half_a_board_that_is_shown_as_a_device_has_half_of_everything() -> None:
    device = device_of("AMD Instinct MI250X")
    assert device is not None
    assert device.power_limit_watts is not None
    assert device.memory_bytes is not None
    assert (device.power_limit_watts.value, device.memory_bytes.value) == (280, 64e9)


def test_of_several_patterns_that_fit_the_one_that_says_most_counts() -> None:
    (any_l4, l4) = (
        replace(shipped_devices()[0], name=name, match=match) for name, match in (("any", ("NVIDIA *", "*L4")), ("one", ("NVIDIA L*",)))
    )
    for devices in ((any_l4, l4), (l4, any_l4)):
        catalogue = Catalogue(devices)
        assert catalogue.device_of("NVIDIA L4") == l4
        assert catalogue.device_of("NVIDIA H4") == catalogue.device_of("ACME L4") == any_l4
        assert Catalogue((*devices, replace(l4, name="exact", match=("NVIDIA L4",)))).meant("NVIDIA L4") not in devices


def test_devices_can_be_counted_apart() -> None:
    assert len({device_of(product) for product in ("NVIDIA L4", "NVIDIA L4", "Tesla T4", "NVIDIA L5")}) == 3


def test_a_device_goes_by_its_name_or_by_its_product() -> None:
    catalogue = shipped_catalogue()
    for meant in ("l4", " l4 ", "NVIDIA L4"):
        device = catalogue.meant(meant)
        assert device is not None
        assert device.name == "l4"
    assert catalogue.meant("NVIDIA L5") is None
    assert catalogue.named("NVIDIA L4") is None


@pytest.mark.parametrize(
    ("mistyped", "near"),
    [
        ("l40", ["l40s"]),
        ("H100", ["h100-sxm5-80gb", "h100-pcie-80gb", "h100-nvl-94gb"]),
        ("jetson", [device.name for device in shipped_devices() if device.name.startswith("jetson-")]),
        ("mi300", ["mi300x"]),
        ("abacus", []),
        ("", []),
    ],
)
def test_a_name_that_is_not_there_is_told_those_that_may_be_meant(mistyped: str, near: list[str]) -> None:
    assert shipped_catalogue().nearest(mistyped) == near

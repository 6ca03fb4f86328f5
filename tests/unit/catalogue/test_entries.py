"""An operator's own devices: what is added, what is overridden, and how each problem is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.catalogue import PRECISIONS, Catalogue, Fact, shipped_catalogue, with_devices
from infermeter.errors import ConfigErrors

OWN: dict[str, Any] = {
    "name": "acme-1",
    "match": ["ACME One", "ACME One *"],
    "memory_bytes": 32e9,
    "memory_bandwidth_bytes_per_second": 1e12,
    "dense_flops": {"bf16": 200e12, "int8": 400e12},
    "precisions": ["bf16", "int8"],
    "source": "ACME data sheet",
}
YAML = """
- name: l4
  match: ["ACME rebranded L4"]
  source: our own board, limit as set
  power_limit_watts: 60
  dense_flops: {fp8: 200e12}
  unverified: [dense_flops.fp8]
"""


def read(*entries: dict[str, Any]) -> Catalogue:
    return with_devices(shipped_catalogue(), json.dumps(entries), "devices.json")


def problems(*entries: Any, text: str | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        with_devices(shipped_catalogue(), json.dumps(entries) if text is None else text, "own")
    return [str(problem).removesuffix(" (line 1)") for problem in raised.value.problems]


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in OWN.items() if name not in names}


def test_a_device_is_added_behind_those_that_are_shipped() -> None:
    catalogue = read(OWN)
    assert catalogue.devices[:-1] == shipped_catalogue().devices
    device = catalogue.device_of("ACME One 32GB")
    assert device is catalogue.devices[-1]
    assert device.name == "acme-1"
    assert device.memory_bytes == Fact(32e9, "ACME data sheet", verified=True)
    assert device.dense_flops == {
        "bf16": Fact(200e12, "ACME data sheet", verified=True),
        "int8": Fact(400e12, "ACME data sheet", verified=True),
    }
    assert device.precisions == Fact(("bf16", "int8"), "ACME data sheet", verified=True)
    assert (device.power_limit_watts, device.mig_profiles, device.architecture) == (None, None, None)
    assert device.verified


def test_of_a_known_device_only_what_is_told_changes() -> None:
    catalogue = with_devices(shipped_catalogue(), YAML, "devices.yaml")
    shipped, changed = shipped_catalogue().named("l4"), catalogue.named("l4")
    assert shipped is not None
    assert changed is not None
    assert [device.name for device in catalogue.devices] == [device.name for device in shipped_catalogue().devices]
    assert {name for name, fact in changed.facts.items() if fact != shipped.facts[name]} == {"power_limit_watts", "dense_flops.fp8"}
    assert changed.power_limit_watts == Fact(60.0, "our own board, limit as set", verified=True)
    assert changed.dense_flops["fp8"] == Fact(200e12, "our own board, limit as set", verified=False)
    assert not changed.verified
    assert changed.source == f"our own board, limit as set; {shipped.source}"
    assert changed.note == shipped.note
    assert catalogue.device_of("NVIDIA L4") is catalogue.device_of("ACME rebranded L4") is changed


def test_a_fact_can_have_a_source_of_its_own() -> None:
    device = read({**OWN, "sources": {"memory_bytes": "a label on the board"}}).named("acme-1")
    assert device is not None
    assert device.facts["memory_bytes"].source == "a label on the board"
    assert device.facts["precisions"].source == "ACME data sheet"


def test_precisions_that_are_taken_away_take_their_rates_along() -> None:
    device = read({"name": "l4", "source": "our build has no 8 bit kernels", "precisions": ["fp32", "bf16", "fp16"]}).named("l4")
    assert device is not None
    assert set(device.dense_flops) == {"fp32", "bf16", "fp16"}


def test_mig_profiles_are_replaced_as_a_whole() -> None:
    profile = {"name": "1g.5gb", "memory_bytes": 5e9, "compute_ratio": 0.14, "bandwidth_ratio": 0.125}
    device = read({"name": "a100-sxm4-40gb", "source": "nvidia-smi", "mig_profiles": [profile]}).named("a100-sxm4-40gb")
    assert device is not None
    assert device.mig_profiles is not None
    assert [(told.name, told.memory_bytes, told.compute_ratio) for told in device.mig_profiles.value] == [("1g.5gb", 5e9, 0.14)]
    assert device.mig_profiles.verified


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({**OWN, "memory_gb": 32}, "own[0].memory_gb: unknown key; did you mean memory_bytes?"),
        ({**OWN, "memory_bytes": 32}, "own[0].memory_bytes: must be at least 100000000, not 32"),
        ({**OWN, "memory_bytes": -32e9}, "own[0].memory_bytes: must be at least 100000000, not -32000000000"),
        ({**OWN, "memory_bytes": "32GB"}, "own[0].memory_bytes: must be a number, not the quoted text `32GB`"),
        (
            {**OWN, "memory_bandwidth_bytes_per_second": 1000},
            "own[0].memory_bandwidth_bytes_per_second: must be at least 1000000000, not 1000",
        ),
        ({**OWN, "dense_flops": {"bf16": 200}}, "own[0].dense_flops.bf16: must be at least 10000000000, not 200"),
        ({**OWN, "dense_flops": {"bp16": 2e14}}, "own[0].dense_flops.bp16: unknown key; did you mean fp16?"),
        ({**OWN, "power_limit_watts": 0}, "own[0].power_limit_watts: must be at least 0.1, not 0"),
        ({**OWN, "power_limit_watts": 350e3}, "own[0].power_limit_watts: must be at most 10000, not 350000"),
        ({**OWN, "name": "ACME 1"}, "own[0].name: `ACME 1` doesn't match [a-z0-9]+(-[a-z0-9]+)*"),
        ({**OWN, "match": ["*"]}, r"own[0].match[0]: `*` doesn't match .*[^\s*].*"),
        ({**OWN, "match": ["NVIDIA L4"]}, "own[0].match[0]: means l4 already"),
        ({**OWN, "source": " "}, r"own[0].source: ` ` doesn't match .*\S.*"),
        (without("source"), "own[0]: `source` is missing"),
        (
            without("memory_bandwidth_bytes_per_second"),
            "own[0]: `memory_bandwidth_bytes_per_second` is missing, and no acme-1 is known",
        ),
        ({**OWN, "dense_flops": {"fp8": 4e14}}, "own[0].dense_flops.fp8: is a rate of what `precisions` hasn't: bf16, int8"),
        (
            {**OWN, "dense_flops": {"bf16": 2e16}},
            "own[0].dense_flops.bf16: makes 2e+04 operations a byte of bandwidth: check the units of both",
        ),
        (
            {"name": "l4", "source": "us", "memory_bandwidth_bytes_per_second": 9e13},
            "own[0].memory_bandwidth_bytes_per_second: makes 0.337 operations a byte of bandwidth: check the units of both",
        ),
        (
            {**OWN, "unverified": ["memory_byte"]},
            "own[0].unverified[0]: `memory_byte` is no fact that this entry tells; did you mean memory_bytes?",
        ),
        ({**OWN, "sources": {"price": "us"}}, "own[0].sources.price: `price` is no fact that this entry tells"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(entry: dict[str, Any], expected: str) -> None:
    assert problems(entry)[0] == expected


def test_a_name_of_several_devices_is_told_them() -> None:
    (told,) = problems({"name": "h100", "source": "us", "power_limit_watts": 600})
    assert told.startswith("own[0]: `memory_bytes`, `memory_bandwidth_bytes_per_second`, `dense_flops`, `precisions` are missing, ")
    assert told.endswith("and no h100 is known; did you mean h100-sxm5-80gb or h100-pcie-80gb or h100-nvl-94gb?")


def test_every_precision_that_is_unknown_is_told_the_nearest_one() -> None:
    assert problems({**OWN, "precisions": ["bf16", "int88"]}) == [
        f"own[0].precisions[1]: must be one of {', '.join(PRECISIONS)}, not the quoted text `int88`; did you mean int8?"
    ]


def test_a_name_that_is_there_twice_and_a_product_of_two_are_contradictions() -> None:
    assert problems(OWN, {**OWN, "match": ["ACME 1"]}) == ["own[1].name: is that of [0]; keep one of the two"]
    assert problems(OWN, {**OWN, "name": "acme-2"}) == ["own[1].match[0]: means acme-1 already", "own[1].match[1]: means acme-1 already"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "own: must be a list of 1 to 500 entries"),
        ("[]", "own: must be a list of 1 to 500 entries"),
        ("devices: []", "own: must be a list of 1 to 500 entries"),
        ("- {name: l4", "own: line 1: not valid YAML: expected ',' or '}', but got '<stream end>'"),
        ("- 3", "own[0]: must be a mapping, not the number `3`"),
        ("\x00", "own: not valid YAML: unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_what_is_no_list_of_devices_is_told_so(text: str, expected: str) -> None:
    assert problems(text=text) == [expected]


@given(st.text(max_size=200))
def test_whatever_the_file_holds_is_devices_or_a_clear_error(text: str) -> None:
    try:
        catalogue = with_devices(shipped_catalogue(), text, "f")
    except ConfigErrors as errors:
        told = [problem.where for problem in errors.problems]
    else:
        told = [f"f {len(catalogue.devices)} devices"]
    assert told
    assert [where for where in told if not where.startswith("f")] == []


@given(st.sampled_from([device.name for device in shipped_catalogue().devices if device.power_limit_watts]), st.floats(1, 5_000))
def test_an_override_changes_its_own_device_and_fact_alone(name: str, watts: float) -> None:
    catalogue = read({"name": name, "source": "as set here", "power_limit_watts": watts})
    for shipped, told in zip(shipped_catalogue().devices, catalogue.devices, strict=True):
        if told.name != name:
            assert told == shipped
            continue
        assert told.power_limit_watts == Fact(watts, "as set here", verified=True)
        assert {key: fact for key, fact in told.facts.items() if key != "power_limit_watts"} == {
            key: fact for key, fact in shipped.facts.items() if key != "power_limit_watts"
        }

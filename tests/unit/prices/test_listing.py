"""A list of device prices: what is taken, which entry is in force, and how each problem is told."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.catalogue import example_prices, shipped_catalogue, with_devices
from infermeter.config import DevicePrice
from infermeter.errors import ConfigErrors
from infermeter.prices.listing import ENTRIES_MOST, device_key, example_price_lists, price_list

L4 = {"device": "l4", "provider": "AWS", "per_hour": 0.8048, "currency": "USD", "as_of": "2026-07-20", "source": "on demand, us-east-1"}
H100 = {**L4, "device": "NVIDIA H100 80GB HBM3", "per_hour": 6.88}
ACME = """
- name: acme-1
  match: [ACME One]
  memory_bytes: 32e9
  memory_bandwidth_bytes_per_second: 1e12
  dense_flops: {bf16: 200e12}
  precisions: [bf16]
  source: ACME data sheet
"""
YAML = """
- device: l4
  provider: AWS
  per_hour: 0.8048
  currency: USD
  as_of: 2026-07-20
  source: on demand, us-east-1
"""


def problems(*entries: dict[str, Any], currency: str | None = None, text: str | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        price_list(json.dumps(entries) if text is None else text, "prices.json", currency=currency)
    return [str(problem) for problem in raised.value.problems]


def test_yaml_and_json_say_the_same() -> None:
    entry = DevicePrice("l4", "AWS", 0.8048, "USD", date(2026, 7, 20), "on demand, us-east-1")
    assert price_list(YAML, "f", currency=None) == {"l4": entry}
    for indent, separators in ((None, None), (None, (",", ":")), (2, None), ("\t", None)):
        text = json.dumps([L4], indent=indent, separators=separators)
        assert price_list(text, "f", currency="USD") == {"l4": entry}, text


def test_a_device_is_called_by_its_name_in_the_catalogue_or_by_its_product() -> None:
    assert device_key("l4") == device_key("NVIDIA L4") == "l4"
    assert set(price_list(json.dumps([L4, H100]), "f", currency=None)) == {"l4", "h100-sxm5-80gb"}
    slice_ = "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    assert device_key(slice_) == slice_, "a slice is no whole device, and has a price of its own"
    assert device_key(" Some New GPU ") == "Some New GPU"


def test_a_price_of_an_own_device_is_found_by_its_name_and_by_its_product() -> None:
    own = with_devices(shipped_catalogue(), ACME, "devices.yaml")
    assert device_key("ACME One", own) == "acme-1"
    for device in ("acme-1", "ACME One"):
        assert set(price_list(json.dumps([{**L4, "device": device}]), "f", currency=None, catalogue=own)) == {"acme-1"}


def test_examples_are_a_list_for_each_provider() -> None:
    lists = example_price_lists()
    assert list(lists) == ["AWS", "Azure", "RunPod", "Google Cloud"]
    assert lists["AWS"]["t4"].per_hour == lists["Azure"]["t4"].per_hour == 0.526
    assert sum(map(len, lists.values())) == len(example_prices())


def test_of_one_provider_s_prices_the_newest_is_in_force() -> None:
    older, newer = {**L4, "as_of": "2025-01-01", "per_hour": 1}, {**L4, "device": "NVIDIA L4", "as_of": "2026-08-01", "per_hour": 0.7}
    for entries in ([older, L4, newer], [newer, older, L4]):
        assert price_list(json.dumps(entries), "f", currency=None)["l4"].per_hour == 0.7


def test_two_providers_of_one_device_are_told_apart_by_nobody() -> None:
    assert problems(H100, L4, {**L4, "device": "NVIDIA L4", "provider": "GCP"}) == [
        "prices.json[2].provider: is GCP, but [1] tells AWS's price of l4; keep one of the two (line 1)"
    ]


def test_two_prices_of_one_day_are_a_contradiction() -> None:
    assert problems(L4, {**L4, "per_hour": 0.9}) == [
        "prices.json[1].as_of: is that of [0], which tells a price of l4 too; keep one of the two (line 1)"
    ]


def test_a_list_has_one_currency_and_that_is_the_server_s() -> None:
    assert problems(L4, {**H100, "currency": "EUR"}) == ["prices.json[1].currency: is EUR, but [0].currency is USD (line 1)"]
    assert problems(L4, currency="EUR") == ["prices.json[0].currency: is USD, but cost.currency is EUR (line 1)"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"per_hour": -0.01}, "prices.json[0].per_hour: must be at least 0, not -0.01 (line 1)"),
        ({"per_hour": "3"}, "prices.json[0].per_hour: must be a number, not the quoted text `3` (line 1)"),
        ({"per_hour": float("nan")}, "prices.json[0].per_hour: must be a number, not `NaN` (line 1)"),
        ({"currency": "usd"}, "prices.json[0].currency: `usd` doesn't match [A-Z]{3} (line 1)"),
        ({"as_of": "2026-13-01"}, "prices.json[0].as_of: month must be in 1..12 (line 1)"),
        ({"as_of": "July"}, "prices.json[0].as_of: must be a date such as 2026-07-20, not the quoted text `July` (line 1)"),
        ({"provider": " "}, "prices.json[0].provider: ` ` doesn't match .*\\S.* (line 1)"),
        ({"source": None}, "prices.json[0]: `source` is missing (line 1)"),
        ({"per_month": 3}, "prices.json[0].per_month: unknown key; did you mean per_hour? (line 1)"),
        ({"region": "x"}, "known in [0]: device, provider, per_hour, currency, as_of, source (line 1)"),
    ],
)
def test_each_problem_names_file_entry_and_key(change: dict[str, Any], expected: str) -> None:
    (problem,) = problems({**L4, **change})
    assert problem.endswith(expected)
    assert problem.startswith("prices.json[0]")


def test_every_problem_is_told_with_its_line() -> None:
    text = YAML + YAML.replace("0.8048", "-1").replace("AWS", "yes")
    assert problems(text=text) == [
        "prices.json[1].provider: is `yes`, which some YAML readers take for a boolean: quote it (line 10)",
        "prices.json[1].per_hour: must be at least 0, not -1 (line 11)",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", "l4: 3", "null", json.dumps([L4] * (ENTRIES_MOST + 1))])
def test_what_is_no_list_of_a_sane_length_is_refused(text: str) -> None:
    assert problems(text=text) == [f"prices.json: must be a list of 1 to {ENTRIES_MOST} entries (line 1)"]


@pytest.mark.parametrize("text", ["[", "- *a", "- !!python/object:x {}", "[" * 100, "x" * 300_000])
def test_what_is_no_yaml_is_told_as_such(text: str) -> None:
    (problem,) = problems(text=text)
    assert problem.startswith("prices.json: ")


def test_an_entry_that_is_no_mapping_is_told() -> None:
    assert problems(text="[3, {}]")[0] == "prices.json[0]: must be a mapping, not the number `3` (line 1)"


def test_the_longest_list_is_taken() -> None:
    entries = [{**L4, "device": f"device {i}"} for i in range(ENTRIES_MOST)]
    assert len(price_list(json.dumps(entries), "f", currency=None)) == ENTRIES_MOST


@given(st.text(max_size=200))
def test_whatever_the_file_holds_is_prices_or_a_clear_error(text: str) -> None:
    try:
        price_list(text, "f", currency=None)
    except ConfigErrors as errors:
        told = [problem.where for problem in errors.problems]
    else:
        told = []
    assert [where for where in told if not where.startswith("f")] == []


DAYS = {"l4": 10, "NVIDIA L4": 11, "NVIDIA A10": 11}


@given(st.permutations([(device, month) for device in DAYS for month in range(1, 6)]))
def test_the_order_of_a_list_means_nothing(order: list[tuple[str, int]]) -> None:
    entries = [{**L4, "device": device, "as_of": f"2026-0{month}-{DAYS[device]}", "per_hour": month} for device, month in order]
    assert {key: entry.per_hour for key, entry in price_list(json.dumps(entries), "f", currency=None).items()} == {"l4": 5, "a10": 5}

from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.config import Advice, Config, Cost, OpenCost, Rent
from infermeter.model import GpuIdentity
from support.advising import findings
from support.snapshots import empty_snapshot, rich_snapshot

DAY_SECONDS = 86_400


def test_a_server_without_prices_is_told_which_keys_to_set() -> None:
    (finding,) = findings(Config(), empty_snapshot().ledger)
    assert (finding.code, finding.level, finding.model) == ("price_missing", "warning", None)
    assert finding.evidence == {"prices": 0, "gpus_seen": 0}
    assert "cost.rent.per_hour" in finding.what_to_do


def test_a_price_that_cannot_be_applied_is_named() -> None:
    ledger = replace(rich_snapshot().ledger, unpriced=("instance", "power"), cost_per_hour={"host": 0.5, "licence": 0.25})
    (finding,) = findings(Config(), ledger)
    assert finding.code == "price_missing"
    assert finding.evidence == {"unpriced": "instance, power", "gpus_seen": 2, "costs_hold_only": "host, licence"}
    assert "server.gpu_count" in finding.what_to_do


@pytest.mark.parametrize(
    ("cost", "unpriced_gpus", "key"),
    [
        (Cost(prices_file="f"), ("GPU-0",), "cost.prices_file"),
        (Cost(prices_file="f"), (), "server.gpu_count"),
        (Cost(opencost=OpenCost("http://p")), (), "cost.opencost"),
        (Cost(rent=Rent(9.0, "instance", instance_gpus=1)), (), "cost.rent.instance_gpus"),
        (Cost(rent=Rent(9.0)), (), "server.gpu_count"),
        (None, (), "server.gpu_count"),
    ],
)
def test_what_to_do_names_the_key_by_which_it_was_to_be_priced(cost: Cost | None, unpriced_gpus: tuple[str, ...], key: str) -> None:
    ledger = replace(rich_snapshot().ledger, unpriced=("instance",), unpriced_gpus=unpriced_gpus)
    (finding,) = findings(Config(cost=cost), ledger)
    assert key in finding.what_to_do


def test_power_that_nothing_measures_is_not_opencosts_matter() -> None:
    ledger = replace(rich_snapshot().ledger, unpriced=("power",))
    (finding,) = findings(Config(cost=Cost(opencost=OpenCost("http://p"))), ledger)
    assert "gpu.source" in finding.what_to_do


def test_products_without_a_price_are_told_each_once() -> None:
    ledger = rich_snapshot().ledger
    gpus = tuple(
        replace(ledger.gpus[0], identity=GpuIdentity(f"GPU-{i}", product=product))
        for i, product in enumerate(("NVIDIA H20", "NVIDIA L4", "NVIDIA H20", None))
    )
    ledger = replace(ledger, unpriced=("instance",), unpriced_gpus=("GPU-0", "GPU-2", "GPU-3"), gpus=gpus, cost_per_hour={})
    (finding,) = findings(Config(cost=Cost(prices_file="f")), ledger)
    assert finding.evidence == {"unpriced": "instance", "gpus_seen": 4, "products": "NVIDIA H20, unknown"}


def test_a_price_is_stale_once_it_is_older_than_it_may_be() -> None:
    ledger, cost = rich_snapshot().ledger, Cost(stale_after=10 * DAY_SECONDS)
    age_ns = 10 * DAY_SECONDS * 10**9
    assert findings(Config(cost=cost), ledger, price_as_of_ns=ledger.time_ns - age_ns) == ()
    (finding,) = findings(Config(cost=cost), ledger, price_as_of_ns=ledger.time_ns - age_ns - 10**9)
    assert (finding.code, finding.level, finding.model) == ("price_stale", "warning", None)
    assert finding.evidence == {"age_days": 10.0, "stale_after_days": 10.0, "as_of": "2026-07-10"}


def test_prices_are_not_stale_for_ninety_days() -> None:
    ledger = rich_snapshot().ledger
    for days, codes in ((89.9, []), (90.1, ["price_stale"])):
        as_of_ns = ledger.time_ns - int(days * DAY_SECONDS) * 10**9
        assert [finding.code for finding in findings(Config(cost=Cost()), ledger, price_as_of_ns=as_of_ns)] == codes


def test_what_is_not_priced_dated_or_of_yesterday_is_not_stale() -> None:
    ledger = rich_snapshot().ledger
    assert findings(Config(cost=Cost()), ledger, price_as_of_ns=None) == ()
    assert findings(Config(cost=Cost()), ledger, price_as_of_ns=ledger.time_ns + 10**18) == (), "dated ahead"
    assert findings(Config(), ledger, price_as_of_ns=0) == ()
    assert [one.code for one in findings(Config(cost=Cost()), empty_snapshot().ledger, price_as_of_ns=0)] == ["price_missing"]


def test_a_server_that_is_priced_has_no_finding() -> None:
    assert findings(Config(), rich_snapshot().ledger) == ()


def test_advice_that_is_switched_off_finds_nothing() -> None:
    assert findings(Config(advice=Advice(enabled=False)), empty_snapshot().ledger) == ()

"""From what is configured and what others tell to the prices that are in force."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from infermeter.config import Cost, Host, OpenCost, Rent
from infermeter.ledger.tariff import Prices
from infermeter.model import GpuIdentity
from infermeter.prices.in_force import Quote, prices_in_force
from infermeter.prices.listing import Listed, price_list

L4 = {"device": "l4", "provider": "AWS", "per_hour": 0.8, "currency": "USD", "as_of": "2026-07-20", "source": "on demand"}
A10 = {**L4, "device": "a10", "provider": "Lambda", "per_hour": 0.75, "as_of": "2026-06-01"}
LISTED = price_list(json.dumps([L4, A10]), "f", currency=None)
FROM_FILE = Cost(prices_file="f")

GPUS = (GpuIdentity("GPU-a", product="NVIDIA L4"), GpuIdentity("GPU-b", product="NVIDIA A10"), GpuIdentity("GPU-c", product="L4"))


def midnight_ns(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 10**9


def test_without_a_configuration_nothing_is_told() -> None:
    assert prices_in_force(None, listed=Listed(), quote=None, gpus=()) == Prices()


def test_configured_prices_stand_as_they_are() -> None:
    cost = Cost("EUR", date(2026, 7, 20), "contract", rent=Rent(2.0))
    expected = Prices(cost, None, "EUR", midnight_ns(2026, 7, 20), "contract")
    assert prices_in_force(cost, listed=Listed(), quote=None, gpus=GPUS) == expected


def test_each_gpu_has_the_price_of_its_product() -> None:
    prices = prices_in_force(FROM_FILE, listed=Listed(LISTED), quote=None, gpus=GPUS)
    assert prices.gpu_per_hour == {"GPU-a": 0.8, "GPU-b": 0.75, "GPU-c": 0.8}
    assert (prices.currency, prices.source) == ("USD", "AWS, on demand; Lambda, on demand")


def test_the_whole_is_as_old_as_the_oldest_price_that_is_used() -> None:
    assert prices_in_force(FROM_FILE, listed=Listed(LISTED), quote=None, gpus=GPUS).as_of_ns == midnight_ns(2026, 6, 1)
    assert prices_in_force(FROM_FILE, listed=Listed(LISTED), quote=None, gpus=GPUS[:1]).as_of_ns == midnight_ns(2026, 7, 20)
    older = Cost("USD", date(2020, 1, 1), "contract", prices_file="f", host=Host(1.0))
    prices = prices_in_force(older, listed=Listed(LISTED), quote=None, gpus=GPUS[:1])
    assert (prices.as_of_ns, prices.source) == (midnight_ns(2020, 1, 1), "contract; AWS, on demand")


def test_a_gpu_whose_product_is_not_listed_or_not_told_has_no_price() -> None:
    gpus = (GpuIdentity("GPU-a", product="NVIDIA H20"), GpuIdentity("GPU-b"))
    prices = prices_in_force(FROM_FILE, listed=Listed(LISTED), quote=None, gpus=gpus)
    assert prices.gpu_per_hour == {}
    assert (prices.currency, prices.as_of_ns, prices.source) == ("USD", None, None)


def test_a_slice_of_a_device_does_not_cost_what_the_whole_does() -> None:
    gpus = (GpuIdentity("MIG-a", product="NVIDIA A10 MIG 1g.5gb"),)
    assert prices_in_force(FROM_FILE, listed=Listed(LISTED), quote=None, gpus=gpus).gpu_per_hour == {}


def test_opencost_prices_every_gpu_once_it_has_told() -> None:
    cost = Cost("EUR", opencost=OpenCost("http://p:9090"))
    assert prices_in_force(cost, listed=Listed(), quote=None, gpus=GPUS) == Prices(cost, None, "EUR")
    quote = Quote(0.95, 1_000, "OpenCost")
    assert prices_in_force(cost, listed=Listed(), quote=quote, gpus=()) == Prices(cost, 0.95, "EUR", 1_000, "OpenCost")

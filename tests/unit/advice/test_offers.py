from __future__ import annotations

from infermeter.advice.offers import cheapest
from infermeter.catalogue import Catalogue
from support.sizing import NOW_NS, PRESENT, TARGET, price

DAY = 86_400.0


def test_each_device_has_its_lowest_price_by_name_or_product() -> None:
    prices = [price("here", 3.0), price("HERE", 2.0), price("there", 5.0), price("there", 6.0), price("unheard of", 0.1)]
    lowest = cheapest(Catalogue([PRESENT, TARGET]), prices, "USD", stale_after_seconds=DAY, now_ns=NOW_NS)
    assert {name: one.per_hour for name, one in lowest.items()} == {"here": 2.0, "there": 5.0}


def test_without_a_currency_no_price_counts() -> None:
    assert cheapest(Catalogue([TARGET]), [price()], None, stale_after_seconds=DAY, now_ns=NOW_NS) == {}

"""Prices that change while time passes: what accrues from then on, and what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.config import Cost, OpenCost, Power, Rent, Server
from infermeter.ledger import Ledger
from infermeter.ledger.tariff import Prices
from infermeter.model import GpuIdentity, HostSample
from support.ledgers import GPU, START_NS, S, at, config, ledger

LISTED = Cost(prices_file="f")
OPENCOST = Cost(currency="EUR", opencost=OpenCost("http://p:9090"))
HOUR = 3600


def an_hour(book: Ledger, *, from_second: float) -> None:
    for second in range(10, HOUR + 10, 10):
        book.advance(at(from_second + second), 10 * S)


def listed(per_hour: dict[str, float]) -> Prices:
    return Prices(LISTED, per_hour, currency="USD")


def test_a_new_price_holds_from_then_on_and_nothing_is_booked_anew() -> None:
    book = ledger(config(cost=OPENCOST), offline=False)
    book.reprice(replace(Prices.configured(OPENCOST), gpu_per_hour=2.0))
    an_hour(book, from_second=0)
    book.reprice(replace(Prices.configured(OPENCOST), gpu_per_hour=3.0))
    assert book.snapshot(at(HOUR)).cost == {"instance": pytest.approx(2.0)}
    assert book.snapshot(at(HOUR)).cost_per_hour == {"instance": 3.0}
    an_hour(book, from_second=HOUR)
    assert book.snapshot(at(2 * HOUR)).cost == {"instance": pytest.approx(5.0)}


def test_a_component_is_born_when_it_is_first_priced_and_stays_when_it_no_longer_is() -> None:
    book = ledger(config(cost=OPENCOST), offline=False)
    an_hour(book, from_second=0)
    unpriced = book.snapshot(at(HOUR))
    assert (unpriced.cost, unpriced.currency, unpriced.unpriced) == ({}, None, ("instance",))
    book.reprice(replace(Prices.configured(OPENCOST), gpu_per_hour=2.0))
    assert book.snapshot(at(HOUR)).cost == {"instance": 0.0}
    assert book.snapshot(at(HOUR)).currency == "EUR"
    an_hour(book, from_second=HOUR)
    book.reprice(Prices.configured(OPENCOST))
    an_hour(book, from_second=2 * HOUR)
    after = book.snapshot(at(3 * HOUR))
    assert (after.cost, after.cost_per_hour, after.unpriced) == ({"instance": pytest.approx(2.0)}, {}, ("instance",))


def test_each_gpu_is_paid_by_its_own_price_and_the_servers_share_of_it() -> None:
    book = Ledger(
        config(cost=LISTED),
        start_ns=START_NS,
        sampled=False,
        gpus=(GpuIdentity("GPU-a"), GpuIdentity("GPU-b", share_ratio=0.5)),
    )
    book.reprice(listed({"GPU-a": 2.0, "GPU-b": 3.0, "GPU-gone": 9.0}))
    assert book.snapshot(at(0)).cost_per_hour == {"instance": 3.5}
    book.reprice(listed({"GPU-a": 2.0}))
    assert (book.snapshot(at(0)).cost_per_hour, book.snapshot(at(0)).unpriced_gpus) == ({}, ("GPU-b",))
    book.gpus_changed((GpuIdentity("GPU-a"),))
    assert (book.snapshot(at(0)).cost_per_hour, book.snapshot(at(0)).unpriced_gpus) == ({"instance": 2.0}, ())


def test_gpus_that_nobody_sees_are_priced_by_opencost_and_by_no_list() -> None:
    hidden = Ledger(config(cost=OPENCOST, server=Server(gpu_count=4)), start_ns=START_NS, sampled=False, gpus=())
    hidden.reprice(replace(Prices.configured(OPENCOST), gpu_per_hour=2.0))
    assert hidden.snapshot(at(0)).cost_per_hour == {"instance": 8.0}
    hidden.reprice(replace(Prices.configured(LISTED), gpu_per_hour={}, currency="EUR"))
    assert (hidden.snapshot(at(0)).cost_per_hour, hidden.snapshot(at(0)).unpriced) == ({}, ("instance",))


def test_money_of_two_currencies_is_never_added_up() -> None:
    book = ledger(config(cost=OPENCOST))
    with pytest.raises(ValueError, match="another"):
        book.reprice(Prices(OPENCOST, 2.0, currency="USD"))
    book.reprice(Prices(OPENCOST, 2.0, currency="EUR"))
    with pytest.raises(ValueError, match="another"):
        book.reprice(Prices())


def test_configured_watts_of_the_host_may_change_with_the_prices() -> None:
    cost = Cost(currency="EUR", power=Power(price_per_kwh=1.0))
    book = ledger(config(cost=cost), gpus=(), offline=False)
    an_hour(book, from_second=0)
    assert book.snapshot(at(HOUR)).unpriced == ("power",)
    for watts, hours in ((1000.0, 1), (500.0, 2)):
        book.reprice(Prices.configured(replace(cost, power=Power(price_per_kwh=1.0, host_watts=watts))))
        an_hour(book, from_second=hours * HOUR)
    assert book.snapshot(at(3 * HOUR)).cost == {"power": pytest.approx(1.5)}
    assert book.snapshot(at(3 * HOUR)).host_energy_joules == {"configured": pytest.approx(1500.0 * HOUR)}


def test_a_host_that_is_measured_from_now_on_is_paid_from_now_on() -> None:
    cost = Cost(currency="EUR", power=Power(price_per_kwh=3600.0))
    book = ledger(config(cost=cost), gpus=(), offline=False)
    book.add_host_samples([HostSample(at(second), None, "rapl", 100.0 * second) for second in range(3)])
    assert book.snapshot(at(2)).cost == {}
    book.reprice(Prices.configured(replace(cost, power=Power(price_per_kwh=3600.0, host_watts="measured"))))
    book.add_host_samples([HostSample(at(3), None, "rapl", 300.0)])
    assert book.snapshot(at(3)).cost == {"power": pytest.approx(0.1)}


def test_prices_of_the_configuration_hold_without_being_told() -> None:
    book = ledger(config(cost=Cost(currency="EUR", rent=Rent(4.0))), gpus=(GPU, "GPU-1"))
    assert book.snapshot(at(0)).cost_per_hour == {"instance": 8.0}

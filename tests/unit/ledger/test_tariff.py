from collections.abc import Mapping

import pytest

from infermeter.config import Cooling, Cost, Host, Licence, OpenCost, Other, Power, Purchase, Rent
from infermeter.ledger.tariff import Prices, Tariff
from infermeter.ledger.tariff import tariff as tariff_of


def tariff(cost: Cost | None, *, gpus: Mapping[str, float] | float | None, powered: bool = True) -> Tariff:
    return tariff_of(Prices.configured(cost), gpus=gpus, powered=powered)


def test_without_prices_there_is_nothing() -> None:
    assert tariff(None, gpus=1, powered=True) == Tariff()
    assert tariff(Cost(), gpus=1, powered=True).components == ()
    assert tariff(Cost(currency="USD"), gpus=1, powered=True).currency is None


def test_rent_for_each_gpu_counts_shares() -> None:
    cost = Cost(currency="USD", rent=Rent(per_hour=4.0))
    assert tariff(cost, gpus=2.5, powered=True).per_hour == {"instance": 10.0}
    assert tariff(cost, gpus=None, powered=True).unpriced == ("instance",)
    assert tariff(cost, gpus=None, powered=True).per_hour == {}


def test_an_instance_counts_whole_or_by_the_gpus_used() -> None:
    assert tariff(Cost(rent=Rent(per_hour=16.0, per="instance")), gpus=None, powered=True).per_hour == {"instance": 16.0}
    part = Cost(rent=Rent(per_hour=16.0, per="instance", instance_gpus=8))
    assert tariff(part, gpus=2, powered=True).per_hour == {"instance": 4.0}
    assert tariff(part, gpus=None, powered=True).unpriced == ("instance",)


def test_what_was_paid_at_the_start_is_spread_over_the_term() -> None:
    cost = Cost(rent=Rent(per_hour=1.0, per="instance", upfront=2400.0, term=100 * 3600.0))
    assert tariff(cost, gpus=1, powered=True).per_hour == {"instance": 25.0}


def test_bought_hardware_is_written_off_over_calendar_hours() -> None:
    cost = Cost(purchase=Purchase(price=30_000, residual=3_000, lifetime_years=4))
    assert tariff(cost, gpus=8, powered=True).per_hour == {"amortisation": pytest.approx(0.7705, abs=1e-4)}
    financed = Cost(purchase=Purchase(price=30_000, residual=3_000, lifetime_years=4, per="gpu", finance_rate_per_year=0.05))
    assert tariff(financed, gpus=2, powered=True).per_hour == {"amortisation": pytest.approx(2 * (27_000 / 4 + 0.05 * 30_000) / 8760)}
    assert tariff(financed, gpus=None, powered=True).unpriced == ("amortisation",)
    assert tariff(Cost(purchase=Purchase(price=30_000)), gpus=2, powered=True).components == ()


def test_700_watts_at_a_pue_of_1_3_and_10_cents_cost_9_cents_an_hour() -> None:
    prices = tariff(Cost(power=Power(price_per_kwh=0.1, pue=1.3)), gpus=1, powered=True)
    assert prices.per_energy * 700 * 3600 == pytest.approx(0.091)
    assert prices.components == ("power", "cooling")


def test_power_that_nothing_measures_has_no_price() -> None:
    prices = tariff(Cost(power=Power(price_per_kwh=0.1, pue=1.3)), gpus=1, powered=False)
    assert prices.unpriced == ("power", "cooling")
    assert prices.components == ()


def test_the_rest_are_fixed_sums_of_their_own() -> None:
    cost = Cost(cooling=Cooling(0.5), host=Host(0.2), licence=Licence(0.1, "gpu"), other=Other(0.05))
    assert tariff(cost, gpus=4, powered=True).per_hour == {"cooling": 0.5, "host": 0.2, "licence": 0.4, "other": 0.05}
    assert tariff(Cost(licence=Licence(0.1)), gpus=None, powered=True).per_hour == {"licence": 0.1}
    assert tariff(cost, gpus=4, powered=True).per_second == pytest.approx(1.15 / 3600)


def test_a_price_of_0_is_a_price() -> None:
    assert tariff(Cost(currency="EUR", rent=Rent(per_hour=0.0)), gpus=1, powered=True) == Tariff("EUR", {"instance": 0.0}, {}, ())


def test_a_server_with_more_gpus_than_its_instance_has_no_price_of_it() -> None:
    part = Cost(rent=Rent(per_hour=16.0, per="instance", instance_gpus=4))
    assert tariff(part, gpus=4, powered=True).per_hour == {"instance": 16.0}
    assert tariff(part, gpus=5, powered=True).unpriced == ("instance",)


def test_each_gpu_by_its_own_price_or_all_by_one() -> None:
    listed, asked = Cost(prices_file="f"), Cost(currency="EUR", opencost=OpenCost("http://p"))
    shares = {"GPU-a": 1.0, "GPU-b": 0.25}
    assert tariff_of(Prices(listed, {"GPU-a": 2.0, "GPU-b": 4.0}), gpus=shares, powered=True).per_hour == {"instance": 3.0}
    assert tariff_of(Prices(asked, 2.0), gpus=shares, powered=True).per_hour == {"instance": 2.5}
    assert tariff_of(Prices(asked, 2.0), gpus=3.0, powered=True).per_hour == {"instance": 6.0}
    assert tariff_of(Prices(listed, {"GPU-a": 0.0}), gpus={"GPU-a": 1.0}, powered=True).per_hour == {"instance": 0.0}


def test_a_told_price_that_is_not_known_of_every_gpu_is_none() -> None:
    listed, asked = Cost(prices_file="f"), Cost(currency="EUR", opencost=OpenCost("http://p"))
    shares = {"GPU-a": 1.0, "GPU-b": 0.25}
    for prices, gpus, missing in (
        (Prices(listed, {"GPU-a": 2.0}), shares, ("GPU-b",)),
        (Prices(listed, {"GPU-a": 2.0}), 1.0, ()),
        (Prices(listed, {"GPU-a": 2.0}), None, ()),
        (Prices(asked, 2.0), None, ()),
        (Prices(asked, None), shares, ()),
    ):
        of = tariff_of(prices, gpus=gpus, powered=True)
        assert (of.per_hour, of.unpriced, of.unpriced_gpus) == ({}, ("instance",), missing)


def test_what_is_bought_for_each_gpu_counts_their_shares() -> None:
    cost = Cost(purchase=Purchase(price=8760, per="gpu", lifetime_years=1), licence=Licence(0.5, "gpu"))
    assert tariff(cost, gpus={"GPU-a": 1.0, "GPU-b": 0.5}).per_hour == {"amortisation": 1.5, "licence": 0.75}

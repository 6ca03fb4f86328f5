from collections.abc import Mapping

import pytest

from infermeter.config import Cooling, Cost, Host, Licence, Other, Power, Purchase, Rent
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

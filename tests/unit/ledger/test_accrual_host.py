"""The energy of the rest of the machine: by power or by a counter, from several sources, and when it is money."""

import pytest

from infermeter.config import Cost, Gpu, Power
from infermeter.ledger import Ledger
from infermeter.model import HostSample
from support.ledgers import at, config, ledger

MEASURED = Cost(currency="EUR", power=Power(price_per_kwh=3600.0, host_watts="measured"))


def rapl(second: float, joules: float, watts: float | None = None) -> HostSample:
    return HostSample(at(second), watts, "rapl", joules)


def metered(*samples: HostSample, cost: Cost | None = MEASURED) -> Ledger:
    book = ledger(config(cost=cost, gpu=Gpu(stale_after=5.0)), gpus=(), offline=False)
    book.add_host_samples(samples)
    return book


def test_a_counter_tells_the_hosts_energy_from_its_second_reading_on() -> None:
    book = metered(rapl(0, 5000.0))
    assert book.snapshot(at(0)).host_energy_joules == {"rapl": 0.0}
    assert book.snapshot(at(0)).cost == {"power": 0.0}
    assert "power" not in book.snapshot(at(0)).cost_per_hour
    book.add_host_samples([rapl(1, 5080.0), rapl(2, 5200.0)])
    snapshot = book.snapshot(at(2))
    assert snapshot.host_energy_joules == {"rapl": pytest.approx(200.0)}
    assert snapshot.cost == {"power": pytest.approx(0.2)}


def test_the_hourly_cost_goes_by_the_told_power_else_by_the_counters_last_step_while_it_is_fresh() -> None:
    stepped = metered(rapl(0, 0.0), rapl(1, 80.0), rapl(2, 200.0))
    assert stepped.snapshot(at(2)).cost_per_hour == {"power": pytest.approx(432.0)}
    assert stepped.snapshot(at(8)).cost_per_hour == {}
    told = metered(rapl(0, 0.0, 50.0), rapl(1, 80.0, 60.0))
    assert told.snapshot(at(1)).cost_per_hour == {"power": pytest.approx(216.0)}


def test_a_hosts_counter_that_fell_is_a_reset_and_its_energy_never_falls() -> None:
    book = metered(rapl(0, 5000.0), rapl(1, 5100.0), rapl(2, 3.0), rapl(3, 103.0))
    snapshot = book.snapshot(at(3))
    assert snapshot.host_energy_joules == {"rapl": pytest.approx(200.0)}
    assert snapshot.samples_rejected["reset"] == 1


def test_hosts_of_several_sources_are_counted_apart_and_only_the_first_is_paid() -> None:
    samples = [one for i in range(11) for one in (rapl(i, 40.0 * i), HostSample(at(i), 100.0, "hwmon"))]
    snapshot = metered(*samples).snapshot(at(10))
    assert snapshot.host_energy_joules == {"rapl": pytest.approx(400.0), "hwmon": pytest.approx(1000.0)}
    assert snapshot.cost == {"power": pytest.approx(0.4)}
    assert snapshot.cost_per_hour == {"power": pytest.approx(144.0)}
    assert snapshot.samples_rejected == {"read": 0, "gap": 0, "reset": 0, "outlier": 0}


def test_a_host_that_is_not_asked_for_is_energy_and_no_money() -> None:
    snapshot = metered(rapl(0, 0.0), rapl(1, 80.0), cost=None).snapshot(at(1))
    assert snapshot.host_energy_joules == {"rapl": pytest.approx(80.0)}
    assert snapshot.cost == {}


def test_a_configured_host_power_is_not_replaced_by_what_is_measured_beside_it() -> None:
    book = metered(rapl(0, 0.0), rapl(1, 80.0), cost=Cost(currency="EUR", power=Power(price_per_kwh=3600.0, host_watts=10.0)))
    snapshot = book.snapshot(at(1))
    assert snapshot.host_energy_joules == {"configured": 0.0, "rapl": pytest.approx(80.0)}
    assert snapshot.cost == {"power": 0.0}
    assert snapshot.cost_per_hour == {"power": pytest.approx(36.0)}


def test_a_source_whose_only_sample_is_absurd_is_unknown() -> None:
    snapshot = metered(rapl(0, -1.0), HostSample(at(0), 20_000.0, "hwmon")).snapshot(at(0))
    assert snapshot.host_energy_joules == {}
    assert snapshot.samples_rejected["outlier"] == 2
    assert snapshot.unpriced == ("power",)


def test_a_late_power_does_not_become_the_present_one() -> None:
    book = metered(HostSample(at(0), 100.0), HostSample(at(2), 100.0), HostSample(at(1), 900.0))
    assert book.snapshot(at(2)).cost_per_hour == {"power": pytest.approx(360.0)}
    assert book.snapshot(at(2)).samples_rejected["read"] == 1

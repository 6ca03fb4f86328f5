"""What the ledger makes of devices whose share, presence, counters or answers change."""

from dataclasses import replace

import pytest

from infermeter.config import Cost, Gpu, Power, Rent
from infermeter.ledger import Ledger
from infermeter.model import GpuFacts, GpuIdentity, GpuSample
from support.ledgers import GPU, START_NS, Inference, S, at, batch, config, ledger, of_model, replayed, samples

MONEY = Cost(currency="EUR", rent=Rent(per_hour=3600.0, per="gpu", rent_includes_power=False), power=Power(price_per_kwh=3600.0))


def facts(gpu: GpuIdentity, readings: list[GpuSample], *, end: float) -> GpuFacts:
    book = Ledger(config(), start_ns=START_NS, sampled=False, gpus=[gpu], offline=True)
    book.add_samples(readings)
    book.finish(at(end))
    return book.snapshot(at(end)).gpus[0]


def shown(readings: list[GpuSample], *, energy: str | None = "counter", **keys: object) -> str | None:
    """How the device's energy is said to be known after these readings."""
    return facts(GpuIdentity(GPU, energy=energy, **keys), readings, end=600).identity.energy


# --- which energy is believed ------------------------------------------------------------------------------------------------------
def test_the_energy_of_a_device_whose_counter_is_not_believed_is_called_integrated() -> None:
    wrong = [replace(one, energy_joules=i / 10) for i, one in enumerate(samples(600))]
    assert shown(samples(600)) == "counter"
    assert shown(wrong) == "integrated"
    right_again = [replace(one, energy_joules=60.0 + 100 * i) for i, one in enumerate(samples(1000, start=601))]
    assert shown([*wrong, *right_again]) == "counter"


def test_a_device_without_power_or_without_a_counter_is_what_its_source_says() -> None:
    assert shown([replace(one, power_watts=None) for one in samples(600)]) == "counter"
    assert shown(samples(600, counter=False), energy="integrated") == "integrated"


def test_a_modelled_energy_and_a_module_are_never_judged_by_their_power() -> None:
    wrong = [replace(one, energy_joules=i / 10) for i, one in enumerate(samples(600))]
    assert shown(wrong, energy="modelled") == "modelled"
    assert shown(wrong, power_scope="module") == "counter"


def test_stretches_that_failed_are_counted_as_outliers() -> None:
    book = ledger()
    book.add_samples([replace(one, energy_joules=i / 10) for i, one in enumerate(samples(241))])
    assert book.snapshot(at(241)).samples_rejected["outlier"] == 4


# --- shares ------------------------------------------------------------------------------------------------------------------------
def test_a_share_that_a_sample_tells_holds_from_there_on_for_energy_and_money() -> None:
    book = ledger(config(cost=MONEY), offline=False)
    first, later = samples(10, watts=100.0), samples(20, start=11, watts=100.0)
    first[-1] = replace(first[-1], share_ratio=0.25)
    book.add_samples(first)
    book.advance(at(10), 10 * S)
    assert book.snapshot(at(10)).cost_per_hour["instance"] == pytest.approx(900.0)
    assert book.snapshot(at(10)).cost["power"] == pytest.approx(1.0)
    book.add_samples([replace(one, energy_joules=(one.energy_joules or 0.0) + 1100.0) for one in later])
    book.finish(at(20))
    snapshot = book.snapshot(at(20))
    assert snapshot.gpus[0].identity.share_ratio == 0.25
    assert snapshot.gpus[0].energy_joules == pytest.approx(2000.0)
    assert snapshot.cost["power"] == pytest.approx(1.0 + 0.25)


def test_a_share_that_no_server_can_have_is_an_outlier_and_changes_nothing() -> None:
    book = ledger()
    book.add_samples([GpuSample(GPU, at(i), 100.0, share_ratio=share) for i, share in enumerate((0.0, -1.0, 1.5, float("nan"), 1.0))])
    snapshot = book.snapshot(at(4))
    assert snapshot.gpus[0].identity.share_ratio == 1.0
    assert snapshot.samples_rejected["outlier"] == 4


def test_the_baseline_is_that_of_the_whole_device_however_its_share_changes() -> None:
    readings = [replace(one, share_ratio=0.1 + 0.05 * (i % 10)) for i, one in enumerate(samples(180, watts=80.0, interval=0.5))]
    assert facts(GpuIdentity(GPU), readings, end=180).baseline_watts == pytest.approx(80.0)


def test_the_idle_part_of_a_touched_tick_is_that_of_the_share_in_force() -> None:
    readings = [replace(one, share_ratio=0.5, utilisation_ratio=0.5) for one in samples(10)]
    readings[-1] = replace(readings[-1], share_ratio=1.0)
    snapshot = replayed([Inference(3.25, 3.75)], readings, end=10, config_=config(baseline_watts=60.0))
    assert of_model(snapshot).energy_joules["idle"] == pytest.approx(15.0)


# --- counters of the device --------------------------------------------------------------------------------------------------------
def told(*values: float | None, name: str = "throttled_power_seconds") -> list[GpuSample]:
    """A reading each second."""
    return [GpuSample(GPU, at(i), 100.0, **{name: value}) for i, value in enumerate(values)]


def throttled(*values: float | None) -> dict[str, float]:
    return dict(facts(GpuIdentity(GPU), told(*values), end=10).throttled_seconds)


def test_throttled_seconds_count_from_the_first_reading_on() -> None:
    assert throttled(None, None) == {}
    assert throttled(500.0) == {"power": 0.0}
    assert throttled(500.0, 500.25, None, 501.0) == {"power": pytest.approx(1.0)}


def test_throttled_seconds_that_fell_were_reset_and_go_on_from_there() -> None:
    assert throttled(500.0, 500.5, 3.0, 3.5) == {"power": pytest.approx(1.0)}


def test_more_throttled_seconds_than_have_passed_are_an_outlier_and_go_on_from_there() -> None:
    book = ledger()
    book.add_samples(told(0.0, 60.0, 60.5, -1.0, float("nan"), 61.0))
    snapshot = book.snapshot(at(6))
    assert snapshot.gpus[0].throttled_seconds == {"power": pytest.approx(1.0)}
    assert snapshot.samples_rejected["outlier"] == 3


def test_a_value_that_is_absurd_from_the_start_is_not_born() -> None:
    assert throttled(-1.0) == {}


def test_seconds_without_a_change_leave_room_for_none() -> None:
    assert throttled(5.0, 5.0, 5.0, 5.0, 8.5) == {"power": 0.0}


def test_each_reason_and_each_direction_is_a_counter_of_its_own() -> None:
    readings = [
        GpuSample(
            GPU,
            at(i),
            100.0,
            throttled_thermal_seconds=0.5 * i,
            throttled_other_seconds=0.25 * i,
            pcie_transmitted_bytes=7 + 10**9 * i,
            pcie_received_bytes=2**53 + 3 * i,
        )
        for i in range(5)
    ]
    one = facts(GpuIdentity(GPU), readings, end=5)
    assert one.throttled_seconds == {"thermal": pytest.approx(2.0), "other": pytest.approx(1.0)}
    assert (one.pcie_transmitted_bytes, one.pcie_received_bytes) == (4 * 10**9, 12)
    absent = facts(GpuIdentity(GPU), samples(5), end=5)
    assert (absent.throttled_seconds, absent.pcie_transmitted_bytes, absent.pcie_received_bytes) == ({}, None, None)


def test_more_bytes_than_a_wire_carries_are_an_outlier() -> None:
    book = ledger()
    book.add_samples(told(0, 10**13, 10**13 + 5, name="pcie_received_bytes"))
    snapshot = book.snapshot(at(3))
    assert (snapshot.gpus[0].pcie_received_bytes, snapshot.samples_rejected["outlier"]) == (5, 1)


# --- states ------------------------------------------------------------------------------------------------------------------------
def states(book: Ledger, second: float, device: int = 0) -> dict[str, float]:
    counted = book.snapshot(at(second)).gpus[device].state_seconds
    return {state: pytest.approx(seconds) for state, seconds in counted.items() if seconds > 1e-9}


def test_a_device_that_hangs_is_unknown_from_its_last_sample_on_even_while_its_server_computes() -> None:
    book = ledger(gpus=(GPU, "GPU-1"))
    book.add(batch([Inference(0, 60)]), at(60))
    book.add_samples([*samples(60, utilisation=1.0), *samples(20, uuid="GPU-1", utilisation=1.0)])
    book.finish(at(60))
    assert states(book, 60) == {"active": 60}
    assert states(book, 60, device=1) == {"active": 20, "unknown": 40}


def test_a_source_that_comes_back_with_the_same_devices_goes_on_counting() -> None:
    book = ledger(config(gpu=Gpu(stale_after=5.0)), offline=False)
    book.add_samples(samples(20, watts=100.0))
    book.gpus_changed([GpuIdentity(GPU, power_limit_watts=300.0)])
    fresh = [replace(one, energy_joules=100.0 * i) for i, one in enumerate(samples(60, start=40, watts=100.0))]
    book.add_samples(fresh)
    snapshot = book.snapshot(at(60))
    assert snapshot.gpus[0].energy_joules == pytest.approx(100 * 20 + 100 * 20)
    assert (snapshot.samples_rejected["reset"], snapshot.samples_rejected["outlier"]) == (1, 0)
    assert snapshot.gpus[0].identity.power_limit_watts == 300.0


@pytest.mark.parametrize("away", [2, 50, 300])
@pytest.mark.parametrize("counter", [True, False])
def test_what_a_device_uses_while_it_is_another_servers_is_not_this_ones(away: int, *, counter: bool) -> None:
    """Its counter goes on meanwhile; two sidecars between which it is passed to and fro count each joule once."""
    book = ledger(offline=False)
    for second in range(801):
        if second in (100, 100 + away):
            book.gpus_changed([GpuIdentity(GPU)] if second > 100 else [])
        if not 100 <= second < 100 + away:
            energy = 1e6 + 100.0 * second if counter else None
            book.add_samples([GpuSample(GPU, at(second), 100.0, energy, utilisation_ratio=0.0)])
        book.advance(at(second), S if second else 0)
    book.finish(at(800))
    energy = of_model(book.snapshot(at(800)), "unknown").energy_joules
    assert sum(energy.values()) == pytest.approx(100.0 * (99 + 700 - away))


def test_a_limit_that_a_reopened_source_no_longer_tells_is_still_the_last_word() -> None:
    book = ledger(gpus=())
    book.gpus_changed([GpuIdentity(GPU, power_limit_watts=72.0)])
    book.gpus_changed([GpuIdentity(GPU)])
    book.add_samples([GpuSample(GPU, at(0), 70.0, 0.0), GpuSample(GPU, at(1), 70.0, 500.0)])
    snapshot = book.snapshot(at(1))
    assert (snapshot.gpus[0].energy_joules, snapshot.samples_rejected["outlier"]) == (pytest.approx(70.0), 1)


def test_a_sample_that_is_late_is_left_out_and_counted_as_misread() -> None:
    book = ledger()
    book.add_samples([*samples(10), GpuSample(GPU, at(9.5), 10_000.0, share_ratio=0.5)])
    snapshot = book.snapshot(at(10))
    assert snapshot.samples_rejected["read"] == 1
    assert snapshot.gpus[0].identity.share_ratio == 1.0
    assert snapshot.gpus[0].last_sample_ns == at(10)


def test_an_absurd_sample_gives_birth_to_no_energy() -> None:
    book = ledger()
    book.add_samples([GpuSample(GPU, at(0), -1.0)])
    assert book.snapshot(at(0)).gpus[0].energy_joules is None


# --- baselines ---------------------------------------------------------------------------------------------------------------------
def test_a_modelled_power_teaches_no_baseline_unless_the_device_is_simulated_as_a_whole() -> None:
    readings = samples(90, watts=80.0)
    assert facts(GpuIdentity(GPU, energy="modelled"), readings, end=90).baseline_watts is None
    assert facts(GpuIdentity(GPU, energy="modelled", source="simulated"), readings, end=90).baseline_watts == 80.0
    assert facts(GpuIdentity(GPU, energy="integrated"), readings, end=90).baseline_watts == 80.0


def test_a_device_that_comes_and_goes_within_a_tick_was_never_there() -> None:
    book = ledger(gpus=(), offline=False)
    book.gpus_changed([GpuIdentity(GPU)])
    book.gpus_changed([])
    book.advance(at(1), S)
    book.finish(at(1))
    assert sum(book.snapshot(at(1)).gpus[0].state_seconds.values()) == 0

"""GPUs that don't exist, and say so."""

from __future__ import annotations

import pytest

from infermeter.config import SimulatedGpu
from infermeter.gpu.simulated import DELAY_NS, SimulatedSource
from infermeter.gpu.source import every

SECOND = 10**9
SETTINGS = SimulatedGpu(gpus=2, idle_watts=70.0, peak_watts=350.0)


def simulated(*shares: float) -> tuple[SimulatedSource, list[tuple[int, int]]]:
    """A source that is told these shares one after the other, and the intervals that it asked for."""
    asked: list[tuple[int, int]] = []
    told = iter(shares)

    def busy_share(begin_ns: int, end_ns: int) -> float:
        asked.append((begin_ns, end_ns))
        return next(told)

    return SimulatedSource(SETTINGS, busy_share=busy_share, choose=every), asked


def test_its_devices_are_labelled_as_what_they_are() -> None:
    source, _ = simulated()
    identities = source.open()
    assert [identity.uuid for identity in identities] == ["simulated-0", "simulated-1"]
    assert {(identity.source, identity.energy, identity.product) for identity in identities} == {("simulated", "modelled", "simulated")}


def test_power_follows_the_share_of_the_time_since_the_last_reading() -> None:
    source, asked = simulated(0.0, 0.5, 1.0)
    source.open()
    watts = [sample.power_watts for second in range(6) for sample in source.read(second * SECOND)[:1]]
    assert watts == [70.0, 210.0, 350.0]
    assert asked == [(second * SECOND, (second + 1) * SECOND) for second in range(3)]


def test_a_reading_speaks_of_the_time_of_which_all_has_been_told_and_bears_it() -> None:
    source, asked = simulated(0.0)
    source.open()
    assert [len(source.read(10 * SECOND + late)) for late in (0, SECOND, DELAY_NS)] == [0, 0, 0]
    assert [sample.time_ns for sample in source.read(10 * SECOND + DELAY_NS + 1)] == [10 * SECOND + 1] * 2
    assert asked == [(10 * SECOND, 10 * SECOND + 1)]


def test_energy_is_power_integrated_over_time() -> None:
    source, _ = simulated(0.5, 1.0)
    source.open()
    source.read(10 * SECOND)
    joules = [source.read(instant * SECOND + DELAY_NS)[1].energy_joules for instant in (11, 14)]
    assert joules == [210.0, 210.0 + 3 * 350.0]


def test_utilisation_is_the_busy_share_and_memory_stays() -> None:
    source, _ = simulated(0.25)
    source.open()
    source.read(0)
    sample = source.read(SECOND + DELAY_NS)[0]
    assert sample.utilisation_ratio == 0.25
    assert sample.memory_used_bytes == 16 * 2**30
    assert sample.temperature_celsius is None


def test_a_clock_that_was_set_back_adds_no_energy() -> None:
    source, asked = simulated(1.0)
    source.open()
    source.read(10 * SECOND)
    assert not source.read(5 * SECOND)
    assert source.read(6 * SECOND + DELAY_NS)[0].energy_joules == pytest.approx(350.0)
    assert asked == [(5 * SECOND, 6 * SECOND)]


def test_it_rejects_nothing_and_can_be_closed_and_opened_again() -> None:
    source, _ = simulated()
    source.open()
    source.close()
    assert len(source.open()) == 2
    assert source.rejected == {}

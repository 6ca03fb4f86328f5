"""Estimates for devices that tell neither energy nor power."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.gpu.estimate import EstimatedSource
from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection
from support.ledgers import at, ledger

SILENT = GpuIdentity("GPU-0", index=0, product="NVIDIA L4", power_limit_watts=60.0)


class Devices:
    """A source that says what the test says."""

    name = "nvml"
    asking: str | None = "GPU-7"
    rejected: Mapping[Rejection, int] = {"read": 3}

    def __init__(self, *identities: GpuIdentity, samples: Sequence[GpuSample | HostSample] = ()) -> None:
        self.identities = identities
        self.samples = samples
        self.closed = 0

    def open(self) -> tuple[GpuIdentity, ...]:
        return self.identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample | HostSample]:  # noqa: ARG002
        return [sample for sample in self.samples if not (isinstance(sample, GpuSample) and sample.uuid in without)]

    def close(self) -> None:
        self.closed += 1


def estimated(identity: GpuIdentity, *samples: GpuSample | HostSample) -> EstimatedSource:
    source = EstimatedSource(Devices(identity, samples=samples))
    source.open()
    return source


def watts(source: EstimatedSource) -> float | None:
    (sample,) = source.read(0)
    assert isinstance(sample, GpuSample)
    return sample.power_watts


def test_a_device_that_tells_nothing_is_labelled_as_modelled_and_others_are_not() -> None:
    measured = replace(SILENT, uuid="GPU-1", energy="counter")
    mig = replace(SILENT, uuid="MIG-1", energy="modelled")
    source = EstimatedSource(Devices(SILENT, measured, mig))
    assert source.open() == (replace(SILENT, energy="modelled"), measured, mig)


@given(st.floats(0, 1), st.floats(1, 2000))
def test_the_estimate_is_limit_times_utilisation(utilisation: float, limit: float) -> None:
    source = estimated(replace(SILENT, power_limit_watts=limit), GpuSample("GPU-0", 0, utilisation_ratio=utilisation))
    assert watts(source) == pytest.approx(limit * utilisation)


def test_a_limit_that_changed_is_followed() -> None:
    assert watts(estimated(SILENT, GpuSample("GPU-0", 0, utilisation_ratio=0.5, power_limit_watts=40.0))) == 20.0


@pytest.mark.parametrize("limit", [None, 0.0])
def test_a_device_that_tells_no_limit_has_that_of_its_kind(limit: float | None) -> None:
    assert watts(estimated(replace(SILENT, power_limit_watts=limit), GpuSample("GPU-0", 0, utilisation_ratio=0.5))) == 36.0


def test_one_of_two_devices_of_a_board_has_half_of_its_limit() -> None:
    die = replace(SILENT, product="AMD Instinct MI250X", power_limit_watts=None)
    assert watts(estimated(die, GpuSample("GPU-0", 0, utilisation_ratio=1.0))) == 280.0


@pytest.mark.parametrize("told", [{"power_watts": 12.0}, {"energy_joules": 12.0}])
def test_what_is_told_after_all_stays_as_it_is(told: dict[str, float]) -> None:
    sample = GpuSample("GPU-0", 0, utilisation_ratio=0.5, **told)  # type: ignore[arg-type]
    assert estimated(SILENT, sample).read(0) == [sample]


def test_without_utilisation_there_is_no_estimate() -> None:
    assert watts(estimated(SILENT, GpuSample("GPU-0", 0))) is None


@pytest.mark.parametrize("product", [None, "NVIDIA L4 MIG 1g.3gb"])
def test_without_a_known_limit_there_is_no_estimate_and_one_line(product: str | None, caplog: pytest.LogCaptureFixture) -> None:
    unknown = replace(SILENT, product=product, power_limit_watts=None)
    sample = GpuSample("GPU-0", 0, utilisation_ratio=0.5)
    source = EstimatedSource(Devices(unknown, samples=[sample]))
    with caplog.at_level(logging.INFO):
        assert source.open() == source.open() == (unknown,)
    assert [record.getMessage() for record in caplog.records] == [
        "no estimate of power for GPU-0: neither the device nor the catalogue tells a power limit"
    ]
    assert source.read(0) == [sample]


def test_other_devices_and_the_host_stay_as_they_are() -> None:
    others = [GpuSample("GPU-9", 0, utilisation_ratio=0.5), HostSample(0, power_watts=9.0)]
    assert estimated(SILENT, *others).read(0) == others


def test_for_the_rest_it_is_the_source_that_it_stands_before() -> None:
    devices = Devices(SILENT, samples=[GpuSample("GPU-0", 0)])
    source = EstimatedSource(devices)
    source.open()
    source.close()
    assert (source.name, source.asking, source.rejected, devices.closed) == ("nvml", "GPU-7", {"read": 3}, 1)
    assert source.read(0, without={"GPU-0"}) == []


def test_an_estimate_is_energy_that_the_ledger_calls_modelled() -> None:
    readings = [GpuSample("GPU-0", at(second), utilisation_ratio=0.5) for second in range(61)]
    source = estimated(SILENT, *readings)
    book = ledger(gpus=())
    book.gpus_changed(source.open())
    book.add_samples(sample for sample in source.read(0) if isinstance(sample, GpuSample))
    (device,) = book.snapshot(at(61)).gpus
    assert (device.identity.energy, device.energy_joules) == ("modelled", pytest.approx(60 * 60.0 * 0.5))

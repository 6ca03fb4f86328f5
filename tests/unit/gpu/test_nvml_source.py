"""NVML, with a binding that behaves as the devices of each test do."""

from __future__ import annotations

import pynvml
import pytest

from infermeter.config import GpuChoice
from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.choice import chosen
from infermeter.gpu.nvml import NvmlSource
from infermeter.gpu.source import Choose, every
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.nvml_library import GIB, LOST, NOT_SUPPORTED, UNKNOWN, Device, Library


def source_of(library: Library, *, hardware: bool = False, choose: Choose = every) -> NvmlSource:
    return NvmlSource(hardware=hardware, choose=choose, library=library)


def test_a_device_is_identified() -> None:
    assert source_of(Library(Device("GPU-a"))).open() == (
        GpuIdentity(
            "GPU-a",
            index=0,
            product="NVIDIA H100 80GB HBM3",
            driver_version="580.65.06",
            source="nvml",
            energy="counter",
            memory_total_bytes=80 * GIB,
            power_limit_watts=700.0,
        ),
    )


def test_readings_are_in_watts_joules_ratios_and_bytes() -> None:
    source = source_of(Library(Device("GPU-a")))
    source.open()
    assert source.read(5) == [
        GpuSample(
            "GPU-a",
            5,
            power_watts=112.5,
            energy_joules=5000.25,
            utilisation_ratio=0.57,
            memory_used_bytes=16 * GIB,
            memory_total_bytes=80 * GIB,
        )
    ]


def test_temperature_clock_and_limit_are_read_where_they_are_wanted() -> None:
    source = source_of(Library(Device("GPU-a")), hardware=True)
    source.open()
    sample = source.read(5)[0]
    assert (sample.temperature_celsius, sample.sm_clock_hertz, sample.power_limit_watts) == (41.0, 1980e6, 700.0)


def test_what_a_device_does_not_support_is_absent_and_asked_for_once() -> None:
    device = Device(
        "GPU-a",
        fails={
            "nvmlDeviceGetTotalEnergyConsumption": NOT_SUPPORTED,
            "nvmlDeviceGetUtilizationRates": pynvml.NVML_ERROR_NO_PERMISSION,
        },
    )
    source = source_of(Library(device))
    assert source.open()[0].energy == "integrated"
    samples = [source.read(instant)[0] for instant in range(3)]
    assert {(sample.energy_joules, sample.utilisation_ratio, sample.power_watts) for sample in samples} == {(None, None, 112.5)}
    assert device.asked.count("nvmlDeviceGetTotalEnergyConsumption") == 1
    assert source.rejected == {}


def test_a_device_that_tells_neither_power_nor_energy_is_there_all_the_same() -> None:
    missing = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetName")
    source = source_of(Library(Device("GPU-a", fails=dict.fromkeys(missing, NOT_SUPPORTED))))
    identity = source.open()[0]
    assert (identity.energy, identity.power_limit_watts, identity.product) == (None, None, None)
    assert source.read(0)[0].power_watts is None


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH])
def test_an_old_driver_tells_its_memory_the_old_way(error: int) -> None:
    source = source_of(Library(Device("GPU-a", fails={"memory_v2": error})))
    source.open()
    assert source.read(0)[0].memory_used_bytes == 17 * GIB


def test_a_device_that_fails_does_not_hide_the_others_and_is_counted() -> None:
    failing = Device("GPU-b")
    source = source_of(Library(Device("GPU-a"), failing, Device("GPU-c")))
    source.open()
    failing.fails["memory_v2"] = UNKNOWN
    assert [sample.uuid for sample in source.read(1)] == ["GPU-a", "GPU-c"]
    del failing.fails["memory_v2"]
    assert [sample.uuid for sample in source.read(2)] == ["GPU-a", "GPU-b", "GPU-c"]
    assert source.rejected == {"read": 1}


def test_an_absurd_value_is_rejected_and_counted_and_the_others_count() -> None:
    source = source_of(Library(Device("GPU-a", milliwatts=2**32 - 1)))
    source.open()
    sample = source.read(0)[0]
    assert (sample.power_watts, sample.utilisation_ratio) == (None, 0.57)
    assert source.rejected == {"outlier": 1}


def test_when_no_device_answers_the_source_is_unavailable() -> None:
    device = Device("GPU-a")
    source = source_of(Library(device))
    source.open()
    device.everything = LOST
    with pytest.raises(GpuUnavailable, match="GPU is lost"):
        source.read(0)


def test_a_device_that_does_not_answer_at_the_start_does_not_hide_the_others() -> None:
    source = source_of(Library(Device("GPU-a", everything=LOST), Device("GPU-b")))
    assert [(identity.uuid, identity.index) for identity in source.open()] == [("GPU-b", 1)]
    assert source.rejected == {"read": 1}


def test_without_library_or_driver_the_source_is_unavailable() -> None:
    with pytest.raises(GpuUnavailable, match="Driver Not Loaded"):
        source_of(Library(init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)).open()


def test_a_library_that_sees_no_device_answers_all_the_same() -> None:
    source = source_of(Library())
    assert source.open() == ()
    assert source.read(0) == []


def test_when_no_device_answers_at_the_start_the_source_is_unavailable() -> None:
    with pytest.raises(GpuUnavailable, match="no GPU answers"):
        source_of(Library(Device("GPU-a", everything=LOST))).open()


def test_a_driver_that_does_not_tell_its_version_is_no_obstacle() -> None:
    assert source_of(Library(Device("GPU-a"), driver=UNKNOWN)).open()[0].driver_version is None


def choosing(name: str | int) -> Choose:
    return lambda seen: chosen(seen.identities, (GpuChoice(name),), {})


def test_only_the_chosen_devices_are_read() -> None:
    other = Device("GPU-a")
    source = source_of(Library(other, Device("GPU-b")), choose=choosing("GPU-b"))
    source.open()
    other.asked.clear()
    assert [sample.uuid for sample in source.read(0)] == ["GPU-b"]
    assert other.asked == []


def test_a_choice_that_no_device_answers_to_is_the_operator_s_error() -> None:
    with pytest.raises(ConfigError, match=r"server\.gpus\[0\]"):
        source_of(Library(Device("GPU-a")), choose=choosing(1)).open()


def test_a_chosen_device_that_does_not_answer_is_unavailable_and_no_error_of_the_operator() -> None:
    with pytest.raises(GpuUnavailable, match=r"a GPU doesn't answer, and server\.gpus\[0\]"):
        source_of(Library(Device("GPU-a"), Device("GPU-b", everything=LOST)), choose=choosing(1)).open()


def test_the_library_is_let_go_of_once_however_often_it_is_closed() -> None:
    library = Library(Device("GPU-a"))
    source = source_of(library)
    source.close()
    source.open()
    assert library.open == 1
    source.close()
    source.close()
    assert library.open == 0

"""Which power a device tells, and what the driver recorded of it."""

from __future__ import annotations

import logging
from typing import Any

import pynvml
import pytest

from infermeter.errors import GpuUnavailable
from infermeter.gpu.nvml import NvmlSource
from infermeter.gpu.nvml.history import MOST, PowerHistory
from infermeter.gpu.source import every
from infermeter.model import GpuIdentity, GpuSample
from unit.gpu.nvml_library import LOST, NOT_SUPPORTED, UNKNOWN, Device, Library, sample_of

GPU, MODULE = pynvml.NVML_POWER_SCOPE_GPU, pynvml.NVML_POWER_SCOPE_MODULE
AVERAGE, INSTANT = pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_FI_DEV_POWER_INSTANT
BOTH = {(AVERAGE, GPU): 200_000, (INSTANT, GPU): 300_000}
SECOND_NS = 1_000_000_000
NO_COUNTER = {"nvmlDeviceGetTotalEnergyConsumption": NOT_SUPPORTED}


def opened(*devices: Device, interval_seconds: float = 1.0, hardware: bool = False) -> tuple[NvmlSource, tuple[GpuIdentity, ...]]:
    source = NvmlSource(hardware=hardware, choose=every, interval_seconds=interval_seconds, library=Library(*devices))
    return source, source.open()


@pytest.mark.parametrize(
    ("fields", "interval_seconds", "watts", "kind"),
    [
        (BOTH, 1.0, 200.0, "average"),
        (BOTH, 0.5, 300.0, "instant"),
        ({(INSTANT, GPU): 300_000}, 1.0, 300.0, "instant"),
        ({(AVERAGE, GPU): 200_000, (INSTANT, GPU): -NOT_SUPPORTED}, 0.5, 200.0, "average"),
        ({(AVERAGE, GPU): 0}, 1.0, 0.0, "average"),
        ({(AVERAGE, GPU): -NOT_SUPPORTED}, 1.0, 112.5, None),
    ],
)
def test_the_mean_is_taken_where_readings_are_as_far_apart_as_it_is_long(
    fields: dict[tuple[int, int], int], interval_seconds: float, watts: float, kind: str | None
) -> None:
    source, (identity,) = opened(Device("GPU-a", fields=fields), interval_seconds=interval_seconds)
    assert (identity.power_kind, identity.power_scope) == (kind, "gpu")
    (sample,) = source.read(0)
    assert sample.power_watts == watts


@pytest.mark.parametrize(
    ("tells", "kind"),
    [
        ({}, None),
        ({"nvmlDeviceGetArchitecture": pynvml.NVML_DEVICE_ARCH_UNKNOWN}, None),
        ({"nvmlDeviceGetArchitecture": pynvml.NVML_DEVICE_ARCH_TURING}, "instant"),
        ({"nvmlDeviceGetArchitecture": pynvml.NVML_DEVICE_ARCH_ADA}, "average"),
        ({"nvmlDeviceGetArchitecture": pynvml.NVML_DEVICE_ARCH_AMPERE}, None),
        ({"nvmlDeviceGetArchitecture": pynvml.NVML_DEVICE_ARCH_AMPERE, "nvmlDeviceGetCudaComputeCapability": (8, 0)}, "instant"),
        ({"nvmlDeviceGetArchitecture": pynvml.NVML_DEVICE_ARCH_AMPERE, "nvmlDeviceGetCudaComputeCapability": (8, 6)}, "average"),
    ],
)
def test_what_the_plain_call_means_goes_by_architecture(tells: dict[str, Any], kind: str | None) -> None:
    assert opened(Device("GPU-a", tells=tells))[1][0].power_kind == kind


def test_power_of_the_module_is_called_so_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    modules = [Device(uuid, fields={(AVERAGE, MODULE): 500_000, (INSTANT, MODULE): 600_000}) for uuid in ("GPU-a", "GPU-b")]
    source, identities = opened(*modules, Device("GPU-c", fields=BOTH))
    source.close()
    source.open()
    assert [identity.power_scope for identity in identities] == ["module", "module", "gpu"]
    assert [sample.power_watts for sample in source.read(0)] == [500.0, 500.0, 200.0]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the power of GPU-a, GPU-b is its module's, with the CPU: the GPU's own isn't told"
    ]


def test_power_that_fails_just_now_is_absent_and_the_rest_is_there() -> None:
    device = Device("GPU-a", fields=dict(BOTH))
    source, _ = opened(device)
    device.fields[AVERAGE, GPU] = -UNKNOWN
    (sample,) = source.read(0)
    assert (sample.power_watts, sample.energy_joules) == (None, 5000.25)
    assert source.rejected == {}


def test_a_field_that_says_that_the_device_is_lost_is_believed() -> None:
    device = Device("GPU-a", fields=dict(BOTH))
    source, _ = opened(device, Device("GPU-b"))
    device.fields[AVERAGE, GPU] = -LOST
    assert [sample.uuid for sample in source.read(0)] == ["GPU-b"]
    assert source.rejected == {"read": 1}


# --- history ---------------------------------------------------------------------------------------------------------------------------
class Recorder:
    """A driver's history: readings (microseconds, milliwatts), of which those after the time asked for are told."""

    def __init__(self, *readings: tuple[int, int]) -> None:
        self.readings = list(readings)
        self.kind = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT

    def __call__(self, kind: int, since_us: int) -> Any:
        assert kind == pynvml.NVML_TOTAL_POWER_SAMPLES
        new = [sample_of(*reading) for reading in self.readings if reading[0] > since_us]
        if not new:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.kind, new


def recorded(recorder: Recorder) -> tuple[NvmlSource, Device]:
    device = Device("GPU-a", fails=dict(NO_COUNTER), tells={"nvmlDeviceGetSamples": recorder})
    return opened(device, interval_seconds=0.1)[0], device


def power(samples: Any) -> list[tuple[int, float | None]]:
    return [(sample.time_ns // 1_000, sample.power_watts) for sample in samples]


def test_what_the_driver_recorded_comes_once_in_order_and_none_from_before() -> None:
    recorder = Recorder((900_000, 1_000), (1_000_000, 2_000))
    source, _ = recorded(recorder)
    recorder.readings += [(1_200_000, 4_000), (1_100_000, 3_000)]
    samples = source.read(1_250_000_000)
    assert power(samples) == [(1_100_000, 3.0), (1_200_000, 4.0)]
    recorder.readings.append((1_300_000, 5_000))
    assert power(source.read(1_350_000_000)) == [(1_300_000, 5.0)]


def test_a_reading_speaks_for_every_instant_that_the_driver_recorded_since_the_one_before_and_for_none_of_long_ago() -> None:
    recorder = Recorder((900_000, 1_000))
    source, _ = recorded(recorder)
    recorder.readings += [(1_000_000, 3_000), (2_000_000, 4_000), (4_900_000, 5_000)]
    samples = source.read(5_000_000_000)
    assert [sample.utilisation_ratio for sample in samples] == [None, 0.57, 0.57]
    assert [sample.memory_used_bytes is None for sample in samples] == [True, False, False]


def test_between_two_readings_of_the_driver_nothing_is_told_and_after_a_second_the_plain_power() -> None:
    recorder = Recorder((1_000_000, 2_000))
    source, _ = recorded(recorder)
    recorder.readings.append((1_100_000, 3_000))
    assert len(source.read(1_100_000_000)) == 1
    assert source.read(1_200_000_000) == []
    assert source.rejected == {}
    assert power(source.read(2_100_000_000)) == [(2_100_000, 112.5)]
    recorder.readings += [(2_000_000, 6_000), (2_200_000, 7_000)]
    assert power(source.read(2_300_000_000)) == [(2_200_000, 7.0)], "none from before what was told"


def test_a_history_that_tells_nothing_leaves_the_plain_power() -> None:
    source, _ = recorded(Recorder())
    assert [power(source.read(now_ns)) for now_ns in (100_000_000, 200_000_000)] == [[(100_000, 112.5)], [(200_000, 112.5)]]


def test_readings_of_the_future_wait_and_those_of_another_clock_are_not_believed() -> None:
    recorder = Recorder()
    source, _ = recorded(recorder)
    recorder.readings = [(1_000, 1_000), (400_000_000, 2_000), (400_200_000, 3_000)]
    assert power(source.read(400_100_000_000)) == [(400_000_000, 2.0)]
    assert power(source.read(400_200_000_000)) == [(400_200_000, 3.0)]


def test_a_history_that_fails_leaves_the_plain_power() -> None:
    recorder = Recorder()
    source, device = recorded(recorder)
    device.fails["nvmlDeviceGetSamples"] = UNKNOWN
    assert power(source.read(100_000_000)) == [(100_000, 112.5)]


def test_a_history_in_a_unit_that_is_not_known_is_none() -> None:
    recorder = Recorder((100_000, 1))
    recorder.kind = pynvml.NVML_VALUE_TYPE_DOUBLE
    source, _ = recorded(recorder)
    recorder.readings.append((150_000, 1))
    assert power(source.read(200_000_000)) == [(200_000, 112.5)]


def test_of_a_long_history_the_newest_readings_are_taken() -> None:
    recorder = Recorder()
    history = PowerHistory(Library(), Device("GPU-a", tells={"nvmlDeviceGetSamples": recorder}))
    recorder.readings = [(second, second) for second in range(1, MOST + 11)]
    past = history.since_last(SECOND_NS)
    assert (len(past), past[0].time_ns, past[-1].time_ns) == (MOST, 11_000, (MOST + 10) * 1_000)


def test_an_absurd_reading_of_the_driver_is_rejected_and_its_time_stays() -> None:
    recorder = Recorder()
    source, _ = recorded(recorder)
    recorder.readings = [(100_000, 2**32 - 1), (110_000, 4_000)]
    absurd = source.read(120_000_000)[0]
    assert (absurd.time_ns, absurd.power_watts, absurd.utilisation_ratio) == (100_000_000, None, 0.57)
    assert source.rejected == {"outlier": 1}


# --- what comes with power -------------------------------------------------------------------------------------------------------------
FIELDS = {
    (pynvml.NVML_FI_DEV_PERF_POLICY_POWER, 0): 4_000_000_000,
    (pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN, 0): 500_000_000,
    (pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, 0): 2_000_000_000,
    (pynvml.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST, 0): 1_000_000_000,
    (pynvml.NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION, 0): 77_000_000_000,
    (pynvml.NVML_FI_DEV_PERF_POLICY_RELIABILITY, 0): 77_000_000_000,
    (pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES, 0): 11,
    (pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES, 0): 22,
}


def throttled(sample: GpuSample) -> tuple[float | None, float | None, float | None]:
    return sample.throttled_power_seconds, sample.throttled_thermal_seconds, sample.throttled_other_seconds


def test_throttling_is_in_seconds_by_reason_and_idling_is_none() -> None:
    source, _ = opened(Device("GPU-a", fields=FIELDS))
    assert throttled(source.read(0)[0]) == (4.5, 2.0, 1.0)


def test_one_thermal_counter_is_preferred_to_its_parts() -> None:
    source, _ = opened(Device("GPU-a", fields=FIELDS | {(pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL, 0): 3_000_000_000}))
    assert throttled(source.read(0)[0])[1] == 3.0


def test_a_reason_of_which_a_part_is_missing_this_time_is_absent() -> None:
    device = Device("GPU-a", fields=dict(FIELDS))
    source, _ = opened(device)
    device.fields[pynvml.NVML_FI_DEV_PERF_POLICY_POWER, 0] = -UNKNOWN
    assert throttled(source.read(0)[0]) == (None, 2.0, 1.0)


def test_policies_stand_in_for_the_fields_that_do_not_answer() -> None:
    def violation(policy: int) -> Any:
        if policy == pynvml.NVML_PERF_POLICY_BOARD_LIMIT:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        status = pynvml.c_nvmlViolationTime_t()
        status.violationTime = 10**9 * (policy + 1)
        return status

    device = Device("GPU-a", fields={(pynvml.NVML_FI_DEV_PERF_POLICY_POWER, 0): 9}, tells={"nvmlDeviceGetViolationStatus": violation})
    source, _ = opened(device)
    assert throttled(source.read(0)[0]) == (9e-9, 2.0, 3.0)
    device.fails["nvmlDeviceGetViolationStatus"] = NOT_SUPPORTED
    assert throttled(source.read(1)[0]) == (9e-9, None, None)


@pytest.mark.parametrize(("hardware", "bytes_told"), [(True, (11, 22)), (False, (None, None))])
def test_pcie_is_told_where_hardware_is_wanted(*, hardware: bool, bytes_told: tuple[int | None, int | None]) -> None:
    source, _ = opened(Device("GPU-a", fields=FIELDS), hardware=hardware)
    (sample,) = source.read(0)
    assert (sample.pcie_transmitted_bytes, sample.pcie_received_bytes) == bytes_told


def test_all_fields_are_asked_for_with_one_call() -> None:
    device = Device("GPU-a", fields=FIELDS | BOTH)
    source, _ = opened(device, hardware=True)
    device.asked.clear()
    source.read(0)
    assert device.asked.count("nvmlDeviceGetFieldValues") == 1
    assert "nvmlDeviceGetPowerUsage" not in device.asked


def test_an_error_of_what_is_not_essential_costs_that_value_alone() -> None:
    device = Device("GPU-a", tells={"nvmlDeviceGetComputeRunningProcesses": []})
    source, _ = opened(device, hardware=True)
    device.fails["nvmlDeviceGetTemperature"] = UNKNOWN
    (sample,) = source.read(0)
    assert (sample.temperature_celsius, sample.computing_processes, sample.power_watts) == (None, 0, 112.5)
    del device.fails["nvmlDeviceGetTemperature"]
    assert source.read(1)[0].temperature_celsius == 41.0
    device.fails["nvmlDeviceGetTemperature"] = LOST
    with pytest.raises(GpuUnavailable, match="GPU is lost"):
        source.read(2)

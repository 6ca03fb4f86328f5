"""AMD's devices, with a binding that has the documented calls (Python API of AMD SMI 24.7 and 26.1) and behaves as each test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Any

import pytest

from infermeter.config import GpuChoice
from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.amd import AmdSource
from infermeter.gpu.choice import chosen
from infermeter.gpu.source import Choose, every
from infermeter.model import GpuIdentity, GpuSample

MIB = 2**20
NOT_SUPPORTED, NO_PERMISSION, BUSY = 2, 10, 30

MI300X: dict[str, Any] = {
    "asic_info": {"market_name": "AMD Instinct MI300X", "vendor_id": 0x1002},
    "driver_info": {"driver_name": "amdgpu", "driver_version": "6.10.5"},
    "power_info": {"socket_power": 512, "current_socket_power": 512, "average_socket_power": "N/A", "power_limit": 750},
    "energy_count": {"energy_accumulator": 2_000_000, "counter_resolution": 15.25, "timestamp": 1},
    "activity": {"gfx_activity": 87, "umc_activity": 40, "mm_activity": "N/A"},
    "vram_usage": {"vram_total": 196_592, "vram_used": 283},
    "temp_metric": 61,
    "clock_info": {"clk": 2100, "min_clk": 132, "max_clk": 2100},
    "power_cap_info": {"power_cap": 750_000_000, "max_power_cap": 750_000_000},
}
"""What a device answers to each call, as the documentation of 26.1 says."""


class AmdSmiException(Exception):
    """The binding's own errors; it has errors without a status too."""


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def get_error_code(self) -> int:
        return self.code


class AmdSmiTemperatureType(Enum):
    EDGE, HOTSPOT = 0, 1


class AmdSmiTemperatureMetric(Enum):
    CURRENT = 0


class AmdSmiClkType(Enum):
    SYS, GFX = 0, 1


@dataclass
class Device:
    """One device: `answers` replace those of an MI300X; an exception is raised. `everything` is raised by every call."""

    uuid: str
    answers: dict[str, Any] = field(default_factory=dict)
    everything: Exception | None = None
    asked: list[str] = field(default_factory=list)
    on_ask: Callable[[], None] = lambda: None

    def answer(self, call: str) -> Any:
        self.asked.append(call)
        self.on_ask()
        told = self.everything or self.answers.get(call, MI300X.get(call))
        if isinstance(told, Exception):
            raise told
        return told


class Binding:
    """The part of amdsmi that is used, over devices that are their own handles."""

    AmdSmiException = AmdSmiException
    AmdSmiTemperatureType = AmdSmiTemperatureType
    AmdSmiTemperatureMetric = AmdSmiTemperatureMetric
    AmdSmiClkType = AmdSmiClkType

    def __init__(self, *devices: Device, init: Exception | None = None, shut_down: Exception | None = None) -> None:
        self.devices = devices
        self.is_open = 0
        self.init, self.shut_down = init, shut_down

    def amdsmi_init(self) -> None:
        if self.init is not None:
            raise self.init
        self.is_open += 1

    def amdsmi_shut_down(self) -> None:
        self.is_open -= 1
        if self.shut_down is not None:
            raise self.shut_down

    def amdsmi_get_processor_handles(self) -> list[Device]:
        return list(self.devices)

    def amdsmi_get_gpu_device_uuid(self, device: Device) -> str:
        device.answer("uuid")
        return device.uuid

    def amdsmi_get_gpu_asic_info(self, device: Device) -> Any:
        return device.answer("asic_info")

    def amdsmi_get_gpu_driver_info(self, device: Device) -> Any:
        return device.answer("driver_info")

    def amdsmi_get_power_info(self, device: Device) -> Any:
        return device.answer("power_info")

    def amdsmi_get_energy_count(self, device: Device) -> Any:
        return device.answer("energy_count")

    def amdsmi_get_gpu_activity(self, device: Device) -> Any:
        return device.answer("activity")

    def amdsmi_get_gpu_vram_usage(self, device: Device) -> Any:
        return device.answer("vram_usage")

    def amdsmi_get_temp_metric(self, device: Device, kind: AmdSmiTemperatureType, metric: AmdSmiTemperatureMetric) -> Any:
        assert (kind, metric) == (AmdSmiTemperatureType.HOTSPOT, AmdSmiTemperatureMetric.CURRENT)
        return device.answer("temp_metric")

    def amdsmi_get_clock_info(self, device: Device, kind: AmdSmiClkType) -> Any:
        assert kind is AmdSmiClkType.GFX
        return device.answer("clock_info")

    def amdsmi_get_power_cap_info(self, device: Device) -> Any:
        return device.answer("power_cap_info")


def source_of(*devices: Device, hardware: bool = False, choose: Choose = every) -> AmdSource:
    return AmdSource(hardware=hardware, choose=choose, binding=lambda: Binding(*devices))


def opened(*devices: Device, hardware: bool = False) -> AmdSource:
    source = source_of(*devices, hardware=hardware)
    source.open()
    return source


def sample_of(**answers: Any) -> GpuSample:
    (sample,) = opened(Device("GPU-a", answers), hardware=True).read(7)
    return sample


def test_a_device_says_what_it_is() -> None:
    assert source_of(Device("GPU-a")).open() == (
        GpuIdentity(
            "GPU-a",
            index=0,
            product="AMD Instinct MI300X",
            driver_version="6.10.5",
            source="amd",
            energy="counter",
            memory_total_bytes=196_592 * MIB,
            power_limit_watts=750.0,
            power_kind="instant",
        ),
    )


def test_values_come_in_the_units_of_a_sample() -> None:
    assert sample_of() == GpuSample(
        "GPU-a",
        7,
        power_watts=512,
        energy_joules=30.5,
        utilisation_ratio=pytest.approx(0.87),
        memory_used_bytes=283 * MIB,
        memory_total_bytes=196_592 * MIB,
        temperature_celsius=61,
        sm_clock_hertz=2.1e9,
        power_limit_watts=750.0,
    )


def test_without_hardware_neither_limit_nor_temperature_nor_clock_is_asked_for() -> None:
    device = Device("GPU-a")
    source = opened(device)
    device.asked.clear()
    (sample,) = source.read(7)
    assert (sample.power_limit_watts, sample.temperature_celsius, sample.sm_clock_hertz) == (None, None, None)
    assert device.asked == ["power_info", "energy_count", "activity", "vram_usage"]


def test_older_names_and_units_are_understood() -> None:
    sample = sample_of(
        power_info={"current_socket_power": "N/A", "average_socket_power": 210},
        energy_count={"power": 4_000_000, "counter_resolution": 15.25},
        temp_metric=61_000,
        clock_info={"cur_clk": 1700},
        power_cap_info={"power_cap": 300},
    )
    assert (sample.power_watts, sample.energy_joules) == (210, 61.0)
    assert (sample.temperature_celsius, sample.sm_clock_hertz, sample.power_limit_watts) == (61.0, 1.7e9, 300)


@pytest.mark.parametrize(
    ("power_info", "kind"),
    [
        ({"current_socket_power": 5, "average_socket_power": "N/A"}, "instant"),
        ({"current_socket_power": 0xFFFF_FFFF, "average_socket_power": 5}, "average"),
        ({"current_socket_power": "N/A", "average_socket_power": "N/A"}, None),
    ],
)
def test_a_mean_and_an_instant_are_told_apart(power_info: dict[str, Any], kind: str | None) -> None:
    (identity,) = source_of(Device("GPU-a", {"power_info": power_info})).open()
    assert identity.power_kind == kind


@pytest.mark.parametrize(
    ("call", "answer", "absent"),
    [
        ("power_info", {"current_socket_power": "N/A", "average_socket_power": 0xFFFF}, "power_watts"),
        ("energy_count", {"energy_accumulator": 0xFFFF_FFFF_FFFF_FFFF, "counter_resolution": 15.25}, "energy_joules"),
        ("energy_count", {"energy_accumulator": 5, "counter_resolution": 0.0}, "energy_joules"),
        ("activity", {"gfx_activity": "N/A"}, "utilisation_ratio"),
        ("vram_usage", {"vram_total": "N/A", "vram_used": 5}, "memory_total_bytes"),
        ("temp_metric", "N/A", "temperature_celsius"),
        ("clock_info", {"clk": "N/A"}, "sm_clock_hertz"),
        ("power_cap_info", {"power_cap": 0}, "power_limit_watts"),
    ],
)
def test_what_is_not_told_is_absent_and_no_loss(call: str, answer: Any, absent: str) -> None:
    source = opened(Device("GPU-a", {call: answer}), hardware=True)
    (sample,) = source.read(7)
    assert getattr(sample, absent) is None
    assert source.rejected == {}


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION])
def test_what_a_device_does_not_support_is_not_asked_for_again(code: int) -> None:
    device = Device("GPU-a", {"energy_count": AmdSmiLibraryException(code)})
    source = source_of(device)
    (identity,) = source.open()
    assert identity.energy == "integrated"
    device.asked.clear()
    assert source.read(7)[0].energy_joules is None
    assert "energy_count" not in device.asked
    assert source.rejected == {}


def test_a_device_that_tells_neither_energy_nor_power_says_so() -> None:
    device = Device("GPU-a", dict.fromkeys(("energy_count", "power_info"), AmdSmiLibraryException(NOT_SUPPORTED)))
    (identity,) = source_of(device).open()
    assert (identity.energy, identity.power_kind) == (None, None)


def test_product_and_driver_may_be_unknown() -> None:
    device = Device("GPU-a", {"asic_info": {"market_name": "N/A"}, "driver_info": AmdSmiLibraryException(BUSY)})
    (identity,) = source_of(device).open()
    assert (identity.product, identity.driver_version) == (None, None)


def test_an_absurd_value_is_rejected_and_counted() -> None:
    source = opened(Device("GPU-a", {"activity": {"gfx_activity": 250}}))
    assert source.read(7)[0].utilisation_ratio is None
    assert source.rejected == {"outlier": 1}


def test_a_device_in_trouble_hides_no_other() -> None:
    broken = Device("GPU-a")
    source = opened(broken, Device("GPU-b"))
    broken.everything = AmdSmiLibraryException(BUSY)
    assert [sample.uuid for sample in source.read(7)] == ["GPU-b"]
    assert source.rejected == {"read": 1}


def test_a_device_that_fails_at_the_start_hides_no_other() -> None:
    source = source_of(Device("GPU-a", everything=AmdSmiException("no status")), Device("GPU-b"))
    assert [(identity.uuid, identity.index) for identity in source.open()] == [("GPU-b", 1)]
    assert source.rejected == {"read": 1}


@pytest.mark.parametrize(("error", "reason"), [(AmdSmiLibraryException(BUSY), "status 30"), (AmdSmiException("quoted"), "AmdSmiException")])
def test_when_no_device_answers_the_source_is_unavailable(error: Exception, reason: str) -> None:
    device = Device("GPU-a")
    source = opened(device)
    device.everything = error
    with pytest.raises(GpuUnavailable, match=rf"^AMD SMI: {reason}$"):
        source.read(7)
    with pytest.raises(GpuUnavailable, match=r"^AMD SMI: no GPU answers$"):
        source_of(device).open()


def test_a_device_that_is_not_to_be_asked_is_not() -> None:
    silent = Device("GPU-a")
    source = opened(silent, Device("GPU-b"))
    silent.asked.clear()
    assert [sample.uuid for sample in source.read(7, without={"GPU-a"})] == ["GPU-b"]
    assert silent.asked == []


def test_the_device_that_is_asked_is_known_while_it_is() -> None:
    device = Device("GPU-a")
    source = opened(device)
    told: list[str | None] = []
    device.on_ask = lambda: told.append(source.asking)
    source.read(7)
    assert set(told) == {"GPU-a"}
    assert source.asking is None


def test_only_the_chosen_devices_are_read() -> None:
    other = Device("GPU-b")
    source = source_of(Device("GPU-a"), other, choose=lambda seen: chosen(seen.identities, [GpuChoice("GPU-a")], {}))
    source.open()
    other.asked.clear()
    assert [sample.uuid for sample in source.read(7)] == ["GPU-a"]
    assert other.asked == []


def never(_: Any) -> tuple[GpuIdentity, ...]:
    raise ConfigError("server.gpus[0]", "no GPU 'x' here")


def test_a_device_that_is_not_there_is_the_operators_error() -> None:
    with pytest.raises(ConfigError, match="no GPU 'x' here"):
        source_of(Device("GPU-a"), choose=never).open()


def test_a_device_that_is_not_seen_may_be_one_that_does_not_answer() -> None:
    with pytest.raises(GpuUnavailable, match=r"^AMD SMI: a GPU doesn't answer, and server\.gpus\[0\]: no GPU 'x' here$"):
        source_of(Device("GPU-a"), Device("GPU-b", everything=AmdSmiLibraryException(BUSY)), choose=never).open()


def test_a_machine_without_devices_has_none() -> None:
    assert source_of().open() == ()


def test_without_the_binding_it_says_what_to_install() -> None:
    with pytest.raises(GpuUnavailable, match=r"amdsmi can't be loaded \(ModuleNotFoundError\); install ROCm's amd-smi-lib"):
        AmdSource(hardware=False, choose=every, binding=lambda: import_module("amdsmi_that_is_not_there")).open()


def test_without_the_library_it_says_what_to_install() -> None:
    def binding() -> Any:
        raise OSError("libamd_smi.so: cannot open shared object file")

    with pytest.raises(GpuUnavailable, match=r"amdsmi can't be loaded \(OSError\); install ROCm's amd-smi-lib"):
        AmdSource(hardware=False, choose=every, binding=binding).open()


def test_without_the_driver_it_is_unavailable_and_closing_is_harmless() -> None:
    binding = Binding(init=AmdSmiLibraryException(34))
    source = AmdSource(hardware=False, choose=every, binding=lambda: binding)
    with pytest.raises(GpuUnavailable, match=r"^AMD SMI: status 34$"):
        source.open()
    source.close()
    assert binding.is_open == 0


@pytest.mark.parametrize("shut_down", [None, AmdSmiLibraryException(BUSY)])
def test_the_library_is_let_go_of_once(shut_down: Exception | None) -> None:
    binding = Binding(Device("GPU-a"), shut_down=shut_down)
    source = AmdSource(hardware=False, choose=every, binding=lambda: binding)
    source.open()
    source.close()
    source.close()
    assert binding.is_open == 0
    assert source.read(7) == []

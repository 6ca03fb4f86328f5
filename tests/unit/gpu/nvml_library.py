"""A binding of NVML whose devices are as each test makes them: what a device isn't told to answer, it doesn't support."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 2**30
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
LOST = pynvml.NVML_ERROR_GPU_IS_LOST
UNKNOWN = pynvml.NVML_ERROR_UNKNOWN


@dataclass
class Device:
    """One device. `fails`: the NVML error of each call that fails; `everything` fails all of them. `tells`: what calls answer, a value
    or a function of their arguments. `fields`: what fields answer, by number and scope, as value or negative error; `silent` is all.
    """

    uuid: str
    fails: dict[str, int] = field(default_factory=dict)
    everything: int | None = None
    milliwatts: int = 112_500
    asked: list[str] = field(default_factory=list)
    tells: dict[str, Any] = field(default_factory=dict)
    fields: dict[tuple[int, int], int] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None

    def answer(self, call: str, value: Any) -> Any:
        self.before(call)
        self.asked.append(call)
        error = self.everything or self.fails.get(call)
        if error is not None:
            raise pynvml.NVMLError(error)
        return value

    def value(self, call: str, *arguments: Any) -> Any:
        known = {
            "nvmlDeviceGetUUID": self.uuid,
            "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetPowerUsage": self.milliwatts,
            "nvmlDeviceGetTotalEnergyConsumption": 5_000_250,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=57, memory=12),
            "nvmlDeviceGetTemperature": 41,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        } | self.tells
        value = self.answer(call, known.get(call))
        if call not in known:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        return value(*arguments) if callable(value) else value

    def told_fields(self, wanted: Sequence[tuple[int, int]]) -> Any:
        self.answer("nvmlDeviceGetFieldValues", None)
        if not self.fields:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        told = [field_value(self.fields.get(each, -pynvml.NVML_ERROR_INVALID_ARGUMENT)) for each in wanted]
        return (pynvml.c_nvmlFieldValue_t * len(told))(*told)


def field_value(told: int) -> Any:
    """One answer as the binding gives it: an unsigned long long, or the error."""
    answer = pynvml.c_nvmlFieldValue_t()
    answer.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    answer.nvmlReturn = -told if told < 0 else pynvml.NVML_SUCCESS
    answer.value.ullVal = max(told, 0)
    return answer


def sample_of(time_us: int, milliwatts: int) -> Any:
    """One reading of the driver's history."""
    sample = pynvml.c_nvmlSample_t()
    sample.timeStamp = time_us
    sample.sampleValue.uiVal = milliwatts
    return sample


def used(pid: int, time_us: int, per_cent: int) -> Any:
    """What one process used."""
    return SimpleNamespace(pid=pid, timeStamp=time_us, smUtil=per_cent)


def processes(*pids: int) -> Any:
    """Processes that compute."""
    return [SimpleNamespace(pid=pid) for pid in pids]


class Library:
    """The part of pynvml that is used, over devices that are their own handles."""

    def __init__(self, *devices: Device, init: int | None = None, driver: int | None = None) -> None:
        self.devices = devices
        self.open = 0
        self.gpm_samples = 0
        self._init = init
        self._driver = driver

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names, here and below
        if self._init is not None:
            raise pynvml.NVMLError(self._init)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        if self._driver is not None:
            raise pynvml.NVMLError(self._driver)
        return "580.65.06"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:  # noqa: N802
        return self.devices[index].answer("handle", self.devices[index])  # type: ignore[no-any-return]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Device:  # noqa: N802
        device = next(device for device in self.devices if device.uuid == uuid)
        return device.answer("handle by UUID", device)  # type: ignore[no-any-return]

    def nvmlDeviceGetMemoryInfo(self, device: Device, version: int | None = None) -> Any:  # noqa: N802
        used = 17 if version is None else 16
        return device.answer("memory" if version is None else "memory_v2", SimpleNamespace(total=80 * GIB, used=used * GIB))

    def nvmlDeviceGetFieldValues(self, device: Device, wanted: Sequence[tuple[int, int]]) -> Any:  # noqa: N802
        return device.told_fields(wanted)

    def nvmlGpmSampleAlloc(self) -> Any:  # noqa: N802
        self.gpm_samples += 1
        return pynvml.c_nvmlGpmSample_t(pynvml.struct_c_nvmlGpmSample_t())

    def nvmlGpmSampleFree(self, sample: Any) -> None:  # noqa: N802, ARG002
        self.gpm_samples -= 1

    def nvmlGpmMetricsGet(self, request: Any) -> Any:  # noqa: N802
        self.devices[0].answer("nvmlGpmMetricsGet", None)
        for metric in request.metrics[: request.numMetrics]:
            metric.value = 10.0 * metric.metricId
        return request

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return lambda device, *arguments: device.value(name, *arguments)

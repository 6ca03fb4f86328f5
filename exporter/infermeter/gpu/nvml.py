"""NVIDIA's management library. pynvml is wrapped here: its untyped values don't leave this module, nor do its units.

Every field is optional: what a device doesn't support is remembered and not asked for again until the source is opened anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import pynvml

from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.columns import BY_NAME, energy_kind
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, Rejection

Untyped: TypeAlias = Any
"""pynvml, a handle of it, or what it returns: nothing static is known of them."""

_Fields: TypeAlias = dict[str, Any]
_Query: TypeAlias = Callable[[Untyped, Untyped], _Fields]

UNSUPPORTED: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)
"""Errors that say "never" of one value, and not "the device is in trouble"."""


def _power(nvml: Untyped, handle: Untyped) -> _Fields:
    """Milliwatts, the whole board: mean of one second on Ampere (but GA100) and later, else instantaneous. Source: NVML API reference."""
    return {"power_watts": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3}


def _energy(nvml: Untyped, handle: Untyped) -> _Fields:
    """Millijoules since the driver was loaded; Volta and later. Source: NVML API reference."""
    return {"energy_joules": nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3}


def _utilisation(nvml: Untyped, handle: Untyped) -> _Fields:
    """Per cent of the last sample period (1/6 s to 1 s) with a kernel running."""
    return {"utilisation_ratio": nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100}


def _memory(nvml: Untyped, handle: Untyped) -> _Fields:
    """Bytes. The second version leaves out of `used` what the driver keeps for itself, as nvidia-smi does; old drivers lack it."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_used_bytes": int(memory.used), "memory_total_bytes": int(memory.total)}


def _temperature(nvml: Untyped, handle: Untyped) -> _Fields:
    return {"temperature_celsius": float(nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))}


def _sm_clock(nvml: Untyped, handle: Untyped) -> _Fields:
    """Megahertz."""
    return {"sm_clock_hertz": nvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6}


def _power_limit(nvml: Untyped, handle: Untyped) -> _Fields:
    """Milliwatts; the least of the limits that are set."""
    return {"power_limit_watts": nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3}


READINGS: Final[tuple[_Query, ...]] = (_power, _energy, _utilisation, _memory)
HARDWARE: Final[tuple[_Query, ...]] = (_temperature, _sm_clock, _power_limit)


class NvmlSource:
    """The NVIDIA devices of this machine that are chosen."""

    name = "nvml"
    asking: str | None = None

    def __init__(self, *, hardware: bool, choose: Choose, library: Untyped = pynvml) -> None:
        """`hardware`: power limit, temperature and clock in each sample too. `library` is the binding."""
        self._library = library
        self._queries = READINGS + HARDWARE if hardware else READINGS
        self._choose = choose
        self._devices: dict[str, _Device] = {}
        self._initialised = False
        self._rejected: Counter[Rejection] = Counter()

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Readings of a device that failed, and values that are absurd."""
        return self._rejected

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices that answer; none where NVML sees none. Raises: GpuUnavailable (no library, driver, answer), ConfigError."""
        try:
            self._library.nvmlInit()
            self._initialised = True
            driver_version = _optional(self._library.nvmlSystemGetDriverVersion)
            seen = [self._device(index, driver_version) for index in range(self._library.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            raise GpuUnavailable(f"NVML: {error}") from error
        devices = {device.identity.uuid: device for device in seen if device is not None}
        if seen and not devices:
            raise GpuUnavailable("NVML: no GPU answers")
        try:
            identities = self._choose(Seen(tuple(device.identity for device in devices.values())))
        except ConfigError as error:
            if None not in seen:
                raise
            raise GpuUnavailable(f"NVML: a GPU doesn't answer, and {error}") from error
        self._devices = {identity.uuid: devices[identity.uuid] for identity in identities}
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        """One sample of each device that answers. Raises: GpuUnavailable when none of the chosen does."""
        samples: list[GpuSample] = []
        trouble: pynvml.NVMLError | None = None
        for uuid, device in self._devices.items():
            if uuid in without:
                continue
            try:
                fields = device.ask()
            except pynvml.NVMLError as error:
                self._rejected["read"] += 1
                trouble = error
            else:
                samples.append(GpuSample(device.identity.uuid, now_ns, **self._sane(fields)))
        if trouble is not None and not samples:
            raise GpuUnavailable(f"NVML: {trouble}") from trouble
        return samples

    def close(self) -> None:
        """Lets go of the library."""
        self._devices = {}
        if self._initialised:
            self._initialised = False
            _optional(self._library.nvmlShutdown)

    def _sane(self, fields: _Fields) -> _Fields:
        sane = {name: value for name, value in fields.items() if BY_NAME[name].holds(value)}
        if absurd := len(fields) - len(sane):
            self._rejected["outlier"] += absurd
        return sane

    def _device(self, index: int, driver_version: str | None) -> _Device | None:
        """The device, or None if it is there and doesn't answer: it must not hide the others."""
        try:
            handle = self._library.nvmlDeviceGetHandleByIndex(index)
            return _Device(self._library, handle, index, self._queries, driver_version)
        except pynvml.NVMLError:
            self._rejected["read"] += 1
            return None


class _Device:
    """One device: its identity, and the queries that it supports."""

    def __init__(self, library: Untyped, handle: Untyped, index: int, queries: Sequence[_Query], driver_version: str | None) -> None:
        self._library = library
        self._handle = handle
        self._queries = [_power_limit, *queries]
        told = self.ask()
        self._queries = [query for query in self._queries if query in queries]
        self.identity = GpuIdentity(
            library.nvmlDeviceGetUUID(handle),
            index=index,
            product=_optional(library.nvmlDeviceGetName, handle),
            driver_version=driver_version,
            source=NvmlSource.name,
            energy=energy_kind(told),
            memory_total_bytes=told.get("memory_total_bytes"),
            power_limit_watts=told.get("power_limit_watts"),
        )

    def ask(self) -> _Fields:
        """What it says now. Raises: NVMLError if it is in trouble."""
        fields: _Fields = {}
        for query in tuple(self._queries):
            try:
                fields |= query(self._library, self._handle)
            except pynvml.NVMLError as error:
                if error.value not in UNSUPPORTED:
                    raise
                self._queries.remove(query)
        return fields


def _optional(call: Callable[..., str | None], *arguments: Untyped) -> str | None:
    """What a call says, or None if it fails."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None

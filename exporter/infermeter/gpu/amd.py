"""AMD's management library. The binding (amdsmi, of ROCm) is wrapped here: its untyped values don't leave this module, nor do its units.

Every field is optional: what a device doesn't support is remembered and not asked for again until the source is opened anew. The energy
counter stands still on some devices and drivers, and is told as it is: what is told of energy is checked against power elsewhere.

Not run on hardware. Source: AMD SMI's Python API reference, releases 24.7 (ROCm 6.3) and 26.1 (ROCm 7.1), which differ in names of keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, TypeAlias

from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.columns import BY_NAME, energy_kind
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, Rejection

Untyped: TypeAlias = Any
"""amdsmi, a handle of it, or what it returns: nothing static is known of them."""

_Fields: TypeAlias = dict[str, Any]
_Query: TypeAlias = Callable[[Untyped, Untyped], _Fields]

DEVICES_LIMIT: Final = 256

UNSUPPORTED: Final = frozenset({2, 3, 10, 31, 40})
"""AMDSMI_STATUS_NOT_SUPPORTED, NOT_YET_IMPLEMENTED, NO_PERM, NOT_FOUND and NO_DATA: "never", and not "the device is in trouble"."""

_NOT_TOLD: Final = frozenset({0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})
"""What stands in a field that a device doesn't have, where the binding doesn't say `N/A`."""

_MOST_WATTS: Final = 20_000.0
"""A power cap is in microwatts, and was in watts before ROCm 6: nothing between is either."""

_MOST_CELSIUS: Final = 1_000.0
"""A temperature is documented in thousandths of a degree, and the library divides it already: nothing between is either."""


def _power(smi: Untyped, handle: Untyped) -> _Fields:
    """Watts of the socket: now on MI300 and later, else a mean."""
    return _told("power_watts", smi.amdsmi_get_power_info(handle), "current_socket_power", "average_socket_power", "socket_power")


def _energy(smi: Untyped, handle: Untyped) -> _Fields:
    """Ticks since the device was reset, each of `counter_resolution` microjoules."""
    answer = smi.amdsmi_get_energy_count(handle)
    ticks = _number(answer, "energy_accumulator", "power")
    microjoules = _number(answer, "counter_resolution")
    if ticks is None or not microjoules:
        return {}
    return {"energy_joules": ticks * microjoules / 1e6}


def _utilisation(smi: Untyped, handle: Untyped) -> _Fields:
    """Per cent of time in which the graphics engine was busy."""
    return _told("utilisation_ratio", smi.amdsmi_get_gpu_activity(handle), "gfx_activity", unit=0.01)


def _memory(smi: Untyped, handle: Untyped) -> _Fields:
    """Mebibytes, that the library calls MB: it divides bytes by 1024 x 1024."""
    answer = smi.amdsmi_get_gpu_vram_usage(handle)
    told = {"memory_used_bytes": _number(answer, "vram_used"), "memory_total_bytes": _number(answer, "vram_total")}
    return {name: int(value) * 2**20 for name, value in told.items() if value is not None}


def _temperature(smi: Untyped, handle: Untyped) -> _Fields:
    """The hottest place of the die."""
    kind, metric = smi.AmdSmiTemperatureType.HOTSPOT, smi.AmdSmiTemperatureMetric.CURRENT
    value = _number({"temperature": smi.amdsmi_get_temp_metric(handle, kind, metric)}, "temperature")
    if value is None:
        return {}
    return {"temperature_celsius": value / 1000 if abs(value) > _MOST_CELSIUS else value}


def _sm_clock(smi: Untyped, handle: Untyped) -> _Fields:
    """Megahertz of the graphics engine."""
    return _told("sm_clock_hertz", smi.amdsmi_get_clock_info(handle, smi.AmdSmiClkType.GFX), "clk", "cur_clk", unit=1e6)


def _power_limit(smi: Untyped, handle: Untyped) -> _Fields:
    """Microwatts. The second die of a board has none: 0 is no limit."""
    value = _number(smi.amdsmi_get_power_cap_info(handle), "power_cap")
    if not value:
        return {}
    return {"power_limit_watts": value / 1e6 if value > _MOST_WATTS else value}


READINGS: Final[tuple[_Query, ...]] = (_power, _energy, _utilisation, _memory)
HARDWARE: Final[tuple[_Query, ...]] = (_temperature, _sm_clock, _power_limit)


class AmdSource:
    """The AMD devices of this machine that are chosen."""

    name = "amd"

    def __init__(self, *, hardware: bool, choose: Choose, binding: Callable[[], Untyped] = lambda: import_module("amdsmi")) -> None:
        """`hardware`: power limit, temperature and clock in each sample too. `binding` imports amdsmi."""
        self.asking: str | None = None
        self._import = binding
        self._queries = READINGS + HARDWARE if hardware else READINGS
        self._choose = choose
        self._smi: Untyped = None
        self._devices: dict[str, _Device] = {}
        self._rejected: Counter[Rejection] = Counter()

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Readings of a device that failed, and values that are absurd."""
        return self._rejected

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices that answer. Raises: GpuUnavailable (no binding, library, driver, answer), ConfigError."""
        smi = self._binding()
        try:
            smi.amdsmi_init()
            self._smi = smi
            seen = [self._device(smi, index, handle) for index, handle in enumerate(smi.amdsmi_get_processor_handles()[:DEVICES_LIMIT])]
        except smi.AmdSmiException as error:
            raise GpuUnavailable(f"AMD SMI: {_reason(error)}") from error
        devices = {device.identity.uuid: device for device in seen if device is not None}
        if seen and not devices:
            raise GpuUnavailable("AMD SMI: no GPU answers")
        try:
            identities = self._choose(Seen(tuple(device.identity for device in devices.values())))
        except ConfigError as error:
            if None not in seen:
                raise
            raise GpuUnavailable(f"AMD SMI: a GPU doesn't answer, and {error}") from error
        self._devices = {identity.uuid: devices[identity.uuid] for identity in identities}
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        """One sample of each device that answers. Raises: GpuUnavailable when none of the chosen does."""
        samples: list[GpuSample] = []
        trouble: Exception | None = None
        for uuid, device in self._devices.items():
            if uuid in without:
                continue
            self.asking = uuid
            try:
                fields = device.ask()
            except device.trouble as error:
                self._rejected["read"] += 1
                trouble = error
            else:
                samples.append(GpuSample(uuid, now_ns, **self._sane(fields)))
            self.asking = None
        if trouble is not None and not samples:
            raise GpuUnavailable(f"AMD SMI: {_reason(trouble)}") from trouble
        return samples

    def close(self) -> None:
        """Lets go of the library."""
        self._devices = {}
        smi, self._smi = self._smi, None
        if smi is not None:
            _optional(smi, smi.amdsmi_shut_down)

    def _binding(self) -> Untyped:
        """The binding; importing it loads the library, and fails where that isn't there."""
        try:
            return self._import()
        except (ImportError, OSError) as error:
            raise GpuUnavailable(
                f"AMD SMI: the Python package amdsmi can't be loaded ({type(error).__name__}); "
                "install ROCm's amd-smi-lib, and with pip the amdsmi that it brings (/opt/rocm/share/amd_smi)"
            ) from error

    def _sane(self, fields: _Fields) -> _Fields:
        sane = {name: value for name, value in fields.items() if BY_NAME[name].holds(value)}
        if absurd := len(fields) - len(sane):
            self._rejected["outlier"] += absurd
        return sane

    def _device(self, smi: Untyped, index: int, handle: Untyped) -> _Device | None:
        """The device, or None if it is there and doesn't answer: it must not hide the others."""
        try:
            return _Device(smi, handle, index, self._queries)
        except smi.AmdSmiException:
            self._rejected["read"] += 1
            return None


class _Device:
    """One device: its identity, and the queries that it supports."""

    def __init__(self, smi: Untyped, handle: Untyped, index: int, queries: Sequence[_Query]) -> None:
        self.trouble: type[Exception] = smi.AmdSmiException
        self._smi = smi
        self._handle = handle
        self._queries = [_power_limit, *(query for query in queries if query is not _power_limit)]
        told = self.ask()
        self._queries = [query for query in self._queries if query in queries]
        now = _optional(smi, lambda: _number(smi.amdsmi_get_power_info(handle), "current_socket_power"))
        self.identity = GpuIdentity(
            str(smi.amdsmi_get_gpu_device_uuid(handle)),
            index=index,
            product=_text(_optional(smi, lambda: smi.amdsmi_get_gpu_asic_info(handle)), "market_name"),
            driver_version=_text(_optional(smi, lambda: smi.amdsmi_get_gpu_driver_info(handle)), "driver_version"),
            source=AmdSource.name,
            energy=energy_kind(told),
            memory_total_bytes=told.get("memory_total_bytes"),
            power_limit_watts=told.get("power_limit_watts"),
            power_kind=None if "power_watts" not in told else "average" if now is None else "instant",
        )

    def ask(self) -> _Fields:
        """What it says now. Raises: AmdSmiException if it is in trouble."""
        fields: _Fields = {}
        for query in tuple(self._queries):
            try:
                fields |= query(self._smi, self._handle)
            except self.trouble as error:
                if _code(error) not in UNSUPPORTED:
                    raise
                self._queries.remove(query)
        return fields


def _told(name: str, answer: Untyped, *keys: str, unit: float = 1.0) -> _Fields:
    """The first of the keys that holds a number, in a field's unit."""
    value = _number(answer, *keys)
    return {} if value is None else {name: value * unit}


def _number(answer: Untyped, *keys: str) -> float | None:
    """The first of the keys that holds a number; `N/A` and all ones are none."""
    for key in keys:
        value = answer.get(key)
        if isinstance(value, int | float) and value not in _NOT_TOLD:
            return value
    return None


def _text(answer: Untyped, key: str) -> str | None:
    value = None if answer is None else answer.get(key)
    return value if isinstance(value, str) and value not in ("", "N/A") else None


def _code(error: Exception) -> int | None:
    """The library's status; errors of the binding's own have none."""
    tell = getattr(error, "get_error_code", None)
    return None if tell is None else int(tell())


def _reason(error: Exception) -> str:
    code = _code(error)
    return type(error).__name__ if code is None else f"status {code}"


def _optional(smi: Untyped, call: Callable[[], Untyped]) -> Untyped:
    """What a call says, or None if it fails."""
    try:
        return call()
    except smi.AmdSmiException:
        return None

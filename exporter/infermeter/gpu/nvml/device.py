"""One device as a whole: how it tells each value is found out when it is taken hold of, and then asked for at each reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import pynvml

from infermeter.gpu.columns import COLUMNS, energy_kind
from infermeter.gpu.nvml.calls import GONE, UNSUPPORTED, Fields, Untyped, optional, unless
from infermeter.gpu.nvml.fields import Field, FieldBatch
from infermeter.gpu.nvml.gpm import counters
from infermeter.gpu.nvml.history import PowerHistory, power_history
from infermeter.gpu.nvml.power import POWER_FIELDS, best_way, usage_kind
from infermeter.gpu.nvml.readings import ESSENTIAL, HARDWARE, Query, memory, power_limit, running
from infermeter.gpu.nvml.throttling import THROTTLE_FIELDS, Throttling
from infermeter.model import GpuIdentity, GpuSample, Rejection

SOURCE: Final = "nvml"

_PCIE: Final[Mapping[Field, str]] = {
    (pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES, 0): "pcie_transmitted_bytes",
    (pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES, 0): "pcie_received_bytes",
}
"""Counters. nvmlDeviceGetPcieThroughput measures for 20 ms while it is called. Source: NVML API reference."""

_NEVER: Final = UNSUPPORTED | {pynvml.NVML_ERROR_INVALID_ARGUMENT}
"""Of a value that isn't essential, asked after those that are: with a handle that is no good they would have failed."""

_LOWEST: Final = {column.name: column.lowest for column in COLUMNS}
_HIGHEST: Final = {column.name: column.highest for column in COLUMNS}

_SLOW_NS: Final = 1_000_000_000
_LONGEST_SILENCE_NS: Final = 1_000_000_000

_LASTING: Final = ("utilisation_ratio", "memory_used_bytes", "memory_total_bytes", "computing_processes")
"""What a reading tells of the time since the one before it: of every instant that the driver recorded in it, if that isn't long ago."""

_LEAST_GAP_SECONDS: Final = 3.0
_INTERVALS_A_GAP: Final = 3


class Wishes(NamedTuple):
    """What is wanted of each device. `hardware`: power limit, temperature, clock and PCIe too."""

    hardware: bool
    profiling: bool
    interval_seconds: float


class Device:
    """One device. Its state is its own: no other device's thread touches it."""

    def __init__(
        self, library: Untyped, handle: Untyped, index: int, wishes: Wishes, *, driver_version: str | None, whole: bool = True
    ) -> None:
        """`whole`: it computes as one, and isn't the parent of instances. Raises: NVMLError."""
        self._library = library
        self._handle = handle
        self.rejected = no_rejections()
        self._essential: list[Query] = list(ESSENTIAL)
        self._extra: list[Query] = list(HARDWARE if wishes.hardware else (power_limit,))
        self._slow_essential: list[Query] = [memory]
        self._slow_extra: list[Query] = [running] if whole else []
        self._slow: tuple[int, Fields] | None = None
        self.uuid: str = library.nvmlDeviceGetUUID(handle)
        self._probe_fields(wishes)
        told = self._told()
        if not wishes.hardware and power_limit in self._extra:
            self._extra.remove(power_limit)
        self.identity = GpuIdentity(
            self.uuid,
            index=index,
            product=optional(library.nvmlDeviceGetName, handle),
            driver_version=driver_version,
            source=SOURCE,
            energy=energy_kind(told),
            memory_total_bytes=told.get("memory_total_bytes"),
            power_limit_watts=told.get("power_limit_watts"),
            power_kind=self._power.kind if "power_watts" in told else None,
            power_scope=self._power.scope,
        )
        wants_history = whole and "energy_joules" not in told and self._power.scope == "gpu"
        self._history = power_history(library, handle) if wants_history else None
        self._heard_ns: int | None = None
        self._reach_ns = round(max(_LEAST_GAP_SECONDS, _INTERVALS_A_GAP * wishes.interval_seconds) * 1e9)
        self._gpm = counters(library, handle) if whole and wishes.profiling else None

    @property
    def identities(self) -> tuple[GpuIdentity, ...]:
        """Itself alone."""
        return (self.identity,)

    @property
    def handles(self) -> Mapping[str, Untyped]:
        """What to ask about processes, by UUID."""
        return {self.uuid: self._handle}

    def ask(self) -> Fields:
        """What it says now, only what makes sense; the rest is counted. Raises: NVMLError if it is in trouble."""
        return self.sane(self._told())

    def read(self, now_ns: int, chosen: Sequence[str], asking: Callable[[str], None]) -> list[GpuSample]:
        """Its samples since the last time, in order of time: one at `now_ns`, or those that the driver recorded. Raises: NVMLError."""
        asking(chosen[0])
        fields = self._told(now_ns)
        if self._gpm is not None:
            fields = {**(optional(self._gpm.ask, now_ns) or {}), **fields}
        fields = self.sane(fields)
        return [GpuSample(self.uuid, now_ns, **fields)] if self._history is None else self._recorded(self._history, now_ns, fields)

    def sane(self, fields: Fields) -> Fields:
        """Without the values that no device can have; they are counted."""
        absurd = [name for name, value in fields.items() if not _LOWEST[name] <= value <= _HIGHEST[name]]
        if not absurd:
            return fields
        self.rejected["outlier"] += len(absurd)
        return {name: value for name, value in fields.items() if name not in absurd}

    def close(self) -> None:
        """Gives memory of the library back."""
        if self._gpm is not None:
            self._gpm.close()

    def _told(self, now_ns: int | None = None) -> Fields:
        fields = self._essential_values(self._essential) | self._slow_values(now_ns)
        values = self._batch.ask()
        if self._power.field is not None and self._power.field in values:
            fields["power_watts"] = values[self._power.field] / 1e3
        for field, name in _PCIE.items():
            if field in values:
                fields[name] = int(values[field])
        return fields | self._throttling.of(values) | self._extra_values(self._extra)

    def _slow_values(self, now_ns: int | None) -> Fields:
        """What changes when models come and go: asked for once a second, however often the device is read. None: now."""
        if now_ns is not None and self._slow is not None and 0 <= now_ns - self._slow[0] < _SLOW_NS:
            return self._slow[1]
        fields = self._essential_values(self._slow_essential) | self._extra_values(self._slow_extra)
        self._slow = None if now_ns is None else (now_ns, fields)
        return fields

    def _probe_fields(self, wishes: Wishes) -> None:
        wanted = [*POWER_FIELDS, *THROTTLE_FIELDS, *(_PCIE if wishes.hardware else ())]
        self._batch = FieldBatch(self._library, self._handle, wanted)
        answering = unless(_NEVER, self._batch.ask) or {}
        self._power = best_way(answering, interval_seconds=wishes.interval_seconds, usage_kind=usage_kind(self._library, self._handle))
        self._throttling = Throttling(self._library, self._handle, answering)
        self._batch.keep([field for field in answering if field == self._power.field or field in self._throttling.fields or field in _PCIE])
        if self._power.field is None:
            self._essential.insert(0, _power_usage)

    def _essential_values(self, queries: list[Query]) -> Fields:
        fields: Fields = {}
        for query in tuple(queries):
            told = unless(UNSUPPORTED, query, self._library, self._handle)
            if told is None:
                queries.remove(query)
            else:
                fields |= told
        return fields

    def _extra_values(self, queries: list[Query]) -> Fields:
        fields: Fields = {}
        for query in tuple(queries):
            try:
                fields |= query(self._library, self._handle)
            except pynvml.NVMLError as error:
                if error.value in _NEVER:
                    queries.remove(query)
                elif error.value in GONE:
                    raise
        return fields

    def _recorded(self, history: PowerHistory, now_ns: int, fields: Fields) -> list[GpuSample]:
        """One sample for each reading of the driver's. Between two of those none, and when the driver is silent for long, this one."""
        past = optional(history.since_last, now_ns) or ()
        lasting = {name: fields[name] for name in _LASTING if name in fields}
        samples = [
            GpuSample(self.uuid, time_ns, **self.sane({"power_watts": watts}), **(lasting if now_ns - time_ns <= self._reach_ns else {}))
            for time_ns, watts in past
        ]
        if samples:
            last = samples[-1]
            self._heard_ns = last.time_ns
            samples[-1] = GpuSample(self.uuid, last.time_ns, **(fields | {"power_watts": last.power_watts}))
        elif self._heard_ns is None or not 0 <= now_ns - self._heard_ns < _LONGEST_SILENCE_NS:
            samples = [GpuSample(self.uuid, now_ns, **fields)]
            history.skip_to(now_ns)
        return samples


def _power_usage(nvml: Untyped, handle: Untyped) -> Fields:
    """Milliwatts, the whole board; the mean of a second or an instant, by architecture."""
    return {"power_watts": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3}


def no_rejections() -> Counter[Rejection]:
    """To count in while another thread sums up: it never gains a key."""
    return Counter({"read": 0, "outlier": 0, "reset": 0})

"""A device in MIG mode: its instances, each of them a device of its own, and what they have of the whole.

No instance has a power reading. The device's power and energy are shared out, and marked as modelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import pynvml

from infermeter.gpu.nvml.calls import GONE, UNSUPPORTED, Fields, Untyped, optional, unless
from infermeter.gpu.nvml.device import SOURCE, Device, Wishes
from infermeter.gpu.nvml.gpm import Gpm, counters
from infermeter.gpu.nvml.readings import Query, memory, running
from infermeter.gpu.nvml.shares import parts_of
from infermeter.model import GpuIdentity, GpuSample, Rejection

MOST: Final = 64
"""Instances of a device; the largest has 8."""

_OF_ALL: Final = (
    "temperature_celsius",
    "sm_clock_hertz",
    "throttled_power_seconds",
    "throttled_thermal_seconds",
    "throttled_other_seconds",
)
"""What is true of each instance because it is true of the chip. No sum over instances is made of these."""

_LONGEST_GAP_NS: Final = 3_000_000_000


class MigInstance:
    """One instance. `parent` is the device's handle, which the profiling counters want."""

    def __init__(self, library: Untyped, parent: Untyped, handle: Untyped, wishes: Wishes) -> None:
        """Raises: NVMLError if it doesn't tell its UUID."""
        self.uuid: str = library.nvmlDeviceGetUUID(handle)
        self.handle = handle
        self.joules = 0.0
        self.product: str | None = optional(library.nvmlDeviceGetName, handle)
        self._library = library
        self._queries: list[Query] = [memory, running]
        attributes = optional(library.nvmlDeviceGetAttributes_v2, handle)
        told = 0 if attributes is None else int(attributes.computeInstanceSliceCount or attributes.gpuInstanceSliceCount)
        self.slices = max(told, 1)
        self._gpm = self._counters(parent) if wishes.profiling else None
        self._ratios: Mapping[str, float] = {}

    def activity(self, now_ns: int) -> float | None:
        """The part of the time since it was measured last in which it was active; None: not known."""
        self._ratios = {} if self._gpm is None else optional(self._gpm.ask, now_ns) or {}
        return self._ratios.get("utilisation_ratio")

    def ask(self) -> Fields:
        """What it says of itself now. Raises: NVMLError if it is gone."""
        fields: Fields = dict(self._ratios)
        for query in tuple(self._queries):
            try:
                fields |= query(self._library, self.handle)
            except pynvml.NVMLError as error:
                if error.value in GONE:
                    raise
                if error.value in UNSUPPORTED:
                    self._queries.remove(query)
        return fields

    def close(self) -> None:
        """Gives memory of the library back."""
        if self._gpm is not None:
            self._gpm.close()

    def _counters(self, parent: Untyped) -> Gpm | None:
        instance = optional(self._library.nvmlDeviceGetGpuInstanceId, self.handle)
        return None if instance is None else counters(self._library, parent, instance=int(instance))


class MigDevice:
    """A device that is only there as its instances. All of them are one device to whoever waits for an answer."""

    def __init__(
        self, library: Untyped, handle: Untyped, index: int, wishes: Wishes, handles: Sequence[Untyped], *, driver_version: str | None
    ) -> None:
        """`handles` are the instances'. Raises: NVMLError."""
        self._parent = Device(library, handle, index, wishes, driver_version=driver_version, whole=False)
        self._slices = optional(library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        self._last: GpuSample | None = None
        self._instances = [MigInstance(library, handle, each, wishes) for each in handles]
        self.identities = tuple(self._identity(instance) for instance in self._instances)

    @property
    def rejected(self) -> Counter[Rejection]:
        """What was lost of all instances."""
        return self._parent.rejected

    @property
    def handles(self) -> Mapping[str, Untyped]:
        """What to ask about processes, by UUID."""
        return {instance.uuid: instance.handle for instance in self._instances}

    def read(self, now_ns: int, chosen: Sequence[str], asking: Callable[[str], None]) -> list[GpuSample]:
        """One sample of each chosen instance. Raises: NVMLError if the device itself is in trouble."""
        asking(chosen[0])
        fields = self._parent.ask()
        whole = GpuSample(self._parent.uuid, now_ns, **fields)
        self.rejected["reset"] += _fell(self._last, whole)
        joules, self._last = _joules_between(self._last, whole), whole
        of_all = {name: fields[name] for name in _OF_ALL if name in fields}
        samples: list[GpuSample] = []
        activity = {instance.uuid: instance.activity(now_ns) for instance in self._instances}
        parts = parts_of({instance.uuid: instance.slices for instance in self._instances}, activity, self._slices)
        for instance in self._instances:
            part = parts[instance.uuid]
            if joules is not None:
                instance.joules += joules * part
            if instance.uuid not in chosen:
                continue
            asking(instance.uuid)
            told = unless(GONE, instance.ask)
            if told is None:
                self.rejected["read"] += 1
                continue
            own = of_all | told
            if whole.power_watts is not None:
                own["power_watts"] = whole.power_watts * part
            if self._parent.identity.energy is not None:
                own["energy_joules"] = instance.joules
            samples.append(GpuSample(instance.uuid, now_ns, **self._parent.sane(own)))
        return samples

    def close(self) -> None:
        """Gives memory of the library back."""
        for instance in self._instances:
            instance.close()

    def _identity(self, instance: MigInstance) -> GpuIdentity:
        parent = self._parent.identity
        return GpuIdentity(
            instance.uuid,
            index=parent.index,
            product=instance.product,
            driver_version=parent.driver_version,
            source=SOURCE,
            energy=None if parent.energy is None else "modelled",
            memory_total_bytes=(optional(instance.ask) or {}).get("memory_total_bytes"),
            power_kind=parent.power_kind,
            power_scope=parent.power_scope,
        )


def _joules_between(before: GpuSample | None, after: GpuSample) -> float | None:
    """The device's energy between two of its samples: its counter's difference, else (it fell) the trapezoid; None without either."""
    if before is None:
        return None
    gap_ns = after.time_ns - before.time_ns
    if before.energy_joules is not None and after.energy_joules is not None and not _fell(before, after):
        return after.energy_joules - before.energy_joules
    if before.power_watts is None or after.power_watts is None or not 0 < gap_ns <= _LONGEST_GAP_NS:
        return None
    return (before.power_watts + after.power_watts) / 2 * gap_ns / 1e9


def _fell(before: GpuSample | None, after: GpuSample) -> bool:
    """Whether the device's counter has begun anew."""
    if before is None or before.energy_joules is None or after.energy_joules is None:
        return False
    return after.energy_joules < before.energy_joules


def instance_handles(library: Untyped, handle: Untyped) -> list[Untyped]:
    """Of a device in MIG mode, as many as are visible here; none of any other device, and none where they can't be asked for."""
    mode = optional(library.nvmlDeviceGetMigMode, handle)
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return []
    most = min(optional(library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0, MOST)
    return list(_present(library, handle, most))


def _present(library: Untyped, handle: Untyped, most: int) -> Iterator[Untyped]:
    for index in range(most):
        instance = optional(library.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if instance is not None:
            yield instance

"""The rows of a recorded power file, as its parser hands them over: checked, kept as columns, and made into a Recording."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np

from infermeter.errors import InputError
from infermeter.gpu.columns import BY_NAME, HOST, Column, SampleColumns, energy_kind
from infermeter.model import Floats, GpuIdentity, HostSample, Rejection

_Number = TypeVar("_Number", int, float)

ABSENT: Final = math.nan
EARLIEST_NS: Final = 946_684_800 * 10**9
LATEST_NS: Final = 4_102_444_800 * 10**9
"""A recording was made in this century."""

SIMULATED: Final = "simulated"
"""The origin of a capture whose energy nothing measured, and which nothing may show as measured."""

DEVICES_MOST: Final = 256
LETTERS_MOST: Final = 256
"""Of a device's name: they become labels."""

INDEX_MOST: Final = 9_999

_MEMORY, _LIMIT = BY_NAME["memory_total_bytes"], BY_NAME["power_limit_watts"]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recorded power file. `samples` and `host_samples` ascend in time.

    `rejected` counts values (`outlier`) and rows (`outlier` for their time, `read` if out of order) that were left out. `origin` is
    what a capture says of its own source (`nvml`, `synthetic` ...).
    """

    identities: tuple[GpuIdentity, ...]
    samples: SampleColumns
    host_samples: tuple[HostSample, ...]
    rejected: Mapping[Rejection, int]
    warnings: tuple[str, ...]
    origin: str | None


def number(text: str) -> float:
    """A decimal number; infinity is one, and absurd. Raises: ValueError."""
    value = float(text)
    if math.isnan(value) or "_" in text:
        raise ValueError(text)
    return value


class Rows:
    """Takes rows in the order of the file."""

    def __init__(self, columns: Sequence[Column]) -> None:
        """`columns` are those of every row, in order."""
        self.rejected: Counter[Rejection] = Counter()
        self._columns = tuple(columns)
        self._devices: dict[str, GpuIdentity] = {}
        self._index: dict[str, int] = {}
        self._last_ns: dict[str, int] = {}
        self._time_ns = array("q")
        self._device = array("q")
        self._values = [array("d") for _ in columns]
        self._host: list[HostSample] = []

    def know(self, where: str, identity: GpuIdentity) -> None:
        """Says what a device is, before or after its rows; the first word counts. What is absurd in it is rejected and counted.

        Raises: InputError at `where` (a name that is none, or more devices than any machine has).
        """
        if identity.uuid in self._devices:
            return
        names = (name for name in (identity.uuid, identity.product, identity.driver_version) if name is not None)
        if not all(name.isprintable() and len(name) <= LETTERS_MOST for name in names):
            raise InputError(where, f"a GPU's name that can't be printed, or has more than {LETTERS_MOST} letters")
        if len(self._devices) == DEVICES_MOST:
            raise InputError(where, f"more than {DEVICES_MOST} GPUs")
        self._devices[identity.uuid] = replace(
            identity,
            index=self._within(identity.index, 0, INDEX_MOST),
            memory_total_bytes=self._within(identity.memory_total_bytes, _MEMORY.lowest, _MEMORY.highest),
            power_limit_watts=self._within(identity.power_limit_watts, _LIMIT.lowest, _LIMIT.highest),
        )
        self._index[identity.uuid] = len(self._index)

    def knows(self, uuid: str) -> bool:
        """Whether the device was named before."""
        return uuid in self._devices

    def add(self, uuid: str, time_ns: int, values: Sequence[float]) -> None:
        """One row of a device that is known; ABSENT for a value that isn't told. What is absurd is rejected and counted."""
        if not self._accepts(uuid, time_ns):
            return
        self._time_ns.append(time_ns)
        self._device.append(self._index[uuid])
        for column, kept, value in zip(self._columns, self._values, values, strict=True):
            kept.append(self._sane(column, value))

    def add_host(self, time_ns: int, watts: float) -> None:
        """One row of the host; ABSENT counts for nothing."""
        if self._accepts("", time_ns):
            sane = self._sane(HOST, watts)
            if not math.isnan(sane):
                self._host.append(HostSample(time_ns, sane))

    def recording(self, *, warnings: Sequence[str], origin: str | None = None) -> Recording:
        """All rows, in order of time."""
        time_ns, device = np.array(self._time_ns, dtype=np.int64), np.array(self._device, dtype=np.int64)
        order = np.argsort(time_ns, kind="stable")
        values = {column.name: np.array(kept)[order] for column, kept in zip(self._columns, self._values, strict=True)}
        told = {name: column for name, column in values.items() if not np.isnan(column).all()}
        samples = SampleColumns(tuple(self._index), time_ns[order], device[order], told)
        return Recording(
            identities=tuple(_completed(self._devices[uuid], samples, i, origin) for uuid, i in self._index.items()),
            samples=samples,
            host_samples=tuple(self._host),
            rejected=dict(self.rejected),
            warnings=tuple(warnings),
            origin=origin,
        )

    def precedes(self, uuid: str, time_ns: int) -> bool:
        """Whether this instant is not later than the device's last row."""
        return time_ns <= self._last_ns.get(uuid, -1)

    def _accepts(self, uuid: str, time_ns: int) -> bool:
        if not EARLIEST_NS <= time_ns < LATEST_NS:
            self.rejected["outlier"] += 1
            return False
        if self.precedes(uuid, time_ns):
            self.rejected["read"] += 1
            return False
        self._last_ns[uuid] = time_ns
        return True

    def _within(self, value: _Number | None, lowest: float, highest: float) -> _Number | None:
        if value is None or lowest <= value <= highest:
            return value
        self.rejected["outlier"] += 1
        return None

    def _sane(self, column: Column, value: float) -> float:
        if column.holds(value) or math.isnan(value):
            return value
        self.rejected["outlier"] += 1
        return ABSENT


def _completed(identity: GpuIdentity, samples: SampleColumns, device: int, origin: str | None) -> GpuIdentity:
    """The identity with what only its rows tell: how its energy is known, its memory, its power limit."""
    rows = samples.device == device
    column = {name: _first(values[rows]) for name, values in samples.values.items()}
    memory, limit = column.get("memory_total_bytes"), column.get("power_limit_watts")
    energy = energy_kind({name for name, value in column.items() if value is not None})
    return replace(
        identity,
        energy="modelled" if energy and (origin == SIMULATED or identity.energy == "modelled") else energy,
        memory_total_bytes=identity.memory_total_bytes or (None if memory is None else int(memory)),
        power_limit_watts=identity.power_limit_watts or limit,
    )


def _first(values: Floats) -> float | None:
    told = values[~np.isnan(values)]
    return float(told[0]) if len(told) else None

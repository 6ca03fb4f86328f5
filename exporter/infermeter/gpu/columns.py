"""The columns of a recorded reading, in one table, and samples kept as columns: what writes and what reads captures share it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, overload

import numpy as np

from infermeter.model import Floats, GpuSample, Ints

TIME: Final = "time_unix_seconds"
DEVICE: Final = "gpu"
HOST_POWER: Final = "host_power_watts"


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a GpuSample, named as its field: what lies outside of `lowest` to `highest` is absurd. `whole`: an integer."""

    name: str
    lowest: float
    highest: float
    whole: bool = False
    hardware: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value makes sense; one that doesn't is rejected, and never clipped."""
        return self.lowest <= value <= self.highest


WATTS = (0.0, 20_000.0)
"""No board draws more; counters that ran backwards have shown terawatts."""

LONGEST_SECONDS: Final = 1e10
"""No counter has run for three hundred years."""

MOST_BYTES: Final = 2**60
"""Of a counter; the fastest link of today takes months for it."""

COLUMNS: Final = (
    Column("power_watts", *WATTS),
    Column("energy_joules", 0.0, 1e13),
    Column("utilisation_ratio", 0.0, 1.0),
    Column("memory_used_bytes", 0, 2**50, whole=True),
    Column("memory_total_bytes", 1, 2**50, whole=True),
    Column("temperature_celsius", -60.0, 200.0, hardware=True),
    Column("sm_clock_hertz", 0.0, 1e11, hardware=True),
    Column("power_limit_watts", *WATTS, hardware=True),
    Column("sm_active_ratio", 0.0, 1.0),
    Column("tensor_active_ratio", 0.0, 1.0),
    Column("dram_active_ratio", 0.0, 1.0),
    Column("computing_processes", 0, 1_000_000, whole=True),
    Column("sm_occupancy_ratio", 0.0, 1.0),
    Column("throttled_power_seconds", 0.0, LONGEST_SECONDS),
    Column("throttled_thermal_seconds", 0.0, LONGEST_SECONDS),
    Column("throttled_other_seconds", 0.0, LONGEST_SECONDS),
    Column("pcie_transmitted_bytes", 0, MOST_BYTES, whole=True, hardware=True),
    Column("pcie_received_bytes", 0, MOST_BYTES, whole=True, hardware=True),
)
"""In the order in which a capture holds them, after `time_unix_seconds` and `gpu`."""

HOST = Column(HOST_POWER, *WATTS)

BY_NAME: Final[Mapping[str, Column]] = {column.name: column for column in COLUMNS}


class SampleColumns(Sequence[GpuSample]):
    """Samples in order of time, kept as columns: some 80 bytes each, where objects would take 400."""

    def __init__(self, uuids: Sequence[str], time_ns: Ints, device: Ints, values: Mapping[str, Floats]) -> None:
        """Parallel columns that ascend in time; `device` indexes `uuids`, and NaN in `values` (by field of GpuSample) is absent."""
        self.uuids = tuple(uuids)
        self.time_ns = time_ns
        self.device = device
        self.values = dict(values)

    def __len__(self) -> int:
        return len(self.time_ns)

    @overload
    def __getitem__(self, index: int) -> GpuSample: ...
    @overload
    def __getitem__(self, index: slice) -> SampleColumns: ...
    def __getitem__(self, index: int | slice) -> GpuSample | SampleColumns:
        if isinstance(index, slice):
            values = {name: column[index] for name, column in self.values.items()}
            return SampleColumns(self.uuids, self.time_ns[index], self.device[index], values)
        fields: dict[str, Any] = {name: told(name, column[index]) for name, column in self.values.items()}
        return GpuSample(self.uuids[self.device[index]], int(self.time_ns[index]), **fields)

    def without_hardware(self) -> SampleColumns:
        """The same without temperatures, clocks, power limits and PCIe."""
        kept = {name: column for name, column in self.values.items() if not BY_NAME[name].hardware}
        return SampleColumns(self.uuids, self.time_ns, self.device, kept)

    def of(self, uuids: Iterable[str]) -> SampleColumns:
        """Those of some devices."""
        wanted = set(uuids)
        kept = np.isin(self.device, [i for i, uuid in enumerate(self.uuids) if uuid in wanted])
        values = {name: column[kept] for name, column in self.values.items()}
        return SampleColumns(self.uuids, self.time_ns[kept], self.device[kept], values)


def told(name: str, value: float) -> float | int | None:
    """A value of a column as a GpuSample holds it: None for NaN, and an integer where the column's are."""
    if value != value:  # noqa: PLR0124 - NaN
        return None
    return int(value) if BY_NAME[name].whole else float(value)


def energy_kind(told: Collection[str]) -> Literal["counter", "integrated"] | None:
    """How a device's energy is known, by the fields that it tells; None: not at all."""
    if "energy_joules" in told:
        return "counter"
    return "integrated" if "power_watts" in told else None

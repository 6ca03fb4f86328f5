"""GPUs and their host: who they are, and readings of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infermeter.model.kinds import EnergyKind


@dataclass(frozen=True, slots=True)
class GpuIdentity:
    """One device as its source names it. `share_ratio` is this server's share of it (0 < x <= 1).

    `share_by_process`: the source tells the share by what the server's processes use; else it is constant. `assumed`: nothing says
    that the device is the server's, it was only seen. `power_kind`: whether power is a mean of about a second or one instant;
    `power_scope`: of the GPU alone, or of a module that holds a CPU too.
    """

    uuid: str
    index: int | None = None
    product: str | None = None
    driver_version: str | None = None
    source: str = "nvml"
    energy: EnergyKind | None = None
    memory_total_bytes: int | None = None
    power_limit_watts: float | None = None
    share_ratio: float = 1.0
    share_by_process: bool = False
    assumed: bool = False
    power_kind: Literal["average", "instant"] | None = None
    power_scope: Literal["gpu", "module"] = "gpu"


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One reading of one device. None: not told.

    `energy_joules`, `throttled_*_seconds` and `pcie_*_bytes` are counters since some instant of the device's own. `share_ratio` is the
    server's share of the device from here on, where it changes (`GpuIdentity.share_by_process`).
    """

    uuid: str
    time_ns: int
    power_watts: float | None = None
    energy_joules: float | None = None
    utilisation_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: float | None = None
    sm_clock_hertz: float | None = None
    power_limit_watts: float | None = None
    sm_active_ratio: float | None = None
    tensor_active_ratio: float | None = None
    dram_active_ratio: float | None = None
    computing_processes: int | None = None
    sm_occupancy_ratio: float | None = None
    throttled_power_seconds: float | None = None
    throttled_thermal_seconds: float | None = None
    throttled_other_seconds: float | None = None
    pcie_transmitted_bytes: int | None = None
    pcie_received_bytes: int | None = None
    share_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class HostSample:
    """Power of the rest of the machine at one instant, or its energy so far; `source` as in `host_energy_joules_total`.

    `energy_joules` is a counter since some instant of its own, unwrapped. At least one of the two is told.
    """

    time_ns: int
    power_watts: float | None = None
    source: str = "replay"
    energy_joules: float | None = None

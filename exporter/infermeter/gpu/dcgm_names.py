"""What dcgm-exporter's metric names mean: one literal table. Where a value goes by several names, the first that is told counts.

DCGM 4.6 renamed many of its fields, units as the last word; dcgm-exporter shows the name that its CSV file gives, old or new.
Source: NVIDIA/DCGM, dcgmlib/dcgm_fields.h and dcgm_structs.h; NVIDIA/dcgm-exporter, etc/default-counters.csv.
Left out, since the unit can't be relied on: *_VIOLATION (microseconds in the header until DCGM 4.1, nanoseconds since) and
DCGM_FI_DEV_GPU_UTIL_RATIO (per cent in DCGM 4.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Meaning(NamedTuple):
    """The names of one value, and what it is multiplied with to be in GpuSample's unit."""

    names: tuple[str, ...]
    factor: float


MIB: Final = float(2**20)

VALUES: Final[Mapping[str, Meaning]] = {
    "power_watts": Meaning(
        (
            "DCGM_FI_DEV_POWER_USAGE",
            "DCGM_FI_DEV_BOARD_POWER_WATTS",
            "DCGM_FI_DEV_POWER_USAGE_INSTANT",
            "DCGM_FI_DEV_BOARD_POWER_RAW_WATTS",
        ),
        1.0,
    ),
    "energy_joules": Meaning(("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",), 1e-3),  # millijoules since the driver was loaded
    "utilisation_ratio": Meaning(("DCGM_FI_DEV_GPU_UTIL",), 1e-2),
    "memory_used_bytes": Meaning(("DCGM_FI_DEV_FB_USED",), MIB),
    "memory_total_bytes": Meaning(("DCGM_FI_DEV_FB_TOTAL",), MIB),
    "temperature_celsius": Meaning(("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS"), 1.0),
    "sm_clock_hertz": Meaning(("DCGM_FI_DEV_SM_CLOCK",), 1e6),
    "power_limit_watts": Meaning(
        (
            "DCGM_FI_DEV_ENFORCED_POWER_LIMIT",
            "DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS",
            "DCGM_FI_DEV_POWER_MGMT_LIMIT",
            "DCGM_FI_DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS",
        ),
        1.0,
    ),
}

PROFILING: Final[Mapping[str, Meaning]] = {
    "sm_active_ratio": Meaning(("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_SM_UTIL_RATIO"), 1.0),
    "sm_occupancy_ratio": Meaning(("DCGM_FI_PROF_SM_OCCUPANCY", "DCGM_FI_PROF_SM_OCCUPANCY_RATIO"), 1.0),
    "tensor_active_ratio": Meaning(("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_TENSOR_UTIL_RATIO"), 1.0),
    "dram_active_ratio": Meaning(("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO"), 1.0),
}

ENGINE: Final = ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO")
"""A ratio, slightly above 0 on an idle device: it stands in where no utilisation is told, as on MIG instances."""

MEMORY_PARTS: Final = ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_RESERVED")
"""MiB; together the whole. Older exporters tell no reserved part."""

THROTTLING: Final[Mapping[str, tuple[str, ...]]] = {
    "throttled_power_seconds": (
        "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS",
        "DCGM_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS",
    ),
    "throttled_thermal_seconds": (
        "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN_NS",
        "DCGM_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN_NS",
    ),
    "throttled_other_seconds": ("DCGM_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST_NS",),
}
"""Nanoseconds since the driver was loaded; those of a reason are added up. Off in dcgm-exporter's own CSV file."""

DRIVER_VERSION: Final = ("DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION")
"""Labels."""

COUNTERS: Final = frozenset({*VALUES["energy_joules"].names, *(name for names in THROTTLING.values() for name in names)})
_BLANKS: Final = ((2.0**31 - 16, 2.0**31), (2.0**47, 2.0**47 + 16), (2.0**63 - 16, 2.0**64))
"""Values of 32 bits, floats and 64 bits that say why there is none: from the first of each pair to below the second."""


def is_blank(name: str, value: float) -> bool:
    """Whether DCGM has no value there. A counter may well reach the first two, and is of 64 bits."""
    return any(first <= value < end for first, end in (_BLANKS[-1:] if name in COUNTERS else _BLANKS))


def names(*, profiling: bool) -> frozenset[str]:
    """All metrics that are read."""
    told = {name for meaning in VALUES.values() for name in meaning.names}
    told |= {*MEMORY_PARTS, *COUNTERS}
    if profiling:
        told |= {*ENGINE, *(name for meaning in PROFILING.values() for name in meaning.names)}
    return frozenset(told)

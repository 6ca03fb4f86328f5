"""Triton's own /metrics as a source: what it sampled of the GPUs that it uses. Nothing else of its page is read here."""

from __future__ import annotations

import re
from typing import Final

from infermeter.errors import GpuUnavailable
from infermeter.gpu.page import OnPage, PageSource
from infermeter.network.exposition_text import series_of

ENERGY: Final = "nv_energy_consumption"
"""Joules since Triton started; 0 for ever where the device has no counter. Source: Triton, docs/user_guide/metrics.md."""

NAMES: Final = {
    ENERGY: "energy_joules",
    "nv_gpu_power_usage": "power_watts",
    "nv_gpu_power_limit": "power_limit_watts",
    "nv_gpu_utilization": "utilisation_ratio",
    "nv_gpu_memory_used_bytes": "memory_used_bytes",
    "nv_gpu_memory_total_bytes": "memory_total_bytes",
}
"""Watts, a ratio of 0 to 1, and bytes: as they are wanted."""

_UUID = re.compile(r"[A-Za-z0-9-]{1,80}")
_NEVER_ZERO = ("energy_joules", "power_watts", "power_limit_watts", "memory_total_bytes")
_FALL_WITH = {"power_watts": ("utilisation_ratio",), "memory_total_bytes": ("memory_used_bytes",)}


class TritonSource(PageSource):
    """The GPUs that a Triton uses."""

    name = "triton"

    def _devices(self, page: bytes) -> list[OnPage]:
        told: dict[str, dict[str, float]] = {}
        for series in series_of(page, NAMES):
            uuid = series.labels.get("gpu_uuid", "")
            if _UUID.fullmatch(uuid):
                told.setdefault(uuid, {})[NAMES[series.name]] = series.value
        if not told:
            raise GpuUnavailable("no nv_gpu_* there: this Triton sees no GPU, or was started with --allow-gpu-metrics=false")
        return [_device(uuid, fields) for uuid, fields in told.items()]


def _device(uuid: str, fields: dict[str, float]) -> OnPage:
    """Where Triton couldn't read a value it says 0: of a device that is there, some can't be, and speak for those beside them.

    Source: triton-inference-server/core, src/metrics.cc (PollDcgmMetrics).
    """
    unread = [name for name in _NEVER_ZERO if fields.get(name) == 0]
    absent = {*unread, *(other for name in unread for other in _FALL_WITH.get(name, ()))}
    kept = {name: value for name, value in fields.items() if name not in absent}
    return OnPage(uuid, kept, counter=kept.get("energy_joules"))

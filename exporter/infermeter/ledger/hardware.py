"""What the GPUs did, slot by slot: how busy each resource was, how full the memory, how long the clocks were held down. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from infermeter.ledger.instants import DAY_SLOTS, SECOND_NS, SLOT_NS
from infermeter.ledger.timeline import Timeline
from infermeter.model import Floats, GpuSample, HardwareWindow

_MEANS: Final = ("utilisation_ratio", "sm_active_ratio", "tensor_active_ratio", "dram_active_ratio")
_THROTTLED, _THROTTLED_TOLD = 2 * len(_MEANS), 2 * len(_MEANS) + 1
_PEAK_BYTES, _PEAK_RATIO = _THROTTLED_TOLD + 1, _THROTTLED_TOLD + 2
_FIELDS: Final = _PEAK_RATIO + 1
"""For each of the means the sum over time and the seconds behind it; then the seconds for which the GPU was throttled that was longest,
those behind them of all, and the peaks."""

_LEAST_TOLD: Final = 0.9


class Hardware:
    """Readings of the last day, all GPUs of the server together. Each stands for the time since the one before it."""

    def __init__(self, first_slot: int) -> None:
        """`gpus` are as many as the server has now."""
        self.gpus = 0
        self._throttled: dict[str, tuple[int, float]] = {}
        self._slots: Timeline[np.float64] = Timeline(first_slot, (_FIELDS,), np.float64)

    def add(self, sample: GpuSample, *, since_ns: int, throttled_seconds: float | None) -> None:
        """A reading of one GPU that speaks for the time since `since_ns`, of it throttled by power or heat for so long (None: not told)."""
        slot = (sample.time_ns - 1) // SLOT_NS
        if slot < self._slots.first:
            return
        row, seconds = self._slots.row(slot), (sample.time_ns - since_ns) / SECOND_NS
        for place, name in enumerate(_MEANS):
            value = getattr(sample, name)
            if value is not None:
                row[2 * place] += value * seconds
                row[2 * place + 1] += seconds
        if throttled_seconds is not None:
            before_slot, before = self._throttled.get(sample.uuid, (slot, 0.0))
            of_gpu = throttled_seconds + (before if before_slot == slot else 0.0)
            self._throttled[sample.uuid] = slot, of_gpu
            row[_THROTTLED] = max(row[_THROTTLED], of_gpu)
            row[_THROTTLED_TOLD] += seconds
        if sample.memory_used_bytes is not None:
            row[_PEAK_BYTES] = max(row[_PEAK_BYTES], sample.memory_used_bytes)
            if sample.memory_total_bytes:
                row[_PEAK_RATIO] = max(row[_PEAK_RATIO], sample.memory_used_bytes / sample.memory_total_bytes)
        self._slots.drop(self._slots.stop - DAY_SLOTS)

    def window(self, first: int, stop: int, *, seconds: float) -> HardwareWindow | None:
        """Slots in [first, stop), of so many seconds; None where nothing was read."""
        gpu_seconds = self.gpus * seconds
        rows = self._slots.rows(first, stop)
        if not len(rows) or not rows.any():
            return None
        sums = rows.sum(axis=0)
        peak_bytes, peak_ratio = (float(peak) for peak in rows[:, [_PEAK_BYTES, _PEAK_RATIO]].max(axis=0))
        told_seconds = sums[_THROTTLED_TOLD]
        is_told = told_seconds > 0 and told_seconds >= _LEAST_TOLD * gpu_seconds
        return HardwareWindow(
            **{name: _mean(sums, 2 * place, gpu_seconds) for place, name in enumerate(_MEANS)},
            memory_peak_bytes=int(peak_bytes) or None,
            memory_peak_ratio=peak_ratio or None,
            throttled_ratio=min(1.0, float(sums[_THROTTLED]) * self.gpus / told_seconds) if is_told else None,
        )


def _mean(sums: Floats, place: int, gpu_seconds: float) -> float | None:
    total, told_seconds = sums[place], sums[place + 1]
    return float(total / told_seconds) if told_seconds > 0 and told_seconds >= _LEAST_TOLD * gpu_seconds else None

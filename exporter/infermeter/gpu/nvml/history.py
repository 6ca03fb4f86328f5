"""Power that the driver itself recorded between two readings, for devices without an energy counter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import pynvml

from infermeter.gpu.nvml.calls import EMPTY, UNSUPPORTED, Untyped, unless

MOST: Final = 1_000
"""Readings of the past taken at once: the newest. A driver keeps some 120."""

_OLDEST_NS: Final = 300 * 1_000_000_000
_VALUES: Final = {pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal", pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal"}


class Past(NamedTuple):
    """Watts at an instant (unix)."""

    time_ns: int
    watts: float


class PowerHistory:
    """What the driver recorded since this was asked last, each reading once.

    Its clock is the machine's (microseconds of unix time), and what it says of long ago isn't believed, what it says of the future not yet.
    Source: NVML API reference, nvmlDeviceGetSamples.
    """

    def __init__(self, library: Untyped, handle: Untyped) -> None:
        """From now on. Raises: NVMLError."""
        self._library = library
        self._handle = handle
        self._last_us = 0
        self._last_us = max((int(sample.timeStamp) for sample in self._samples()[1]), default=0)

    def since_last(self, now_ns: int) -> Sequence[Past]:
        """In order of time, none after `now_ns` and none from before this was made; empty where nothing is new. Raises: NVMLError."""
        kind, samples = self._samples()
        member = _VALUES.get(kind)
        if member is None:
            return ()
        new: list[Past] = []
        for sample in sorted(samples, key=lambda sample: sample.timeStamp)[-MOST:]:
            time_us = int(sample.timeStamp)
            if time_us > self._last_us and 0 <= now_ns - time_us * 1_000 <= _OLDEST_NS:
                self._last_us = time_us
                new.append(Past(time_us * 1_000, getattr(sample.sampleValue, member) / 1e3))
        return new

    def skip_to(self, now_ns: int) -> None:
        """Nothing from before `now_ns` is wanted any more."""
        self._last_us = max(self._last_us, now_ns // 1_000)

    def _samples(self) -> tuple[int, Sequence[Untyped]]:
        told = unless(EMPTY, self._library.nvmlDeviceGetSamples, self._handle, pynvml.NVML_TOTAL_POWER_SAMPLES, self._last_us)
        return (pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, ()) if told is None else told


def power_history(library: Untyped, handle: Untyped) -> PowerHistory | None:
    """The history, or None where the device keeps none. Raises: NVMLError."""
    return unless(UNSUPPORTED | {pynvml.NVML_ERROR_INVALID_ARGUMENT}, PowerHistory, library, handle)

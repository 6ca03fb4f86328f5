"""Which processes compute on a device, and what part of it a server's own processes use."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import pynvml

from infermeter.errors import Unavailable
from infermeter.gpu.nvml.calls import UNSUPPORTED, Untyped, optional
from infermeter.gpu.nvml.readings import pids

log = logging.getLogger(__name__)

MOST_SHARE: Final = 1 - 1e-6
LEAST_SHARE: Final = 1e-9
"""A share is never 0, which is no share. A thousand sidecars whose servers use nothing, and one that uses all, have 1 together."""

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND_NS
_MINUTE_US: Final = 60 * 1_000_000
_MOST_SAMPLES: Final = 10_000
_MOST_PER_CENT: Final = 100


class ProcessShare:
    """The part of one device that belongs to some processes, by what they used in each minute of wall-clock time.

    All sidecars of a device look at the same minutes, and sum the driver's readings of each: as far as it tells them the same, their shares
    never sum to more than 1. Source: NVML API reference, nvmlDeviceGetProcessUtilization (a mean since the time that is asked for).
    """

    def __init__(self, library: Untyped, handle: Untyped, uuid: str, own_processes: Callable[[], frozenset[int]]) -> None:
        """`own_processes`: host pids; may raise Unavailable, and then none of them is there."""
        self._library = library
        self._handle = handle
        self._uuid = uuid
        self._own_processes = own_processes
        self._minute: int | None = None
        self._asked_ns = 0
        self._last_us = 0
        self._usage: dict[int, Counter[int]] = {}
        self._measures = True
        self._is_there = True

    def from_now(self, now_ns: int) -> float | None:
        """The share from `now_ns` on, where it is told anew, else None: by what was used in the minute that has ended.

        Where nobody used anything it goes by who is resident, and where nobody is, nothing changes. Up to the first beginning of a
        minute the share is the least, since other sidecars count by a minute that this one didn't see.
        """
        minute = now_ns // _MINUTE_NS
        if self._minute is None:
            self._minute = minute
            self._collect(minute, now_ns)
            return LEAST_SHARE
        ended = self._minute
        if minute == ended:
            if not 0 <= now_ns - self._asked_ns < _SECOND_NS:
                self._collect(minute, now_ns)
            return None
        self._collect(ended, now_ns)
        self._minute = minute
        usage = self._usage.pop(ended, Counter())
        self._usage = {at: used for at, used in self._usage.items() if at == minute}
        return self._share(usage)

    def _share(self, usage: Mapping[int, int]) -> float | None:
        residents = optional(pids, self._library, self._handle) or frozenset()
        weights = usage if any(usage.values()) else Counter(residents)
        if not weights:
            return None
        try:
            own = self._own_processes()
        except Unavailable:
            own = frozenset()
        self._tell(is_there=bool(own & (residents | usage.keys())))
        return max(LEAST_SHARE, MOST_SHARE * sum(weights[pid] for pid in weights if pid in own) / sum(weights.values()))

    def _tell(self, *, is_there: bool) -> None:
        """One line when the server's processes aren't among those of the device, and one when they are again."""
        if is_there == self._is_there:
            return
        self._is_there = is_there
        if is_there:
            log.info("GPU %s: the server's processes compute on it", self._uuid)
        else:
            log.warning("GPU %s: no process of the server computes on it, so its share is nothing; pids are the host's", self._uuid)

    def _collect(self, minute: int, now_ns: int) -> None:
        """Takes in what the driver recorded since this was done last, of this minute and the next."""
        self._asked_ns = now_ns
        if not self._measures:
            return
        try:
            samples = self._library.nvmlDeviceGetProcessUtilization(self._handle, self._last_us)
        except pynvml.NVMLError as error:
            self._measures = error.value not in UNSUPPORTED
            return
        newest_us = self._last_us
        for sample in samples[:_MOST_SAMPLES]:
            time_us = int(sample.timeStamp)
            at = time_us // _MINUTE_US
            if time_us <= self._last_us or at > minute + 1:
                continue
            newest_us = max(newest_us, time_us)
            if at >= minute and sample.smUtil <= _MOST_PER_CENT:
                self._usage.setdefault(at, Counter())[int(sample.pid)] += int(sample.smUtil)
        self._last_us = newest_us


def tells_processes(library: Untyped, handle: Untyped) -> bool:
    """Whether a device tells who computes on it, or at least may another time."""
    try:
        pids(library, handle)
    except pynvml.NVMLError as error:
        return error.value not in UNSUPPORTED
    return True

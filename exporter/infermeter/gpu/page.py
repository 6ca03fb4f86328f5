"""A source whose devices stand on another exporter's page: all of them are asked at once, and each is believed while it moves.

Such a page repeats what was sampled last until the next sample, and for ever when its own source has died. So a device whose energy counter
stands still was not sampled anew and gives no sample: it becomes stale as if it didn't answer. Without a counter its other values may stand
still for STILL_SECONDS.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infermeter.errors import GpuUnavailable, Unavailable
from infermeter.gpu.columns import BY_NAME, Column, energy_kind
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, Rejection

log = logging.getLogger(__name__)

DEVICES_MOST: Final = 256
STILL_SECONDS: Final = 300.0
OLD_SECONDS: Final = 300.0
"""A line whose own time is further back tells nothing of the present."""

_THROTTLED_SECONDS_MOST: Final = 1e10
_COLUMNS: Final[Mapping[str, Column]] = {
    "sm_occupancy_ratio": Column("sm_occupancy_ratio", 0.0, 1.0),
    "throttled_power_seconds": Column("throttled_power_seconds", 0.0, _THROTTLED_SECONDS_MOST),
    "throttled_thermal_seconds": Column("throttled_thermal_seconds", 0.0, _THROTTLED_SECONDS_MOST),
    "throttled_other_seconds": Column("throttled_other_seconds", 0.0, _THROTTLED_SECONDS_MOST),
    **BY_NAME,
}

_SECOND_NS: Final = 1_000_000_000
_LEAST_SLOW_SECONDS: Final = 3.0
_SLOW_INTERVALS: Final = 3


@dataclass(frozen=True, slots=True)
class OnPage:
    """One device as a page tells it.

    `fields` are GpuSample's, in its units. `counter` is what grows whenever the device is sampled anew, None: the page has none of it.
    `time_ns` stands on the lines themselves. `modelled`: power and energy are a share of a larger device's.
    """

    uuid: str
    fields: Mapping[str, float]
    counter: float | None
    time_ns: int | None = None
    index: int | None = None
    product: str | None = None
    driver_version: str | None = None
    pod: tuple[str, str] | None = None
    modelled: bool = False


@dataclass(slots=True)
class _Last:
    """What a device told when it was last believed, when that changed, and how often it was read unchanged since."""

    told: object
    time_ns: int
    changed_ns: int
    repeats: int = field(default=0)


class PageSource(ABC):
    """The chosen devices of a page."""

    name = "page"
    asking: str | None = None

    def __init__(self, fetch: Callable[[], bytes], *, choose: Choose, hardware: bool, interval_seconds: float) -> None:
        """`fetch` brings the page, or raises Unavailable. `hardware`: power limit, temperature and clock in each sample too."""
        self._fetch = fetch
        self._choose = choose
        self._hardware = hardware
        self._interval_seconds = interval_seconds
        self._rejected: Counter[Rejection] = Counter()
        self._chosen: tuple[str, ...] = ()
        self._seen: frozenset[str] = frozenset()
        self._ever_seen: frozenset[str] = frozenset()
        self._last: dict[str, _Last] = {}  # kept while closed: a page that was away doesn't come back fresh
        self._slowness_told = False

    @abstractmethod
    def _devices(self, page: bytes) -> list[OnPage]:
        """The devices on the page, at least one. Raises: Unavailable (none, or no page of this kind)."""

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Chosen devices that were missing on the page, and values that are absurd."""
        return self._rejected

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices of the page. Raises: GpuUnavailable (no page, none of its devices, another machine's), ConfigError."""
        devices = self._asked()
        boards = {_board(uuid) for uuid in devices}
        if self._ever_seen and boards.isdisjoint(_board(uuid) for uuid in self._ever_seen):
            raise GpuUnavailable("the page is of another machine than before: give the address of this node's exporter, not one of several")
        if len(self._ever_seen.union(devices)) > DEVICES_MOST:
            raise GpuUnavailable(f"the page tells of ever other GPUs, more than {DEVICES_MOST} by now, which no machine has")
        self._ever_seen = self._ever_seen.union(devices)
        self._seen = frozenset(devices)
        for last in self._last.values():
            last.repeats = 0
        pods = {uuid: device.pod for uuid, device in devices.items() if device.pod is not None}
        identities = self._choose(Seen(tuple(self._identity(device) for device in devices.values()), pods=pods))
        self._chosen = tuple(identity.uuid for identity in identities)
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        """A sample of each chosen device that was sampled anew. Raises: GpuUnavailable (no page, none of them, or new ones on it)."""
        devices = self._asked()
        if not self._seen.issuperset(devices):
            raise GpuUnavailable("there are GPUs on the page that were not there before: they are looked at anew")
        here = [uuid for uuid in self._chosen if uuid in devices]
        self._rejected["read"] += len(self._chosen) - len(here)
        if self._chosen and not here:
            raise GpuUnavailable("none of the server's GPUs is on the page any more")
        samples: list[GpuSample] = []
        for uuid in here:
            time_ns = None if uuid in without else self._sampled_ns(devices[uuid], now_ns)
            if time_ns is not None:
                samples.append(GpuSample(uuid, time_ns, **self._sane(devices[uuid].fields)))
        return samples

    def close(self) -> None:
        """Forgets what was chosen; what was told last stays known."""
        self._chosen = ()

    def _asked(self) -> dict[str, OnPage]:
        try:
            devices = self._devices(self._fetch())
        except GpuUnavailable:
            raise
        except Unavailable as error:
            raise GpuUnavailable(str(error)) from None
        if len(devices) > DEVICES_MOST:
            raise GpuUnavailable(f"more than {DEVICES_MOST} GPUs on one page: give the address of this node's exporter")
        return {device.uuid: device for device in devices}

    def _identity(self, device: OnPage) -> GpuIdentity:
        told = {name: value for name, value in device.fields.items() if _holds(name, value)}
        total_bytes = told.get("memory_total_bytes")
        return GpuIdentity(
            device.uuid,
            index=device.index,
            product=device.product,
            driver_version=device.driver_version,
            source=self.name,
            energy="modelled" if device.modelled and energy_kind(told) else energy_kind(told),
            memory_total_bytes=None if total_bytes is None else round(total_bytes),
            power_limit_watts=told.get("power_limit_watts"),
        )

    def _sampled_ns(self, device: OnPage, now_ns: int) -> int | None:
        """When the device was sampled; None: it was not, since it was read last."""
        time_ns = now_ns if device.time_ns is None else min(device.time_ns, now_ns)
        told = device.counter if device.counter is not None else tuple(sorted(device.fields.items()))
        last = self._last.get(device.uuid)
        if now_ns - time_ns > OLD_SECONDS * _SECOND_NS:
            return None
        if last is not None:
            if device.time_ns is not None and time_ns <= last.time_ns:
                return None
            if told == last.told:
                last.repeats += 1
                still_seconds = (now_ns - last.changed_ns) / _SECOND_NS
                if device.counter is not None or still_seconds > STILL_SECONDS:
                    return None
                last.time_ns = time_ns
                return time_ns
            self._tell_slowness(last, now_ns)
        self._last[device.uuid] = _Last(told, time_ns, now_ns)
        return time_ns

    def _tell_slowness(self, last: _Last, now_ns: int) -> None:
        """Once: what changes more slowly than the ledger bridges leaves gaps in which energy is nobody's."""
        seconds = (now_ns - last.changed_ns) / _SECOND_NS
        most_seconds = max(_LEAST_SLOW_SECONDS, _SLOW_INTERVALS * self._interval_seconds)
        if self._slowness_told or last.repeats < _SLOW_INTERVALS or seconds <= most_seconds:
            return
        self._slowness_told = True
        log.warning(
            "GPU source %s: a value changed after %.0f s only, and gpu.interval is %g s: what is drawn between is unattributed unless "
            "gpu.interval is the other exporter's own interval (dcgm-exporter's is 30s unless it was told otherwise)",
            self.name,
            seconds,
            self._interval_seconds,
        )

    def _sane(self, fields: Mapping[str, float]) -> dict[str, Any]:
        sane = {name: value for name, value in fields.items() if _holds(name, value)}
        self._rejected["outlier"] += len(fields) - len(sane)
        return {
            name: round(value) if _COLUMNS[name].whole else value
            for name, value in sane.items()
            if self._hardware or not _COLUMNS[name].hardware
        }


def _board(uuid: str) -> str:
    """The device that an instance is a part of."""
    return uuid.partition("/")[0]


def _holds(name: str, value: float) -> bool:
    return _COLUMNS[name].holds(value)

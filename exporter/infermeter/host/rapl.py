"""RAPL: the energy of processors and memory, as the kernel's powercap shows it. Each joule is counted by one zone alone.

Source: Linux kernel documentation, power/powercap/powercap, and ABI/testing/sysfs-class-powercap; drivers/powercap/intel_rapl_common.c
(names of zones). AMD's processors show theirs as intel-rapl too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infermeter.errors import Unavailable
from infermeter.model import HostSample
from infermeter.rails import entries_of, number_in, text_in

POWERCAP: Final = "sys/class/powercap"

MOST_WATTS: Final = 2_000.0
"""Of one zone; the largest sockets of 2026 stay below 700 W. What is above is no energy: a counter began anew."""

FIRST_JOULES: Final = 1e6
"""Where the counter begins: high enough to begin anew below it, as often as it takes."""

ZONES_LIMIT: Final = 1_024

_ZONE: Final = re.compile(r"(intel-rapl|intel-rapl-mmio):([0-9]{1,4})(?::([0-9]{1,4}))?")
_BY_PREFERENCE: Final = ("intel-rapl", "intel-rapl-mmio")
"""The second shows the same packages again, through other registers."""


@dataclass(frozen=True, slots=True)
class _Zone:
    """One zone: `parent` is None for one at the top; both are names such as `intel-rapl:0`."""

    path: Path
    control: str
    name: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class _Read:
    """All counters at one instant, in microjoules, by zone."""

    time_ns: int
    microjoules: Mapping[Path, int]


class RaplSource:
    """Packages and their memory (or the platform, where no package is told), as one counter that doesn't wrap around."""

    name = "rapl"

    def __init__(self, root: Path) -> None:
        """`root` is where the file system begins."""
        self._root = root
        self._last: _Read | None = None
        self._joules = self._beginning = FIRST_JOULES

    def read(self, now_ns: int) -> HostSample:
        """Energy so far. After an interval whose energy is unknown the counter begins anew, and lower than all that it told before.

        Raises: Unavailable: no zones, one that can't be read (a part of them would be no total), or an interval that is unknown.
        """
        told = _Read(now_ns, {zone.path: _counter(zone) for zone in disjoint_zones(self._root)})
        last, self._last = self._last, told
        if last is not None:
            try:
                self._joules += joules_between(last, told)
            except Unavailable:
                self._last = None
                self._beginning -= 1.0
                self._joules = self._beginning
                raise
        return HostSample(now_ns, source=self.name, energy_joules=self._joules)


def disjoint_zones(root: Path) -> tuple[_Zone, ...]:
    """The zones whose sum counts nothing twice: every package, and its memory, which no package contains.

    Cores and uncore are parts of their package. A platform zone (psys) contains everything and is missing or wrong on many machines: it
    speaks only where no package does. Raises: Unavailable.
    """
    zones = _zones(root)
    packages: dict[str, _Zone] = {}
    for control in _BY_PREFERENCE:
        for zone in zones:
            if zone.control == control and zone.parent is None and zone.name.startswith("package-"):
                packages.setdefault(zone.name, zone)
    if not packages:
        platform = [zone for zone in zones if zone.parent is None and zone.name.startswith("psys")]
        if platform:
            return tuple(platform[:1])
        raise Unavailable(f"RAPL: no zone of a processor below {root / POWERCAP}")
    parents = {zone.path.name for zone in packages.values()}
    memory = [zone for zone in zones if zone.parent in parents and zone.name == "dram"]
    return (*packages.values(), *memory)


def joules_between(before: _Read, after: _Read) -> float:
    """Energy between two reads of the same zones, each counter unwrapped once.

    Raises: Unavailable when it is unknown: other zones, a clock that was set back, so long that a counter could have wrapped around
    more than once, or more than the zone can draw (its counter began anew).
    """
    seconds = (after.time_ns - before.time_ns) / 1e9
    if before.microjoules.keys() != after.microjoules.keys():
        raise Unavailable("RAPL: processors came or went; what was drawn meanwhile is unknown")
    if seconds <= 0:
        raise Unavailable("RAPL: the clock was set back; what was drawn meanwhile is unknown")
    joules = 0.0
    for path, microjoules in after.microjoules.items():
        grown = microjoules - before.microjoules[path]
        most = _most_microjoules(path)
        if seconds * MOST_WATTS * 1e6 >= most:
            raise Unavailable(f"RAPL: {seconds:.0f} s between two reads; the counters may have wrapped around more than once")
        if grown < 0:
            grown += most
        if not 0 <= grown <= seconds * MOST_WATTS * 1e6:
            raise Unavailable("RAPL: a counter began anew; what was drawn meanwhile is unknown")
        joules += grown / 1e6
    return joules


def _zones(root: Path) -> list[_Zone]:
    folder = root / POWERCAP
    zones: list[_Zone] = []
    for path in entries_of(folder)[:ZONES_LIMIT]:
        if match := _ZONE.fullmatch(path.name):
            parent = None if match[3] is None else f"{match[1]}:{match[2]}"
            zones.append(_Zone(path, match[1], _name(path), parent))
    if not zones:
        raise Unavailable(f"RAPL: this machine shows no zones below {folder}")
    return zones


def _name(path: Path) -> str:
    """Container runtimes mask what the links of a zone point to. Source: Moby, security advisory GHSA-jq35-85cj-fj4p."""
    try:
        return text_in(path / "name")
    except Unavailable as error:
        raise Unavailable(
            f"RAPL: {error}; in a container, mount the host's /sys/class/powercap and /sys/devices/virtual/powercap below host_power.root"
        ) from error


def _counter(zone: _Zone) -> int:
    """Only root may read it since Linux 5.10. Source: CVE-2020-8694."""
    path = zone.path / "energy_uj"
    try:
        return number_in(path)
    except Unavailable as error:
        if isinstance(error.__cause__, PermissionError):
            raise Unavailable(
                f"RAPL: no permission to read {path}: the kernel leaves it to root; run as root, add the capability DAC_READ_SEARCH, "
                "or make the file readable when the machine starts"
            ) from error
        raise Unavailable(f"RAPL: {error}") from error


def _most_microjoules(path: Path) -> int:
    """Where the counter wraps around. Raises: Unavailable."""
    try:
        return number_in(path / "max_energy_range_uj")
    except Unavailable as error:
        raise Unavailable(f"RAPL: {error}") from error

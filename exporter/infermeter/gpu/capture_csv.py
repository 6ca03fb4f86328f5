"""The capture format, version 1: comment lines `# key: value`, a header, rows, `# end: N rows`. docs/captures.md describes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain

from infermeter.errors import InputError
from infermeter.gpu.columns import BY_NAME, DEVICE, HOST_POWER, TIME
from infermeter.gpu.lines import Line
from infermeter.gpu.rows import ABSENT, Recording, Rows, number
from infermeter.model import EnergyKind, GpuIdentity

VERSION = "1"
KNOWN = (TIME, DEVICE, *BY_NAME, HOST_POWER)


def is_capture(first: str) -> bool:
    """Whether a file that begins with this line is a capture: the comment lines are optional."""
    return first.startswith("#") or TIME in first.split(",")


def read_capture(name: str, first: Line, lines: Iterator[Line]) -> Recording:
    """The recording of a capture whose first line was read already. Raises: InputError."""
    preface = _Preface()
    for line in chain([first], lines):
        if not line.text.startswith("#"):
            return _Table(name, line, preface).read(lines)
        preface.add(f"{name}:{line.number}", line.text)
    raise InputError(name, "has no header")


@dataclass(slots=True)
class _Preface:
    """What the comment lines before the header say."""

    origin: str | None = None
    driver_version: str | None = None
    devices: list[tuple[str, GpuIdentity]] = field(default_factory=list)
    modelled: set[str] = field(default_factory=set)

    def add(self, where: str, text: str) -> None:
        key, _, value = (part.strip() for part in text.removeprefix("#").partition(":"))
        if key == "infermeter capture" and value != VERSION:
            raise InputError(where, f"version {value} of the capture format is not known here, only {VERSION}")
        if key == "source":
            self.origin = value
        elif key == "driver":
            self.driver_version = value
        elif key == "modelled":
            self.modelled.add(value)
        elif key == "gpu":
            self.devices.append((where, _device(where, value)))


def _device(where: str, value: str) -> GpuIdentity:
    uuid, index, product, limit, memory, *_ = (*(cell.strip() for cell in value.split(",")), "", "", "", "", "")
    if not uuid:
        raise InputError(where, "a GPU without a UUID")
    try:
        return GpuIdentity(
            uuid,
            index=int(index) if index else None,
            product=product or None,
            source="replay",
            power_limit_watts=float(limit) if limit else None,
            memory_total_bytes=int(memory) if memory else None,
        )
    except ValueError as error:
        raise InputError(where, "a GPU is UUID,index,product,power_limit_watts,memory_total_bytes") from error


class _Table:
    """Header and rows."""

    def __init__(self, name: str, header: Line, preface: _Preface) -> None:
        self._name = name
        self._preface = preface
        self._names = names = _header(f"{name}:{header.number}", header.text)
        self._time, self._gpu = names.index(TIME), names.index(DEVICE)
        self._host = names.index(HOST_POWER) if HOST_POWER in names else None
        self._columns = [i for i, known in enumerate(names) if known in BY_NAME]
        self._rows = Rows([BY_NAME[names[i]] for i in self._columns])
        for where, device in preface.devices:
            self._know(where, device)

    def read(self, lines: Iterator[Line]) -> Recording:
        count = 0
        for line in lines:
            if line.text.startswith("#"):
                if end := re.fullmatch(r"# *end: *(\d+) rows", line.text):
                    self._end(line, int(end[1]), count, lines)
                    return self._recording([])
            elif line.whole:
                self._add(f"{self._name}:{line.number}", line.text)
                count += 1
        return self._recording([f"{self._name}: cut off, it has no `# end` line; the {count} rows before count"])

    def _end(self, line: Line, told: int, count: int, lines: Iterator[Line]) -> None:
        if told != count:
            raise InputError(f"{self._name}:{line.number}", f"it had {told} rows, and {count} are left")
        if after := next(lines, None):
            raise InputError(f"{self._name}:{after.number}", "a line after `# end`")

    def _add(self, where: str, text: str) -> None:
        cells = text.split(",")
        if len(cells) != len(self._names):
            raise InputError(where, f"{len(cells)} values, the header has {len(self._names)}")
        try:
            time_ns = instant_ns(cells[self._time])
            values = [number(cell) if (cell := cells[i].strip()) else ABSENT for i in self._columns]
            host = number(cells[self._host]) if self._host is not None and cells[self._host].strip() else ABSENT
        except ValueError as error:
            raise InputError(where, "a value that is no number") from error
        if uuid := cells[self._gpu].strip():
            if not self._rows.knows(uuid):
                self._know(where, GpuIdentity(uuid, source="replay"))
            self._rows.add(uuid, time_ns, values)
        else:
            self._rows.add_host(time_ns, host)

    def _know(self, where: str, device: GpuIdentity) -> None:
        energy: EnergyKind | None = "modelled" if device.uuid in self._preface.modelled else None
        self._rows.know(where, replace(device, driver_version=self._preface.driver_version, energy=energy))

    def _recording(self, warnings: list[str]) -> Recording:
        return self._rows.recording(warnings=warnings, origin=self._preface.origin)


def _header(where: str, text: str) -> list[str]:
    names = [cell.strip() for cell in text.split(",")]
    for i, name in enumerate(names):
        if name not in KNOWN:
            near = get_close_matches(name, KNOWN, n=1)
            raise InputError(where, f"no column is called {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        if name in names[:i]:
            raise InputError(where, f"the column {name} is there twice")
    missing = [name for name in (TIME, DEVICE) if name not in names]
    if missing or not {"power_watts", "energy_joules"} & set(names):
        raise InputError(where, f"the column {missing[0] if missing else 'power_watts or energy_joules'} is missing")
    return names


def instant_ns(text: str) -> int:
    """Unix nanoseconds of decimal seconds, exactly. Raises: ValueError."""
    seconds, _, fraction = text.strip().partition(".")
    if not (seconds + fraction).isdecimal() or not seconds:
        raise ValueError(text)
    return int(seconds) * 10**9 + int(f"{fraction:0<9.9}")

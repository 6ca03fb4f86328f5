"""What `nvidia-smi --query-gpu=timestamp,uuid,power.draw,... --format=csv` prints: units in the header and beside the values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import NamedTuple

from infermeter.errors import InputError
from infermeter.gpu.columns import BY_NAME
from infermeter.gpu.lines import Line
from infermeter.gpu.rows import ABSENT, Recording, Rows, number
from infermeter.model import GpuIdentity

TIMESTAMP = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")

UNITS: Mapping[str, float] = {"": 1.0, "W": 1.0, "mW": 1e-3, "%": 0.01, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "MHz": 1e6, "C": 1.0}
"""Factors to the unit of a GpuSample's field."""


class _Query(NamedTuple):
    """What nvidia-smi calls a value, the field of GpuSample that it is, and the unit that it has where none is printed."""

    name: str
    field: str
    unit: str


QUERIES = (
    _Query("power.draw", "power_watts", "W"),
    _Query("power.draw.average", "power_watts", "W"),
    _Query("power.draw.instant", "power_watts", "W"),
    _Query("utilization.gpu", "utilisation_ratio", "%"),
    _Query("memory.used", "memory_used_bytes", "MiB"),
    _Query("memory.total", "memory_total_bytes", "MiB"),
    _Query("temperature.gpu", "temperature_celsius", ""),
    _Query("clocks.current.sm", "sm_clock_hertz", "MHz"),
    _Query("enforced.power.limit", "power_limit_watts", "W"),
    _Query("power.limit", "power_limit_watts", "W"),
)
"""Where several stand for one field, the first that the file has. Source: nvidia-smi --help-query-gpu."""


ALIASES: Mapping[str, str] = {"gpu_uuid": "uuid", "gpu_name": "name", "clocks.sm": "clocks.current.sm"}
"""Other names of the same columns."""


def is_nvidia_smi(first: str) -> bool:
    """Whether a file that begins with this line is nvidia-smi's."""
    return any(name == "timestamp" for name, _ in _headings(first))


def read_nvidia_smi(name: str, header: Line, lines: Iterator[Line], zone: tzinfo) -> Recording:
    """The recording of an output whose header was read already; `zone` is that of its timestamps. Raises: InputError."""
    table = _Table(name, header, zone)
    warnings = []
    for line in lines:
        if line.text == header.text:
            continue  # several runs, one after the other
        if line.whole:
            table.add(f"{name}:{line.number}", line.text)
        else:
            warnings.append(f"{name}: cut off, its last line is incomplete; the rows before count")
    return table.rows.recording(warnings=warnings)


class _Table:
    """Header and rows."""

    def __init__(self, name: str, header: Line, zone: tzinfo) -> None:
        where = f"{name}:{header.number}"
        headings = _headings(header.text)
        self._zone = zone
        self._width = len(headings)
        self._place = {column: i for i, (column, _) in enumerate(headings)}
        found = {query.field: query for query in reversed(QUERIES) if query.name in self._place}
        if not {"uuid", "index"} & set(self._place):
            raise InputError(where, "the column uuid (or index) is missing")
        if "power_watts" not in found:
            raise InputError(where, "the column power.draw is missing")
        self._values: list[tuple[int, str]] = []
        for query in found.values():
            place = self._place[query.name]
            unit = headings[place][1] or query.unit
            if unit not in UNITS:
                raise InputError(where, f"the unit of {query.name} is not known")
            self._values.append((place, unit))
        self.rows = Rows([BY_NAME[field] for field in found])

    def add(self, where: str, text: str) -> None:
        cells = [cell.strip() for cell in text.split(",")]
        if len(cells) != self._width:
            raise InputError(where, f"{len(cells)} values, the header has {self._width}")
        uuid = self._told(cells, "uuid") or f"index:{self._told(cells, 'index')}"
        if not self.rows.knows(uuid):
            self.rows.know(where, self._identity(where, uuid, cells))
        time_ns = self._instant(where, uuid, cells[self._place["timestamp"]])
        self.rows.add(uuid, time_ns, [_value(where, cells[i], unit) for i, unit in self._values])

    def _told(self, cells: list[str], column: str) -> str | None:
        cell = cells[self._place[column]] if column in self._place else ""
        return None if _absent(cell) else cell

    def _identity(self, where: str, uuid: str, cells: list[str]) -> GpuIdentity:
        index = self._told(cells, "index")
        if index is not None and not re.fullmatch(r"[0-9]{1,10}", index):
            raise InputError(where, "an index that is no number")
        return GpuIdentity(
            uuid,
            index=None if index is None else int(index),
            product=self._told(cells, "name"),
            driver_version=self._told(cells, "driver_version"),
            source="replay",
        )

    def _instant(self, where: str, uuid: str, text: str) -> int:
        match = TIMESTAMP.fullmatch(text)
        if not match:
            raise InputError(where, "a timestamp that is not like 2026/11/20 10:00:00.123")
        *parts, fraction = match.groups()
        try:
            local = datetime(*(int(part) for part in parts), tzinfo=self._zone)  # type: ignore[arg-type,misc]  # six integers
        except ValueError as error:
            raise InputError(where, "a timestamp that no calendar knows") from error
        within = int(f"{fraction or '':0<9}")
        time_ns = int(local.timestamp()) * 10**9 + within
        if self.rows.precedes(uuid, time_ns):  # the hour that comes twice when summer time ends
            return int(local.replace(fold=1).timestamp()) * 10**9 + within
        return time_ns


def _headings(header: str) -> list[tuple[str, str]]:
    """Name and unit of each column; the unit is empty where none is printed."""
    cells = [cell.strip().partition(" [") for cell in header.split(",")]
    return [(ALIASES.get(name, name), unit.removesuffix("]")) for name, _, unit in cells]


def _absent(cell: str) -> bool:
    """`[N/A]`, `[Not Supported]`, `[GPU is lost]`, `[Unknown Error]`, `N/A` or nothing."""
    return not cell or cell.startswith("[") or cell == "N/A"


def _value(where: str, cell: str, unit: str) -> float:
    if _absent(cell):
        return ABSENT
    digits, _, own = cell.partition(" ")
    try:
        return number(digits) * UNITS[own or unit]
    except (ValueError, KeyError) as error:
        raise InputError(where, "a value that is no number with a known unit") from error

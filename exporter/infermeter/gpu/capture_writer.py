"""Readings into a capture, row by row: what `capture_csv` reads. docs/captures.md describes the format. No device is asked here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from infermeter.errors import GpuUnavailable
from infermeter.gpu.capture_csv import VERSION
from infermeter.gpu.columns import COLUMNS, DEVICE, HOST, HOST_POWER, TIME, Column
from infermeter.gpu.rows import EARLIEST_NS, LATEST_NS
from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection

SECOND_NS: Final = 10**9
POWER: Final = frozenset({"power_watts", "energy_joules"})

FIRST_READINGS: Final = 3
FIRST_NS: Final = SECOND_NS * 3 // 2
"""The header names what the readings tell up to both: profiling counters need two of them, some time apart."""

MOST_WAITING: Final = 1000
"""Readings that wait for the header at most."""


class CaptureWriter:
    """Takes readings in the order in which they were made; what is absurd is left out and counted, as a reader would.

    `write` is given whole lines, so that what was written is a capture whenever it ends.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        identities: Sequence[GpuIdentity],
        *,
        started_ns: int,
        source: str,
        host_source: str | None = None,
    ) -> None:
        """`host_source` names where the host's power comes from; None: there are no rows of the host."""
        self.rejected: Counter[Rejection] = Counter()
        self.rows = 0
        self._write = write
        self._comments = list(_comments(identities, started_ns, source, host_source))
        self._hosted = host_source is not None
        self._waiting: list[Sequence[GpuSample | HostSample]] = []
        self._columns: list[Column] | None = None
        self._last_ns: dict[str, int] = {}
        self._host: HostSample | None = None

    @property
    def devices(self) -> int:
        """How many GPUs have a row."""
        return len(self._last_ns.keys() - {""})

    def add(self, samples: Sequence[GpuSample | HostSample]) -> None:
        """One reading of the devices, or of the host. Raises: GpuUnavailable if no device tells its power or its energy."""
        if self._columns is None:
            self._waiting.append(samples)
            if self._know_the_columns():
                self._begin()
        elif text := self._text(samples, self._columns):
            self._write(text)

    def end(self) -> None:
        """The last line, after which nothing is added. Raises: GpuUnavailable if there is nothing to write."""
        if self._columns is None:
            self._begin()
        self._write(f"# end: {self.rows} rows\n")

    def _know_the_columns(self) -> bool:
        times = [reading[-1].time_ns for reading in self._waiting if reading and isinstance(reading[-1], GpuSample)]
        return (len(times) >= FIRST_READINGS and times[-1] - times[0] >= FIRST_NS) or len(self._waiting) >= MOST_WAITING

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        gpu_samples = [sample for reading in waiting for sample in reading if isinstance(sample, GpuSample)]
        if not gpu_samples:
            raise GpuUnavailable("no GPU answered")
        self._columns = [column for column in COLUMNS if any(_told(sample, column) for sample in gpu_samples)]
        names = [column.name for column in self._columns]
        if POWER.isdisjoint(names):
            raise GpuUnavailable("no GPU tells its power or its energy")
        header = [TIME, DEVICE, *names, *([HOST_POWER] if self._hosted else [])]
        head = "".join(f"{line}\n" for line in (*self._comments, ",".join(header)))
        self._write(head + "".join(self._text(reading, self._columns) for reading in waiting))

    def _text(self, samples: Sequence[GpuSample | HostSample], columns: Sequence[Column]) -> str:
        lines = (self._device(sample, columns) if isinstance(sample, GpuSample) else self._of_host(sample, columns) for sample in samples)
        return "".join(f"{line}\n" for line in lines if line)

    def _device(self, sample: GpuSample, columns: Sequence[Column]) -> str:
        uuid = _cell(sample.uuid)
        if not uuid or not self._accepts(uuid, sample.time_ns):
            return ""
        cells = [self._sane(column, getattr(sample, column.name)) for column in columns]
        return self._row(sample.time_ns, uuid, *cells, *([""] if self._hosted else []))

    def _of_host(self, sample: HostSample, columns: Sequence[Column]) -> str:
        """A row of the host's power: as told, or the mean between two readings of its counter, in the middle between them."""
        before, self._host = self._host, sample
        time_ns, watts = sample.time_ns, sample.power_watts
        if watts is None and before is not None and before.energy_joules is not None and sample.energy_joules is not None:
            if sample.energy_joules < before.energy_joules or time_ns <= before.time_ns:
                self.rejected["reset"] += 1
                return ""
            watts = (sample.energy_joules - before.energy_joules) * SECOND_NS / (time_ns - before.time_ns)
            time_ns = (before.time_ns + time_ns) // 2
        if not self._hosted or watts is None or not self._accepts("", time_ns):
            return ""
        return self._row(time_ns, "", *("" for _ in columns), self._sane(HOST, watts))

    def _row(self, time_ns: int, *cells: str) -> str:
        self.rows += 1
        return ",".join((_instant(time_ns), *cells))

    def _accepts(self, uuid: str, time_ns: int) -> bool:
        if not EARLIEST_NS <= time_ns < LATEST_NS:
            self.rejected["outlier"] += 1
            return False
        if time_ns <= self._last_ns.get(uuid, -1):
            self.rejected["read"] += 1
            return False
        self._last_ns[uuid] = time_ns
        return True

    def _sane(self, column: Column, value: float | None) -> str:
        if value is None:
            return ""
        if column.holds(value):
            return str(int(value)) if column.whole else _decimal(value)
        self.rejected["outlier"] += 1
        return ""


def _comments(identities: Sequence[GpuIdentity], started_ns: int, source: str, host_source: str | None) -> Iterator[str]:
    yield f"# infermeter capture: {VERSION}"
    yield f"# started: {datetime.fromtimestamp(started_ns // SECOND_NS, UTC).isoformat().replace('+00:00', 'Z')}"
    yield f"# source: {_cell(source)}"
    if host_source is not None:
        yield f"# host: {_cell(host_source)}"
    if driver := next((identity.driver_version for identity in identities if identity.driver_version), None):
        yield f"# driver: {_cell(driver)}"
    for identity in identities:
        if not _cell(identity.uuid):
            continue
        limit = None if identity.power_limit_watts is None else _decimal(identity.power_limit_watts)
        told = identity.uuid, identity.index, identity.product, limit, identity.memory_total_bytes
        yield f"# gpu: {','.join('' if value is None else _cell(str(value)) for value in told)}"
        if identity.energy == "modelled":
            yield f"# modelled: {_cell(identity.uuid)}"


def _told(sample: GpuSample, column: Column) -> bool:
    value = getattr(sample, column.name)
    return value is not None and column.holds(value)


def _decimal(value: float) -> str:
    """The shortest decimal number that is this value."""
    return repr(float(value)).removesuffix(".0")


def _instant(time_ns: int) -> str:
    """Unix seconds, to the nanosecond."""
    return f"{time_ns // SECOND_NS}.{time_ns % SECOND_NS:09d}".rstrip("0").removesuffix(".")


def _cell(text: str) -> str:
    """A text as one cell: the format knows no quotes."""
    return "".join(letter if letter.isprintable() and letter != "," else " " for letter in text).strip()

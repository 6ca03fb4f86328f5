"""What `/metrics` answers: the families of a snapshot in the format that the scraper prefers, within the limit on series.

How a format is written is `exposition_lines`' affair. No `_created` series in either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from infermeter.metrics import catalog
from infermeter.metrics.accept import prefers_openmetrics
from infermeter.metrics.budget import given_up
from infermeter.metrics.catalog import Family
from infermeter.metrics.exposition_layout import Header, Name, Sheets
from infermeter.metrics.exposition_lines import OPENMETRICS, TEXT, Writer
from infermeter.metrics.families import named, rows
from infermeter.metrics.rows import Name as FamilyName
from infermeter.metrics.rows import Row
from infermeter.model import Snapshot

UNTOLD: Final = frozenset({"process_virtual_memory_bytes"})
"""Address space, most of which is none of the memory that a process takes."""


class Exposition:
    """Renders snapshots. It counts the series that the limit kept out; what else it remembers saves work, and changes no page.

    `process` are prometheus_client's collectors of the process itself, of gauges and counters. Their names are that library's
    (`process_...`), which every dashboard knows, and they carry no `server`: the scraper's `instance` says which process it is. What of
    them is `UNTOLD` stays out.
    """

    def __init__(self, process: Sequence[Collector] = ()) -> None:
        self._process = process
        self._overflowed = 0
        self._sheets = Sheets(tuple(_HEADERS.values()), given_up)
        self._writer = Writer()

    def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """The body and its content type for a request with this `Accept` header; whatever it says, there is an answer."""
        pieces, content_type = self.pieces(snapshot, accept)
        return b"".join(pieces), content_type

    def pieces(self, snapshot: Snapshot, accept: str) -> tuple[Iterator[bytes], str]:
        """The same in pieces, each made when it is asked for: whoever has other things to do does them in between.

        Some are empty, so that all take about as long: of a page of 10,000 series a millisecond or two.
        """
        content_type = OPENMETRICS if prefers_openmetrics(accept) else TEXT
        return self._written(snapshot, content_type), content_type

    def _written(self, snapshot: Snapshot, content_type: str) -> Iterator[bytes]:
        about, *others = (_row(row, snapshot.server) for row in (_ABOUT, *rows(snapshot)))
        process = (_of_process(metric) for collector in self._process for metric in collector.collect() if metric.name not in UNTOLD)
        every = (about, *others, *process)
        yield b""
        sheet = yield from self._sheets.sheet(every, lines_most=snapshot.series_limit)
        self._overflowed += sheet.layout.left_out
        sheet.values[: len(about.numbers)] = len(sheet.layout.lines), snapshot.series_limit, self._overflowed
        yield b""
        yield from self._writer.pieces(sheet, content_type)


_ABOUT: Final[Row[FamilyName]] = Row(
    "exposition", (), (0, 0, 0), (), lambda: [(catalog.SERIES, ()), (catalog.SERIES_LIMIT, ()), (catalog.SERIES_OVERFLOWED, ())]
)
"""What describes an exposition, and is known once that is laid out."""


def _row(row: Row[FamilyName], server: str) -> Row[Name]:
    """A row as it is laid out."""

    def names() -> list[Name]:
        return [
            Name(
                _HEADERS[family],
                named(family, server, labels),
                family is not catalog.STAGE_DURATION or labels[-1] in catalog.STAGES_WITH_EDGES,
            )
            for family, labels in row.names()
        ]

    return Row(row.key, (server, row.shape), row.numbers, row.histograms, names)


def _header(family: Family) -> Header:
    """A family as the formats know it: they have no state sets that every scraper reads, and OpenMetrics' info isn't a gauge."""
    kind = family.kind if family.kind == "counter" or family.kind == "histogram" else "gauge"  # noqa: PLR1714 - mypy narrows no set
    return Header(family.full_name, kind, family.help, family.unit)


_HEADERS: Final = {family: _header(family) for family in catalog.CATALOG}


def _of_process(metric: Metric) -> Row[Name]:
    """A metric of the library's: there a counter's own name is without `_total`."""
    if metric.type == "counter":
        header = Header(f"{metric.name}_total", "counter", metric.documentation, metric.unit)
    else:
        header = Header(metric.name, "gauge", metric.documentation, metric.unit)
    labels = [sample.labels for sample in metric.samples]
    return Row(header, labels, [sample.value for sample in metric.samples], (), lambda: [Name(header, one) for one in labels])

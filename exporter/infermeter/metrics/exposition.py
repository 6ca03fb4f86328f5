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
from infermeter.metrics.budget import thrifty, within
from infermeter.metrics.catalog import Family
from infermeter.metrics.exposition_lines import OPENMETRICS, TEXT, Header, Writer
from infermeter.metrics.families import Before, Families, Point, families
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
        self._before = Before()
        self._writer = Writer()

    def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """The body and its content type for a request with this `Accept` header; whatever it says, there is an answer."""
        pieces, content_type = self.pieces(snapshot, accept)
        return b"".join(pieces), content_type

    def pieces(self, snapshot: Snapshot, accept: str) -> tuple[Iterator[bytes], str]:
        """The same in pieces, each made when it is asked for: whoever has other things to do does them in between."""
        content_type = OPENMETRICS if prefers_openmetrics(accept) else TEXT
        return self._written(snapshot, content_type), content_type

    def _written(self, snapshot: Snapshot, content_type: str) -> Iterator[bytes]:
        process = [metric for collector in self._process for metric in collector.collect() if metric.name not in UNTOLD]
        exempt = len(_exporters_own(snapshot, 0, 0)) + sum(len(metric.samples) for metric in process)
        exposed, series, left_out = within(thrifty(families(snapshot, self._before)), snapshot.series_limit - exempt)
        self._overflowed += left_out
        every = {**exposed, **_exporters_own(snapshot, exempt + series, self._overflowed)}
        told = [(_HEADERS[family], every[family]) for family in catalog.CATALOG if family in every]
        yield from self._writer.pieces((*told, *map(_of_process, process)), content_type)


def _exporters_own(snapshot: Snapshot, series: int, overflowed: int) -> Families:
    """The families that describe an exposition, which no snapshot can hold."""
    values = {catalog.SERIES: series, catalog.SERIES_LIMIT: snapshot.series_limit, catalog.SERIES_OVERFLOWED: overflowed}
    return {family: (Point({"server": snapshot.server}, value),) for family, value in values.items()}


def _header(family: Family) -> Header:
    """A family as the formats know it: they have no state sets that every scraper reads, and OpenMetrics' info isn't a gauge."""
    kind = family.kind if family.kind == "counter" or family.kind == "histogram" else "gauge"  # noqa: PLR1714 - mypy narrows no set
    return Header(family.full_name, kind, family.help, family.unit)


_HEADERS: Final = {family: _header(family) for family in catalog.CATALOG}


def _of_process(metric: Metric) -> tuple[Header, Sequence[Point]]:
    """A metric of the library's as the writer takes it: there a counter's own name is without `_total`."""
    if metric.type == "counter":
        header = Header(f"{metric.name}_total", "counter", metric.documentation, metric.unit)
    else:
        header = Header(metric.name, "gauge", metric.documentation, metric.unit)
    return header, [Point(sample.labels, sample.value) for sample in metric.samples]

"""What `/metrics` answers: the families of a snapshot in the format that the scraper prefers, within the limit on series.

Two formats: `text/plain; version=0.0.4`, which everything reads, and OpenMetrics 1.0.0, which carries exemplars. No `_created`
series in either. Formatting and escaping are prometheus_client's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from infermeter.metrics import catalog
from infermeter.metrics.accept import prefers_openmetrics
from infermeter.metrics.budget import series_of, thrifty, within
from infermeter.metrics.catalog import Family
from infermeter.metrics.families import Families, Point, families
from infermeter.model import Histogram, Snapshot

UNTOLD: Final = frozenset({"process_virtual_memory_bytes"})
"""Address space, most of which is none of the memory that a process takes."""


class Exposition:
    """Renders snapshots, and counts the series that the limit kept out, which is all it remembers.

    `process` are prometheus_client's collectors of the process itself. Their names are that library's (`process_...`), which every
    dashboard knows, and they carry no `server`: the scraper's `instance` says which process it is. What of them is `UNTOLD` stays out.
    """

    def __init__(self, process: Sequence[Collector] = ()) -> None:
        self._process = process
        self._overflowed = 0

    def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """The body and its content type for a request with this `Accept` header; whatever it says, there is an answer."""
        process = [metric for collector in self._process for metric in collector.collect() if metric.name not in UNTOLD]
        exempt = len(_exporters_own(snapshot, 0, 0)) + sum(len(metric.samples) for metric in process)
        exposed, left_out = within(thrifty(families(snapshot)), snapshot.series_limit - exempt)
        self._overflowed += left_out
        series = exempt + sum(series_of(points) for points in exposed.values())
        every = {**exposed, **_exporters_own(snapshot, series, self._overflowed)}
        metrics = _Metrics([*(_metric(family, every[family]) for family in catalog.CATALOG if family in every), *process])
        if prefers_openmetrics(accept):
            return openmetrics.generate_latest(metrics), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
        return generate_latest(metrics), CONTENT_TYPE_PLAIN_0_0_4


def _exporters_own(snapshot: Snapshot, series: int, overflowed: int) -> Families:
    """The families that describe an exposition, which no snapshot can hold."""
    values = {catalog.SERIES: series, catalog.SERIES_LIMIT: snapshot.series_limit, catalog.SERIES_OVERFLOWED: overflowed}
    return {family: (Point({"server": snapshot.server}, value),) for family, value in values.items()}


class _Metrics(Collector):
    """Metrics that are already there, as prometheus_client's formatters want them."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _metric(family: Family, points: Sequence[Point]) -> Metric:
    """A family as prometheus_client's formatters take it: a counter's own name is without `_total`."""
    kind = family.kind if family.kind in {"counter", "histogram"} else "gauge"
    metric = Metric(family.full_name.removesuffix("_total"), family.help, kind, family.unit)
    for point in points:
        if isinstance(point.value, Histogram):
            metric.samples.extend(_buckets(family.full_name, point, point.value))
        else:
            metric.samples.append(Sample(family.full_name, dict(point.labels), point.value))
    return metric


def _buckets(name: str, point: Point, histogram: Histogram) -> Iterable[Sample]:
    """Cumulative buckets with their exemplars, then count and sum."""
    edges = (*map(floatToGoString, histogram.edges_seconds), "+Inf")
    exemplars = histogram.exemplars or (None,) * len(edges)
    total = 0
    for edge, total, exemplar in zip(edges, accumulate(histogram.counts), exemplars, strict=True):
        traced = None if exemplar is None else Exemplar({"trace_id": exemplar.trace_id}, exemplar.value_seconds, exemplar.time_ns / 1e9)
        yield Sample(f"{name}_bucket", {**point.labels, "le": edge}, total, exemplar=traced)
    yield Sample(f"{name}_count", dict(point.labels), total)
    yield Sample(f"{name}_sum", dict(point.labels), histogram.sum_seconds)

"""Pages as prometheus_client writes them: what the exposition's own writer is held against, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as LibraryExemplar
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from infermeter.metrics.exposition_layout import Header
from infermeter.metrics.exposition_lines import OPENMETRICS, TEXT
from infermeter.metrics.families import Point
from infermeter.model import Histogram

Page = Sequence[tuple[Header, Sequence[Point]]]
FORMATS: dict[str, Callable[[Collector], bytes]] = {TEXT: generate_latest, OPENMETRICS: openmetrics.generate_latest}


class Told(Collector):
    """The same points as the library's formatters want them."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def collect(self) -> Iterable[Metric]:
        return (metric(header, points) for header, points in self._page)


def metric(header: Header, points: Sequence[Point]) -> Metric:
    """The library adds `_total` to the name of a counter itself, and the unit to any name: hence both are put right afterwards."""
    told = Metric(header.name, header.help, header.kind)
    told.name, told.unit = header.name.removesuffix("_total") if header.kind == "counter" else header.name, header.unit
    for point in points:
        if isinstance(point.value, Histogram):
            told.samples.extend(buckets(header.name, point, point.value))
        else:
            told.samples.append(Sample(header.name, dict(point.labels), point.value))
    return told


def buckets(name: str, point: Point, histogram: Histogram) -> Iterable[Sample]:
    edges = (*map(floatToGoString, histogram.edges_seconds), "+Inf")
    total = 0
    for edge, total, traced in zip(edges, accumulate(histogram.counts), histogram.exemplars or (None,) * len(edges), strict=True):
        exemplar = None if traced is None else LibraryExemplar({"trace_id": traced.trace_id}, traced.value_seconds, traced.time_ns / 1e9)
        yield Sample(f"{name}_bucket", {**point.labels, "le": edge}, total, exemplar=exemplar)
    yield Sample(f"{name}_count", dict(point.labels), total)
    yield Sample(f"{name}_sum", dict(point.labels), histogram.sum_seconds)


def by_the_library(page: Page, content_type: str) -> bytes:
    return FORMATS[content_type](Told(page))

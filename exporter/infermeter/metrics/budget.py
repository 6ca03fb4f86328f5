"""How many series are exposed: what is left out of every exposition, and what of one that would exceed its limit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infermeter.metrics import catalog
from infermeter.metrics.families import Families, Point
from infermeter.model import Histogram


def series_of(points: Sequence[Point]) -> int:
    """How many series a family's points are: a histogram is its buckets, one for what is above the last edge, its sum and its count."""
    if not points or not isinstance(points[0].value, Histogram):
        return len(points)
    return sum(len(point.value.edges_seconds) + 3 for point in points if isinstance(point.value, Histogram))


def thrifty(families: Families) -> Families:
    """The families as they are exposed: of a stage that has no edges in the catalog its histogram has none here, only sum and count."""
    points = families.get(catalog.STAGE_DURATION)
    return families if points is None else {**families, catalog.STAGE_DURATION: tuple(map(_edged, points))}


def _edged(point: Point) -> Point:
    if point.labels[catalog.STAGE.name] in catalog.STAGES_WITH_EDGES or not isinstance(point.value, Histogram):
        return point
    return Point(point.labels, Histogram((), (sum(point.value.counts),), point.value.sum_seconds))


def given_up(points: Mapping[str, Sequence[int]], excess: int) -> Mapping[str, int]:
    """How many of its points each optional family gives up, by its full name, so that there are `excess` series fewer.

    `points` are the series that each point of a family is. They go in the catalog's order, the last point of a family first, until the rest
    fits. What isn't optional stays even if it doesn't fit.
    """
    gone: dict[str, int] = {}
    for family in catalog.OPTIONAL:
        for series in reversed(points.get(family.full_name, ())):
            if excess <= 0:
                return gone
            gone[family.full_name] = gone.get(family.full_name, 0) + 1
            excess -= series
    return gone

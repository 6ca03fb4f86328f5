"""How many series are exposed: what is left out of every exposition, and what of one that would exceed its limit. Pure."""

from __future__ import annotations

from collections.abc import Sequence

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


def within(families: Families, room: int) -> tuple[Families, int, int]:
    """The families that fit into `room` series, how many series they are, and how many were left out.

    Optional families give up points in the catalog's order, the last point first, until the rest fits. What isn't optional stays
    even if it doesn't fit.
    """
    whole = sum(map(series_of, families.values()))
    excess = whole - room
    kept = dict(families)
    left_out = 0
    for family in catalog.OPTIONAL:
        points = list(kept.pop(family, ()))
        while points and left_out < excess:
            left_out += series_of(points[-1:])
            del points[-1]
        if points:
            kept[family] = points
    return kept, whole - left_out, left_out

from __future__ import annotations

from infermeter.metrics import catalog
from infermeter.metrics.budget import given_up, series_of
from infermeter.metrics.families import Families, Point, families
from infermeter.model import Histogram
from support.snapshots import rich_snapshot

THREE = Histogram((1.0, 2.0), (0, 0, 0), 0.0)


def sizes(found: Families) -> dict[str, list[int]]:
    """How many series each point is, by family."""
    return {family.full_name: [series_of([point]) for point in points] for family, points in found.items()}


def test_a_histogram_is_its_buckets_its_sum_and_its_count() -> None:
    assert series_of([Point({}, THREE), Point({}, Histogram((), (0,), 0.0))]) == 5 + 3
    assert series_of([Point({}, 1.0), Point({}, 2)]) == 2
    assert series_of([]) == 0


EVERY = sizes(families(rich_snapshot()))
PARTS, STAGES = catalog.STAGE_PART_SECONDS.full_name, catalog.STAGE_DURATION.full_name


def test_what_fits_gives_nothing_up() -> None:
    assert given_up(EVERY, 0) == {}


def test_the_first_optional_family_gives_its_points_first() -> None:
    assert given_up(EVERY, 1) == {PARTS: 1}


def test_when_a_family_has_nothing_left_the_next_gives_whole_histograms() -> None:
    parts, last = len(EVERY[PARTS]), EVERY[STAGES][-1]
    assert given_up(EVERY, parts) == {PARTS: parts}
    assert given_up(EVERY, parts + 1) == {PARTS: parts, STAGES: 1}
    assert given_up(EVERY, parts + last) == {PARTS: parts, STAGES: 1}
    assert given_up(EVERY, parts + last + 1) == {PARTS: parts, STAGES: 2}


def test_what_is_not_optional_stays_even_without_room() -> None:
    gone = given_up(EVERY, sum(map(sum, EVERY.values())))
    assert gone == {family.full_name: len(EVERY[family.full_name]) for family in catalog.OPTIONAL}


def test_a_family_that_is_not_there_gives_nothing_up() -> None:
    assert given_up({STAGES: [9, 3]}, 1) == {STAGES: 1}
    assert given_up({}, 1) == {}

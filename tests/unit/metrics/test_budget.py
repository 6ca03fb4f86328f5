from __future__ import annotations

from dataclasses import replace

from infermeter.metrics import catalog
from infermeter.metrics.budget import series_of, within
from infermeter.metrics.families import Families, Point, families
from infermeter.model import Histogram
from support.snapshots import rich_snapshot

THREE = Histogram((1.0, 2.0), (0, 0, 0), 0.0)


def total(kept: Families) -> int:
    return sum(series_of(points) for points in kept.values())


def test_a_histogram_is_its_buckets_its_sum_and_its_count() -> None:
    assert series_of([Point({}, THREE), Point({}, replace(THREE, edges_seconds=()))]) == 5 + 3
    assert series_of([Point({}, 1.0), Point({}, 2)]) == 2
    assert series_of([]) == 0


def test_what_fits_is_left_as_it_is() -> None:
    every = families(rich_snapshot())
    kept, series, left_out = within(every, total(every))
    assert (kept, series, left_out) == (every, total(every), 0)


def test_the_first_optional_family_gives_its_last_series_first() -> None:
    every = families(rich_snapshot())
    kept, series, left_out = within(every, total(every) - 1)
    assert left_out == 1
    assert kept[catalog.STAGE_PART_SECONDS] == every[catalog.STAGE_PART_SECONDS][:-1]
    assert total(kept) == series == total(every) - 1


def test_a_family_without_series_is_gone_and_the_next_gives_whole_histograms() -> None:
    every = families(rich_snapshot())
    parts = series_of(every[catalog.STAGE_PART_SECONDS])
    kept, series, left_out = within(every, total(every) - parts - 1)
    assert catalog.STAGE_PART_SECONDS not in kept
    assert len(kept[catalog.STAGE_DURATION]) == len(every[catalog.STAGE_DURATION]) - 1
    assert series == total(kept)
    assert left_out == parts + series_of(every[catalog.STAGE_DURATION][-1:])


def test_what_is_not_optional_stays_even_without_room() -> None:
    every = families(rich_snapshot())
    kept, series, left_out = within(every, 0)
    assert set(every) - set(kept) == set(catalog.OPTIONAL)
    assert (series, left_out) == (total(kept), total(every) - total(kept))

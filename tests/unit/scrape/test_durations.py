"""The server's own histogram of durations: what each bucket grew by from one page to the next."""

from __future__ import annotations

import math

from infermeter.mapping.metrics import CountRule, DurationRule, MetricRules, SeriesRule
from infermeter.model import Series, ServerReading
from infermeter.scrape.durations import BUCKETS_REMEMBERED, EDGES_OF_A_MODEL, Durations
from infermeter.scrape.increases import Counts

RULES = MetricRules((CountRule(SeriesRule(("all",))),), {}, "model", durations=DurationRule(SeriesRule(("h_bucket",)), 1e3))


def bucket(le: str, value: float, *, model: str = "a", **labels: str) -> Series:
    return Series("h_bucket", {"model": model, "le": le, **labels}, value)


def told(*pages: list[Series]) -> list[ServerReading]:
    counts, before, readings = Counts(RULES), None, []
    for i, page in enumerate(pages):
        totals = counts.add(page, i)
        readings.append(totals.since(before))
        before = totals
    return readings


def test_the_first_page_is_a_baseline_and_the_next_tells_what_each_bucket_grew_by() -> None:
    first, second = told([bucket("100", 5), bucket("+Inf", 9)], [bucket("100", 6), bucket("+Inf", 19)])
    assert first.durations == {"a": {0.1: 0, math.inf: 0}}
    assert second.durations == {"a": {0.1: 1, math.inf: 10}}


def test_series_of_one_model_are_added_up_and_a_model_that_comes_up_counts_from_0() -> None:
    _, second = told([bucket("100", 5)], [bucket("100", 6), bucket("100", 3, engine="1"), bucket("100", 2, model="b")])
    assert second.durations == {"a": {0.1: 4}, "b": {0.1: 2}}


def test_a_server_that_was_started_anew_counts_from_0() -> None:
    _, second, third = told([bucket("100", 50)], [bucket("100", 3)], [bucket("100", 4)])
    assert (second.durations["a"][0.1], third.durations["a"][0.1]) == (3, 1)


def test_what_is_no_count_or_has_no_edge_tells_nothing() -> None:
    _, second = told([bucket("100", 5)], [bucket("100", 5.5), bucket("wide", 7), Series("h_bucket", {"model": "a"}, 7)])
    assert second.durations == {"a": {0.1: 0}}


def test_a_server_without_a_histogram_tells_no_durations() -> None:
    (only,) = told([Series("all", {"model": "a"}, 1.0)])
    assert only.durations == {}


def test_a_histogram_with_too_many_edges_says_nothing_from_then_on() -> None:
    durations = Durations()
    for edge in range(1, EDGES_OF_A_MODEL + 1):
        durations.take(edge, "a", float(edge), 1)
    assert len(durations.counts["a"]) == EDGES_OF_A_MODEL
    durations.take("more", "a", 1000.0, 1)
    assert durations.counts == {}
    durations.take("b", "b", 1.0, 1)
    assert durations.counts == {}


def test_a_histogram_with_too_many_series_says_nothing_from_then_on() -> None:
    durations = Durations()
    for i in range(BUCKETS_REMEMBERED):
        durations.take(i, f"m{i}", 1.0, 1)
    assert len(durations.counts) == BUCKETS_REMEMBERED
    durations.take("more", "m1", 1.0, 1)
    assert durations.counts == {}

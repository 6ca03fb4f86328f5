"""The server's own times: what sums, counts and buckets grew by from one page to the next."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from infermeter.mapping.metrics import CountRule, MetricRules
from infermeter.mapping.series import SeriesRule
from infermeter.mapping.times import TimeRule
from infermeter.model import Series, ServerReading, ServerTime
from infermeter.scrape.increases import Counts
from infermeter.scrape.times import EDGES_OF_A_TIME, FORGOTTEN_AFTER_NS, SERIES_REMEMBERED
from infermeter.scrape.work import SERIES_REMEMBERED as WORK_REMEMBERED


def named(name: str) -> SeriesRule:
    return SeriesRule((name,))


def histogram(of: object, name: str, units_per_second: float = 1e3) -> TimeRule:
    return TimeRule(of, named(f"{name}_sum"), named(f"{name}_count"), named(f"{name}_bucket"), units_per_second)  # type: ignore[arg-type]


RULES = MetricRules(
    (CountRule(named("all")),),
    {},
    "model",
    times=(
        histogram("duration", "h"),
        TimeRule("queue", named("waited_us"), named("all"), None, 1e6),
        TimeRule(("compute", "prefill"), named("prefill"), named("prefills")),
        TimeRule(("compute", "decode"), named("decode"), named("decodes")),
        TimeRule(("transfer", "kv"), named("kv")),
    ),
    work={"flops": named("flops"), "bytes_read": named("read"), "bytes_written": named("written")},
)


def one(name: str, value: float, **labels: str) -> Series:
    return Series(name, {"model": "a", **labels}, value)


def h(total: int, seconds: float, buckets: dict[str, int] | None = None, **labels: str) -> list[Series]:
    """A histogram in milliseconds."""
    told = [one("h_bucket", count, le=le, **labels) for le, count in {**(buckets or {}), "+Inf": total}.items()]
    return [*told, one("h_sum", seconds * 1e3, **labels), one("h_count", total, **labels)]


class Told:
    """The readings of pages, and how many samples were ignored."""

    def __init__(self, *pages: list[Series], apart_ns: int = 1, rules: MetricRules = RULES) -> None:
        counts, before = Counts(rules), None
        self.readings: list[ServerReading] = []
        for i, page in enumerate(pages):
            totals = counts.add(page, i * apart_ns)
            self.readings.append(totals.since(before))
            before = totals
        self.ignored = counts.ignored

    @property
    def last(self) -> ServerReading:
        return self.readings[-1]


def test_the_first_page_is_a_baseline_and_the_next_tells_what_sum_and_buckets_grew_by() -> None:
    first, second = Told(h(9, 1.0, {"100": 5}), h(19, 3.5, {"100": 6})).readings
    assert first.times == {"a": {"duration": ServerTime(0.0, {0.1: 0, math.inf: 0})}}
    assert second.times == {"a": {"duration": ServerTime(2.5, {0.1: 1, math.inf: 10})}}


def test_series_of_one_model_are_added_up_and_a_model_that_comes_up_counts_from_0() -> None:
    page = [*h(6, 1.5), *h(3, 0.5, engine="1"), *h(2, 4.0, model="b")]
    assert Told(h(5, 1.0), page).last.times == {
        "a": {"duration": ServerTime(1.0, {math.inf: 4})},
        "b": {"duration": ServerTime(4.0, {math.inf: 2})},
    }


def test_a_server_that_was_started_anew_counts_from_0_also_where_its_sum_is_larger_than_before() -> None:
    told = Told(h(50, 1.0, {"100": 40}), h(3, 7.0, {"100": 1}), h(4, 7.5, {"100": 2}))
    assert told.readings[1].times["a"]["duration"] == ServerTime(7.0, {0.1: 1, math.inf: 3})
    assert told.last.times["a"]["duration"] == ServerTime(0.5, {0.1: 1, math.inf: 1})


def test_a_sum_without_a_count_that_falls_begins_at_0_again() -> None:
    told = Told([one("kv", 5.0)], [one("kv", 2.0)], [one("kv", 2.5)])
    assert [reading.times["a"]["transfer", "kv"].seconds for reading in told.readings] == [0.0, 2.0, 0.5]
    assert told.last.times["a"]["transfer"] == ServerTime(0.5)


def test_a_sum_that_falls_while_its_count_grows_was_given_a_negative_time_and_adds_nothing() -> None:
    told = Told(h(5, 10.0), h(6, 4.0), h(7, 5.0))
    assert [reading.times["a"]["duration"].seconds for reading in told.readings] == [0.0, 0.0, 1.0]


def test_a_counter_of_times_counts_the_inferences_of_another() -> None:
    told = Told([one("all", 5), one("waited_us", 1e6)], [one("all", 9), one("waited_us", 3e6)])
    assert told.last.times == {"a": {"queue": ServerTime(2.0, {math.inf: 4})}}


def test_without_its_sum_no_time_is_told_and_what_was_counted_by_then_is_in_none() -> None:
    told = Told([one("all", 5)], [one("all", 9)], [one("all", 10), one("waited_us", 3e6)])
    assert [reading.times for reading in told.readings] == [{}, {}, {"a": {"queue": ServerTime(3.0, {math.inf: 1})}}]


def test_a_stage_that_is_told_in_parts_is_what_they_are_together_of_as_many_as_are_in_any_of_them() -> None:
    zeros = [one("prefill", 0), one("prefills", 0), one("decode", 0), one("decodes", 0)]
    told = Told(zeros, [one("prefill", 1.5), one("prefills", 9), one("decode", 4.0), one("decodes", 7)])
    assert told.last.times["a"]["compute"] == ServerTime(5.5, {math.inf: 9})
    assert told.last.times["a"]["compute", "decode"] == ServerTime(4.0, {math.inf: 7})


def test_what_is_no_count_no_edge_or_absurd_tells_nothing_and_is_counted_as_ignored() -> None:
    odd = [one("h_bucket", 5.5, le="100"), one("h_bucket", 7, le="wide"), one("h_bucket", 7), one("h_bucket", 7, le="-1")]
    told = Told(h(5, 1.0, {"100": 4}), [*h(5, 1.0), *odd, one("h_sum", 1e300, engine="1")])
    assert told.last.times["a"]["duration"] == ServerTime(0.0, {0.1: 0, math.inf: 0})
    assert told.ignored == 5


def test_a_server_without_them_tells_no_times_and_no_work() -> None:
    told = Told([one("all", 1.0)])
    assert (told.last.times, told.last.flops_per_gpu, told.last.memory_bytes_per_gpu) == ({}, None, None)


def test_a_histogram_with_too_many_edges_says_nothing_from_then_on() -> None:
    few, many = ({str(edge): 1 for edge in range(1, edges + 1)} for edges in (EDGES_OF_A_TIME - 1, EDGES_OF_A_TIME))
    told = Told(h(1, 1.0, few), h(1, 1.0, many), h(2, 2.0, few))
    assert [len(reading.times) for reading in told.readings] == [1, 0, 0]


def test_more_series_than_are_remembered_say_nothing_from_then_on() -> None:
    pages = [[one("kv", 1.0, rank=str(rank)) for rank in range(ranks)] for ranks in (SERIES_REMEMBERED, SERIES_REMEMBERED + 1, 1)]
    assert [len(reading.times) for reading in Told(*pages).readings] == [1, 0, 0]


def test_series_that_are_gone_for_an_hour_give_up_their_place_once_half_of_them_are_taken() -> None:
    half = SERIES_REMEMBERED // 2
    pages = [[one("kv", 1.0, replica=f"{page}.{replica}") for replica in range(half)] for page in range(4)]
    assert all(reading.times for reading in Told(*pages, apart_ns=FORGOTTEN_AFTER_NS + 1).readings)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1e3), st.booleans()), min_size=1, max_size=20))
def test_increases_over_restarts_add_up_to_what_was_served_since_the_first_page(lives: list[tuple[int, float, bool]]) -> None:
    """Each step serves some; a restart is seen where the new count is below the one before, else it hides in an increase."""
    pages, served, seconds, count, total = [h(0, 0.0)], 0, 0.0, 0, 0.0
    for more, took, restarts in lives:
        if restarts and more < count:
            count, total = 0, 0.0
        count, total, served, seconds = count + more, total + took, served + more, seconds + took
        pages.append(h(count, total))
    readings = Told(*pages).readings
    assert all(reading.times["a"]["duration"].seconds >= 0 for reading in readings)
    assert sum(reading.times["a"]["duration"].at_most[math.inf] for reading in readings) == served
    assert sum(reading.times["a"]["duration"].seconds for reading in readings) == pytest.approx(seconds, abs=1e-6)


def test_work_is_that_of_one_gpu_on_the_mean_and_counts_from_0_where_it_fell() -> None:
    def page(flops: tuple[float, float], read: float = 0.0) -> list[Series]:
        return [*(one("flops", value, rank=str(rank)) for rank, value in enumerate(flops)), one("read", read), one("written", 1.0)]

    told = Told(page((0, 0)), page((4e12, 2e12), 100.0), page((5e12, 1e12), 50.0))
    assert [reading.flops_per_gpu for reading in told.readings] == [0.0, 3e12, 1e12]
    assert [reading.memory_bytes_per_gpu for reading in told.readings] == [0.0, 100.0, 50.0]


def test_work_is_counted_up_to_a_bound_and_never_becomes_infinite() -> None:
    pages = [[one("flops", value)] for value in (0.0, 1e30, 0.0, 1e30, 1e308)]
    assert [reading.flops_per_gpu for reading in Told(*pages).readings] == [0.0, 1e30, 0.0, 0.0, 0.0]


def test_times_are_counted_up_to_a_bound_however_often_a_page_comes_and_goes() -> None:
    pages = [h(count, count / 1e3) for count in (0, 2**53) * 3]
    counted = [reading.times["a"]["duration"] for reading in Told(*pages).readings]
    assert sum(time.at_most[math.inf] for time in counted) == 2**53
    assert sum(time.seconds for time in counted) == pytest.approx(3 * 2**53 / 1e3)


def test_a_server_that_was_started_anew_has_its_times_and_work_from_0_though_they_are_past_where_they_were() -> None:
    counts = Counts(RULES)
    before = counts.add([*h(3, 1.0), one("flops", 5.0)], 1)
    counts.restart()
    told = counts.add([*h(4, 2.0), one("flops", 7.0)], 2).since(before)
    assert (told.times["a"]["duration"].at_most[math.inf], told.times["a"]["duration"].seconds) == (4, 2.0)
    assert (told.flops_per_gpu, told.resets) == (7.0, 1)


def test_bytes_are_told_where_both_those_read_and_those_written_are() -> None:
    assert Told([one("read", 1.0)]).last.memory_bytes_per_gpu is None


def test_negative_work_and_more_ranks_than_are_remembered_tell_nothing() -> None:
    many = [one("flops", 1.0, rank=str(rank)) for rank in range(WORK_REMEMBERED + 1)]
    told = Told([one("flops", -1.0)], many)
    assert [reading.flops_per_gpu for reading in told.readings] == [None, None]


def test_a_servers_only_model_has_no_inner_calls_where_all_that_it_has_are_on_the_page() -> None:
    rules = MetricRules((CountRule(named("all")),), {}, "model", inner_calls=True, among_several=True)
    told = Told([one("all", 1)], [one("all", 2), one("all", 1, model="b")], [one("all", 3)], rules=rules)
    assert [(reading.inner_calls, reading.model) for reading in told.readings] == [(False, "a"), (True, None), (True, None)]

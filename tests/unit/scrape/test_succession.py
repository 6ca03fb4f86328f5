"""Whose pages they are: one server's, one's that was started anew, or several servers' by turns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infermeter.mapping.metrics import CountRule, MetricRules
from infermeter.mapping.series import SeriesRule
from infermeter.mapping.times import TimeRule
from infermeter.model import Series
from infermeter.scrape.succession import PAGES, PAGES_AFTER_FALL, PAGES_AT_START, START_TIME, Standing, Succession, standing

SECOND_NS = 1_000_000_000
AT_START = ["counts", *["held"] * (PAGES_AT_START - 2)]
SETTLED = [*AT_START, "counts"]


class Address:
    """Pages five seconds apart."""

    def __init__(self) -> None:
        self.succession = Succession()
        self.now_ns = 1_795_000_000 * SECOND_NS

    def page(self, count: float | None, *, started: float | None = None, series: int = 0) -> str:
        self.now_ns += 5 * SECOND_NS
        return self.succession.judge(Standing(self.now_ns, {} if count is None else {series: count}, started))

    def pages(self, *counts: float) -> list[str]:
        return [self.page(count) for count in counts]

    @classmethod
    def settled(cls, count: float) -> Address:
        address = cls()
        assert address.pages(*[count] * PAGES_AT_START) == SETTLED
        return address


# --- what counts ---------------------------------------------------------------------------------------------------------------------
def test_after_the_first_page_nothing_counts_until_some_have_shown_no_other_server() -> None:
    address = Address.settled(100)
    assert address.pages(110, 110, 500) == ["counts"] * 3


def test_where_a_page_says_when_its_process_began_nothing_waits() -> None:
    address = Address()
    assert [address.page(count, started=100.0) for count in (7, 8, 9)] == ["counts"] * 3


def test_a_server_that_has_counted_nothing_yet_goes_on_with_its_first_series() -> None:
    address = Address()
    assert [address.page(None), *address.pages(*range(PAGES_AT_START - 1))] == SETTLED
    assert address.page(None) == "counts"
    assert address.page(20) == "counts"


# --- a fall --------------------------------------------------------------------------------------------------------------------------
def test_what_follows_a_fall_counts_once_so_many_pages_have_gone_on_from_there() -> None:
    address = Address.settled(100)
    assert address.pages(*range(PAGES_AFTER_FALL)) == [*["held"] * (PAGES_AFTER_FALL - 1), "counts"]
    assert address.page(20) == "counts"


def test_pages_between_which_a_server_goes_on_from_where_it_was_were_anothers() -> None:
    address = Address.settled(100)
    assert address.pages(50, 60, 110, 120) == ["held", "held", "counts", "counts"]


def test_a_server_that_comes_back_after_it_was_taken_to_be_gone_waits_for_the_other_to_show() -> None:
    address = Address.settled(1_000_000)
    address.pages(*[50] * PAGES_AFTER_FALL)
    assert address.pages(1_000_100, 60, 1_000_200, 70) == ["held", "held", "held", "several"]


def test_one_that_passes_where_the_other_stood_waits_once() -> None:
    address = Address.settled(100)
    address.pages(*[50] * PAGES_AFTER_FALL)
    assert address.pages(*range(100, 100 + PAGES_AFTER_FALL)) == [*["held"] * (PAGES_AFTER_FALL - 1), "counts"]
    assert address.pages(200, 300) == ["counts"] * 2


def test_a_return_beyond_where_a_third_stood_is_not_taken_for_the_one_that_was_there_last() -> None:
    address = Address.settled(1_000_000)
    address.pages(*[50] * PAGES_AFTER_FALL)
    assert address.pages(20, 1_000_100) == ["held", "held"]


def test_a_page_without_any_series_of_the_one_before_is_anothers() -> None:
    address = Address.settled(100)
    assert [address.page(5, series=1), address.page(110), address.page(5, series=1)] == ["held", "counts", "several"]


# --- several -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("counts", [[1_000_000, 50] * 4, [50, 1_000_000] * 4, [10, 5, 1] * 3], ids=["high first", "low first", "three"])
def test_servers_by_turns_are_several_before_anything_of_them_counts(counts: Sequence[int]) -> None:
    told = Address().pages(*counts)
    assert told[0] == "counts"
    assert "counts" not in told[1:]
    assert told[-1] == "several"


def test_one_that_starts_again_and_again_without_saying_so_is_no_better_than_several() -> None:
    address = Address.settled(100)
    told = address.pages(3, 8, 2, 7, 1, 6)
    assert told == [*["held"] * 4, "several", "several"]


def test_of_one_again_after_so_many_pages_and_that_one_is_the_first() -> None:
    address = Address()
    address.pages(10, 5, 10, 5, 10, 5)
    assert address.pages(*[20] * (PAGES - 1)) == ["several"] * (PAGES - 1)
    assert address.pages(*[30] * PAGES_AT_START) == ["anew", *SETTLED[1:]]


# --- when its process began ----------------------------------------------------------------------------------------------------------
def test_a_process_that_began_after_the_last_page_was_started_anew_also_over_and_over_and_where_nothing_fell() -> None:
    address = Address()
    told = [address.page(count, started=address.now_ns / 1e9 + 1) for count in (7, 3, 3, 9, 2, 1, 4)]
    assert told == ["counts", *["restarted"] * 6]


def test_a_process_that_ran_before_the_last_page_is_anothers_and_so_is_the_one_that_comes_back() -> None:
    address = Address()
    now = address.now_ns / 1e9
    assert [address.page(count, started=now + at) for count, at in ((50, -900.0), (1_000_000, -500.0))] == ["counts", "held"]
    assert address.page(60, started=now - 900.0) == "several"


def test_a_process_that_ran_beside_the_one_before_is_the_first_once_it_is_alone() -> None:
    """Nothing of what it counted until then is new."""
    address = Address()
    now = address.now_ns / 1e9
    address.page(50, started=now - 900.0)
    told = [address.page(1_000_000, started=now - 500.0) for _ in range(PAGES_AFTER_FALL + 1)]
    assert told == [*["held"] * (PAGES_AFTER_FALL - 1), "anew", "counts"]


def test_start_times_that_are_computed_anew_for_each_page_are_of_one_process() -> None:
    address = Address()
    assert [address.page(count, started=100.0 + count / 100) for count in (7, 8, 9, 8.5)] == [*["counts"] * 3, "held"]


# --- what is looked at ---------------------------------------------------------------------------------------------------------------
def test_only_what_can_not_fall_while_a_server_lives_is_looked_at() -> None:
    summed = TimeRule("queue", SeriesRule(("queue_total",)))
    counted = TimeRule("duration", SeriesRule(("sum",)), SeriesRule(("count",)), SeriesRule(("bucket",)))
    rules = MetricRules((CountRule(SeriesRule(("served",))),), {"running": SeriesRule(("running",))}, times=(summed, counted))
    names = ("served", "queue_total", "count", "bucket", "sum", "running", "else")
    page = [Series(name, {}, float(number)) for number, name in enumerate(names)]
    assert sorted(standing(rules, page, 1).counts.values()) == [0, 1, 2, 3]


@pytest.mark.parametrize(("starts", "told"), [([], None), ([5.0], 5.0), ([5.0, 6.0], None)])
def test_a_start_time_says_something_only_where_there_is_one(starts: list[float], told: float | None) -> None:
    page = [Series(START_TIME, {"process": str(start)}, start) for start in starts]
    assert standing(MetricRules(), page, 1) == Standing(1, {}, told)

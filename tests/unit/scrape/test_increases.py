"""How many more were served from one page to the next: births, restarts, gaps, nonsense, and bounds."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from infermeter.mapping.metrics import CountRule, MetricRules
from infermeter.mapping.series import SeriesRule
from infermeter.mapping.texts import TextMatch
from infermeter.model import Series
from infermeter.scrape.increases import (
    FORGOTTEN_AFTER_NS,
    LABELS_CHARACTERS,
    LARGEST_COUNT,
    SERIES_REMEMBERED,
    Counts,
    Row,
    Totals,
)

SECOND_NS = 1_000_000_000
FAILED = (TextMatch(exact=frozenset({"abort", "error"})),)
ALL = MetricRules((CountRule(SeriesRule(("all",)), None, "reason", FAILED),), {"running": SeriesRule(("running",))}, "model")
TWO = MetricRules((CountRule(SeriesRule(("good",))), CountRule(SeriesRule(("bad",)), "error")), {}, "model")
A, A_FAILED = ("a", "ok"), ("a", "error")


def served(value: float, *, model: str = "a", reason: str = "stop", name: str = "all", **labels: str) -> Series:
    return Series(name, {"model": model, "reason": reason, **labels}, value)


class Server:
    """Pages of a server, five seconds apart, and what each one added."""

    def __init__(self, rules: MetricRules = ALL) -> None:
        self.counts = Counts(rules)
        self.now_ns = 0
        self.before: Totals | None = None

    def page(self, *series: Series) -> dict[Row, float]:
        return self.told(series)

    def told(self, series: Iterable[Series]) -> dict[Row, float]:
        self.now_ns += 5 * SECOND_NS
        totals = self.counts.add(series, self.now_ns)
        self.reading = totals.since(self.before)
        self.before = totals
        return dict(self.reading.inferences)


# --- what counts ---------------------------------------------------------------------------------------------------------------------
def test_the_first_page_is_a_baseline_of_zeros() -> None:
    server = Server()
    assert server.page(served(1000), served(7, reason="abort")) == {A: 0, A_FAILED: 0}
    assert (server.reading.time_ns, server.reading.since_ns, server.reading.resets) == (5 * SECOND_NS, None, 0)


def test_a_counter_tells_its_increase_since_the_last_page_also_where_that_is_none() -> None:
    server = Server()
    server.page(served(1000), served(0, model="b"))
    assert server.page(served(1012), served(0, model="b")) == {A: 12, ("b", "ok"): 0}
    assert (server.reading.time_ns, server.reading.since_ns) == (10 * SECOND_NS, 5 * SECOND_NS)


def test_series_of_one_model_and_outcome_add_up_whatever_their_other_labels() -> None:
    server = Server()
    server.page(served(5, engine="0"), served(6, engine="1"), served(1, reason="abort"), served(1, reason="error"))
    told = server.page(served(7, engine="0"), served(9, engine="1"), served(2, reason="abort"), served(4, reason="error"))
    assert told == {A: 5, A_FAILED: 4}


def test_a_series_that_comes_later_counts_from_zero() -> None:
    server = Server()
    server.page(served(5))
    assert server.page(served(5), served(3, model="new")) == {A: 0, ("new", "ok"): 3}


def test_a_counter_that_fell_counts_from_zero_and_is_told_as_reset() -> None:
    server = Server()
    server.page(served(100), served(50, model="b"))
    assert server.page(served(4), served(60, model="b")) == {A: 4, ("b", "ok"): 10}
    assert server.reading.resets == 1
    assert server.page(served(6), served(60, model="b")) == {A: 2, ("b", "ok"): 0}
    assert server.reading.resets == 0


def test_a_series_that_vanishes_goes_on_where_it_was_when_it_comes_back() -> None:
    server = Server()
    server.page(served(100), served(1, model="b"))
    assert server.page(served(2, model="b")) == {A: 0, ("b", "ok"): 1}
    assert server.page(served(103), served(2, model="b")) == {A: 3, ("b", "ok"): 0}


def test_a_page_that_was_never_handed_on_is_made_up_for_by_the_next() -> None:
    server = Server()
    server.page(served(10))
    server.counts.add([served(3)], 7 * SECOND_NS)
    assert server.page(served(5)) == {A: 5}
    assert (server.reading.since_ns, server.reading.resets) == (5 * SECOND_NS, 1)


def test_counting_begins_with_the_first_page_that_was_handed_on() -> None:
    server = Server()
    server.counts.add([served(10)], SECOND_NS)
    assert server.page(served(90)) == {A: 0}
    assert server.page(served(91)) == {A: 1}


@pytest.mark.parametrize("labels", [{}, {"model": ""}])
def test_a_series_without_a_model_names_none(labels: dict[str, str]) -> None:
    server = Server()
    server.page()
    assert server.page(Series("all", labels, 2)) == {(None, "ok"): 2}


def test_a_server_that_names_no_model_and_no_outcome_says_so() -> None:
    server = Server(MetricRules((CountRule(SeriesRule(("all",))),), inner_calls=True))
    server.page()
    assert server.page(served(2), served(3, model="b")) == {(None, None): 5}
    assert server.reading.inner_calls


def test_other_metrics_on_the_page_count_nothing() -> None:
    server = Server()
    server.page()
    assert server.page(served(2, name="else")) == {}
    assert server.counts.ignored == 0


# --- ok as what is left --------------------------------------------------------------------------------------------------------------
def two(good: float, bad: float) -> tuple[Series, Series]:
    return served(good, name="good"), served(bad, name="bad")


def test_where_errors_are_counted_among_all_ok_is_what_is_left() -> None:
    server = Server(TWO)
    server.page(*two(100, 10))
    assert server.page(*two(110, 13)) == {A: 7, A_FAILED: 3}
    assert server.page(served(115, name="good"), served(13, name="bad"), served(2, name="good", model="b")) == {
        A: 5,
        A_FAILED: 0,
        ("b", "ok"): 2,
    }


def test_errors_that_run_ahead_of_all_inferences_take_nothing_back() -> None:
    server = Server(TWO)
    server.page(*two(0, 0))
    assert server.page(*two(5, 0)) == {A: 5, A_FAILED: 0}
    assert server.page(*two(5, 2)) == {A: 0, A_FAILED: 2}
    assert server.page(*two(9, 2)) == {A: 2, A_FAILED: 0}


# --- the gauge -----------------------------------------------------------------------------------------------------------------------
def running(*values: float) -> list[Series]:
    return [Series("running", {"engine": str(number)}, value) for number, value in enumerate(values)]


@pytest.mark.parametrize(("values", "told"), [((3.0, 4.0), 7.0), ((0.0,), 0.0), ((), None), ((3.0, -1.0), None), ((1e300,), None)])
def test_what_runs_now_is_the_sum_of_its_series_or_not_told(values: tuple[float, ...], told: float | None) -> None:
    server = Server()
    server.page(*running(*values))
    assert server.reading.running == told
    assert server.counts.ignored == sum(not 0 <= value < 1e100 for value in values)


def test_a_server_without_that_gauge_tells_nothing_of_it() -> None:
    server = Server(TWO)
    server.page(*two(1, 1), *running(1.0))
    assert server.reading.running is None


# --- tokens, batches, caches ---------------------------------------------------------------------------------------------------------
def only(text: str) -> TextMatch:
    return TextMatch(exact=frozenset((text,)))


MANY = MetricRules(
    (
        CountRule(SeriesRule(("all",))),
        CountRule(SeriesRule(("tokens",), (("way", only("in")),)), "input"),
        CountRule(SeriesRule(("tokens",), (("way", only("out")),)), "output"),
        CountRule(SeriesRule(("batch_sum",)), "executed"),
        CountRule(SeriesRule(("batch_count",)), "executions"),
    ),
    {"waiting": SeriesRule(("waiting",)), "kv_cache_used": SeriesRule(("cache",)), "batch_size": SeriesRule(("current",))},
    "model",
)


def test_tokens_are_told_by_direction_and_model() -> None:
    server = Server(MANY)
    server.page(served(100, name="tokens", way="in"), served(7, name="tokens", way="out"))
    assert server.reading.tokens == {"input": {"a": 0}, "output": {"a": 0}}
    told = server.page(
        served(130, name="tokens", way="in"),
        served(9, name="tokens", way="out"),
        served(4, name="tokens", way="out", model="b"),
        served(99, name="tokens", way="else"),
    )
    assert server.reading.tokens == {"input": {"a": 30}, "output": {"a": 2, "b": 4}}
    assert (told, server.counts.ignored) == ({}, 0)


def test_a_direction_that_is_told_is_there_before_it_counts_and_no_other_is() -> None:
    server = Server(MANY)
    server.page()
    assert server.reading.tokens == {"input": {}, "output": {}}
    other = Server(TWO)
    other.page()
    assert other.reading.tokens == {}


def test_the_batch_is_the_mean_of_the_executions_since_the_last_reading_else_what_the_gauge_says() -> None:
    server = Server(MANY)
    server.page(served(100, name="batch_sum"), served(10, name="batch_count"))
    assert server.reading.batch_size is None
    server.page(served(130, name="batch_sum"), served(14, name="batch_count"), Series("current", {}, 5))
    assert server.reading.batch_size == 7.5
    server.page(served(130, name="batch_sum"), served(14, name="batch_count"), Series("current", {}, 5))
    assert server.reading.batch_size == 5


def test_of_several_caches_the_fullest_is_told_and_of_several_queues_all() -> None:
    server = Server(MANY)
    server.page(*(Series(name, {"engine": str(i)}, value) for name, i, value in (("cache", 0, 0.25), ("cache", 1, 0.5))))
    assert (server.reading.kv_cache_used_ratio, server.reading.waiting) == (0.5, None)
    server.page(*(Series(name, {"engine": str(i)}, value) for name, i, value in (("waiting", 0, 2), ("waiting", 1, 3), ("cache", 0, 1.5))))
    assert (server.reading.kv_cache_used_ratio, server.reading.waiting) == (None, 5)
    assert server.counts.ignored == 1


def test_the_one_model_that_a_page_names_is_served_and_of_several_none() -> None:
    server = Server(MANY)
    server.page()
    assert server.reading.model is None
    server.page(Series("waiting", {"model": "a"}, 0))
    assert server.reading.model == "a"
    server.page(served(1, name="tokens", way="in"), served(1, name="tokens", way="else", model="not read"), Series("current", {}, 1))
    assert server.reading.model == "a"
    server.page(served(1, name="tokens", way="in"), Series("waiting", {"model": "b"}, 0))
    assert server.reading.model is None


def test_a_model_whose_counts_hold_calls_by_others_is_not_known_to_be_served() -> None:
    server = Server(MetricRules((CountRule(SeriesRule(("all",)), "ok"),), {}, "model", inner_calls=True))
    server.page(served(1))
    assert (server.reading.model, server.reading.inner_calls) == (None, True)


# --- names that changed --------------------------------------------------------------------------------------------------------------
RENAMED = MetricRules((CountRule(SeriesRule(("new", "old", "oldest")), "ok"),), {}, "model")


def test_of_several_names_the_first_that_is_exposed_is_read_and_no_other() -> None:
    server = Server(RENAMED)
    server.page(served(1, name="old"), served(1, name="oldest"))
    assert server.page(served(4, name="old"), served(9, name="oldest")) == {A: 3}


def test_a_name_is_kept_for_as_long_as_it_is_exposed() -> None:
    server = Server(RENAMED)
    server.page(served(10, name="old"))
    assert server.page(served(12, name="old"), served(12, name="new")) == {A: 2}
    assert server.page(served(13, name="old"), served(13, name="new")) == {A: 1}


def test_a_server_that_comes_back_with_another_name_counts_from_zero() -> None:
    server = Server(RENAMED)
    server.page(served(10, name="old"))
    assert server.page() == {A: 0}
    assert server.page(served(3, name="new")) == {A: 3}
    assert server.page(served(5, name="new"), served(99, name="old")) == {A: 2}


def test_series_with_other_labels_than_are_meant_count_nothing() -> None:
    server = Server(MetricRules((CountRule(SeriesRule(("all",), (("reason", only("stop")),)), "ok"),), {}, "model"))
    server.page(served(1), served(1, reason="health"))
    assert server.page(served(2), served(9, reason="health")) == {A: 1}


# --- nonsense ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [-1.0, 0.5, LARGEST_COUNT * 2.0])
def test_what_counts_nothing_is_ignored_and_the_series_goes_on_where_it_was(value: float) -> None:
    server = Server()
    server.page(served(10))
    assert server.page(served(value)) == {A: 0}
    assert server.counts.ignored == 1
    assert server.page(served(12)) == {A: 2}
    assert server.counts.ignored == 1


def test_a_series_that_began_as_nonsense_has_its_first_count_as_baseline() -> None:
    server = Server()
    server.page(served(0.5))
    assert server.page(served(100)) == {A: 0}
    server.page(served(100), served(-1, model="b"))
    assert server.page(served(101), served(7, model="b")) == {A: 1, ("b", "ok"): 0}
    assert server.page(served(101), served(8, model="b")) == {A: 0, ("b", "ok"): 1}


def test_a_series_that_stands_on_a_page_twice_counts_once() -> None:
    server = Server()
    server.page(served(10), served(4))
    assert server.page(served(11), served(5)) == {A: 1}
    assert server.counts.ignored == 2


def test_labels_that_are_too_long_are_not_remembered() -> None:
    server = Server()
    assert server.page(served(1, model="m" * LABELS_CHARACTERS)) == {}
    assert server.counts.ignored == 1


# --- bounds --------------------------------------------------------------------------------------------------------------------------
def many(values: Iterable[tuple[int, float]]) -> list[Series]:
    return [served(value, model=f"m{number}") for number, value in values]


def every(value: float, *, begin: int = 0, end: int = SERIES_REMEMBERED) -> list[Series]:
    return many((number, value) for number in range(begin, end))


def test_one_series_too_many_is_ignored_and_those_that_are_known_go_on() -> None:
    server = Server()
    assert len(server.told(every(5, end=SERIES_REMEMBERED + 3))) == SERIES_REMEMBERED
    assert server.counts.ignored == 3
    assert sum(server.told(every(7, end=SERIES_REMEMBERED + 3)).values()) == 2 * SERIES_REMEMBERED
    assert server.counts.ignored == 6


def test_one_that_was_too_many_has_its_first_count_as_baseline_once_there_is_room() -> None:
    server = Server()
    server.told(every(5, end=SERIES_REMEMBERED + 1))
    server.told(every(5, end=10))
    server.now_ns += FORGOTTEN_AFTER_NS + SECOND_NS
    server.told(every(5, end=10))
    late = many([(SERIES_REMEMBERED, 1000)])
    assert server.told([*every(5, end=10), *late]) == {(f"m{number}", "ok"): 0 for number in [*range(10), SERIES_REMEMBERED]}
    assert server.counts.ignored == 1


def test_series_that_were_gone_for_an_hour_make_room_for_new_ones() -> None:
    server = Server()
    server.told(every(5))
    server.told(every(5, end=10))
    server.now_ns += FORGOTTEN_AFTER_NS + SECOND_NS
    server.told(every(5, end=10))
    told = server.told([*every(5, end=10), *every(3, begin=SERIES_REMEMBERED, end=SERIES_REMEMBERED + 9_990)])
    assert sum(told.values()) == 3 * 9_990
    assert len(told) == SERIES_REMEMBERED
    assert server.counts.ignored == 0


def test_an_outage_of_hours_makes_nothing_forgotten() -> None:
    server = Server()
    server.told(every(5))
    server.now_ns += 10 * FORGOTTEN_AFTER_NS
    assert sum(server.told(every(6)).values()) == SERIES_REMEMBERED


def test_while_there_is_room_nothing_is_forgotten() -> None:
    server = Server()
    server.page(served(5), served(1, model="b"))
    for _ in range(3):
        server.now_ns += 10 * FORGOTTEN_AFTER_NS
        server.page(served(1, model="b"))
    assert server.page(served(6), served(1, model="b")) == {A: 1, ("b", "ok"): 0}


def test_a_row_that_was_forgotten_and_came_back_between_two_readings_takes_nothing_back() -> None:
    before, after = (Totals(time_ns, {A: count}) for time_ns, count in ((0, 50), (1, 3)))
    assert after.since(before).inferences == {A: 0}


def test_errors_that_were_forgotten_do_not_become_ok() -> None:
    server = Server(TWO)
    bad = [served(0, name="bad", model=f"m{number}") for number in range(SERIES_REMEMBERED // 2)]
    server.told([*two(10, 0), *bad])
    server.told([*two(20, 4), *bad])
    for _ in range(3):
        server.now_ns += FORGOTTEN_AFTER_NS + SECOND_NS
        assert server.told([served(20, name="good"), *bad])[A] == 0


def test_a_model_that_was_forgotten_begins_anew() -> None:
    server = Server(TWO)
    bad = [served(0, name="bad", model=f"m{number}") for number in range(SERIES_REMEMBERED // 2)]
    server.told([*two(10, 0), *bad])
    assert server.told([*two(60, 1), *bad])[A] == 49
    server.told(bad)
    server.now_ns += FORGOTTEN_AFTER_NS + SECOND_NS
    server.told(bad)
    assert A not in server.told(bad)
    server.told([*two(5, 1), *bad])
    assert server.told([*two(7, 2), *bad])[A] == 1
    assert server.reading.inferences[A_FAILED] == 1

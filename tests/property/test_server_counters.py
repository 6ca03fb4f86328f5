"""Laws of counting by a server's own counters: nothing falls, nothing is invented, and what wasn't hidden is all there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from infermeter.mapping.metrics import CountRule, MetricRules
from infermeter.mapping.series import SeriesRule
from infermeter.mapping.texts import TextMatch
from infermeter.model import Series, ServerReading
from infermeter.scrape.increases import Counts, Totals

RULES = MetricRules((CountRule(SeriesRule(("served",)), None, "reason", (TextMatch(exact=frozenset({"abort"})),)),), {}, "model")
MODELS, REASONS = ("a", "b", ""), ("stop", "length", "abort")
SERIES = st.tuples(st.sampled_from(MODELS), st.sampled_from(REASONS))
SERVE = st.tuples(st.just("serve"), SERIES, st.integers(0, 50))
HIDE = st.tuples(st.just("hide"), SERIES, st.just(0))
READ = st.tuples(st.just("read"), st.just(("", "")), st.booleans())
RESTART = st.tuples(st.just("restart"), st.just(("", "")), st.just(0))


@dataclass
class Server:
    """What it really served since the first page, and what its pages told."""

    values: Counter[tuple[str, str]] = field(default_factory=Counter)
    born: set[tuple[str, str]] = field(default_factory=set)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    counts: Counts = field(default_factory=lambda: Counts(RULES))
    delivered: Totals | None = None
    readings: list[ServerReading] = field(default_factory=list)
    begun: bool = False
    truth: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    now_ns: int = 0

    def does(self, action: str, series: tuple[str, str], amount: int) -> None:
        if action == "serve":
            self.born.add(series)
            self.values[series] += amount
            if self.begun:
                self.truth[series[0] or None, "error" if series[1] == "abort" else "ok"] += amount
        elif action == "hide":
            self.hidden.add(series)
        elif action == "restart":
            self.values.clear()
            self.born.clear()
        else:
            self.read(in_time=bool(amount) or not self.begun)

    def read(self, *, in_time: bool) -> None:
        self.now_ns += 5_000_000_000
        page = [
            Series("served", {"model": model, "reason": reason}, float(self.values[model, reason]))
            for model, reason in sorted(self.born - self.hidden)
        ]
        totals = self.counts.add(page, self.now_ns)
        self.hidden.clear()
        self.begun = True
        if in_time:
            self.readings.append(totals.since(self.delivered))
            self.delivered = totals

    def told(self) -> Counter[tuple[str | None, str]]:
        told: Counter[tuple[str | None, str]] = Counter()
        for reading in self.readings:
            told.update({row: round(count) for row, count in reading.inferences.items() if row[1] is not None})  # type: ignore[misc]
        return told


@given(st.lists(st.one_of(SERVE, READ, RESTART), max_size=40))
def test_no_more_is_told_than_was_served_and_never_less_than_nothing(actions: list[tuple[str, tuple[str, str], int]]) -> None:
    server = Server()
    for action in actions:
        server.does(*action)
    server.does("read", ("", ""), 1)
    assert all(count >= 0 for reading in server.readings for count in reading.inferences.values())
    assert server.told() <= server.truth
    assert all(later.since_ns == earlier.time_ns for earlier, later in zip(server.readings, server.readings[1:], strict=False))


@given(st.lists(SERVE, max_size=5), st.lists(st.one_of(SERVE, READ, HIDE), max_size=40))
def test_without_restarts_all_that_was_served_is_told_also_by_pages_that_lack_it_or_come_too_late(
    before: list[tuple[str, tuple[str, str], int]], actions: list[tuple[str, tuple[str, str], int]]
) -> None:
    server = Server()
    for action in before:
        server.does(*action)
    server.does("read", ("", ""), 1)
    for action in actions:
        server.does(*action)
    server.hidden.clear()
    server.does("read", ("", ""), 1)
    assert +server.told() == +server.truth
    assert sum(reading.resets for reading in server.readings) == 0


VALUES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**54).map(float), st.sampled_from([0.0, 0.5, -1.0]))
LABELS = st.dictionaries(st.sampled_from(["model", "reason", "x"]), st.text(max_size=3), max_size=3)
NONSENSE = st.lists(st.builds(Series, st.sampled_from(["all", "bad", "running", "else"]), LABELS, VALUES), max_size=8)


@given(st.lists(NONSENSE, max_size=8))
def test_whatever_a_page_holds_no_increase_is_negative_and_totals_never_fall(pages: list[list[Series]]) -> None:
    every = CountRule(SeriesRule(("all",))), CountRule(SeriesRule(("bad",)), "error")
    counts = Counts(MetricRules(every, {"running": SeriesRule(("running",))}, "model"))
    before: Totals | None = None
    for number, page in enumerate(pages):
        totals = counts.add(page, number)
        reading = totals.since(before)
        assert all(count >= 0 for count in (*reading.inferences.values(), reading.resets, reading.running or 0))
        if before is not None:
            assert all(totals.inferences[row] >= count for row, count in before.inferences.items())
        before = totals

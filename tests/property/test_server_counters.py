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
from infermeter.scrape.increases import LARGEST_COUNT, Counts, Totals
from infermeter.scrape.succession import BREAKS, PAGES_AFTER_FALL, PAGES_AT_START, Succession, standing

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


# --- whose pages they are ------------------------------------------------------------------------------------------------------------
ALL = MetricRules((CountRule(SeriesRule(("served",)), "ok"),))


@dataclass
class Replica:
    """One of several behind an address."""

    served: int
    started_seconds: float
    says_when: bool

    def page(self) -> list[Series]:
        started = [Series("process_start_time_seconds", {}, self.started_seconds)] if self.says_when else []
        return [Series("served", {}, float(self.served)), *started]


@dataclass
class Address:
    """Replicas that all serve, and one of them answers: what is told of it, and what was really served since the first page."""

    replicas: list[Replica]
    succession: Succession = field(default_factory=Succession)
    counts: Counts = field(default_factory=lambda: Counts(ALL))
    delivered: Totals | None = None
    told: float = 0
    truth: int = 0
    now_ns: int = 1_795_000_000_000_000_000
    several: bool = False

    def page(self, answers: int, more: int) -> None:
        if self.delivered is not None:
            self.truth += more * len(self.replicas)
            for replica in self.replicas:
                replica.served += more
        self.now_ns += 5_000_000_000
        page = self.replicas[answers].page()
        verdict = self.succession.judge(standing(ALL, page, self.now_ns))
        self.several |= verdict == "several"
        if verdict in ("held", "several"):
            return
        if verdict == "anew":
            self.counts = Counts(ALL, era=self.counts.add([], 0).era + 1)
        if verdict == "restarted":
            self.counts.restart()
        totals = self.counts.add(page, self.now_ns)
        self.told += sum(totals.since(self.delivered).inferences.values())
        self.delivered = totals

    def restart(self, replica: int) -> None:
        """Right after a page."""
        self.replicas[replica].served = 0
        self.replicas[replica].started_seconds = self.now_ns / 1e9 + 2


REPLICAS = st.lists(st.integers(0, 2**53 - 10**6), min_size=2, max_size=3)
TURNS = st.lists(st.tuples(st.permutations(range(3)), st.lists(st.integers(1, 2), min_size=3, max_size=3)), max_size=8)


@given(REPLICAS, TURNS, st.integers(0, 50))
def test_of_servers_that_answer_by_turns_no_more_is_told_than_they_served(
    counts: list[int], turns: list[tuple[list[int], list[int]]], more: int
) -> None:
    """In any order, once or twice in a row; one after the other at first, or five pages may rise by chance."""
    address = Address([Replica(count, 100.0, says_when=False) for count in counts])
    for order, times in ([range(3), [1] * 3], [range(3), [1] * 3], *turns):
        for which in order:
            for _ in range(times[which] if which < len(counts) else 0):
                address.page(which, more)
    assert 0 <= address.told <= address.truth


@given(REPLICAS, st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.booleans()), max_size=12), st.integers(0, 50))
def test_where_pages_say_when_their_process_began_nothing_is_invented_however_replicas_answer_and_restart(
    counts: list[int], runs: list[tuple[int, int, bool]], more: int
) -> None:
    address = Address([Replica(count, 1_795_000_000.0 - 1000 * (number + 1), says_when=True) for number, count in enumerate(counts)])
    for which, times, restarts in runs:
        if restarts and address.delivered is not None:
            address.restart(which % len(counts))
        for _ in range(times):
            address.page(which % len(counts), more)
    assert 0 <= address.told <= address.truth


@given(st.integers(0, 2**52), st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), max_size=12))
def test_a_server_that_restarts_and_says_so_has_all_that_it_served_told_also_in_a_crash_loop(
    count: int, lives: list[tuple[int, int]]
) -> None:
    address = Address([Replica(count, 100.0, says_when=True)])
    address.page(0, 0)
    for pages, more in lives:
        address.restart(0)
        for _ in range(pages):
            address.page(0, more)
    assert address.told == address.truth
    assert not address.several


@given(st.integers(2_000, 2**52), st.lists(st.integers(0, 50), min_size=PAGES_AFTER_FALL, max_size=20))
def test_a_server_that_restarts_without_saying_so_has_all_that_it_served_told_once_it_is_known(count: int, served: list[int]) -> None:
    address = Address([Replica(count, 100.0, says_when=False)])
    for more in [0] * PAGES_AT_START:
        address.page(0, more)
    address.restart(0)
    for more in served:
        address.page(0, more)
    assert address.told == address.truth


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=PAGES_AFTER_FALL - 1), min_size=BREAKS, max_size=6))
def test_a_crash_loop_that_does_not_say_so_is_told_nothing_of_that_never_happened(lives: list[list[int]]) -> None:
    address = Address([Replica(2_000, 100.0, says_when=False)])
    for _ in range(PAGES_AT_START):
        address.page(0, 0)
    for life in lives:
        address.restart(0)
        for more in life:
            address.page(0, more)
    assert 0 <= address.told <= address.truth


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0**53]), max_size=60))
def test_nothing_is_counted_beyond_the_largest_count(values: list[float]) -> None:
    counts = Counts(ALL)
    told = [counts.add([Series("served", {}, value)], number).inferences.get((None, "ok"), 0) for number, value in enumerate(values)]
    assert told == sorted(told)
    assert max(told, default=0) <= LARGEST_COUNT

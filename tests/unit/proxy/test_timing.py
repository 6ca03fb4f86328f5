"""From a request's instants to its stages."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.proxy.timing import LONG_WRITE_NS, PAUSES_LIMIT, Interval, Timing

MS = LONG_WRITE_NS


def intervals(*, limited: bool = False, **instants: Any) -> list[Interval]:
    return list(Timing(0, **{"end_ns": 100, "asked": True, "turn_ns": 0, **instants}).intervals(limited=limited))


def test_an_answer_of_known_length_was_computed_when_it_began() -> None:
    assert intervals(limited=True, turn_ns=10, upload=True, sent_ns=30, computed_ns=80) == [
        ("queue", 0, 10, None),
        ("serialisation", 10, 30, "net_in"),
        ("compute", 30, 80, None),
        ("serialisation", 80, 100, "net_out"),
    ]


def test_without_a_limit_there_is_no_queue_and_without_a_body_no_net_in() -> None:
    assert intervals(computed_ns=80) == [("compute", 0, 80, None), ("serialisation", 80, 100, "net_out")]


def test_what_never_had_its_turn_only_waited() -> None:
    assert intervals(limited=True, turn_ns=None, asked=False) == [("queue", 0, 100, None)]


def test_what_could_not_be_asked_has_no_stage() -> None:
    assert intervals(asked=False) == []


def test_what_was_given_up_while_the_server_worked_on_it_was_being_computed() -> None:
    assert intervals(upload=True, sent_ns=30) == [("serialisation", 0, 30, "net_in"), ("compute", 30, 100, None)]


def test_an_answer_that_came_before_the_body_ended_was_computed_by_then() -> None:
    told = intervals(upload=True, sent_ns=90, computed_ns=60)
    assert told[0] == ("serialisation", 0, 90, "net_in")
    assert all(interval.end_ns >= interval.start_ns for interval in told)


def test_a_client_that_takes_its_time_is_no_compute() -> None:
    timing = Timing(0, end_ns=20 * MS, asked=True, turn_ns=0, computed_ns=19 * MS)
    timing.written(1 * MS, 1 * MS + 10)
    timing.written(5 * MS, 8 * MS)
    timing.written(8 * MS + 5, 9 * MS + 5)
    assert list(timing.intervals(limited=False)) == [
        ("compute", 0, 5 * MS, None),
        ("serialisation", 5 * MS, 9 * MS + 5, "net_out"),
        ("compute", 9 * MS + 5, 19 * MS, None),
        ("serialisation", 19 * MS, 20 * MS, "net_out"),
    ]


def test_a_client_that_pauses_often_makes_no_more_than_so_many_spans() -> None:
    timing = Timing(0, end_ns=1000 * MS, asked=True, turn_ns=0, computed_ns=1000 * MS)
    for i in range(200):
        timing.written(4 * i * MS, 4 * i * MS + 2 * MS)
    assert len(list(timing.intervals(limited=False))) == 2 * PAUSES_LIMIT + 2


@given(
    st.lists(st.integers(0, 10**12), min_size=4, max_size=4).map(sorted),
    st.lists(st.integers(0, 50 * MS), max_size=40),
    st.booleans(),
    st.booleans(),
)
def test_the_stages_of_a_request_that_was_answered_leave_no_gap(instants: list[int], steps: list[int], limited: bool, upload: bool) -> None:
    start, turn, sent, headers = instants
    turn = turn if limited else start
    sent = sent if upload else turn
    timing = Timing(start, asked=True, turn_ns=turn, upload=upload, sent_ns=sent)
    now = max(headers, sent)
    for before, after in itertools.pairwise(itertools.accumulate(steps, initial=now)):
        timing.written(before, after)
        now = after
    timing.computed_ns = timing.end_ns = now
    told = list(timing.intervals(limited=limited))
    assert told[0].start_ns == start
    assert told[-1].end_ns == timing.end_ns
    assert all(before.end_ns == after.start_ns for before, after in itertools.pairwise(told))
    assert all(interval.start_ns <= interval.end_ns for interval in told)


@pytest.mark.parametrize("first", [2, 3])
def test_pauses_apart_stay_apart(first: int) -> None:
    timing = Timing(0)
    timing.written(0, first * MS)
    timing.written((first + 1) * MS, (first + 3) * MS)
    assert len(timing.pauses) == 2

"""Streams, and what may be sent in them, against a table that is kept by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc_answers import Answer, written
from infermeter.otlp.grpc_frames import Code, Http2Error
from infermeter.otlp.grpc_streams import STREAMS_MOST, Streams

ROOM_BYTES = 100_000
OK = Answer(0, b"fine")
REFUSED = Answer(3, text="no")


class Table:
    """Streams, and what they want written."""

    def __init__(self, *begun: int) -> None:
        self.unwritten: list[bytes] = []
        self.streams = Streams(ROOM_BYTES, self.unwritten)
        for number in begun:
            self.streams.begin(number, None)

    def told(self) -> list[bytes]:
        told, self.unwritten[:] = self.unwritten[:], []
        return told


def test_a_stream_is_answered_once_and_known_until_it_has_come_whole() -> None:
    table = Table(1, 3)
    assert table.streams.end(1)
    table.streams.answer(1, OK)
    assert table.told() == [written(OK, 1)]
    assert not table.streams.awaits(1)
    table.streams.answer(3, REFUSED)
    assert table.told() == [written(REFUSED, 3), h2.reset(3, Code.NO_ERROR)]
    assert table.streams.awaits(3)
    assert not table.streams.end(3)
    assert not table.streams.awaits(3)
    assert table.streams.unanswered == {}


def test_of_those_that_were_answered_early_the_last_are_remembered() -> None:
    numbers = range(1, 2 * STREAMS_MOST + 3, 2)
    table = Table(*numbers)
    for number in numbers:
        table.streams.answer(number, REFUSED)
    assert [table.streams.awaits(number) for number in numbers] == [False] + [True] * STREAMS_MOST


def test_who_breaks_off_is_missed_only_before_its_answer() -> None:
    table = Table(1, 3)
    table.streams.set_window(0)
    table.streams.answer(3, OK)
    assert table.streams.has_unsent
    assert table.streams.break_off(1)
    assert not table.streams.break_off(3)
    assert not table.streams.break_off(5)
    assert not table.streams.has_unsent
    table.streams.set_window(100)
    assert table.told() == []


def test_content_takes_room_in_its_stream_and_in_all_and_only_the_latter_is_given_back() -> None:
    table = Table(1)
    table.streams.take_room(1, ROOM_BYTES // 2)
    assert table.told() == []
    table.streams.take_room(1, 1)
    assert table.told() == [h2.window_update(0, ROOM_BYTES // 2 + 1)]
    table.streams.take_room(1, ROOM_BYTES // 2 - 1)
    with pytest.raises(Http2Error) as caught:
        table.streams.take_room(1, 1)
    assert caught.value.code is Code.FLOW_CONTROL_ERROR


def test_content_of_a_stream_that_is_gone_takes_room_too() -> None:
    table = Table(1)
    table.streams.answer(1, REFUSED)
    table.told()
    table.streams.take_room(1, ROOM_BYTES)
    assert table.told() == [h2.window_update(0, ROOM_BYTES)]
    with pytest.raises(Http2Error) as caught:
        table.streams.take_room(1, ROOM_BYTES + 1)
    assert caught.value.code is Code.FLOW_CONTROL_ERROR


def closed_over(table: Table, number: int) -> bool:
    """Whether content in this stream ends the connection as what comes after a stream's end."""
    try:
        table.streams.take_room(number, 0)
    except Http2Error as error:
        return error.code is Code.STREAM_CLOSED
    return False


def test_nothing_comes_in_a_stream_that_has_ended_answered_or_not_was_broken_off_or_passed_over() -> None:
    table = Table(1, 3, 7, 9)
    table.streams.end(1)
    assert closed_over(table, 1)
    table.streams.answer(1, OK)
    table.streams.break_off(3)
    assert [closed_over(table, number) for number in (1, 3, 5, 7, 9)] == [True, True, True, False, False]
    assert [table.streams.has_begun(number) for number in (5, 7, 9)] == [False, True, True]
    table.streams.answer(7, REFUSED)
    table.streams.answer(9, REFUSED)
    assert not closed_over(table, 7)
    table.streams.end(7)
    table.streams.break_off(9)
    assert closed_over(table, 7)
    assert closed_over(table, 9)


def test_what_was_answered_early_and_forgotten_is_held_against_nobody() -> None:
    numbers = range(1, 2 * STREAMS_MOST + 3, 2)
    table = Table(*numbers)
    for number in reversed(numbers):
        table.streams.answer(number, REFUSED)
    assert [number for number in numbers if closed_over(table, number)] == []
    table.streams.begin(numbers[-1] + 2, None)
    table.streams.end(numbers[-1] + 2)
    assert closed_over(table, numbers[-1] + 2)


def test_what_is_not_looked_at_may_go_on() -> None:
    table = Table(1)
    table.streams.ignore(5)
    assert [closed_over(table, number) for number in (1, 3, 5)] == [False] * 3
    table.streams.end(1)
    assert closed_over(table, 1)


def test_as_much_content_comes_as_was_said_padding_apart() -> None:
    table = Table()
    table.streams.begin(1, 100)
    table.streams.take_room(1, 70, padding_bytes=10)
    with pytest.raises(Http2Error) as caught:
        table.streams.end(1)
    assert caught.value.code is Code.PROTOCOL_ERROR
    table.streams.take_room(1, 40)
    assert table.streams.end(1)
    table.streams.begin(3, 100)
    with pytest.raises(Http2Error) as caught:
        table.streams.take_room(3, 101)
    assert caught.value.code is Code.PROTOCOL_ERROR


def test_how_much_content_was_said_to_come_matters_to_nobody_once_it_was_answered() -> None:
    table = Table()
    table.streams.begin(1, 100)
    table.streams.answer(1, REFUSED)
    table.streams.take_room(1, 200)
    assert not table.streams.end(1)


@pytest.mark.parametrize("number", [0, 1])
def test_room_that_grows_beyond_what_there_can_be_breaks_the_rules(number: int) -> None:
    table = Table(1)
    table.streams.widen(number, h2.WINDOW_BYTES_MOST - h2.WINDOW_BYTES)
    with pytest.raises(Http2Error) as caught:
        table.streams.widen(number, 1)
    assert caught.value.code is Code.FLOW_CONTROL_ERROR


def test_room_from_the_first_counts_beside_what_a_stream_was_given() -> None:
    table = Table(1)
    table.streams.widen(1, 1)
    table.streams.set_window(h2.WINDOW_BYTES_MOST - 1)
    with pytest.raises(Http2Error) as caught:
        table.streams.set_window(h2.WINDOW_BYTES_MOST)
    assert caught.value.code is Code.FLOW_CONTROL_ERROR


@given(st.lists(st.tuples(st.sampled_from(["answer", "all", "one", "first"]), st.integers(0, 7), st.integers(0, 30)), max_size=40))
def test_answers_never_take_more_room_than_their_peer_has_made_and_all_go_once_there_is_enough(day: list[tuple[str, int, int]]) -> None:
    numbers = range(1, 17, 2)
    table = Table(*numbers)
    table.streams.set_window(0)
    for number in numbers:
        table.streams.end(number)
    first_bytes, all_bytes, given_bytes = 0, h2.WINDOW_BYTES, dict.fromkeys(numbers, 0)
    waiting = set(numbers)
    for what, which, more_bytes in day:
        number = numbers[which]
        if what == "all":
            all_bytes += more_bytes
            table.streams.widen(0, more_bytes)
        elif what == "one":
            given_bytes[number] += more_bytes if number in table.streams.unanswered else 0
            table.streams.widen(number, more_bytes)
        elif what == "first":
            first_bytes = more_bytes
            table.streams.set_window(more_bytes)
        elif number in waiting:
            waiting.remove(number)
            table.streams.answer(number, OK)
        for told in table.told():
            sent = int.from_bytes(told[5:9], "big")
            assert told == written(OK, sent)
            assert sent not in waiting
            assert OK.data_bytes <= first_bytes + given_bytes[sent]
            all_bytes -= OK.data_bytes
            assert all_bytes >= 0
        due = [n for n in table.streams.unanswered if n not in waiting and OK.data_bytes <= first_bytes + given_bytes[n]]
        assert due == []
    for number in waiting:
        table.streams.answer(number, OK)
    table.streams.set_window(OK.data_bytes)
    assert table.streams.unanswered == {}

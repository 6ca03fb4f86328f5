"""Tokens of the server's own counters: one source for each direction, in totals and in windows; and the gauges of the present."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.config import Server
from infermeter.ledger import Ledger
from infermeter.model import Direction, LedgerSnapshot, ServerGauges, ServerReading
from support.ledgers import Inference, at, batch, config, ledger, of_model
from support.server_readings import lived, reading

SCRAPED = Server(metrics_url="http://127.0.0.1:8000/metrics")
LLM = Inference(1.0, 2.0, tokens=(100, 10))
Counted = dict[Direction, dict[str | None, float]]


def book_of(*, server: Server = SCRAPED) -> Ledger:
    return ledger(config(server=server), gpus=(), offline=False)


def counted(time: float, tokens: Counted, *, since: float | None = None, ok: float = 0.0) -> ServerReading:
    return reading(time, {("chat", "ok"): ok}, since=since, tokens=tokens)


def total(snapshot: LedgerSnapshot, model: str = "chat") -> tuple[int | None, int | None]:
    told = of_model(snapshot, model)
    return told.tokens_input, told.tokens_output


# --- where they come from ----------------------------------------------------------------------------------------------------------
def test_before_the_first_reading_there_are_no_totals_of_tokens() -> None:
    book = book_of()
    book.add(batch([LLM]), at(3))
    assert total(book.snapshot(at(3))) == (None, None)


def test_where_no_reading_is_to_come_tokens_are_those_of_the_spans() -> None:
    book = book_of(server=Server())
    book.add(batch([LLM]), at(3))
    assert total(book.snapshot(at(3))) == (100, 10)
    book.add_server_reading(counted(5, {"output": {"chat": 0.0}}))
    assert total(book.snapshot(at(5))) == (100, 10)
    replay = ledger(config(server=SCRAPED), gpus=())
    replay.add(batch([LLM]), at(3))
    assert total(replay.snapshot(at(3))) == (100, 10)


def test_each_direction_is_the_servers_where_it_counts_it_and_else_the_spans() -> None:
    book = book_of()
    book.add(batch([LLM]), at(3))
    book.add_server_reading(counted(5, {"output": {"chat": 0.0}}))
    assert total(book.snapshot(at(5))) == (100, 0)
    book.add_server_reading(counted(10, {"output": {"chat": 7.0}}, since=5))
    assert total(book.snapshot(at(10))) == (100, 7)


def test_a_counter_that_is_not_there_yet_may_come_with_the_first_inference_and_later_it_is_too_late() -> None:
    book = book_of()
    book.add(batch([LLM]), at(3))
    book.add_server_reading(counted(5, {"input": {}, "output": {}}))
    assert total(book.snapshot(at(5))) == (None, None)
    book.add_server_reading(counted(10, {"input": {"chat": 80.0}, "output": {}}, since=5, ok=1.0))
    assert total(book.snapshot(at(10))) == (80, 10)
    book.add_server_reading(counted(15, {"input": {"chat": 5.0}, "output": {"chat": 9.0}}, since=10, ok=1.0))
    assert total(book.snapshot(at(15))) == (85, 10)


def test_the_source_stays_for_the_life_of_the_process() -> None:
    book = book_of()
    book.add_server_reading(counted(5, {}))
    book.add(batch([LLM]), at(6))
    book.add_server_reading(counted(10, {"input": {"chat": 50.0}}, since=5))
    assert total(book.snapshot(at(10))) == (100, 10)


def test_a_model_that_the_server_does_not_name_has_no_tokens_and_one_that_it_names_is_born_0() -> None:
    book = book_of()
    book.add_server_reading(counted(5, {"input": {"chat": 0.0}, "output": {}}))
    book.add(batch([LLM, replace(LLM, model="else")]), at(6))
    assert total(book.snapshot(at(6))) == (0, None)
    assert total(book.snapshot(at(6)), "else") == (None, None)


def test_tokens_without_a_model_are_the_configured_ones() -> None:
    book = book_of(server=replace(SCRAPED, model="mine"))
    book.add_server_reading(counted(5, {"input": {None: 0.0}}))
    book.add_server_reading(counted(10, {"input": {None: 9.0}}, since=5))
    assert total(book.snapshot(at(10)), "mine") == (9, None)


# --- windows -----------------------------------------------------------------------------------------------------------------------
def life(per_second: float, *, until: int = 120, missed: tuple[int, int] = (0, 0)) -> list[ServerReading]:
    """Readings every 5 s of a server with an inference and so many output tokens a second, with none in between."""
    told, since = [], None
    for time in range(0, until + 1, 5):
        if missed[0] < time < missed[1]:
            continue
        length = 0 if since is None else time - since
        told.append(counted(time, {"output": {"chat": per_second * length}}, since=since, ok=float(length)))
        since = time
    return told


def test_a_window_holds_the_tokens_that_were_counted_in_its_time_whatever_the_spans_say() -> None:
    spans = [Inference(i + 0.25, i + 0.75, tokens=(8, 4)) for i in range(0, 120, 2)]
    window = of_model(lived(book_of(), spans, life(40.0), until=120)).windows[0]
    assert window.tokens_output == pytest.approx(40 * window.inferences_ok, rel=0.03)
    assert window.tokens_input == 8 * window.inferences_ok
    assert window.tokens == window.tokens_input + window.tokens_output


def test_what_is_counted_late_goes_to_the_oldest_open_slot_so_that_none_is_lost() -> None:
    book = book_of()
    lived(book, [], life(40.0, missed=(20, 110)), until=120)
    book.finish(at(120))
    snapshot = book.snapshot(at(120))
    assert total(snapshot) == (None, 40 * 120)
    assert of_model(snapshot).windows[0].tokens_output == 40 * 120


@given(st.lists(st.tuples(st.integers(-50, 400), st.integers(0, 10**9), st.integers(0, 10**9)), max_size=8))
def test_slots_hold_all_tokens_whatever_the_times_of_readings(readings: list[tuple[int, int, int]]) -> None:
    book = book_of()
    book.add_server_reading(counted(0, {"input": {"chat": 0.0}, "output": {"chat": 0.0}}))
    since, end = 0, 400
    for length, tokens_input, tokens_output in readings:
        time = max(since + length, 1)
        book.add_server_reading(counted(time, {"input": {"chat": tokens_input}, "output": {"chat": tokens_output}}, since=since))
        since, end = time, max(end, time + 20)
    book.finish(at(end))
    snapshot = book.snapshot(at(end))
    every = sum(one[1] for one in readings), sum(one[2] for one in readings)
    assert total(snapshot) == every
    window = of_model(snapshot).windows[0]
    assert (window.tokens_input, window.tokens_output) == every or end > 3_600


# --- the present -------------------------------------------------------------------------------------------------------------------
def test_gauges_are_those_of_the_last_reading_while_it_is_of_the_present() -> None:
    book = book_of()
    assert book.snapshot(at(1)).gauges is None
    book.add_server_reading(reading(5, running=3.0, waiting=2.0, batch_size=2.5, kv_cache_used_ratio=0.5))
    assert book.snapshot(at(20)).gauges == ServerGauges(3.0, 2.0, 2.5, 0.5)
    assert book.snapshot(at(21)).gauges is None

"""Tokens of a window by direction, the time of prefill and decode, and how many inferences are behind a quantile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.model import ModelWindow, ServerReading
from support.ledgers import Inference, S, at, batch, config, ledger, of_model, replayed

LLM = Inference(0.0, 4.0, stages=(1.0, 3.0, None, None), ttft=1.5, tpot=0.25, tokens=(100, 11))


def window(*inferences: Inference) -> ModelWindow:
    return of_model(replayed(inferences, end=60.0)).windows[0]


def test_prefill_is_up_to_the_first_token_without_the_queue_and_decode_what_the_tokens_after_it_took() -> None:
    told = window(LLM, replace(LLM, stages=(0.5, 3.5, None, None)))
    assert (told.prefill_seconds, told.decode_seconds) == (pytest.approx(0.5 + 1.0), pytest.approx(5.0))
    assert (told.tokens, told.tokens_input, told.tokens_output) == (222, 200, 22)


def test_a_single_token_of_output_is_all_prefill() -> None:
    told = window(replace(LLM, tpot=None, tokens=(100, 1)))
    assert (told.prefill_seconds, told.decode_seconds) == (pytest.approx(0.5), 0.0)


@pytest.mark.parametrize(
    "changes",
    [{"ttft": None}, {"tpot": None}, {"tokens": (100, -1)}, {"tokens": (100, 0)}, {"ttft": None, "tpot": None}, {"error": True}],
)
def test_without_either_of_them_neither_is_told(changes: dict[str, object]) -> None:
    told = window(replace(LLM, **changes))
    assert (told.prefill_seconds, told.decode_seconds) == (None, None)


def test_tokens_of_one_direction_are_not_those_of_the_other() -> None:
    told = window(replace(LLM, tokens=(100, -1)))
    assert (told.tokens, told.tokens_input, told.tokens_output) == (100, 100, None)
    told = window(replace(LLM, tokens=(-1, -1)))
    assert (told.tokens, told.tokens_input, told.tokens_output) == (None, None, None)


def test_tokens_stand_for_all_that_were_served_and_add_up() -> None:
    book = ledger(config(), gpus=())
    book.add_server_reading(ServerReading(at(0), None, {("chat", "ok"): 0}))
    book.add(batch([replace(LLM, start=i, end=i + 1.0, tokens=(7, 3)) for i in range(30)]), at(60))
    book.add_server_reading(ServerReading(at(60), at(0), {("chat", "ok"): 100}))
    book.finish(at(60))
    told = of_model(book.snapshot(at(60))).windows[0]
    assert (told.inferences_ok, told.tokens_input, told.tokens_output) == (100, 700, 300)
    assert told.tokens == told.tokens_input + told.tokens_output


def test_each_signal_says_how_many_inferences_are_behind_it() -> None:
    told = window(LLM, replace(LLM, ttft=None), replace(LLM, tpot=None, tokens=(1, 1)), replace(LLM, error=True))
    assert told.signal_inferences == {"duration": 3, "ttft": 2, "tpot": 2}
    book = ledger(config())
    book.advance(at(60), 60 * S)
    book.add(batch([LLM]), at(60))
    assert of_model(book.snapshot(at(60))).windows[0].signal_inferences == {}

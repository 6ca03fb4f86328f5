"""The worked example of the cost at the SLA: its figures follow from the example alone, by arithmetic that isn't the program's."""

from __future__ import annotations

import random

import pytest
from docs.example import chat
from docs.src import example
from tests.docs.pages import ROOT

TTFT_SECONDS, TPOT_SECONDS, USD_PER_SECOND = 2.0, 0.15, 3.60 / 3600


@pytest.fixture(scope="module")
def replayed() -> example.Example:
    return example.replay()


@pytest.fixture(scope="module")
def answers() -> list[chat.Answer]:
    made = list(chat.questions(random.Random(70)))
    list(chat.served(made))
    return made


def within(answer: chat.Answer) -> bool:
    per_token = (answer.ended + chat.DETOKENISE_SECONDS - answer.first) / (answer.tokens - 1)
    return answer.first - answer.asked <= TTFT_SECONDS and per_token <= TPOT_SECONDS


def busy_seconds(answers: list[chat.Answer]) -> float:
    """The length of the union of all compute intervals."""
    length, reached = 0.0, 0.0
    for begun, ended in sorted((answer.began, answer.ended) for answer in answers):
        length += max(0.0, ended - max(begun, reached))
        reached = max(reached, ended)
    return length


def test_its_counts_are_those_of_the_example(replayed: example.Example, answers: list[chat.Answer]) -> None:
    window = replayed.window
    assert window["inferences_ok"] == len(answers)
    assert window["inferences_within_sla"] == sum(map(within, answers))
    assert window["accrued_seconds"] == sum(seconds for seconds, _ in chat.PHASES)
    assert window["busy_seconds"] == pytest.approx(busy_seconds(answers), abs=0.01)
    assert window["cost"] == pytest.approx(USD_PER_SECOND * window["accrued_seconds"])


def test_what_makes_the_late_ones_late_is_the_queue_as_the_page_says(replayed: example.Example, answers: list[chat.Answer]) -> None:
    queue = whole = 0.0
    for answer in answers:
        first, after = answer.first - answer.asked, answer.ended + chat.DETOKENISE_SECONDS - answer.first
        if first > TTFT_SECONDS:
            queue += answer.began - answer.asked - chat.TOKENISE_SECONDS
            whole += first
        if round(after / (answer.tokens - 1), 9) > TPOT_SECONDS:
            whole += after
    evidence = replayed.evidence("sla_missed")
    assert (evidence["dominant_stage"], evidence["dominant_ratio"]) == ("queue", pytest.approx(queue / whole, rel=1e-6))


def test_its_waterfall_is_what_the_page_s_formulas_give(replayed: example.Example, answers: list[chat.Answer]) -> None:
    time = sum(seconds for seconds, _ in chat.PHASES)
    cost, busy, ok, good = USD_PER_SECOND * time, busy_seconds(answers), len(answers), sum(map(within, answers))
    used = min(busy, ok / replayed.value("capacity_at_sla_inferences_per_second", bound="observed"))
    expected = {
        "capacity": cost * used / time * good / ok,
        "low_load": cost * (busy - used) / time * good / ok,
        "idle": cost * (time - busy) / time,
        "sla_missed": cost * busy / time * (1 - good / ok),
    }
    for step, value in expected.items():
        assert replayed.value("waterfall_cost", step=step) == pytest.approx(value, abs=1e-4), step
    assert replayed.value("window_cost_per_inference_at_sla", basis="goodput") == pytest.approx(cost / good)
    assert sum(expected.values()) / good == pytest.approx(cost / good)


def test_its_capacity_lies_between_the_load_that_held_and_the_one_that_missed(replayed: example.Example) -> None:
    held, missed = chat.PHASES[1][1], chat.PHASES[2][1]
    assert 0.9 * held < replayed.value("capacity_at_sla_inferences_per_second", bound="observed") < missed
    assert replayed.value("capacity_reached") == 1


def test_its_energy_is_what_the_gpu_drew(replayed: example.Example, answers: list[chat.Answer]) -> None:
    idle_seconds = sum(seconds for seconds, _ in chat.PHASES) - busy_seconds(answers)
    assert replayed.value("energy_joules_total", use="idle") <= chat.IDLE_WATTS * idle_seconds
    assert replayed.value("energy_joules_total", use="idle") == pytest.approx(chat.IDLE_WATTS * idle_seconds, rel=0.07)


def test_the_page_and_its_picture_are_up_to_date() -> None:
    assert {path: (ROOT / "docs" / path).read_text() for path in example.NAMES} == example.pages(), "make docs"


def test_the_page_shows_the_steps_and_their_sum(replayed: example.Example) -> None:
    page = (ROOT / "docs" / "concepts" / "cost-at-sla.md").read_text()
    figures = example.figures(replayed)
    steps = [str(figures[f"{step}_each"]) for step in example.STEPS]
    assert f"{' + '.join(steps)} = {figures['at_sla']} USD a thousand" in " ".join(page.split())
    assert sum(map(float, steps)) == pytest.approx(float(str(figures["at_sla"])), abs=0.02)


def test_the_picture_has_a_bar_for_each_step_and_one_for_their_sum(replayed: example.Example) -> None:
    picture = "\n".join(example.picture(replayed))
    assert picture.count("<rect class=") == 1 + len(example.STEPS) + 1
    assert "prefers-color-scheme: dark" in picture

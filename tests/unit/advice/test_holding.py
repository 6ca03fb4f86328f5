"""Findings over time: told once they have held, withdrawn once they are gone, and nothing of what flips."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice.holding import LONGEST_GAP_NS, Holding
from infermeter.model import Finding

S = 1_000_000_000
EVERY = 10
HOLD = 300.0


def finding(code: str = "idle_gpu", model: str | None = None, **evidence: float) -> Finding:
    return Finding(code, "warning", model, evidence, "do", "unless")


def told_after(
    seen: Iterable[bool], *, hold: float = HOLD, every: int = EVERY, holding: Holding | None = None, since: int = 0
) -> list[bool]:
    """Whether a finding is told after each look, by whether it holds."""
    holding = holding or Holding()
    told = []
    for number, holds in enumerate(seen):
        holding.update((since + number * every) * S, [finding()] if holds else [], hold_seconds=hold)
        told.append(bool(holding.told))
    return told


def test_a_finding_is_told_once_it_has_held_for_as_long_as_it_must() -> None:
    told = told_after([True] * 40)
    assert told == [number * EVERY >= HOLD for number in range(40)]


def test_a_finding_is_withdrawn_once_it_is_gone_for_as_long() -> None:
    told = told_after([True] * 31 + [False] * 40)
    assert told == [number * EVERY >= HOLD and number * EVERY < 310 + HOLD for number in range(71)]


def test_what_need_not_hold_is_told_and_withdrawn_at_once() -> None:
    assert told_after([True, False, True], hold=0) == [True, False, True]


@given(st.lists(st.integers(1, 29), max_size=40))
def test_what_never_holds_long_enough_is_never_told(lengths: list[int]) -> None:
    seen = [holds for length in lengths for holds in (*[True] * length, False)]
    assert not any(told_after(seen))


@given(st.lists(st.integers(1, 29), max_size=40))
def test_what_is_told_stays_told_while_it_is_never_gone_for_long_enough(lengths: list[int]) -> None:
    seen = [True] * 31 + [holds for length in lengths for holds in (*[False] * length, True)]
    assert all(told_after(seen)[30:])


@given(st.lists(st.booleans(), max_size=200))
def test_a_change_of_what_is_told_follows_as_long_a_time_in_which_it_was_so(seen: list[bool]) -> None:
    told = told_after(seen)
    for number in range(1, len(told)):
        if told[number] != told[number - 1]:
            assert number >= 30
            assert seen[number - 30 : number + 1] == [told[number]] * 31


def test_evidence_is_that_of_the_last_time_it_was_seen() -> None:
    holding = Holding()
    holding.update(0, [finding(watts=1.0)], hold_seconds=0)
    holding.update(10 * S, [finding(watts=2.0)], hold_seconds=60)
    holding.update(20 * S, [], hold_seconds=60)
    assert [one.evidence for one in holding.told] == [{"watts": 2.0}]


def test_each_model_and_code_waits_for_itself() -> None:
    holding = Holding()
    for number in range(31):
        late = [finding("queue_bound", "b")] if number > 15 else []
        holding.update(number * EVERY * S, [finding("queue_bound", "a"), finding("sla_missed", "a"), *late], hold_seconds=HOLD)
    assert [(one.code, one.model) for one in holding.told] == [("queue_bound", "a"), ("sla_missed", "a")]


@given(st.integers(-10_000_000, 10_000_000).filter(lambda step: not 0 <= step * S <= LONGEST_GAP_NS))
def test_a_clock_that_leaps_either_way_begins_every_wait_anew_and_withdraws_nothing(leap: int) -> None:
    holding = Holding()
    assert not any(told_after([True] * 30, holding=holding))
    since = 29 * EVERY + leap
    told = told_after([True] * 31, holding=holding, since=since)
    assert told == [False] * 30 + [True]
    assert told_after([False] * 31, holding=holding, since=since + 30 * EVERY + leap) == [True] * 30 + [False]


def test_what_is_gone_or_never_told_leaves_nothing_behind() -> None:
    """As many models as there are names in the world may come and go."""
    holding = Holding()
    for number in range(1000):
        holding.update(number * EVERY * S, [finding("sla_missed", f"m{number}")], hold_seconds=20)
        assert holding.told == ()
    assert holding.kept == 1


def test_another_time_to_hold_is_in_force_from_the_next_look_on() -> None:
    holding = Holding()
    told_after([True] * 10, holding=holding)
    holding.update(100 * S, [finding()], hold_seconds=60)
    assert holding.told
    holding.update(110 * S, [finding()], hold_seconds=HOLD)
    assert holding.told, "it was told, and isn't gone"

"""What misses the SLA in a window: how many, how many of them by errors, and where the time of the late ones went."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infermeter.config import Sla, Slas
from infermeter.model import Misses, ModelWindow, PartColumn
from support.ledgers import Inference, S, at, batch, config, ledger, of_model, replayed

SLA = Sla(0.9, 1.0)
COMPUTES = (None, 0.5, None, None)


def window(inferences: list[Inference], *, sla: Sla | Slas | None = SLA) -> ModelWindow:
    return of_model(replayed(inferences, end=200.0, config_=config(sla=sla))).windows[0]


def in_time(count: int) -> list[Inference]:
    return [Inference(i, i + 0.5, stages=COMPUTES) for i in range(count)]


def test_stages_of_the_late_ones_are_told_apart_from_those_of_all() -> None:
    late = [Inference(i + 0.25, i + 2.25, stages=(1.5, 0.5, None, None)) for i in range(10)]
    found = window(in_time(90) + late)
    assert found.misses == Misses(100, 10, 0, {"queue": 15.0, "compute": 5.0})
    assert found.stage_seconds == {"queue": pytest.approx(15.0), "compute": pytest.approx(50.0)}


def test_errors_miss_the_sla_and_are_late_for_no_stage() -> None:
    failed = [Inference(i, i + 5.0, stages=(None, 5.0, None, None), error=True) for i in range(4)]
    assert window(in_time(90) + failed).misses == Misses(94, 4, 4, {})


def test_what_no_stage_claims_of_the_late_ones_is_other() -> None:
    assert window([Inference(1.0, 4.0, stages=(1.0, 0.5, None, None))]).misses == Misses(
        1, 1, 0, {"queue": 1.0, "compute": 0.5, "other": 1.5}
    )


Stages: TypeAlias = tuple[float | None, float | None, float | None, float | None]
Times: TypeAlias = tuple[float, float, float, float]

TOKENS = Sla(0.9, None, 2.0, 0.1)


def where(one: Inference, *parts: tuple[str, float], sla: Sla = TOKENS) -> dict[str, float]:
    """Where the time went that one inference missed the SLA by; `parts` of its compute."""
    book = ledger(config(sla=sla))
    told = tuple(PartColumn("compute", name, np.array([0]), np.array([round(seconds * S)])) for name, seconds in parts)
    book.add(batch([one], parts=told), at(60.0))
    book.finish(at(60.0))
    misses = of_model(book.snapshot(at(60.0))).windows[0].misses
    assert misses is not None
    assert misses.inferences == 1
    return {stage: round(seconds, 6) for stage, seconds in misses.stage_seconds.items()}


def llm(*, ttft: float | None, tpot: float | None, tokens: int = 101, stages: Stages) -> Inference:
    return Inference(1.0, 1.0 + sum(seconds or 0.0 for seconds in stages), stages=stages, ttft=ttft, tpot=tpot, tokens=(-1, tokens))


def test_what_comes_after_a_late_first_token_made_nothing_late() -> None:
    assert where(llm(ttft=3.5, tpot=0.095, stages=(3.0, 10.0, None, None))) == {"queue": 3.0, "compute": 0.5}
    assert where(llm(ttft=3.5, tpot=0.095, stages=(0.5, 12.5, None, None))) == {"queue": 0.5, "compute": 3.0}


def test_late_tokens_after_a_first_one_in_time_did_not_wait_for_their_turn() -> None:
    assert where(llm(ttft=1.5, tpot=0.11, stages=(1.4, 11.1, None, None))) == {"compute": 11.0}


def test_where_first_and_further_tokens_are_late_or_the_duration_all_of_it_counts() -> None:
    stages = {"queue": 3.0, "compute": 11.5}
    assert where(llm(ttft=3.5, tpot=0.11, stages=(3.0, 11.5, None, None))) == stages
    assert where(llm(ttft=3.5, tpot=0.05, stages=(3.0, 11.5, None, None)), sla=Sla(0.9, 10.0, 2.0)) == stages


def test_a_stage_that_may_lie_on_either_side_of_the_first_token_is_claimed_only_for_what_cannot() -> None:
    one = llm(ttft=4.0, tpot=0.01, stages=(1.0, 3.0, None, 1.5))
    assert where(one) == {"queue": 1.0, "compute": 1.5, "other": 1.5}
    assert where(one, ("prefill", 2.5), ("decode", 0.5)) == {"queue": 1.0, "compute": 2.5, "other": 0.5}
    after = llm(ttft=1.0, tpot=0.2, tokens=11, stages=(0.5, 2.0, None, 0.5))
    assert where(after) == {"compute": 1.5, "other": 0.5}
    assert where(after, ("prefill", 0.1), ("decode", 1.9)) == {"compute": 1.9, "other": 0.1}


def test_without_a_time_to_the_first_token_the_tokens_say_how_long_they_took() -> None:
    assert where(llm(ttft=None, tpot=0.2, tokens=11, stages=(5.0, 2.5, None, None))) == {"compute": 2.0}


@pytest.mark.parametrize("tokens", [-1, 1])
def test_where_nothing_tells_first_and_further_tokens_apart_no_stage_is_claimed(tokens: int) -> None:
    assert where(llm(ttft=None, tpot=0.2, tokens=tokens, stages=(5.0, 2.5, None, None))) == {"other": 2.5}


def test_parts_that_cannot_be_do_not_make_more_time_than_there_is() -> None:
    one = llm(ttft=3.5, tpot=0.05, stages=(3.0, 10.0, None, None))
    assert where(one, ("prefill", 9.0)) == {"queue": 3.0, "compute": 0.5}
    assert where(llm(ttft=20.0, tpot=0.05, stages=(3.0, 10.0, None, None))) == {"queue": 3.0, "compute": 10.0}
    assert where(llm(ttft=2.5, tpot=0.05, stages=(3.0, 10.0, None, None))) == {"queue": 2.5}


def test_parts_of_other_stages_and_other_parts_say_nothing() -> None:
    assert where(llm(ttft=4.0, tpot=0.01, stages=(1.0, 3.0, None, 1.5)), ("sample", 3.0)) == {"queue": 1.0, "compute": 1.5, "other": 1.5}


SECONDS = st.integers(0, 5).map(float)
SIDE = st.tuples(SECONDS, SECONDS, SECONDS, SECONDS)


@given(queue=SECONDS, before=SIDE, after=SIDE, told=st.booleans())
def test_no_stage_is_said_to_make_an_inference_later_than_it_did(queue: float, before: Times, after: Times, *, told: bool) -> None:
    """Compute, transfer, serialisation and none, before the first token and from it on: only the sums of both are told."""
    ttft, rest = queue + sum(before), sum(after)
    assume(ttft > 0 and rest > 0)
    both = [a + b for a, b in zip(before, after, strict=True)]
    one = Inference(1.0, 1.0 + ttft + rest, stages=(queue, *both[:3]), ttft=ttft, tpot=rest / 4, tokens=(-1, 5))
    parts = (("prefill", before[0]), ("decode", after[0])) if told else ()
    first = where(one, *parts, sla=Sla(0.9, None, ttft / 2))
    further = where(one, *parts, sla=Sla(0.9, None, None, rest / 8))
    for found, waited, truth in ((first, queue, before), (further, 0.0, after)):
        claimed = [found.get(stage, 0.0) for stage in ("compute", "transfer", "serialisation")]
        assert found.get("queue", 0.0) == pytest.approx(waited)
        assert all(seconds <= most + 1e-6 for seconds, most in zip(claimed, truth, strict=False))
        assert sum(found.values()) == pytest.approx(waited + sum(truth))
        assert not told or claimed[0] == pytest.approx(truth[0])


def test_without_an_sla_nothing_misses_it() -> None:
    assert window(in_time(40), sla=None).misses is None


def test_what_another_sla_judged_does_not_count() -> None:
    book = ledger(config(sla=Sla(0.9, 0.1)), offline=False)
    for second in range(10, 301, 10):
        if second == 150:
            book.reconfigure(config(sla=SLA))
        book.add(batch([Inference(second - 1.0, second - 0.5, stages=COMPUTES)]), at(second))
        book.advance(at(second), 10 * 10**9)
    misses = of_model(book.snapshot(at(300.0))).windows[0].misses
    assert misses is not None
    assert 0 < misses.observed < 20
    assert misses.inferences == 0


def test_the_mean_batch_is_how_many_computed_at_once_while_any_did() -> None:
    pairs = [Inference(i * 2.0, i * 2.0 + 1.0, stages=(None, 1.0, None, None)) for i in range(40) for _ in range(2)]
    snapshot = replayed(pairs, end=200.0)
    assert snapshot.windows[0].batch_mean == pytest.approx(2.0)


@pytest.mark.parametrize(("inferences", "sampled"), [([], False), ([Inference(1.0, 2.0)], True)], ids=["nothing computes", "a sample"])
def test_without_all_that_computed_there_is_no_batch(inferences: list[Inference], *, sampled: bool) -> None:
    assert replayed(inferences, end=200.0, sampled=sampled).windows[0].batch_mean is None

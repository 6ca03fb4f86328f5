from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.config import Sla, Slas
from infermeter.ledger.slowdown import most_misses, tolerated
from infermeter.ledger.verdict import verdict
from infermeter.model import SlaTarget
from support.ledgers import Inference, config, of_model, replayed

MS = 1_000_000
NONE = np.iinfo(np.int64).max


def factors(
    signals: tuple[int, int, int], *, fixed: int = 0, limits: tuple[int, int, int] = (100 * MS, NONE, NONE), ok: bool = True
) -> float:
    (factor,) = tolerated(np.array([signals]).T, np.array([fixed]), np.array([limits]).T, np.array([ok])).tolist()
    return float(factor)


def test_only_queue_and_compute_grow() -> None:
    assert factors((20 * MS, -1, -1)) == pytest.approx(5.0)
    assert factors((20 * MS, -1, -1), fixed=4 * MS) == pytest.approx(6.0)


def test_the_tightest_target_decides() -> None:
    assert factors((20 * MS, 10 * MS, 2 * MS), limits=(100 * MS, 30 * MS, 8 * MS)) == pytest.approx(3.0)
    assert factors((20 * MS, -1, 2 * MS), limits=(NONE, 30 * MS, 8 * MS)) == pytest.approx(4.0)


def test_an_inference_that_misses_would_have_to_be_faster_and_one_with_an_error_is_of_no_use() -> None:
    assert factors((200 * MS, -1, -1)) == pytest.approx(0.5)
    assert factors((20 * MS, -1, -1), ok=False) == 0.0


def test_what_no_hardware_changes_is_never_too_slow_or_always() -> None:
    assert factors((20 * MS, -1, -1), fixed=20 * MS) == np.inf
    assert factors((120 * MS, -1, -1), fixed=120 * MS) == 0.0
    assert factors((20 * MS, -1, -1), limits=(NONE, 30 * MS, NONE)) > 1e6


@given(
    st.integers(1, 3000) | st.sampled_from([10**4, 10**5, 10**6]),
    st.sampled_from([0.5, 0.9, 0.99, 0.9999]),
    st.sampled_from([0.5, 0.95, 0.999]),
)
def test_the_misses_that_are_allowed_are_the_most_that_still_prove_it(observed: int, quantile: float, confidence: float) -> None:
    sla = SlaTarget(quantile, 1.0)
    misses = most_misses(sla, observed=observed, confidence=confidence)

    def state(count: int) -> str:
        return verdict(sla, observed=observed, within=observed - count, confidence=confidence)

    if misses is None:
        assert state(0) != "met"
    else:
        assert state(misses) == "met"
        assert state(misses + 1) != "met"


def slowdown(durations: list[float], *, serialisation: float | None = None) -> float | None:
    inferences = [
        Inference(float(i), i + seconds, stages=(None, None, None, serialisation), compute=()) for i, seconds in enumerate(durations)
    ]
    snapshot = replayed(inferences, end=len(durations) + 5.0, config_=config(sla=Sla(0.99, 1.0)))
    return of_model(snapshot).windows[0].slowdown_at_sla_ratio


def test_it_is_the_factor_at_which_the_sla_would_just_be_proven() -> None:
    assert slowdown([0.1] * 299) == pytest.approx(10.0, rel=0.02)
    assert slowdown([0.1] * 472 + [0.5]) == pytest.approx(10.0, rel=0.02), "473 of which one misses are the least that prove 0.99"
    assert slowdown([0.1] * 471 + [0.5]) == pytest.approx(2.0, rel=0.02)


def test_it_never_says_more_than_is_true() -> None:
    assert (slowdown([0.0997] * 299) or 0) <= 1 / 0.0997


def test_too_few_inferences_prove_nothing() -> None:
    assert slowdown([0.1] * 298) is None


def test_what_is_sent_takes_as_long_on_any_hardware() -> None:
    assert slowdown([0.1] * 300, serialisation=0.05) == pytest.approx(19.0, rel=0.02)


def test_without_an_sla_there_is_none() -> None:
    snapshot = replayed([Inference(float(i), i + 0.1) for i in range(300)], end=305.0)
    assert of_model(snapshot).windows[0].slowdown_at_sla_ratio is None


def test_beside_a_model_with_an_sla_one_without_has_none() -> None:
    inferences = [Inference(float(i), i + 0.1, model=model) for i in range(300) for model in ("chat", "free")]
    only_chat = config(sla=Slas(models={"chat": {"duration_seconds": 1.0}}))
    snapshot = replayed(inferences, end=305.0, config_=only_chat)
    assert of_model(snapshot).windows[0].slowdown_at_sla_ratio == pytest.approx(10.0, rel=0.02)
    assert of_model(snapshot, "free").windows[0].slowdown_at_sla_ratio is None

"""Coverage is counted, judged for the slots around, and changes its mind only with evidence."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.coverage import Sampling, block_slots, coverage_ratio


def table(*rows: object) -> np.ndarray:
    return np.array([row if isinstance(row, tuple) else (row,) for row in rows], np.int64)


def judged(sampling: Sampling, observed: list[int], served: list[int], *, sampled: bool = False, counted: bool = True) -> bool | None:
    slots = len(observed)
    sampling.judge(table(*observed), table(*served), np.full(slots, counted), before=slots - 1, sampled=sampled, unnamed=None)
    return sampling.thin


def blocks(observed: list[int], served: list[int] | None = None, *, counted: bool = True) -> int | None:
    return block_slots(table(*observed), table(*(served or observed)), np.full(len(observed), counted))


def test_coverage_is_the_observed_over_what_the_server_counts() -> None:
    assert coverage_ratio(table(5, 5), table(50, 50), unnamed=None) == 0.1


def test_of_no_model_more_than_all_is_observed() -> None:
    """A server that names its models otherwise than the spans do covers nothing."""
    assert coverage_ratio(table((110, 0)), table((100, 0)), unnamed=None) == 1.0
    assert coverage_ratio(table((100, 0)), table((0, 100)), unnamed=None) == 0.5


def test_few_inferences_tell_no_coverage() -> None:
    assert coverage_ratio(table(29), table(29), unnamed=None) is None
    assert coverage_ratio(table(30), table(0), unnamed=None) == 1.0
    assert coverage_ratio(np.zeros((3, 0), np.int64), np.zeros((3, 0), np.int64), unnamed=None) is None


# --- models that nobody names --------------------------------------------------------------------------------------------------------
UNNAMED = 3
COUNTS = st.integers(0, 200)


def row(values: Iterable[int]) -> np.ndarray:
    return np.array([[*values]], np.int64)


@st.composite
def named_models(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Of three models: served, observed of these, and how many of the observed carry no name; 30 were served, or more."""
    served = draw(st.lists(COUNTS, min_size=3, max_size=3).filter(lambda served: sum(served) >= 30))
    observed = [draw(st.integers(0, most)) for most in served]
    return served, observed, [draw(st.integers(0, most)) for most in observed]


def test_what_spans_name_no_model_of_covers_what_is_missing_of_others() -> None:
    """All was traced, a fourth of it without a name."""
    assert coverage_ratio(table((60, 15, 25)), table((80, 20, 0)), unnamed=2) == 1.0
    assert coverage_ratio(table((60, 15, 25)), table((80, 20, 0)), unnamed=None) == 0.8


def test_what_counters_name_no_model_of_is_what_spans_have_too_much_of() -> None:
    assert coverage_ratio(table((80, 20, 0)), table((0, 0, 100)), unnamed=2) == 1.0
    assert coverage_ratio(table((40, 10, 0)), table((0, 0, 100)), unnamed=2) == 0.5


def test_only_the_unnamed_stand_for_others() -> None:
    assert coverage_ratio(table((100, 0, 0)), table((0, 100, 0)), unnamed=2) == 0.5
    assert coverage_ratio(table((100, 0, 20)), table((0, 100, 0)), unnamed=2) == 0.6
    assert coverage_ratio(table((100, 0, 0)), table((0, 100, 20)), unnamed=2) == pytest.approx(100 / 200)


@given(named_models())
def test_a_name_that_spans_leave_out_changes_no_coverage(models: tuple[list[int], list[int], list[int]]) -> None:
    served, observed, nameless = models
    seen = [all_of - without for all_of, without in zip(observed, nameless, strict=True)]
    ratio = coverage_ratio(row([*seen, sum(nameless)]), row([*served, 0]), unnamed=UNNAMED)
    assert ratio == sum(observed) / sum(served)
    assert ratio == coverage_ratio(row(observed), row(served), unnamed=None)


@given(named_models())
def test_a_name_that_counters_leave_out_changes_no_coverage(models: tuple[list[int], list[int], list[int]]) -> None:
    served, observed, _ = models
    assert coverage_ratio(row([*observed, 0]), row([0, 0, 0, sum(served)]), unnamed=UNNAMED) == sum(observed) / sum(served)


@given(st.lists(COUNTS, min_size=4, max_size=4), st.lists(COUNTS, min_size=4, max_size=4).filter(lambda served: sum(served) >= 30))
def test_the_unnamed_hide_nothing_that_is_missing_of_all(observed: list[int], served: list[int]) -> None:
    strict = coverage_ratio(row(observed), row(served), unnamed=None)
    ratio = coverage_ratio(row(observed), row(served), unnamed=UNNAMED)
    assert strict is not None
    assert ratio is not None
    assert strict <= ratio <= min(1, sum(observed) / sum(served))
    if observed[UNNAMED] == served[UNNAMED]:
        assert ratio == strict


# --- what is judged by it ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("observed", "thin"), [(100, False), (90, False), (89, True), (1, True)])
def test_spans_of_less_than_the_limit_are_a_sample(observed: int, thin: bool) -> None:
    assert judged(Sampling(0.9), [observed], [100]) is thin


def test_what_was_a_sample_must_rise_above_the_limit_to_be_believed() -> None:
    sampling = Sampling(0.9)
    assert [judged(sampling, [n], [1000]) for n in (910, 895, 910, 924, 925, 910)] == [False, True, True, True, False, False]


def test_a_server_that_is_known_to_sample_is_believed_with_margin_only() -> None:
    assert judged(Sampling(0.9), [91], [100], sampled=True) is True
    assert judged(Sampling(0.9), [100], [100], sampled=True) is False


def test_all_can_be_asked_for() -> None:
    assert judged(Sampling(1.0), [100], [100]) is False
    assert judged(Sampling(1.0), [99], [100]) is True


def test_the_last_three_minutes_decide_not_the_hour() -> None:
    assert judged(Sampling(0.9), [100] * 340 + [1] * 13, [100] * 353) is True
    assert judged(Sampling(0.9), [1] * 340 + [100] * 13, [100] * 353) is False


def test_with_little_traffic_the_judgement_reaches_back_until_it_has_enough() -> None:
    assert judged(Sampling(0.9), [20] + [0] * 50 + [10] + [0] * 99, [20] + [0] * 50 + [10] + [0] * 99) is False
    assert judged(Sampling(0.9), [2] + [0] * 50 + [1] + [0] * 99, [20] + [0] * 50 + [10] + [0] * 99) is True


def test_without_enough_inferences_the_judgement_stays() -> None:
    sampling = Sampling(0.9)
    assert judged(sampling, [29], [29]) is None
    assert judged(sampling, [40], [40]) is False
    assert judged(sampling, [0], [0]) is False


def test_spans_that_were_complete_are_not_believed_forever_without_a_count() -> None:
    sampling = Sampling(0.9)
    assert judged(sampling, [40], [40]) is False
    assert judged(sampling, [40], [0], counted=False) is None
    assert judged(sampling, [1], [40]) is True
    assert judged(sampling, [40], [0], counted=False) is True


def test_slots_that_the_server_did_not_tell_whole_are_left_out() -> None:
    sampling = Sampling(0.9)
    sampling.judge(table(40, 400), table(40, 0), np.array([True, False]), before=1, sampled=False, unnamed=None)
    assert sampling.thin is False
    sampling.judge(table(40, 0), table(400, 0), np.array([True, False]), before=1, sampled=False, unnamed=None)
    assert sampling.thin is True


def test_a_block_is_a_minute_and_then_until_30_were_observed() -> None:
    assert blocks([30, 0, 0, 0, 0, 0]) == 6
    assert blocks([3] * 30) == 10
    assert blocks([3] * 9) is None
    assert blocks([30] * 5) is None


def test_a_block_is_no_longer_than_five_minutes() -> None:
    assert blocks([0] * 29, [1] * 29) is None
    assert blocks([0] * 30, [1] * 30) == 30


def test_a_minute_in_which_nothing_was_served_is_a_block() -> None:
    assert blocks([0] * 6) == 6
    assert blocks([0] * 6, counted=False) is None
    assert blocks([0] * 6, [0, 0, 0, 0, 0, 1]) is None
    assert blocks([0, 0, 0, 0, 0, 1], [0] * 6) is None

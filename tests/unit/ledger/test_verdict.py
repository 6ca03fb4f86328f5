from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from infermeter.ledger.sla import holds
from infermeter.ledger.verdict import at_most, least_observed, verdict
from infermeter.model import SlaTarget

P99 = SlaTarget(0.99, duration_seconds=1.0)


@pytest.mark.parametrize(("misses", "least"), [(0, 299), (1, 473), (2, 628), (3, 773), (4, 913), (5, 1049)])
def test_met_takes_as_many_inferences_as_the_published_table_says(misses: int, least: int) -> None:
    assert verdict(P99, observed=least, within=least - misses, confidence=0.95) == "met"
    assert verdict(P99, observed=least - 1, within=least - 1 - misses, confidence=0.95) == "insufficient"


@given(st.integers(1, 6000), st.data(), st.sampled_from((0.5, 0.9, 0.95, 0.99, 0.999)), st.sampled_from((0.9, 0.95, 0.99)))
def test_the_verdict_is_that_of_the_clopper_pearson_bounds(observed: int, data: st.DataObject, quantile: float, confidence: float) -> None:
    likely = round(observed * (1 - quantile))
    misses = data.draw(st.integers(0, min(observed, 3 * likely + 10)))
    allowed = 1 - quantile
    upper = beta.ppf(confidence, misses + 1, observed - misses) if misses < observed else 1.0
    lower = beta.ppf(1 - confidence, misses, observed - misses + 1) if misses else 0.0
    if min(abs(upper - allowed), abs(lower - allowed)) < 1e-9:
        return
    expected = "met" if upper <= allowed else "missed" if lower > allowed else "insufficient"
    assert verdict(SlaTarget(quantile), observed=observed, within=observed - misses, confidence=confidence) == expected


@pytest.mark.parametrize(
    ("k", "n"), [(0, 10_000), (90, 10_000), (100, 10_000), (101, 10_000), (150, 10_000), (10_000, 10_000), (9_000, 10**6)]
)
def test_the_tail_of_many_trials_agrees_with_scipy(k: int, n: int) -> None:
    assert float(at_most(k, n, Fraction(1, 100))) == pytest.approx(float(binom.cdf(k, n, 0.01)), rel=1e-6, abs=1e-12)


def test_no_inference_is_no_evidence() -> None:
    assert verdict(P99, observed=0, within=0, confidence=0.95) == "insufficient"


def test_a_quantile_of_1_is_missed_by_one_miss_and_met_by_no_number() -> None:
    every = SlaTarget(1.0)
    assert least_observed(every, confidence=0.95) is None
    assert verdict(every, observed=5000, within=5000, confidence=0.95) == "insufficient"
    assert verdict(every, observed=5000, within=4999, confidence=0.95) == "missed"


@pytest.mark.parametrize(("quantile", "least"), [(0.99, 299), (0.95, 59), (0.9, 29), (0.5, 5)])
def test_the_least_number_that_can_be_met_is_the_least(quantile: float, least: int) -> None:
    sla = SlaTarget(quantile)
    assert least_observed(sla, confidence=0.95) == least
    assert verdict(sla, observed=least, within=least, confidence=0.95) == "met"
    assert verdict(sla, observed=least - 1, within=least - 1, confidence=0.95) == "insufficient"


def test_one_miss_of_ten_holds_at_the_90th_percentile_which_floats_would_deny() -> None:
    assert holds(SlaTarget(0.9), observed=10, within=9)
    assert not holds(SlaTarget(0.9), observed=10, within=8)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 1_200), st.data(), st.sampled_from((0.5, 0.9, 0.95, 0.99, 0.999)), st.sampled_from((0.9, 0.95, 0.999999)))
def test_small_numbers_are_judged_as_whole_numbers_judge_them(n: int, data: st.DataObject, quantile: float, confidence: float) -> None:
    allowed, alpha = 1 - Fraction(repr(quantile)), 1 - Fraction(repr(confidence))
    around = int(n * allowed)
    misses = data.draw(st.integers(max(0, around - 40), min(n, around + 40)))
    told = verdict(SlaTarget(quantile, 1.0), observed=n, within=n - misses, confidence=confidence)
    met = misses < n * allowed and at_most(misses, n, allowed) <= alpha
    missed = misses > 0 and misses >= n * allowed and 1 - at_most(misses - 1, n, allowed) < alpha
    assert told == ("met" if met else "missed" if missed else "insufficient")

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from infermeter.ledger.miss_bounds import inferences_until_met, miss_ratio_bounds
from infermeter.ledger.verdict import verdict
from infermeter.model import Judged, SlaTarget

P99 = SlaTarget(0.99, duration_seconds=1.0)
JUDGED = st.integers(1, 20_000).flatmap(lambda n: st.builds(Judged, st.just(n), st.integers(0, n), st.sampled_from((0.9, 0.95, 0.99))))


@given(JUDGED)
def test_the_bounds_are_those_of_clopper_and_pearson(judged: Judged) -> None:
    n, misses = judged.observed, judged.observed - judged.within
    lower, upper = miss_ratio_bounds(judged)
    assert lower == pytest.approx(beta.ppf(1 - judged.confidence, misses, n - misses + 1) if misses else 0, abs=1e-6)
    assert upper == pytest.approx(beta.ppf(judged.confidence, misses + 1, n - misses) if judged.within else 1, abs=1e-6)


def test_nothing_seen_says_nothing_of_the_share() -> None:
    assert miss_ratio_bounds(Judged(0, 0, 0.95)) == (0.0, 1.0)


@pytest.mark.parametrize(("observed", "misses", "more"), [(0, 0, 299), (298, 0, 1), (100, 1, 373), (1048, 5, 1), (299, 0, 0)])
def test_so_many_more_are_needed_as_the_published_table_says(observed: int, misses: int, more: int) -> None:
    assert inferences_until_met(P99, Judged(observed, observed - misses, 0.95)) == more


@given(JUDGED, st.sampled_from((0.5, 0.9, 0.99, 0.999)))
def test_with_so_many_more_the_verdict_is_met_and_with_one_fewer_it_is_not(judged: Judged, quantile: float) -> None:
    sla = SlaTarget(quantile, duration_seconds=1.0)
    more = inferences_until_met(sla, judged)
    if more is None:
        return

    def state(further: int) -> str:
        return verdict(sla, observed=judged.observed + further, within=judged.within + further, confidence=judged.confidence)

    assert state(more) == "met"
    assert not more or state(more - 1) != "met"


def test_a_quantile_of_one_is_never_proven_and_nobody_waits_for_ten_millions() -> None:
    assert inferences_until_met(SlaTarget(1.0, duration_seconds=1.0), Judged(1000, 1000, 0.95)) is None
    assert inferences_until_met(SlaTarget(0.999999, duration_seconds=1.0), Judged(20, 0, 0.95)) is None

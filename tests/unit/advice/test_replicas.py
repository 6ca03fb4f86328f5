from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from infermeter.advice import SizingSettings
from infermeter.advice.replicas import with_replicas
from infermeter.model import Move
from support.snapshots import sizing

SETTINGS = SizingSettings(headroom=1.25)


def fewer(replicas: int, peak_sum_ratio: float | None) -> list[Move]:
    told = with_replicas(sizing(), replicas=replicas, peak_sum_ratio=peak_sum_ratio, settings=SETTINGS)
    return [move for move in told.moves if move.kind == "fewer_replicas"]


def test_what_the_sum_of_peaks_needs_takes_the_place_of_what_one_replica_lets_suppose() -> None:
    (move,) = fewer(5, 1.2)
    assert move.evidence == {"replicas": 5, "replicas_needed": 2, "peak_load_sum_ratio": 1.2, "headroom": 1.25}
    assert move.saving_per_hour == 3 * 2.25


def test_a_sum_that_is_exactly_carried_needs_no_replica_more() -> None:
    (move,) = fewer(3, 1.6)
    assert move.evidence["replicas_needed"] == 2


def test_one_replica_stays_where_nobody_asks() -> None:
    (move,) = fewer(2, 0.0)
    assert move.evidence["replicas_needed"] == 1


def test_nothing_is_said_where_all_are_needed_or_where_not_all_tell() -> None:
    assert fewer(2, 1.0) == []
    assert fewer(2, 3.0) == []
    assert fewer(4, None) == []


def test_without_a_cost_nothing_is_said_of_savings() -> None:
    full = sizing()
    told = with_replicas(
        replace(full, evidence=replace(full.evidence, cost_per_hour={})), replicas=5, peak_sum_ratio=1.0, settings=SETTINGS
    )
    assert told.moves[0].saving_per_hour is None


@given(st.integers(2, 500), st.floats(0, 1000))
def test_never_fewer_than_carry_the_peak_with_headroom(replicas: int, peak: float) -> None:
    for move in fewer(replicas, peak):
        needed = move.evidence["replicas_needed"]
        assert isinstance(needed, int)
        assert math.ceil(peak * 1.25 - 1e-6) <= needed < replicas

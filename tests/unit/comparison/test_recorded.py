"""Counters of a Prometheus: what they rose by, with restarts and gaps left out, for all replicas of one server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infermeter.comparison.recorded import (
    BUILD,
    BUSY,
    COST,
    ENERGY,
    FAMILIES,
    INFERENCES,
    OBSERVED,
    SLA_QUANTILE,
    SLA_TARGET,
    STAGES,
    TOKENS,
    WITHIN,
    Recorded,
    recorded_stretch,
)
from infermeter.comparison.stretch import Stretch
from infermeter.errors import ConfigError
from infermeter.model import SlaTarget

START, STEP, STEPS = 1_000_000.0, 60.0, 10
Answers = dict[str, list[Recorded]]


def series(rise: float | list[float], /, begin: float = 5.0, **labels: str) -> Recorded:
    """A counter that rises by so much in each step, or in all by these."""
    rises = np.full(STEPS, rise) if isinstance(rise, float) else np.array(rise)
    values = begin + np.concatenate(([0.0], np.cumsum(rises)))
    return Recorded({"server": "s", "instance": "a"} | labels, START + STEP * np.arange(STEPS + 1), values)


def answers(**more: list[Recorded]) -> Answers:
    told: Answers = {family: [] for family in FAMILIES}
    told[INFERENCES] = [series(20.0, model="m", outcome="ok"), series(1.0, model="m", outcome="error")]
    told[OBSERVED] = [series(10.0, model="m", outcome="ok"), series(1.0, model="m", outcome="error")]
    told[WITHIN] = [series(9.0, model="m")]
    told[COST] = [series(0.1, model="m", use="active", currency="EUR"), series(0.2, model="m", use="idle", currency="EUR")]
    told[ENERGY] = [series(100.0, model="m", use="active")]
    told[TOKENS] = [series(300.0, model="m", direction="input"), series(100.0, model="m", direction="output")]
    told[BUSY] = [series(30.0)]
    told[STAGES] = [series(6.0, model="m", stage="queue"), series(4.0, model="m", stage="compute")]
    told[SLA_QUANTILE] = [constant(0.99, model="m")]
    told[SLA_TARGET] = [constant(0.5, model="m", signal="duration"), constant(9.0, model="m", signal="strange")]
    told[BUILD] = [constant(1.0, version="1.2", revision="x")]
    return told | more


def constant(value: float, **labels: str) -> Recorded:
    return series(0.0, begin=value, **labels)


def read(told: Answers) -> Stretch:
    return recorded_stretch(told, start_unix_seconds=START, step_seconds=STEP, steps=STEPS, where="--before")


def without(one: Recorded, *steps: int) -> Recorded:
    kept = [place for place in range(STEPS + 1) if place not in steps]
    return Recorded(one.labels, one.unix_seconds[kept], one.values[kept])


def test_what_counters_rose_by_is_what_happened() -> None:
    side = read(answers())
    own = side.slots["m"]
    totals = {column: own.total(column) for column in own.columns}
    assert totals == pytest.approx(
        {
            "seconds": 600,
            "cost": 3.0,
            "inferences": 200,
            "seen_ok": 100,
            "judged": 110,
            "judged_ok": 100,
            "within": 90,
            "joules": 1000,
            "tokens": 4000,
            "tokens_input": 3000,
            "tokens_output": 1000,
        }
    )
    assert side.cost_per_hour == pytest.approx(18.0)
    assert (side.server, side.version, side.currency, side.notes) == ("s", "1.2", "EUR", [])
    assert side.slas == {"m": SlaTarget(0.99, 0.5)}
    assert side.busy_ratio == pytest.approx(0.5)
    assert side.queue_share_ratio == pytest.approx({"m": 0.6})
    assert (side.starts_unix_seconds[0], side.end_unix_seconds) == (START, START + 600)


def test_replicas_add_up_but_are_busy_as_their_mean() -> None:
    told = answers()
    for family in (INFERENCES, COST, BUSY):
        told[family] += [Recorded(dict(one.labels) | {"instance": "b"}, one.unix_seconds, one.values) for one in told[family]]
    side = read(told)
    assert (side.slots["m"].total("inferences"), side.slots["m"].total("seconds")) == (400, 600)
    assert side.cost_per_hour == pytest.approx(36.0)
    assert side.busy_ratio == pytest.approx(0.5)


def test_a_step_in_which_a_counter_began_anew_is_left_out_whole() -> None:
    restarted = series([20.0, 20.0, -40.0, *[20.0] * 7], model="m", outcome="ok")
    side = read(answers(**{INFERENCES: [restarted]}))
    assert (side.seconds, side.slots["m"].total("inferences"), side.slots["m"].total("cost")) == pytest.approx((540, 180, 2.7))
    assert side.notes == ["1 steps of 60 s in which a counter began anew (a restart) are left out"]


def test_steps_without_samples_are_no_time() -> None:
    gap = range(3, 6)
    told = {family: [without(one, *gap) for one in of] for family, of in answers().items()}
    side = read(told)
    assert (side.seconds, side.slots["m"].total("inferences")) == (360, 120)
    assert side.notes == ["for 4 of 10 steps Prometheus has no samples; they are left out"]


def test_a_replica_that_comes_later_counts_from_its_second_sample_on() -> None:
    late = without(series(20.0, model="m", outcome="ok", instance="b"), *range(5))
    told = answers()
    told[INFERENCES].append(late)
    assert read(told).slots["m"].total("inferences") == 200 + 5 * 20


def test_samples_outside_the_range_are_none_of_it() -> None:
    one = series(20.0, model="m", outcome="ok")
    early = Recorded(
        one.labels, np.concatenate(([START - STEP], one.unix_seconds, [START + 700])), np.concatenate(([1.0], one.values, [9e9]))
    )
    assert read(answers(**{INFERENCES: [early]})).slots["m"].total("inferences") == 200


def test_what_a_server_does_not_tell_is_not_there() -> None:
    told = answers(**{family: [] for family in (INFERENCES, WITHIN, COST, ENERGY, TOKENS, BUSY, STAGES, SLA_QUANTILE, SLA_TARGET, BUILD)})
    side = read(told)
    assert set(side.slots["m"].columns) == {"seconds", "seen_ok"}
    assert (side.cost_per_hour, side.busy_ratio, side.version, side.currency, side.slas) == (None, None, None, None, {})


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({INFERENCES: [], OBSERVED: []}, "has no infermeter_inferences_total"),
        ({OBSERVED: [series(1.0, model="m", server="t")]}, r"tells of 2 servers \(s, t\); --server chooses one"),
        ({OBSERVED: [series(1.0, model="m", server=name) for name in "tuvwxy"]}, r"7 servers \(s, t, u, v, w, ...\)"),
        ({COST: [series(1.0, model="m", currency=currency) for currency in ("EUR", "USD")]}, "more than one currency"),
        ({SLA_QUANTILE: [series([0.0] * 9 + [0.009], begin=0.99, model="m")]}, "more than one SLA"),
        (
            {SLA_TARGET: [constant(1.0, model="m", signal="duration"), constant(2.0, model="m", signal="duration", instance="b")]},
            "more than one",
        ),
        ({INFERENCES: [series(1.0, outcome="ok")], OBSERVED: []}, "tells no model"),
    ],
)
def test_what_cannot_be_compared_is_told(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read(answers(**more))
    assert str(caught.value).startswith("--before: ")


def test_single_samples_are_no_range() -> None:
    told = {family: [without(one, *range(1, STEPS + 1)) for one in of] for family, of in answers().items()}
    with pytest.raises(ConfigError, match="no two samples in a row"):
        read(told)

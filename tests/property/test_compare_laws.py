"""Laws of a comparison, whatever the slots: finite numbers as the schema says; verdicts that prices don't change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.comparison.comparison import Comparison, comparison
from infermeter.comparison.comparison_json import comparison_json
from infermeter.comparison.comparison_text import WIDTH, comparison_text
from infermeter.comparison.stretch import Column, Slots, Stretch
from infermeter.errors import ConfigError
from infermeter.model import Floats, SlaTarget

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "comparison.schema.json").read_text())
OPTIONAL: tuple[Column, ...] = ("cost", "inferences", "seen_ok", "joules", "tokens")


@st.composite
def stretches(draw: st.DrawFn) -> Stretch:
    """Sides of 1 to 300 slots with extreme rates, and columns that may be missing."""
    count, rate = draw(st.integers(1, 300)), draw(st.sampled_from([0.0, 0.01, 1.0, 30.0, 1e6]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    ok = rng.poisson(rate, count).astype(float)
    share = draw(st.sampled_from([0.0, 0.5, 1.0]))
    columns: dict[Column, Floats] = {
        "seconds": np.full(count, 10.0),
        "cost": np.full(count, draw(st.sampled_from([0.0, 1e-9, 0.01, 1e6]))),
        "inferences": ok,
        "seen_ok": np.floor(ok * draw(st.sampled_from([0.0, 0.1, 1.0]))),
        "joules": rng.exponential(draw(st.sampled_from([1e-9, 100.0])), count),
        "tokens": ok * draw(st.integers(0, 1000)),
    }
    columns |= {"judged": ok, "judged_ok": ok, "within": np.floor(ok * share)}
    columns |= {"tokens_input": columns["tokens"], "tokens_output": ok}
    for name in OPTIONAL:
        if draw(st.integers(0, 9)) == 0:
            del columns[name]
    busy = draw(st.sampled_from([None, 0.0, 10.0]))
    return Stretch(
        server=draw(st.text(max_size=80)),
        version="1",
        starts_unix_seconds=10.0 * np.arange(count),
        end_unix_seconds=10.0 * count,
        currency="USD",
        slas={"m": SlaTarget(0.9, 1.0)},
        slots={"m": Slots(columns)},
        busy_seconds=None if busy is None else np.full(count, busy),
        latency_seconds={("m", "duration", "1h"): 0.0},
    )


def compared(before: Stretch, after: Stretch) -> Comparison | None:
    """None where that is refused."""
    try:
        return comparison(before, after)
    except ConfigError:
        return None


def verdicts(found: Comparison | None) -> Mapping[str, Any]:
    return {} if found is None else {row.measure: row.verdict for row in found.measures}


@settings(max_examples=60, deadline=None)
@given(stretches(), stretches())
def test_whatever_the_slots_only_finite_numbers_are_told(before: Stretch, after: Stretch) -> None:
    found = compared(before, after)
    if found is None:
        return
    told = comparison_json(found)
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    json.dumps(told, allow_nan=False)
    assert all(len(line) <= WIDTH and line.isprintable() for line in comparison_text(found).splitlines())
    for row in found.measures:
        assert (row.reason is None) == (row.verdict in ("better", "worse"))
        for interval in (row.difference, row.ratio):
            assert interval is None or interval.low <= interval.point <= interval.high


@settings(max_examples=30, deadline=None)
@given(stretches(), stretches(), st.sampled_from([0.001, 3.0, 1e4]))
def test_what_after_pays_an_hour_changes_nothing(before: Stretch, after: Stretch, factor: float) -> None:
    own = after.slots["m"].columns
    dearer = replace(after, slots={"m": Slots({name: values * factor if name == "cost" else values for name, values in own.items()})})
    assert verdicts(compared(before, after)) == verdicts(compared(before, dearer))


@settings(max_examples=30, deadline=None)
@given(stretches())
def test_nothing_is_shown_to_differ_from_itself(side: Stretch) -> None:
    assert not {"better", "worse"} & set(verdicts(compared(side, side)).values())


def test_a_change_beyond_all_measure_keeps_its_column() -> None:
    def side(ok: float, share: float) -> Stretch:
        rows = np.full(300, ok)
        columns: dict[Column, Floats] = {"seconds": np.full(300, 10.0), "cost": np.full(300, 0.01), "inferences": rows, "seen_ok": rows}
        columns |= {"judged": rows, "judged_ok": rows, "within": np.floor(rows * share)}
        return Stretch("s", "1", 10.0 * np.arange(300), 3000.0, "USD", {"m": SlaTarget(0.9, 1.0)}, {"m": Slots(columns)})

    found = compared(side(1e6, 0.0), side(1.0, 1.0))
    assert found is not None
    lines = comparison_text(found).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert any("x >9999 [>9999, >9999]" in line for line in lines)
    assert any("+100.0 pp [100.0, 100.0]" in line for line in lines)

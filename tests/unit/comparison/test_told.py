"""What is told: JSON as its schema says, and a page that a person reads without a manual."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from infermeter.comparison.comparison import Comparison
from infermeter.comparison.comparison_json import comparison_json
from infermeter.comparison.comparison_text import REASONS, WIDTH, comparison_text, number
from infermeter.comparison.load import Load
from infermeter.comparison.measures import MEASURES
from infermeter.comparison.verdict import Reason, Verdict
from infermeter.config import Server
from infermeter.model import SIGNALS
from support.compared import IDLE_WATTS, SLA, batching, compare, life
from support.ledgers import config

Made = Callable[[], Comparison]
SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "comparison.schema.json").read_text())


@cache
def found(before: float, after: float, *, most: int = 1, priced: bool = True, judged: bool = True) -> Comparison:
    settings = config(
        per_hour=3.6 if priced else None, sla=SLA if judged else None, baseline_watts=IDLE_WATTS, server=Server(model="m", sampled=False)
    )

    def lived(per_second: float, seed: int, batch: int) -> dict[str, object]:
        served = batching(per_second=per_second, seconds=1900, seed=seed, most=batch)
        return life(served, seconds=1900, config_=settings)

    return compare(lived(before, 1, 1), lived(after, 2, most))


def two_models() -> Comparison:
    settings = config(per_hour=3.6, sla=SLA, server=Server(model="m", sampled=False))
    lives = [life(batching(per_second=0.6, seconds=1900, seed=seed, most=1), seconds=1900, config_=settings) for seed in (1, 2)]
    for one in lives:
        one["report"]["slots"] += [slot | {"model": "n"} for slot in one["report"]["slots"]]
        one["report"]["sla"] += [sla | {"model": "n", "ttft_seconds": 1.0} for sla in one["report"]["sla"]]
    return compare(*lives)


ALL = [
    pytest.param(lambda: found(3.0, 3.0, most=16), id="batched"),
    pytest.param(lambda: found(0.6, 0.6), id="equal"),
    pytest.param(lambda: found(0.3, 0.7), id="another load"),
    pytest.param(lambda: found(0.6, 0.01), id="hardly anything after"),
    pytest.param(lambda: found(0.6, 0.6, priced=False), id="no prices"),
    pytest.param(lambda: found(0.6, 0.6, judged=False), id="no SLA"),
    pytest.param(two_models, id="two models"),
]


@pytest.mark.parametrize("made", ALL)
def test_the_json_is_as_its_schema_says_and_has_finite_numbers_only(made: Made) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    told = comparison_json(made())
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("made", ALL)
def test_no_line_is_wider_than_a_hundred_columns_or_tells_no_number(made: Made) -> None:
    text = comparison_text(made())
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not {"nan", "inf", "None"} & set(text.replace(",", " ").split())
    assert text.splitlines() == [line.rstrip() for line in text.splitlines()]


def test_the_schema_names_every_measure_verdict_and_reason() -> None:
    places = SCHEMA["properties"]["measures"]["items"]["properties"]
    assert places["measure"]["enum"] == [*(measure.name for measure in MEASURES), *(f"{signal}_at_sla_quantile" for signal in SIGNALS)]
    assert places["verdict"]["enum"] == list(get_args(Verdict))
    assert places["reason"]["enum"] == [None, *get_args(Reason)]
    assert tuple(REASONS) == get_args(Reason)


def test_the_page_says_what_is_better_at_which_cost_and_sla() -> None:
    text = comparison_text(found(3.0, 3.0, most=16))
    assert "Both are priced at BEFORE's 3.600 USD an hour; AFTER's own is 3.600." in text
    assert "SLA of both: 90 % with duration within 8 s" in text
    assert "at its limit: BEFORE." in text
    assert "Shown to be better: cost per inference at the SLA (m); " in text
    assert "Nothing is shown" not in text


def test_the_page_says_why_nothing_is_shown() -> None:
    text = comparison_text(found(0.3, 0.7))
    assert text.endswith("Nothing is shown to have changed.")
    assert "not comparable: the load differs more than 1.5 times" in text
    assert "better" not in text


def test_the_page_says_what_is_worse() -> None:
    text = comparison_text(compare_reversed())
    assert "Shown to be worse: " in text


def compare_reversed() -> Comparison:
    settings = config(per_hour=3.6, sla=SLA, baseline_watts=IDLE_WATTS, server=Server(model="m", sampled=False))
    lives = [life(batching(per_second=3.0, seconds=1900, seed=most, most=most), seconds=1900, config_=settings) for most in (16, 1)]
    return compare(*lives)


def test_without_a_known_load_the_page_says_so() -> None:
    text = comparison_text(found(0.6, 0.01))
    assert "not comparable: a side has too few inferences" in text
    silent = replace(found(0.6, 0.6), loads=[("m", Load(0.6, None, limit_before=False, limit_after=False, tokens_ratio=None))])
    assert "Load unknown, or none." in comparison_text(silent)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (12345.678, "12,346"), (1.5, "1.500"), (0.00012345, "0.0001234"), (1.5e-7, "1.5e-07"), (3e6, "3e+06")],
)
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text

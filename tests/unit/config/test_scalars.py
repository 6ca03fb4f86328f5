"""What a scalar means, and durations."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.parsing.durations import duration_seconds, duration_text
from infermeter.parsing.scalars import scalar_value
from infermeter.parsing.strict_yaml import Scalar


def value(kind: Any, text: str, *, plain: bool = True) -> Any:
    return scalar_value(kind, Scalar(1, text, plain=plain))


def refusal(kind: Any, text: str, *, plain: bool = True) -> str:
    with pytest.raises(ValueError, match=r".+") as caught:
        value(kind, text, plain=plain)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (bool, "true", True),
        (bool, "False", False),
        (int, "-7", -7),
        (int, "0", 0),
        (float, "3", 3.0),
        (float, ".5", 0.5),
        (float, "1e-3", 0.001),
        (str, "chat", "chat"),
        (str, "1.2.3", "1.2.3"),
        (date, "2026-07-20", date(2026, 7, 20)),
        (Literal["auto", "off"], "off", "off"),
    ],
)
def test_a_scalar_is_read_as_the_type_that_is_expected(kind: Any, text: str, expected: object) -> None:
    assert value(kind, text) == expected


@pytest.mark.parametrize("text", ["on", "No", "5", "true", "1e3"])
def test_quotes_make_text_of_anything(text: str) -> None:
    assert value(str, text, plain=False) == text


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (bool, "yes", "must be true or false, not `yes`"),
        (bool, "1", "must be true or false, not the number `1`"),
        (int, "true", "must be a whole number, not the boolean `true`"),
        (int, "1.5", "must be a whole number, not the number `1.5`"),
        (int, "010", "must be a whole number, not the number `010`"),
        (int, "1_000", "must be a whole number, not `1_000`"),
        (int, "9" * 30, f"must be a whole number, not `{'9' * 30}`"),
        (float, ".inf", "must be a number, not the number `.inf`"),
        (float, "1e999", "must be a number, not the number `1e999`"),
        (float, "1:30", "must be a number, not `1:30`"),
        (float, "", "must be a number, not null"),
        (str, "5", "must be text, not the number `5`: quote it if it is meant"),
        (str, "true", "must be text, not the boolean `true`: quote it if it is meant"),
        (str, "on", "is `on`, which some YAML readers take for a boolean: quote it"),
        (str, "No", "is `No`, which some YAML readers take for a boolean: quote it"),
        (date, "20.7.2026", "must be a date such as 2026-07-20, not `20.7.2026`"),
        (Literal["gpu", "instance"], "gpus", "must be one of gpu, instance, not `gpus`"),
        (float, "x" * 50, f"must be a number, not `{'x' * 40}...`"),
    ],
)
def test_anything_else_is_refused_by_name(kind: Any, text: str, expected: str) -> None:
    assert refusal(kind, text) == expected


def test_a_quoted_number_is_text() -> None:
    assert refusal(float, "3.43", plain=False) == "must be a number, not the quoted text `3.43`"


def test_a_day_that_no_month_has_is_refused() -> None:
    assert "day" in refusal(date, "2026-02-30")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("1s", 1), ("1h30m", 5400), ("7d", 604_800), ("2w", 1_209_600), ("1y", 31_536_000), ("0", 0), ("0s", 0)],
)
def test_durations_are_those_of_prometheus(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "1.5h", "-1s", "1m1h", "1s1s", "5 m", "1h 30m", "s", "9999999999d", "\uff11s"])
def test_what_prometheus_refuses_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        duration_seconds(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    assert math.isclose(duration_seconds(duration_text(milliseconds / 1000)), milliseconds / 1000)

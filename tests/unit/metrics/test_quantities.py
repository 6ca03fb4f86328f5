from __future__ import annotations

import pytest

from infermeter.metrics.quantities import bar, count, gibibytes, joules, length, number, percent, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.000412, "0.0004120"),
        (3.43, "3.430"),
        (1234.5, "1,234"),
        (-0.5, "-0.5000"),
        (4.545e-6, "4.545e-06"),
        (2.5e12, "2.5e+12"),
    ],
)
def test_numbers_have_four_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0 µs"), (4.2e-4, "420 µs"), (0.0123, "12.3 ms"), (1.5, "1.50 s"), (120.0, "120 s")]
)
def test_latencies_take_the_unit_that_fits(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.5, "0.500 J"), (2500.0, "2.50 kJ"), (3.6e6, "3.60 MJ")])
def test_energies_take_the_unit_that_fits(value: float | None, text: str) -> None:
    assert joules(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (0.4, "400 ms"), (10.4, "10 s"), (59.6, "1 min"), (3661.0, "1 h 1 min 1 s"), (7200.0, "2 h")],
)
def test_lengths_are_in_whole_seconds_from_ten_on(value: float, text: str) -> None:
    assert length(value) == text


def test_counts_ratios_and_sizes_are_dashes_where_unknown() -> None:
    assert (count(None), percent(None), gibibytes(None)) == ("-", "-", "-")
    assert (count(1234567), percent(0.125), gibibytes(2**30)) == ("1,234,567", "12.5 %", "1.0")


@pytest.mark.parametrize(("ratio", "text"), [(0.0, ""), (0.5, "██"), (0.53125, "██▏"), (1.0, "████"), (7.0, "████"), (-1.0, "")])
def test_bars_are_exact_to_an_eighth_and_stay_in_their_width(ratio: float, text: str) -> None:
    assert bar(ratio, 4) == text

"""What a sender can't make of templates: too many of them, or too much work."""

from __future__ import annotations

import tracemalloc

import pytest

from infermeter.otlp.template import MOST_FIELDS
from infermeter.otlp.templates import (
    FEW_ROWS,
    LEAST_ROWS,
    LONGEST_BYTES,
    LONGEST_SCOPE,
    MOST_ALIKE,
    MOST_TEMPLATES,
    REST_ASKED,
    REST_SPANS,
    Templates,
)
from unit.otlp.exports import span, wants


def spans(variant: int = 0) -> list[bytes]:
    """As many as a template is worth, of one length; an attribute that is not wanted makes each variant another template."""
    return [span(number, {f"other {variant:06}": "x"}).SerializeToString() for number in range(LEAST_ROWS)]


def test_of_one_length_only_so_many_templates_are_kept() -> None:
    sent = [raw for variant in range(2 * MOST_ALIKE) for raw in spans(variant)]

    alike, others = Templates(wants("key")).sorted(sent, "scope")

    assert sum(len(matrix) for _, matrix in alike) == MOST_ALIKE * LEAST_ROWS
    assert len(others) == MOST_ALIKE * LEAST_ROWS


def test_further_lengths_still_find_templates_when_all_are_taken() -> None:
    templates = Templates(wants("key"))
    for number in range(2 * MOST_TEMPLATES):
        alike, others = templates.sorted(spans(), f"scope {number}")
        assert [len(matrix) for _, matrix in alike] == [LEAST_ROWS]
        assert others == []


def test_looking_in_vain_takes_no_more_memory_for_more_scopes() -> None:
    templates = Templates(wants("key"))
    tracemalloc.start()
    for number in range(10 * MOST_TEMPLATES):
        templates.sorted([b"damaged"] * LEAST_ROWS, f"{number:0{LONGEST_SCOPE}}")
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < MOST_TEMPLATES * 2 * LONGEST_SCOPE


def test_spans_of_a_long_scope_or_of_many_fields_fit_no_template() -> None:
    templates = Templates(wants("key"))
    assert templates.sorted(spans(), "s" * (LONGEST_SCOPE + 1)) == ([], spans())
    many = [raw + b"\x50\x00" * MOST_FIELDS for raw in spans()]  # a field that nobody knows
    assert templates.sorted(many, "scope") == ([], many)


def test_a_few_that_are_left_of_many_have_a_template_the_next_time_that_is_due() -> None:
    templates = Templates(wants("key"))
    many = spans() * (REST_SPANS // LEAST_ROWS)
    left = [len(templates.sorted(many + spans(variant)[:1], "scope")[1]) for variant in (1, 1, 2, 2, 1)]
    assert left == [1, 0, 1, 0, 0]


def test_of_few_spans_no_template_is_made_for_a_rest() -> None:
    templates = Templates(wants("key"))
    left = [len(templates.sorted(spans() * 2 + spans(1)[:1], "scope")[1]) for _ in range(REST_SPANS // LEAST_ROWS)]
    assert left.index(0) == REST_SPANS // (2 * LEAST_ROWS + 1) + 1
    assert not any(left[left.index(0) :])


def test_the_rest_asks_a_few_templates_only() -> None:
    templates = Templates(wants("key"))
    variants = range(REST_ASKED + 2)
    templates.sorted([raw for variant in variants for raw in spans(variant)], "scope")
    many = [raw + b"\x50\x00" for raw in spans() * 2]  # of another length
    assert [len(templates.sorted(many + spans(variant)[:1], "scope")[1]) for variant in variants] == [0] * REST_ASKED + [1] * 2


def test_where_much_is_left_it_is_all_left_to_the_parser() -> None:
    templates = Templates(wants("key"))
    templates.sorted(spans(), "scope")
    many = [raw + b"\x50\x00" for raw in spans() * 2]  # of another length
    for count, left in ((2, 0), (3, 3)):
        assert len(templates.sorted(many + spans()[:count], "scope")[1]) == left


def test_a_rest_of_which_no_template_can_be_made_is_left_to_the_parser() -> None:
    templates = Templates(wants("key"))
    many = spans() * (REST_SPANS // LEAST_ROWS)
    for rest in (b"damaged", b"damaged", span(attributes={"other": "x" * LONGEST_BYTES}).SerializeToString()):
        assert templates.sorted([*many, rest], "scope")[1] == [rest]


@pytest.mark.parametrize(("count", "fit"), [(FEW_ROWS - 1, 0), (FEW_ROWS, FEW_ROWS)])
def test_a_few_ask_the_first_template_of_their_length(count: int, fit: int) -> None:
    templates = Templates(wants("key"))
    templates.sorted(spans(), "scope")
    alike, others = templates.sorted(spans()[:count], "scope")
    assert (sum(len(matrix) for _, matrix in alike), len(others)) == (fit, count - fit)

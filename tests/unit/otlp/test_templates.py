"""What a sender can't make of templates: too many of them, or too much work."""

from __future__ import annotations

import tracemalloc

from infermeter.otlp.template import MOST_FIELDS
from infermeter.otlp.templates import LEAST_ROWS, LONGEST_SCOPE, MOST_ALIKE, MOST_TEMPLATES, Templates
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

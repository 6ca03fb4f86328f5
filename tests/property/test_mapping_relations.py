"""What a table says of ancestors and descendants, against a walk from span to span; parents may lead in circles."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.mapping.layouts import Layouts
from infermeter.mapping.spans import NO_RULE, Spans, Table
from unit.mapping.hand_made import Span, batches, mapping

LAYOUTS = Layouts([mapping("{stages: {queue: {duration: true, in: {rel: descendant, span: x}}}}")])


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """For each of n spans the number of its parent (n: none) and a value."""
    n = draw(st.integers(1, 40))
    shape = draw(st.sampled_from(["any", "chain", "tree"]))
    parents = [n]
    for number in range(1, n):
        lowest, highest = {"any": (0, n), "chain": (number - 1, number - 1), "tree": (0, number - 1)}[shape]
        parents.append(draw(st.integers(lowest, highest)))
    if shape == "any":
        parents[0] = draw(st.integers(0, n))
    return parents, draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))


def table(parents: list[int]) -> Table:
    spans = [Span("x", 0, 1, f"s{number}") for number in range(len(parents))]
    (batch,) = batches(spans, LAYOUTS)
    nobody = len(parents)
    parent = np.array([nobody if up == number else up for number, up in enumerate(parents)] + [nobody], np.int64)
    return Table([Spans.of(LAYOUTS.plan(batch.layout), batch)], parent)


def ancestors(parents: list[int], number: int) -> set[int]:
    """All above a span, perhaps itself."""
    found: set[int] = set()
    up = parents[number]
    while up not in found and up != len(parents) and not (up == number and parents[number] == number):
        found.add(up)
        up = parents[up] if parents[up] != up else len(parents)
    return found


@settings(max_examples=200, deadline=None)
@given(forests())
def test_the_least_above_and_below_is_what_a_walk_finds(forest: tuple[list[int], list[int]]) -> None:
    parents, values = forest
    n = len(parents)
    own = np.array([*values, NO_RULE], np.int64)
    above = [ancestors(parents, number) for number in range(n)]
    of = table(parents)
    assert of.least_above(own)[:n].tolist() == [min((values[up] for up in found), default=NO_RULE) for found in above]
    below = [min((values[down] for down in range(n) if number in above[down]), default=NO_RULE) for number in range(n)]
    assert of.least_below(own)[:n].tolist() == below

"""A server's own histogram on the ledger's edges: nothing is lost, nothing falls, and nothing is called faster than it is known to be."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

import hypothesis.strategies as st
import pytest
from hypothesis import given

from infermeter.ledger.rebinning import rebinned

EDGES = st.lists(st.integers(1, 10_000).map(lambda ms: ms / 1000), min_size=1, max_size=12, unique=True).map(sorted)
VALUES = st.lists(st.integers(1, 20_000).map(lambda ms: ms / 1000), max_size=60)


def at_most(values: list[float], edges: list[float]) -> dict[float, int]:
    """As a server's histogram tells it."""
    return {edge: sum(value <= edge for value in values) for edge in (*edges, math.inf)}


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        ({}, (0, 0, 0)),
        ({math.inf: 7}, (0, 0, 7)),
        ({0.1: 2, 1.0: 5, math.inf: 7}, (2, 3, 2)),  # the edges are ours
        ({0.09: 2, 0.5: 5, math.inf: 7}, (2, 3, 2)),  # they lie below ours
        ({0.11: 2, 1.5: 5, math.inf: 7}, (0, 2, 5)),  # above: in the next of ours
        ({0.1: 2, 1e300: 5, math.inf: 7}, (2, 0, 5)),  # an edge may be any number
        ({0.1: 2, 1.0: 5}, (2, 3, 0)),  # nothing is said of all
        ({0.1: 6, 1.0: 5, math.inf: 4}, (4, 0, 0)),  # pages that aren't of one instant
        ({0.05: 6, 0.1: 2, math.inf: 7}, (6, 0, 1)),  # an edge that came up with another version
    ],
)
def test_what_a_server_shows_to_be_within_an_edge_counts_there(told: dict[float, int], counts: tuple[int, ...]) -> None:
    assert rebinned(told, (0.1, 1.0)) == counts


@given(VALUES, EDGES, EDGES)
def test_all_are_counted_and_none_is_called_faster_than_it_was_nor_by_more_than_a_bucket_slower(
    values: list[float], theirs: list[float], ours: list[float]
) -> None:
    counts = rebinned(at_most(values, theirs), ours)
    assert sum(counts) == len(values)
    assert min(counts) >= 0
    shown = [next((edge for edge in theirs if edge >= value), math.inf) for value in values]
    places = [bisect_left(ours, edge) for edge in shown]
    assert list(counts) == [places.count(place) for place in range(len(ours) + 1)]


@given(VALUES, EDGES)
def test_on_its_own_edges_a_histogram_is_itself(values: list[float], edges: list[float]) -> None:
    told = at_most(values, edges)
    assert list(accumulate(rebinned(told, edges))) == list(told.values())


@given(st.lists(st.dictionaries(st.sampled_from([0.05, 0.1, 0.7, 1.0, 3.0, math.inf]), st.integers(0, 9)), max_size=8), EDGES)
def test_no_cumulative_count_falls_while_none_of_the_servers_does(steps: list[dict[float, int]], ours: list[float]) -> None:
    """Whatever is told, in any order: restarts with other edges, buckets ahead of their count."""
    told: dict[float, int] = {math.inf: 0}
    before = [0] * (len(ours) + 1)
    for step in steps:
        for edge, more in step.items():
            told[edge] = told.get(edge, 0) + more
        now = list(accumulate(rebinned(told, ours)))
        assert all(a <= b for a, b in zip(before, now, strict=True))
        assert now == sorted(now)
        assert now[-1] == told[math.inf]
        before = now

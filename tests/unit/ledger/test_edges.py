import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger.edges import Edges

NS = st.integers(-1, 2**62) | st.integers(-1, 10**6)


@given(st.lists(st.lists(NS, unique=True).map(sorted), min_size=1, max_size=4), st.lists(NS))
def test_every_value_is_in_the_bucket_that_a_search_finds_however_near_the_edges_are(edges: list[list[int]], more: list[int]) -> None:
    near = [edge + beside for of_row in edges for edge in of_row for beside in (-1, 0, 1) if edge + beside >= -1]
    values = np.array([*near, *more, -1, 2**63 - 1], np.int64)
    rows = [np.array(of_row, np.int64) for of_row in edges]
    found = Edges(rows).buckets(np.tile(values, (len(rows), 1)))
    assert found.tolist() == [np.searchsorted(of_row, values).tolist() for of_row in rows]


def test_many_edges_within_a_percent_are_told_apart() -> None:
    edges = np.arange(1_000_000, 1_000_064)
    assert Edges([edges]).buckets(edges[None]).tolist() == [list(range(64))]

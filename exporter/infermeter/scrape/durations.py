"""The server's own histogram of durations, from one page to the next: how many more took at most so long. Pure: no clock, no I/O.

A histogram that is larger than the bounds says nothing from then on: half of one would be another distribution.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, TypeAlias

BUCKETS_REMEMBERED: Final = 2_500
"""Series of all models together."""

EDGES_OF_A_MODEL: Final = 64

Edges: TypeAlias = Mapping[float, int]
"""How many inferences took at most so many seconds, by seconds; math.inf: all of them."""


class Durations:
    """Adds up the increases of a histogram's buckets, series by series. What comes into being counts from 0, and so does what fell."""

    def __init__(self) -> None:
        self._values: dict[Hashable, int] = {}
        self._counts: dict[str | None, dict[float, int]] = {}
        self._is_too_large = False

    def take(self, identity: Hashable, model: str | None, edge_seconds: float | None, value: int | None) -> None:
        """One bucket of a page; an edge or value of None tells nothing."""
        if edge_seconds is None or value is None or self._is_too_large:
            return
        edges = self._counts.setdefault(model, {})
        before = self._values.get(identity, 0)
        self._values[identity] = value
        edges[edge_seconds] = edges.get(edge_seconds, 0) + (value - before if value >= before else value)
        if len(self._values) > BUCKETS_REMEMBERED or len(edges) > EDGES_OF_A_MODEL:
            self._is_too_large = True
            self._values, self._counts = {}, {}

    @property
    def counts(self) -> dict[str | None, Edges]:
        """Everything so far, by model. Meant beside an earlier one: as what happened between the two."""
        return {model: dict(edges) for model, edges in self._counts.items()}

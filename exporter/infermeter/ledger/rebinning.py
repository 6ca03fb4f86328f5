"""A server's own histogram, told on the ledger's edges. Pure counting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from infermeter.ledger.instants import nanoseconds


def rebinned(at_most: Mapping[float, int], edges_seconds: Sequence[float]) -> tuple[int, ...]:
    """How many lie up to each of the ascending edges and above the one before, and how many above the last, of so many `at_most` so long.

    At or below an edge are those that the server shows to be: what is in one of its buckets counts at that bucket's upper edge, so that
    nothing is called faster than it is known to be. All are counted, whatever the edges, and no cumulative count falls while none of
    `at_most` does. `at_most` needn't be a distribution: another version of the server, or a page that isn't of one instant, may leave
    an edge behind a lower one.
    """
    total = at_most.get(math.inf, max(at_most.values(), default=0))
    beyond = max(edges_seconds, default=0.0) + 1.0  # an edge may be any number, also one that has no nanoseconds
    told = sorted((nanoseconds(edge), count) for edge, count in at_most.items() if edge < beyond)
    reached = [min(max((count for edge, count in told if edge <= nanoseconds(ours)), default=0), total) for ours in edges_seconds]
    return tuple(b - a for a, b in pairwise((0, *reached, total)))

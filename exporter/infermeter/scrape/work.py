"""What a server estimates that its GPUs did, from one page to the next, of one of them on the mean. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final

from infermeter.mapping.metrics import Work

SERIES_REMEMBERED: Final = 2_000
"""A rank of a server, which is one GPU, has one of each."""

LARGEST: Final = 1e30
"""Of operations, and of bytes: more than all GPUs of the world do in a month."""


class WorkOfOne:
    """Adds up increases, each shared by the series that are on its page. What comes into being counts from 0, and so does what fell.

    Beyond SERIES_REMEMBERED nothing is told any more.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[Work, Hashable], float] = {}
        self._sums: dict[Work, float] = {}

    def take(self, work: Work, page: Iterable[tuple[Hashable, float]]) -> None:
        """The series of one counter that are on a page: which they are, and where they stand. One that is nonsense is passed over."""
        told = [(identity, value) for identity, value in page if 0 <= value <= LARGEST]
        more = 0.0
        for identity, value in told:
            before = self._values.get((work, identity), 0.0)
            self._values[work, identity] = value
            more += value - before if value >= before else value
        if told and len(self._values) <= SERIES_REMEMBERED:
            self._sums[work] = min(self._sums.get(work, 0.0) + more / len(told), LARGEST)
        elif told:
            self._sums = {}

    def restart(self) -> None:
        """The server was started anew: everything begins at 0."""
        self._values = dict.fromkeys(self._values, 0.0)

    @property
    def sums(self) -> Mapping[Work, float]:
        """Everything so far; none of what was never told. Meant beside earlier ones: as what happened between the two."""
        return dict(self._sums)

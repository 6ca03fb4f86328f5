"""What one request's time went to. Pure: instants are unix nanoseconds that are handed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from infermeter.instrument.layout import Stage

LONG_WRITE_NS = 1_000_000
"""A write to the client that takes this long had to wait for it."""

PAUSES_LIMIT = 16
"""Waits for the client that are told apart within one answer; what comes after them counts as compute."""


class Interval(NamedTuple):
    """A piece of a request that one stage claims."""

    stage: Stage
    start_ns: int
    end_ns: int
    part: str | None = None


@dataclass(slots=True)
class Timing:
    """The instants of one request, None for what it didn't come to.

    `turn_ns`: it had its turn (None without a limit). `sent_ns`: its body was handed on. `upload`: it had one. `computed_ns`: the upstream
    server had nothing more to work out. `pauses`: the answer waited for the client. `failure`: why it failed, in a word.
    """

    start_ns: int
    end_ns: int = 0
    turn_ns: int | None = None
    asked: bool = False
    upload: bool = False
    sent_ns: int | None = None
    first_byte_ns: int | None = None
    computed_ns: int | None = None
    pauses: list[tuple[int, int]] = field(default_factory=list)
    failure: str | None = None

    def written(self, start_ns: int, end_ns: int) -> None:
        """A piece of an answer that is still being made was written to the client in this time."""
        if end_ns - start_ns < LONG_WRITE_NS:
            return
        if self.pauses and start_ns - self.pauses[-1][1] < LONG_WRITE_NS:
            self.pauses[-1] = (self.pauses[-1][0], end_ns)  # the next piece was there already: the upstream server had waited too
        elif len(self.pauses) < PAUSES_LIMIT:
            self.pauses.append((start_ns, end_ns))

    def intervals(self, *, limited: bool) -> Iterator[Interval]:
        """In the order of time, without gaps from the first to the last instant of a request that was answered.

        `limited`: requests have to wait for their turn.
        """
        asking_ns = self.start_ns
        if limited:
            asking_ns = self.end_ns if self.turn_ns is None else self.turn_ns
            yield Interval("queue", self.start_ns, asking_ns)
        if not self.asked:
            return
        if self.upload:
            sent_ns = self.end_ns if self.sent_ns is None else self.sent_ns
            yield Interval("serialisation", asking_ns, sent_ns, "net_in")
            asking_ns = min(sent_ns, sent_ns if self.computed_ns is None else self.computed_ns)
        computed_ns = self.end_ns if self.computed_ns is None else self.computed_ns
        for pause_start_ns, pause_end_ns in self.pauses:
            yield Interval("compute", asking_ns, pause_start_ns)
            yield Interval("serialisation", pause_start_ns, pause_end_ns, "net_out")
            asking_ns = pause_end_ns
        yield Interval("compute", asking_ns, max(asking_ns, computed_ns))
        if self.computed_ns is not None:
            yield Interval("serialisation", max(asking_ns, computed_ns), self.end_ns, "net_out")

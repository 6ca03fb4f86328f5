"""Whether a sample of spans is a fair one: its durations against the server's own histogram of all. Pure counting, no I/O.

A sampler that keeps the slow ones (tail sampling) makes shares of spans no shares of what was served, however many spans there are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from infermeter.ledger import slots as columns
from infermeter.ledger.instants import HOUR_SECONDS, SECOND_NS, SLOT_NS, SLOT_SECONDS
from infermeter.ledger.names import ModelNames
from infermeter.ledger.sketch import BUCKETS, bucket_of
from infermeter.model import SIGNALS, CoverageBias, Ints, ServerReading, SlaTarget

_ROW: Final = len(SIGNALS) * BUCKETS
_FARTHEST_EDGE: Final = 1.25
"""An edge that is further from the target, by this factor, says nothing of the share at the target."""

_SLACK_BUCKETS: Final = 1
"""To each side of the edge's own: what a server and its spans measure may differ by 2 %."""

_PIECE_SLOTS: Final = 60
_PIECES: Final = HOUR_SECONDS // SLOT_SECONDS // _PIECE_SLOTS
_LEAST_INFERENCES: Final = 100
_LEAST_DIFFERENCE: Final = 0.01
_ALL: Final = 0.98
_BEGINS: Final = 3.0
_ENDS: Final = 2.0
_LONGEST_GAP_NS: Final = 300 * SECOND_NS
SERVED, SERVED_WITHIN, SEEN, SEEN_WITHIN, SEEN_NEAR, ERRORS = range(6)
_FIELDS: Final = 6
"""By the server, and by spans that ended well: all, those surely up to the edge, and those too near to tell; ERRORS by spans."""


def edge_near(edges: Iterable[float], target_seconds: float | None) -> float | None:
    """The edge that is nearest to a target; None: none is within a factor of 1.25, or there is no target."""
    if not target_seconds:
        return None
    apart = {edge: abs(math.log(edge / target_seconds)) for edge in edges if edge < math.inf}
    nearest = min(apart, key=apart.__getitem__, default=None)
    return nearest if nearest is not None and apart[nearest] <= math.log(_FARTHEST_EDGE) else None


def judged(sums: Sequence[int], edge_seconds: float, before: CoverageBias | None) -> CoverageBias | None:
    """How unfair the spans are, by the sums of an hour; None: not beyond chance. With too few inferences, what was judged `before`.

    It begins beyond three standard errors of a share of as many inferences, and ends within two. Errors may be in the server's histogram,
    and lie anywhere in it; shares that differ by a hundredth at most are near enough. One and one more of each are added to the share,
    twice, so that a share of 0 or 1 has an error too (Agresti and Coull, 1998).
    """
    served, served_within, seen, seen_within, seen_near, errors = sums
    if served < _LEAST_INFERENCES or seen < _LEAST_INFERENCES:
        return before
    if seen + errors >= _ALL * served:
        return None
    server = min(served_within / served, 1.0)
    least, most = seen_within / seen, (seen_within + seen_near) / seen
    chance = (server * seen + 2) / (seen + 4)
    standard_errors = (_BEGINS if before is None else _ENDS) * math.sqrt(chance * (1 - chance) / (seen + 4))
    if max(least - server, server - most) <= max(standard_errors, _LEAST_DIFFERENCE) + errors / (seen + errors):
        return None
    return CoverageBias(edge_seconds, server_ratio=server, observed_ratio=(least + most) / 2, observed=seen)


@dataclass(slots=True, eq=False)
class _Compared:
    """One model: the sums of the piece of time that goes on, begun before `first_slot`, and of those of the last hour."""

    edge_seconds: float
    first_slot: int
    open: Ints = field(default_factory=lambda: np.zeros(_FIELDS, np.int64))
    pieces: deque[Ints] = field(default_factory=lambda: deque(maxlen=_PIECES))
    bias: CoverageBias | None = None

    def restart(self, first_slot: int) -> None:
        """What was counted on one side may be missing on the other; what was judged stays."""
        self.first_slot, self.open = first_slot, np.zeros(_FIELDS, np.int64)
        self.pieces.clear()

    def see(self, code: int, keys: Ints, counts: Ints, errors: int) -> None:
        """Takes in the spans of a slot that has closed."""
        first = code * _ROW
        edge = int(bucket_of(np.array([round(self.edge_seconds * SECOND_NS)]))[0])
        surely, perhaps = max(edge - _SLACK_BUCKETS, 0), min(edge + _SLACK_BUCKETS + 1, BUCKETS)
        at = np.searchsorted(keys, (first, first + surely, first + perhaps, first + BUCKETS)).tolist()
        within, near, beyond = (int(counts[a:b].sum(dtype=np.int64)) for a, b in pairwise(at))
        self.open[SEEN:] += (within + near + beyond, within, near, errors)

    def tell(self, more: Mapping[float, float], slot: int) -> None:
        """Takes in what the server has counted up to this slot, and judges once a piece of time is full."""
        self.open[SERVED] += round(more.get(math.inf, 0.0))
        self.open[SERVED_WITHIN] += round(more.get(self.edge_seconds, 0.0))
        if slot - self.first_slot >= _PIECE_SLOTS:
            self.pieces.append(self.open)
            self.first_slot, self.open = slot, np.zeros(_FIELDS, np.int64)
            self.bias = judged(sum(self.pieces, np.zeros(_FIELDS, np.int64)).tolist(), self.edge_seconds, self.bias)


class Bias:
    """Judges every model that has a target for durations, an edge of the server's histogram near it, and spans that are a sample.

    Both sides are compared up to the same instant: what a reading tells is taken in with the slot in which it was read.
    """

    def __init__(self, names: ModelNames) -> None:
        self._names = names
        self._waiting: dict[int, list[ServerReading]] = {}
        self._compared: dict[int, _Compared] = {}

    @property
    def found(self) -> dict[int, CoverageBias]:
        """How unfair the spans of a model are, by code; nothing of those that nothing says it of."""
        return {code: one.bias for code, one in self._compared.items() if one.bias is not None}

    def read(self, reading: ServerReading) -> None:
        """Takes in what the server tells, if no calls by other models are in it; it counts once its slot closes."""
        if not reading.inner_calls and any("duration" in times for times in reading.times.values()):
            self._waiting.setdefault((reading.time_ns - 1) // SLOT_NS, []).append(reading)

    def close(self, slot: int, latencies: tuple[Ints, Ints], counts: Ints, slas: Sequence[SlaTarget | None]) -> None:
        """A slot has closed: its latencies by code, signal and bucket, ascending, its counts, shape (models, n), and the SLAs by code."""
        if not (self._compared or self._waiting):
            return
        keys = latencies[0].astype(np.int64)
        for code, compared in self._compared.items():
            compared.see(code, keys, latencies[1], int(counts[code, columns.OBSERVED] - counts[code, columns.OK]))
        due = [one for one in self._waiting if one <= slot]
        for reading in (reading for one in sorted(due) for reading in self._waiting.pop(one)):
            self._tell(reading, slot, slas)

    def _tell(self, reading: ServerReading, slot: int, slas: Sequence[SlaTarget | None]) -> None:
        begins = reading.since_ns is None or reading.time_ns - reading.since_ns > _LONGEST_GAP_NS
        for code, more in self._by_code(reading).items():
            sla, compared = slas[code], self._compared.get(code)
            edge_seconds = edge_near(more, None if sla is None else sla.duration_seconds)
            if edge_seconds is None:
                self._compared.pop(code, None)
            elif compared is None or compared.edge_seconds != edge_seconds:
                self._compared[code] = _Compared(edge_seconds, slot)
            elif begins:
                compared.restart(slot)
            else:
                compared.tell(more, slot)

    def _by_code(self, reading: ServerReading) -> dict[int, Mapping[float, float]]:
        """What is told of models that are known; those that share a name are one."""
        told: dict[int, dict[float, float]] = {}
        for model, times in reading.times.items():
            code, more = self._names.find(self._names.name(model)), times["duration"].at_most if "duration" in times else {}
            if code is not None and more:
                sums = told.setdefault(code, dict.fromkeys(more, 0.0))
                for edge in _shared(sums, more):
                    sums[edge] += more[edge]
        return dict(told)


def _shared(sums: dict[float, float], more: Collection[float]) -> list[float]:
    """The edges that both have; the others are dropped: a sum over some of the models alone is no count."""
    for edge in [edge for edge in sums if edge not in more]:
        del sums[edge]
    return list(sums)

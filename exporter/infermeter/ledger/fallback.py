"""What the server itself tells of durations, stages and parts, where no span does: booked for a model until the first span of it has come.

From then on never again, so that no counter falls and nothing is in two. Nothing here is observed: no verdict comes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from infermeter.ledger import arrivals as tallies
from infermeter.ledger.arrivals import Arrivals
from infermeter.ledger.instants import DAY_SLOTS, SECOND_NS, SLOT_NS, nanoseconds
from infermeter.ledger.rebinning import rebinned
from infermeter.ledger.slots import Slots
from infermeter.ledger.stretch import stretch
from infermeter.ledger.timeline import Timeline
from infermeter.model import STAGES, Histogram, Ints, ServerReading, ServerTime, Stage, TimeOf

_PLACED: Final[tuple[TimeOf, ...]] = (*STAGES, "duration")
_TOLD_NS: Final = len(_PLACED)
_FIELDS: Final = _TOLD_NS + 1
"""Of a slot: nanoseconds in each of STAGES, of whole inferences, and of the slot itself that readings told."""

_MOST_AT_ONCE: Final = 100_000
"""Seconds of a time in each second, that is inferences at once: more is nonsense, and a day of more has too many nanoseconds to count."""

_LEAST_TOLD: Final = 0.9
"""Of a window's time: with less of it told, its stages are those of another time."""


@dataclass(slots=True)
class _Sum:
    """One time of one model; `at_most` as in `ServerTime`."""

    seconds: float = 0.0
    at_most: dict[float, int] = field(default_factory=dict)

    def add(self, more: ServerTime) -> None:
        self.seconds += more.seconds
        for edge, count in more.at_most.items():
            self.at_most[edge] = self.at_most.get(edge, 0) + round(count)

    @property
    def has_any(self) -> bool:
        return self.seconds > 0 or any(self.at_most.values())


class Fallback:
    """The times of every model that the server tells. Bounded by the models that there are, what a mapping reads, and a day of slots."""

    def __init__(self, arrivals: Arrivals, slots: Slots) -> None:
        """Nothing is told before the first reading."""
        self._arrivals = arrivals
        self._slots = slots
        self._waiting: list[ServerReading] = []
        self._named: set[int] = set()
        self._is_over = False
        self._sums: dict[int, dict[TimeOf, _Sum]] = {}
        self._other: dict[int, float] = {}
        self._placed: Timeline[np.int64] = Timeline(slots.first_slot, (1, _FIELDS), np.int64)

    def read(self, reading: ServerReading) -> None:
        """Takes in what the server tells; it is booked once the spans of that time would be here.

        Where calls by other models are among a model's, nothing says which of them are inferences.
        """
        if not reading.inner_calls:
            self._waiting.append(reading)

    def book(self, complete_slot: int) -> None:
        """Books the readings before this slot, up to which all spans are here: of the models of which none is."""
        waiting, self._waiting = self._waiting, []
        for reading in waiting:
            if reading.time_ns <= complete_slot * SLOT_NS:
                self._book(reading)
            else:
                self._waiting.append(reading)

    def close(self, stop: int) -> None:
        """Slots before `stop` have closed."""
        self._placed.drop(stop - DAY_SLOTS)

    def tells(self, code: int) -> bool:
        """Whether it may tell anything of a model."""
        return code in self._sums

    def histogram(self, code: int, of: TimeOf, edges_seconds: Sequence[float]) -> Histogram | None:
        """One time of a model, `other` too, on these edges; None: it isn't told, or not of how many inferences.

        What is told as a sum has all of its inferences above the last edge.
        """
        if of == "other":
            whole = self._sums.get(code, {}).get("duration", _Sum())
            found = _Sum(self._other.get(code, 0.0), {np.inf: max(whole.at_most.values(), default=0)})
        else:
            found = self._sums.get(code, {}).get(of, _Sum())
        if not found.at_most or not (found.has_any or self._is_open(code)) or (of == "other" and found.seconds <= 0):
            return None
        return Histogram(tuple(edges_seconds), rebinned(found.at_most, edges_seconds), found.seconds)

    def part_seconds(self, code: int) -> dict[tuple[Stage, str], float]:
        """Seconds in each named part of a stage, of one model."""
        return {of: sums.seconds for of, sums in self._sums.get(code, {}).items() if isinstance(of, tuple) and sums.seconds > 0}

    def stage_seconds(self, code: int, first: int, stop: int, *, seconds: float) -> dict[Stage, float]:
        """Seconds in each stage of a model and in `other`, in the slots [first, stop), which lasted so many `seconds`.

        Nothing where shares of a whole would be no such: it isn't told (for all of the time), or it is less than its stages.
        """
        rows = self._placed.rows(first, stop)
        sums = rows[:, code].sum(axis=0).tolist() if code < rows.shape[1] else [0] * _FIELDS
        *stages_ns, duration_ns, told_ns = sums
        other_ns = duration_ns - sum(stages_ns)
        if told_ns < _LEAST_TOLD * seconds * SECOND_NS or duration_ns <= 0 or other_ns < 0:
            return {}
        return {stage: ns / SECOND_NS for stage, ns in zip((*STAGES, "other"), (*stages_ns, other_ns), strict=True) if ns}

    def _book(self, reading: ServerReading) -> None:
        models = {*reading.times, *(model for model, _ in reading.inferences), *(() if reading.model is None else (reading.model,))}
        codes = {model: self._arrivals.code(model) for model in sorted(models, key=lambda model: model or "")}
        self._named.update(codes.values())
        seen = self._seen()
        # spans by another name may be of any model that the server names
        self._is_over |= not self._named.issuperset(seen)
        told = [(codes[model], times) for model, times in reading.times.items() if codes[model] not in seen]
        if self._is_over or not told:
            return
        for code, times in told:
            self._add(code, times)
        if reading.since_ns is not None:
            self._place(told, reading.since_ns, reading.time_ns)

    def _add(self, code: int, times: Mapping[TimeOf, ServerTime]) -> None:
        sums = self._sums.setdefault(code, {})
        for of, time in times.items():
            sums.setdefault(of, _Sum()).add(time)
            if of in STAGES and sums[of].has_any:
                self._arrivals.rate(of, "fallback")
        stages = [sums[stage].seconds for stage in STAGES if stage in sums]
        if "duration" in sums and stages:
            # stages may be ahead of the durations that they are in: what is left over never falls
            self._other[code] = max(self._other.get(code, 0.0), sums["duration"].seconds - sum(stages))
            if self._other[code] > 0:
                self._arrivals.rate("other", "fallback")

    def _place(self, told: Collection[tuple[int, Mapping[TimeOf, ServerTime]]], since_ns: int, time_ns: int) -> None:
        """Spreads seconds evenly over the slots of their time; what belongs to slots that have closed goes to the oldest open one.

        Of a model with more seconds than there can be, nothing is placed: its stages in this time aren't known.
        """
        most_seconds = _MOST_AT_ONCE * max(time_ns - since_ns, SECOND_NS) / SECOND_NS
        told = [(code, times) for code, times in told if all(time.seconds <= most_seconds for time in times.values())]
        between = stretch(since_ns, time_ns, open_slot=self._slots.closed)
        self._placed.widen(len(self._arrivals.names))
        more = np.zeros((len(self._arrivals.names), _FIELDS), np.int64)
        for code, times in told:
            more[code, :_TOLD_NS] += [nanoseconds(times[of].seconds) if of in times else 0 for of in _PLACED]
        codes = sorted({code for code, _ in told})
        for slot, share, _ in between.spread(more.reshape(-1), between.parts_ns):
            self._placed.row(slot)[: len(more)] += share.reshape(more.shape)
            self._placed.row(slot)[codes, _TOLD_NS] += between.parts_ns[slot - between.first_slot]

    def _seen(self) -> set[int]:
        """The models of which a span has come."""
        ended: Ints = self._arrivals.tallies[:, [tallies.OK, tallies.ERROR]]
        return set(np.flatnonzero(ended.any(axis=1)).tolist())

    def _is_open(self, code: int) -> bool:
        return not self._is_over and code not in self._seen()


def together(spans: Histogram | None, own: Histogram | None) -> Histogram | None:
    """What spans and, before they came, the server itself told, both on the same edges."""
    if spans is None or own is None:
        return own if spans is None else spans
    counts = tuple(a + b for a, b in zip(spans.counts, own.counts, strict=True))
    return Histogram(spans.edges_seconds, counts, spans.sum_seconds + own.sum_seconds, spans.exemplars)

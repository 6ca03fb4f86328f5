"""The attribution of ticks a second time, slowly and in plain Python, straight from the words of the contract: one GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from support.ledgers import Inference


@dataclass(slots=True)
class OracleBook:
    """Joules and fixed money by (model, use), and seconds in which anything was computing."""

    joules: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    cost: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    busy_seconds: float = 0.0


def attributed(
    inferences: Iterable[Inference],
    *,
    watts: Sequence[float],
    utilisation: Sequence[float | None],
    baseline_watts: float,
    cost_per_second: float,
    default_model: str = "unknown",
) -> OracleBook:
    """All spans are known. Tick i has power `watts[i]` and utilisation `utilisation[i]`; every second costs the same.

    No period is longer than an hour.
    """
    book = OracleBook()
    intervals = [
        (a, b, one.model or default_model)
        for one in inferences
        for a, b in (((one.start, one.end),) if one.compute is None else one.compute)
    ]
    recent: dict[str, float] = defaultdict(float)
    for tick, (joules, told) in enumerate(zip(watts, utilisation, strict=True)):
        overlap: dict[str, float] = defaultdict(float)
        for a, b, model in intervals:
            overlap[model] += max(0.0, min(b, tick + 1) - max(a, tick))
        busy = _union([(max(a, tick), min(b, tick + 1)) for a, b, _ in intervals])
        book.busy_seconds += busy
        total = sum(overlap.values())
        if total:
            for model, seconds in overlap.items():
                recent[model] += busy * seconds / total
        rest = dict(recent) if sum(recent.values()) else {default_model: 1.0}
        if busy == 0:
            use = "idle" if told == 0 else "unattributed"
            _share(book, use, rest, joules=joules, cost=cost_per_second)
            continue
        idle_joules = min(joules, baseline_watts * (1 - busy))
        _share(book, "active", overlap, joules=joules - idle_joules, cost=cost_per_second * busy)
        _share(book, "idle", rest, joules=idle_joules, cost=cost_per_second * (1 - busy))
    return book


def attributed_in_blocks(
    seen: Sequence[Inference], *, watts: Sequence[float], utilisation: Sequence[float | None], baseline_watts: float, default_model: str
) -> OracleBook:
    """As `attributed`, at 1 a second, where spans are a sample: the GPU says how busy a tick was, the spans of its block whose it was."""
    book = OracleBook()
    recent: dict[str, float] = defaultdict(float)
    for start, stop in _blocks(seen, len(watts)):
        owned: dict[str, float] = defaultdict(float)
        for one in seen:
            owned[one.model or default_model] += max(0.0, min(one.end, stop) - max(one.start, start))
        for tick in range(start, stop):
            covered = _union([(max(one.start, tick), min(one.end, tick + 1)) for one in seen])
            told = utilisation[tick]
            active = max(covered, told or 0.0)
            idle = 0.0 if told is None else 1.0 - active
            idle_joules = watts[tick] * idle if active == 0 else min(watts[tick], baseline_watts * idle)
            stray_joules = watts[tick] * (1 - active - idle)
            active_joules = watts[tick] - idle_joules - stray_joules
            for model, seconds in owned.items() if active else ():
                recent[model] += active * seconds / sum(owned.values()) if sum(owned.values()) else 0.0
            rest = dict(recent) if sum(recent.values()) else {default_model: 1.0}
            if sum(owned.values()):
                _share(book, "active", owned, joules=active_joules, cost=active)
            else:
                _share(book, "unattributed", rest, joules=active_joules, cost=active)
            _share(book, "idle", rest, joules=idle_joules, cost=idle)
            _share(book, "unattributed", rest, joules=stray_joules, cost=1 - active - idle)
    return book


def _blocks(seen: Sequence[Inference], ticks: int) -> Iterable[tuple[int, int]]:
    """A minute, then slot by slot until 30 inferences have ended in it, 5 minutes at most; the last as long as there is time."""
    start = 0
    while start < ticks:
        stop = start + 60
        while stop < start + 300 and sum(start < one.end <= stop for one in seen) < 30:
            stop += 10
        yield start, min(stop, ticks)
        start = stop


def _share(book: OracleBook, use: str, weights: dict[str, float], *, joules: float, cost: float) -> None:
    for model, weight in weights.items():
        book.joules[model, use] += joules * weight / sum(weights.values())
        book.cost[model, use] += cost * weight / sum(weights.values())


def _union(intervals: Iterable[tuple[float, float]]) -> float:
    covered, reached = 0.0, float("-inf")
    for a, b in sorted((a, b) for a, b in intervals if b > a):
        covered += max(0.0, b - max(a, reached))
        reached = max(reached, b)
    return covered

"""The attribution of ticks a second time, slowly and in plain Python, straight from the words of the contract: one GPU, all spans known."""

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
    """Tick i has power `watts[i]` and utilisation `utilisation[i]`; every second costs the same; no period is longer than an hour."""
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

"""Servers whose truth is known, simulated: one inference at a time, and continuous batching. Nothing of the product in them.

Rates, batches and latencies come out as the product would see them, so that its estimates can be held against the truth that
`highest_held_rate` finds by trying.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """What became of each arrival, in order of arrival; seconds."""

    arrived: Floats
    began: Floats
    ended: Floats
    steps: Floats

    @property
    def durations(self) -> Floats:
        return self.ended - self.arrived

    @property
    def compute(self) -> Floats:
        return self.ended - self.began


def arrivals(rate: Callable[[float], float], *, most_per_second: float, seconds: float, rng: np.random.Generator) -> Floats:
    """Poisson arrivals whose rate changes with time, by thinning."""
    count = rng.poisson(most_per_second * seconds)
    times = np.sort(rng.uniform(0.0, seconds, count))
    kept = rng.uniform(0.0, most_per_second, count) < np.array([rate(time) for time in times.tolist()])
    return times[kept]


def one_at_a_time(arrived: Floats, service: Floats) -> Served:
    """A single server, first come first served."""
    ended = np.empty_like(arrived)
    free = 0.0
    for i, (time, length) in enumerate(zip(arrived.tolist(), service.tolist(), strict=True)):
        free = max(free, time) + length
        ended[i] = free
    return Served(arrived, ended - service, ended, np.ones_like(arrived))


def continuous_batching(arrived: Floats, tokens: Floats, *, step_seconds: float, per_sequence_seconds: float, most: int) -> Served:
    """Every step makes a token for each running sequence and takes step_seconds + per_sequence_seconds x running."""
    began, ended = np.full_like(arrived, np.nan), np.full_like(arrived, np.nan)
    running: list[tuple[int, int]] = []  # step at which it is done, which
    now, step, waiting = 0.0, 0, 0
    while waiting < len(arrived) or running:
        if not running and arrived[waiting] > now:
            now = float(arrived[waiting])
        while waiting < len(arrived) and arrived[waiting] <= now and len(running) < most:
            heapq.heappush(running, (step + int(tokens[waiting]), waiting))
            began[waiting] = now
            waiting += 1
        now += step_seconds + per_sequence_seconds * len(running)
        step += 1
        while running and running[0][0] <= step:
            ended[heapq.heappop(running)[1]] = now
    return Served(arrived, began, ended, tokens)


def highest_held_rate(held: Callable[[float], bool], low: float, high: float, *, tries: int = 12) -> float:
    """The highest rate that holds, by bisection; `held(low)` is true and `held(high)` is not."""
    for _ in range(tries):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low

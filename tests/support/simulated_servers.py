"""Servers whose truth is known, simulated: one inference at a time, and continuous batching. Nothing of the product in them.

Rates, batches and latencies come out as the product would see them, so that its estimates can be held against the truth that
`highest_held_rate` finds by trying.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """What became of each arrival, in order of arrival; seconds. `first`: when its first token was there."""

    arrived: Floats
    began: Floats
    ended: Floats
    steps: Floats
    first: Floats

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
    return Served(arrived, ended - service, ended, np.ones_like(arrived), ended)


def continuous_batching(
    arrived: Floats, tokens: Floats, *, step_seconds: float, per_sequence_seconds: float, most: int, prefill_seconds: float = 0.0
) -> Served:
    """Every step makes a token for each running sequence and takes step_seconds + per_sequence_seconds x running.

    The step in which a sequence joins takes `prefill_seconds` more for each that does. Steps between which nobody comes or goes are one.
    """
    came, lengths, count = arrived.tolist(), tokens.astype(int).tolist(), len(arrived)
    began, first, ended = ([math.nan] * count for _ in range(3))
    running: list[tuple[int, int]] = []  # step at which it is done, which
    now, step, waiting = 0.0, 0, 0
    while waiting < count or running:
        if not running and came[waiting] > now:
            now = came[waiting]
        joins = waiting
        while waiting < count and came[waiting] <= now and len(running) < most:
            heapq.heappush(running, (step + lengths[waiting], waiting))
            began[waiting] = now
            waiting += 1
        length, alike = step_seconds + per_sequence_seconds * len(running), running[0][0] - step
        if waiting > joins:
            now += prefill_seconds * (waiting - joins)
            first[joins:waiting] = [now + length] * (waiting - joins)
        if waiting < count and len(running) < most:
            alike = min(alike, max(1, math.ceil((came[waiting] - now) / length)))
        now += alike * length
        step += alike
        while running and running[0][0] <= step:
            ended[heapq.heappop(running)[1]] = now
    return Served(arrived, np.array(began), np.array(ended), tokens, np.array(first))


def highest_held_rate(held: Callable[[float], bool], low: float, high: float, *, tries: int = 12) -> float:
    """The highest rate that holds, by bisection; `held(low)` is true and `held(high)` is not."""
    for _ in range(tries):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low

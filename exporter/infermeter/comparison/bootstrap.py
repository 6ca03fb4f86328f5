"""How far a ratio of sums may be off: a circular block bootstrap over slots, deterministic. Pure.

Slots depend on those before: a queue drains over minutes. Only what is drawn together keeps that dependence, so slots are drawn in
blocks, and since nobody knows how long a block must be, several lengths are tried and the widest interval counts.

Source: Politis and Romano 1992 (circular blocks); Hesterberg 2015, "What teachers should know about the bootstrap" (percentiles widened as
Student's t is for few observations, here for few blocks).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Final, TypeVar

import numpy as np

from infermeter.model import Floats

DRAWS: Final = 2000
CONFIDENCE: Final = 0.95
SLOTS_LEAST: Final = 180
"""Half an hour of a report's slots."""

BLOCKS_LEAST: Final = 4

_SEED: Final = 20_260_101
_BLOCK_SLOTS_LEAST: Final = 6

Name = TypeVar("Name", bound=str)


def block_lengths(slots: int) -> list[int]:
    """How many of so many slots are drawn together: from the root of their number on, doubled while there are BLOCKS_LEAST blocks."""
    lengths = [max(_BLOCK_SLOTS_LEAST, math.ceil(math.sqrt(slots)))]
    while slots >= 2 * BLOCKS_LEAST * lengths[-1]:
        lengths.append(2 * lengths[-1])
    return lengths


def drawn_sums(columns: Mapping[Name, Floats], *, length: int, side: int) -> dict[Name, Floats]:
    """The sums of each column over blocks of slots drawn again, each of shape (DRAWS,): the same blocks for every column.

    `side` tells which stream of random numbers it is, so that two sides are drawn independently of each other.
    """
    table = np.stack(list(columns.values()), axis=1)
    count = len(table)
    running = np.cumsum(np.concatenate((np.zeros((1, table.shape[1])), table, table[: length - 1])), axis=0)
    of_blocks = running[length:] - running[:-length]
    starts = np.random.default_rng([_SEED, side, length]).integers(count, size=(DRAWS, math.ceil(count / length)))
    sums = of_blocks[starts].sum(axis=1)
    return {name: sums[:, place] for place, name in enumerate(columns)}


def widest(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The interval with the most between its ends."""
    return max(intervals, key=lambda ends: ends[1] - ends[0])


def interval(draws: Floats, *, blocks: float) -> tuple[float, float]:
    """What holds CONFIDENCE of the draws, widened since there were only so many blocks to draw; draws may be infinite."""
    tail = widened_tail(blocks)
    return float(np.quantile(draws, tail, method="lower")), float(np.quantile(draws, 1 - tail, method="higher"))


def widened_tail(blocks: float) -> float:
    """The share of draws that is left out at each end."""
    normal = NormalDist()
    return normal.cdf(-math.sqrt(blocks / (blocks - 1)) * student_quantile((1 + CONFIDENCE) / 2, blocks - 1))


def student_quantile(share: float, freedom: float) -> float:
    """Student's t, to 1 in 100 from 3 degrees of freedom on. Source: Abramowitz and Stegun 26.7.5."""
    x = NormalDist().inv_cdf(share)
    return (
        x
        + (x**3 + x) / (4 * freedom)
        + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * freedom**2)
        + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * freedom**3)
        + (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / (92160 * freedom**4)
    )

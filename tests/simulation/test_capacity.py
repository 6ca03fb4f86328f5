"""Capacity beside simulated servers whose truth is known: the highest constant rate at which they keep their SLA.

Longer lives, more servers and seeds are in bench/capacity.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from infermeter.config import Advice, Server, Sla
from infermeter.model import CapacityFacts, LedgerSnapshot
from support.ledgers import config, ledger, of_model
from support.simulated_lives import Delivery, Spans, arriving, live
from support.simulated_servers import Floats, Served, arrivals, continuous_batching, highest_held_rate, one_at_a_time

HOUR = 3600
DAY = 8 * HOUR
"""A short one, so that two or three of them fit into a test: there are enough five minutes at every load all the same."""


@dataclass(frozen=True)
class Batching:
    """A server that batches, and its SLA: a target for the time per token."""

    target_seconds: float
    step_seconds: float
    per_sequence_seconds: float
    tokens: float = 200.0

    @property
    def sla(self) -> Sla:
        return Sla(0.99, None, None, self.target_seconds)

    def served(self, arrived: Floats, rng: np.random.Generator, shorter: Floats | float = 1.0) -> Served:
        return continuous_batching(
            arrived,
            np.maximum(1.0, np.round(rng.geometric(1 / self.tokens, len(arrived)) / shorter)),
            step_seconds=self.step_seconds,
            per_sequence_seconds=self.per_sequence_seconds,
            most=64,
        )

    def truth(self, low: float, high: float) -> float:
        def held(rate: float) -> bool:
            rng = np.random.default_rng(99)
            served = self.served(np.cumsum(rng.exponential(1 / rate, 60_000)), rng)
            late = served.ended - served.first > self.target_seconds * (served.steps - 1) + 1e-9
            return bool(late.mean() <= 0.01)

        assert held(low)
        assert not held(high)
        return highest_held_rate(held, low, high, tries=6)

    def told(self, arrived: Floats, *, seconds: int, delivery: Delivery, seed: int, shorter: Floats | float = 1.0) -> CapacityFacts:
        """What the ledger says of a life with these arrivals."""
        rng = np.random.default_rng(seed)
        served = self.served(arrived, rng, shorter)
        book = ledger(config(sla=self.sla, server=Server(max_batch=64, sampled=False)), gpus=(), offline=False)
        snapshot = live(book, Spans(served, ["m"] * len(arrived)), arriving(served.ended, delivery, rng), seconds=seconds)
        facts = of_model(snapshot, "m").capacity
        assert facts is not None
        return facts


TEXT = Batching(0.035, step_seconds=0.02, per_sequence_seconds=0.0004)


@pytest.fixture(scope="module")
def text_per_second() -> float:
    return TEXT.truth(3.5, 4.2)


@pytest.mark.parametrize(
    ("middle", "swing", "days", "delivery"), [(0.525, 0.425, 2, "delayed"), (0.65, 0.55, 2, "shuffled")], ids=["diurnal", "daily overload"]
)
def test_observed_capacity_is_at_most_a_tenth_below_the_truth_and_never_above_it(
    middle: float, swing: float, days: int, delivery: Delivery, text_per_second: float
) -> None:
    arrived = arrivals(
        lambda time: text_per_second * (middle + swing * math.sin(2 * math.pi * time / DAY)),
        most_per_second=1.2 * text_per_second,
        seconds=days * DAY,
        rng=np.random.default_rng(4),
    )
    facts = TEXT.told(arrived, seconds=days * DAY, delivery=delivery, seed=2)
    assert facts.observed_per_second is not None
    assert facts.modelled_per_second is not None
    assert 0.9 * text_per_second <= facts.observed_per_second <= text_per_second
    assert facts.reached is (middle + swing > 1)
    assert 0.85 * text_per_second <= facts.modelled_per_second <= 1.05 * text_per_second


def test_an_hour_of_answers_a_tenth_as_long_sets_no_capacity_that_the_server_does_not_have(text_per_second: float) -> None:
    """By the highest rate that held, it would be three times too high for ever."""
    begin, end = round(1.25 * DAY) - HOUR // 2, round(1.25 * DAY) + HOUR // 2
    arrived = arrivals(
        lambda time: text_per_second * (5.0 if begin <= time < end else 0.525 + 0.425 * math.sin(2 * math.pi * time / DAY)),
        most_per_second=5.0 * text_per_second,
        seconds=3 * DAY // 2,
        rng=np.random.default_rng(3),
    )
    shorter = np.where((arrived >= begin) & (arrived < end), 10.0, 1.0)
    facts = TEXT.told(arrived, seconds=3 * DAY // 2, delivery="in order", seed=4, shorter=shorter)
    assert facts.observed_per_second is not None
    assert 0.9 * text_per_second <= facts.observed_per_second <= text_per_second


@pytest.mark.parametrize(
    ("server", "low", "high", "seed"),
    [
        (Batching(0.045, step_seconds=0.002, per_sequence_seconds=0.002, tokens=150.0), 2.4, 4.0, 5),
        (Batching(0.03, step_seconds=0.01, per_sequence_seconds=0.001, tokens=150.0), 2.0, 6.0, 6),
    ],
    ids=["sequences bind", "between"],
)
def test_modelled_capacity_at_twice_the_batch_seen_at_most_is_within_15_per_cent(
    server: Batching, low: float, high: float, seed: int
) -> None:
    truth = server.truth(low, high)
    arrived = arrivals(
        lambda time: 0.65 * truth * (0.55 + 0.45 * math.sin(2 * math.pi * time / DAY)),
        most_per_second=0.65 * truth,
        seconds=DAY,
        rng=np.random.default_rng(seed),
    )
    modelled = server.told(arrived, seconds=DAY, delivery="in order", seed=seed).modelled_per_second
    assert modelled is not None
    assert 0.85 * truth <= modelled <= 1.05 * truth


def a100() -> LedgerSnapshot:
    """Ten requests a minute, each of which takes 50 ms, for four hours."""
    rng, seconds = np.random.default_rng(7), 4 * HOUR
    arrived = np.arange(0.0, seconds, 6.0) + rng.uniform(0.0, 1.0, seconds // 6)
    served = one_at_a_time(arrived, np.full(len(arrived), 0.05))
    book = ledger(config(sla=Sla(0.99, 0.5), advice=Advice(minimum_history=3.0 * HOUR)), gpus=(), offline=False)
    return live(book, Spans(served, ["m"] * len(arrived), tokens=False), served.ended, seconds=seconds)


def test_ten_requests_a_minute_of_50_ms_need_less_than_a_fiftieth_of_the_server() -> None:
    snapshot = a100()
    facts = of_model(snapshot, "m").capacity
    assert facts is not None
    assert facts.observed_per_second is not None
    assert facts.observed_per_second <= 10 / 60
    assert not facts.reached
    assert facts.modelled_per_second is not None
    assert facts.modelled_per_second <= 0.8 / 0.05
    assert snapshot.peak_load_ratio is not None
    assert 1 / snapshot.peak_load_ratio > 50

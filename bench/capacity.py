"""How near the estimates of capacity come to the truth, beside simulated servers, through the whole ledger.

For every server, load and seed: the observed and the modelled capacity after some days, over the highest constant rate that keeps the
SLA.

usage: PYTHONPATH=tests capacity.py [--days 3] [--hours 24] [--seeds 3] [--servers text,long,...] [--loads day,overload,mix,low]
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from infermeter.config import Server, Sla
from infermeter.model import CapacityFacts
from support.ledgers import config, ledger, of_model
from support.simulated_lives import Spans, live
from support.simulated_servers import Floats, Served, arrivals, continuous_batching, highest_held_rate, one_at_a_time

HOUR = 3600.0


@dataclass(frozen=True)
class Simulated:
    """A server and its SLA; `tokens` 0: one inference at a time."""

    sla: Sla
    most_per_second: float
    tokens: int = 0
    step_seconds: float = 0.02
    per_sequence_seconds: float = 0.0004
    prefill_seconds: float = 0.0
    most: int = 64

    def served(self, arrived: Floats, rng: np.random.Generator, shorter: Floats | float = 1.0) -> Served:
        """What becomes of these arrivals, whose answers are so many times shorter."""
        if not self.tokens:
            return one_at_a_time(arrived, rng.lognormal(math.log(0.05) - 0.125, 0.5, len(arrived)) / shorter)
        return continuous_batching(
            arrived,
            np.maximum(1.0, np.round(rng.geometric(1 / self.tokens, len(arrived)) / shorter)),
            step_seconds=self.step_seconds,
            per_sequence_seconds=self.per_sequence_seconds,
            most=self.most,
            prefill_seconds=self.prefill_seconds,
        )

    def within(self, served: Served) -> float:
        """The share within the SLA."""
        ok = np.ones(len(served.arrived), np.bool_)
        if self.sla.duration_seconds is not None:
            ok &= served.durations <= self.sla.duration_seconds
        if self.sla.ttft_seconds is not None:
            ok &= served.first - served.arrived <= self.sla.ttft_seconds
        if self.sla.tpot_seconds is not None:
            ok &= (served.ended - served.first) <= self.sla.tpot_seconds * (served.steps - 1) + 1e-9
        return float(ok.mean())

    def truth(self, *, inferences: int = 100_000) -> float:
        """The highest constant rate at which the SLA holds."""

        def held(rate: float) -> bool:
            rng = np.random.default_rng(99)
            return self.within(self.served(np.cumsum(rng.exponential(1 / rate, inferences)), rng)) >= self.sla.quantile

        return highest_held_rate(held, 0.01, self.most_per_second, tries=10)


SERVERS = {
    "text": Simulated(Sla(0.99, None, None, 0.035), 8.0, tokens=200),
    "long": Simulated(Sla(0.99, None, None, 0.07), 1.0, tokens=600, step_seconds=0.03, per_sequence_seconds=0.004),
    "sequences": Simulated(Sla(0.99, None, None, 0.045), 4.0, tokens=150, step_seconds=0.002, per_sequence_seconds=0.002),
    "between": Simulated(Sla(0.99, None, None, 0.03), 6.0, tokens=150, step_seconds=0.01, per_sequence_seconds=0.001),
    "prefill": Simulated(Sla(0.99, None, 0.4, 0.045), 8.0, tokens=200, prefill_seconds=0.03),
    "one": Simulated(Sla(0.99, 0.5, None, None), 19.9),
}
LOADS: dict[str, Callable[[float], float]] = {
    "day": lambda phase: 0.525 + 0.425 * math.sin(2 * math.pi * phase),
    "overload": lambda phase: 0.65 + 0.55 * math.sin(2 * math.pi * phase),
    "mix": lambda phase: 0.525 + 0.425 * math.sin(2 * math.pi * phase),
    "low": lambda phase: 0.65 * (0.55 + 0.45 * math.sin(2 * math.pi * phase)),
}
"""Demand over the truth by the part of the day that is over. `mix`: for an hour of the second day, answers a tenth as long."""


def told(server: Simulated, truth: float, load: str, *, day_seconds: float, days: int, seed: int) -> CapacityFacts:
    """What the ledger says after these days."""
    rng, seconds = np.random.default_rng(seed), round(days * day_seconds)
    begin = 1.25 * day_seconds - HOUR / 2 if load == "mix" else math.inf

    def rate(time: float) -> float:
        return truth * (8 * 0.8 if begin <= time < begin + HOUR else LOADS[load](time / day_seconds))

    arrived = arrivals(rate, most_per_second=truth * (6.4 if load == "mix" else 1.2), seconds=seconds, rng=rng)
    shorter = np.where((arrived >= begin) & (arrived < begin + HOUR), 10.0, 1.0)
    served = server.served(arrived, rng, shorter)
    book = ledger(
        config(sla=server.sla, server=Server(max_batch=server.most if server.tokens else None, sampled=False)), gpus=(), offline=False
    )
    spans = Spans(served, ["m"] * len(arrived), tokens=server.tokens > 0)
    facts = of_model(live(book, spans, served.ended, seconds=seconds), "m").capacity
    assert facts is not None
    return facts


def summed(ratios: list[float], runs: int) -> str:
    if not ratios:
        return f"none of {runs}"
    return f"{statistics.median(ratios):.3f} [{min(ratios):.3f} to {max(ratios):.3f}], told in {len(ratios)} of {runs}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--loads", default=",".join(LOADS))
    args = parser.parse_args()
    for name in args.servers.split(","):
        server = SERVERS[name]
        truth = server.truth()
        for load in args.loads.split(","):
            facts = [told(server, truth, load, day_seconds=args.hours * HOUR, days=args.days, seed=seed) for seed in range(args.seeds)]
            observed = [one.observed_per_second / truth for one in facts if one.observed_per_second is not None]
            modelled = [one.modelled_per_second / truth for one in facts if one.modelled_per_second is not None]
            print(
                f"{name:10} truth {truth:6.3f}/s  {load:9} observed {summed(observed, len(facts))}, reached "
                f"{sum(one.reached for one in facts)}; modelled {summed(modelled, len(facts))}",
                flush=True,
            )


if __name__ == "__main__":
    main()

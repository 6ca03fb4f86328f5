"""How often `compare` says what isn't so, and how often it sees what is, beside simulated servers whose truth is known.

Equal pairs: how often the interval of the measure holds no difference (95 % are promised), and how often a verdict is given (false). Pairs
that differ: how often which verdict is given. Through slots alone, without the ledger, which the tests go through.

usage: PYTHONPATH=tests compare.py [--pairs 200] [--hours 0.34,1,4]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from infermeter.comparison.comparison import comparison
from infermeter.comparison.stretch import Column, Slots, Stretch
from infermeter.comparison.verdict import Compared
from infermeter.model import Floats, SlaTarget
from support.simulated_servers import Served, continuous_batching, one_at_a_time

SLOT_SECONDS = 10.0
TOLD: Final = ("cost_per_inference_at_sla", "share_within_sla", "joules_per_inference", "inferences_per_second")

Simulated = Callable[[np.random.Generator, float], Served]


def queue(load: float, *, mean_seconds: float = 0.5) -> Simulated:
    """One inference at a time, this share of the time busy."""

    def served(rng: np.random.Generator, seconds: float) -> Served:
        arrived = np.sort(rng.uniform(0, seconds, rng.poisson(load / mean_seconds * seconds)))
        return one_at_a_time(arrived, rng.exponential(mean_seconds, len(arrived)))

    return served


def batching(per_second: float, most: int) -> Simulated:
    """Tokens for up to `most` sequences together; one at a time it could do 1.15 a second."""

    def served(rng: np.random.Generator, seconds: float) -> Served:
        arrived = np.sort(rng.uniform(0, seconds, rng.poisson(per_second * seconds)))
        lengths = np.maximum(1.0, rng.geometric(1 / 40, len(arrived)).astype(float))
        return continuous_batching(arrived, lengths, step_seconds=0.02, per_sequence_seconds=0.001, most=most)

    return served


def bursts(per_second: float) -> Simulated:
    """A batching server whose load doubles and halves every few minutes."""

    def served(rng: np.random.Generator, seconds: float) -> Served:
        times = np.cumsum(rng.exponential(300.0, int(seconds / 100) + 20))
        rates = per_second * np.where(np.arange(len(times)) % 2, 0.5, 1.5)
        edges = np.concatenate(([0.0], times))
        counts = rng.poisson(rates * np.diff(edges))
        arrived = np.sort(np.concatenate([rng.uniform(a, b, n) for a, b, n in zip(edges, times, counts, strict=False)]))
        arrived = arrived[arrived < seconds]
        lengths = np.maximum(1.0, rng.geometric(1 / 40, len(arrived)).astype(float))
        return continuous_batching(arrived, lengths, step_seconds=0.02, per_sequence_seconds=0.001, most=8)

    return served


def side(simulated: Simulated, seconds: float, target_seconds: float, rng: np.random.Generator) -> Stretch:
    """What a sidecar would have booked: 80 W idle, 220 W more while anything runs, 3.6 an hour."""
    served = simulated(rng, seconds)
    count = int(seconds // SLOT_SECONDS)

    def by_slot(at: Floats, weights: Floats | None = None) -> Floats:
        inside = (at >= 0) & (at < count * SLOT_SECONDS)
        return np.bincount((at[inside] // SLOT_SECONDS).astype(int), None if weights is None else weights[inside], minlength=count).astype(
            np.float64
        )

    edges = np.sort(np.concatenate((served.began, served.ended)))
    level = np.cumsum(np.where(np.isin(edges, served.began), 1, -1))
    grid = np.arange(count + 1) * SLOT_SECONDS
    running = np.concatenate(([0.0], np.cumsum(np.diff(edges) * (level[:-1] > 0))))
    busy = np.clip(np.diff(np.interp(grid, edges, running)), 0, SLOT_SECONDS)
    ok = by_slot(served.ended)
    within = by_slot(served.ended, (served.durations <= target_seconds).astype(float))
    full = np.full(count, SLOT_SECONDS)
    columns: Mapping[Column, Floats] = {
        "seconds": full,
        "cost": full * 0.001,
        "inferences": ok,
        "seen_ok": ok,
        "judged": ok,
        "judged_ok": ok,
        "within": within,
        "joules": 80 * full + 220 * busy,
    }
    return Stretch(
        "s", "1", grid[:-1], float(grid[-1]), "USD", {"m": SlaTarget(0.9, target_seconds)}, {"m": Slots(columns)}, busy_seconds=busy
    )


def told(before: Simulated, after: Simulated, hours: float, target_seconds: float, seed: int) -> dict[str, Compared]:
    rng = np.random.default_rng(seed)
    sides = [side(one, hours * 3600, target_seconds, rng) for one in (before, after)]
    return {row.measure: row for row in comparison(*sides).measures}


EQUAL: Mapping[str, tuple[Simulated, float]] = {
    "queue, half busy": (queue(0.5), 2.0),
    "queue, 80 % busy": (queue(0.8), 2.0),
    "queue, 90 % busy": (queue(0.9), 4.0),
    "batching, 2 per second": (batching(2.0, 8), 3.0),
    "batching in bursts": (bursts(2.0), 3.0),
}
CHANGED: Mapping[str, tuple[Simulated, Simulated, float]] = {
    "batch 1 to 16, below the limit": (batching(0.9, 1), batching(0.9, 16), 3.0),
    "batch 1 to 16, overloaded": (batching(3.0, 1), batching(3.0, 16), 8.0),
    "only 20 % more load": (batching(1.0, 16), batching(1.2, 16), 8.0),
    "twice the load": (batching(1.0, 16), batching(2.0, 16), 8.0),
}


def shares(rows: Sequence[dict[str, Compared]], measure: str) -> str:
    own = [row[measure] for row in rows]
    return " ".join(f"{sum(row.verdict == verdict for row in own) / len(own):6.1%}" for verdict in ("better", "worse", "not shown"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--hours", default="0.34,1,4")
    args = parser.parse_args()
    for hours in map(float, args.hours.split(",")):
        for name, (simulated, target) in EQUAL.items():
            rows = [told(simulated, simulated, hours, target, seed) for seed in range(args.pairs)]
            for measure in TOLD:
                ends = [row[measure].difference for row in rows]
                held = [one.low <= 0 <= one.high for one in ends if one is not None]
                false = sum(row[measure].verdict in ("better", "worse") for row in rows) / len(rows)
                print(f"{hours:5g} h  {name:24} {measure:26} held {np.mean(held):6.1%}  false verdicts {false:5.1%}", flush=True)
    for name, (before, after, target) in CHANGED.items():
        rows = [told(before, after, 1.0, target, seed) for seed in range(args.pairs)]
        for measure in TOLD:
            print(f"    1 h  {name:32} {measure:26} better, worse, not shown {shares(rows, measure)}", flush=True)


if __name__ == "__main__":
    main()

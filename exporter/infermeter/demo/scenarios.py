"""What the demo can show. A scenario says how much load comes and how the server batches; it knows nothing of what will be measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """Load over time and batching.

    `load` holds points (share of the demo's duration, share of the capacity that was measured at the start), ascending from 0 to 1;
    in between the load changes evenly. `in_flight` bounds the requests that clients have open at one time.
    """

    name: str
    about: str
    load: tuple[tuple[float, float], ...]
    max_batch: int
    max_delay_seconds: float
    in_flight: int

    def load_ratio(self, elapsed_ratio: float) -> float:
        """The share of the capacity that is asked for when this share of the duration has passed."""
        before, after = self.load[0], self.load[-1]
        for begin, end in zip(self.load, self.load[1:], strict=False):
            if begin[0] <= elapsed_ratio <= end[0]:
                before, after = begin, end
                break
        span = after[0] - before[0]
        progress = (min(max(elapsed_ratio, before[0]), after[0]) - before[0]) / span
        return before[1] + (after[1] - before[1]) * progress


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="healthy",
            about="batches of up to 8, a load that rises and falls between 15 and 50 % of the capacity",
            load=((0, 0.15), (0.3, 0.5), (0.5, 0.25), (0.8, 0.5), (1, 0.3)),
            max_batch=8,
            max_delay_seconds=0.005,
            in_flight=32,
        ),
        Scenario(
            name="idle",
            about="a short peak, then nothing",
            load=((0, 0.4), (0.1, 0.4), (0.15, 0), (1, 0)),
            max_batch=8,
            max_delay_seconds=0.005,
            in_flight=32,
        ),
        Scenario(
            name="over-provisioned",
            about="a steady load of a few per cent of the capacity, with one small peak",
            load=((0, 0.04), (0.45, 0.04), (0.55, 0.1), (0.65, 0.04), (1, 0.04)),
            max_batch=8,
            max_delay_seconds=0.005,
            in_flight=32,
        ),
        Scenario(
            name="queue-bound",
            about="no batching, and more load than one inference at a time can serve",
            load=((0, 0.7), (0.3, 1.5), (1, 1.5)),
            max_batch=1,
            max_delay_seconds=0.0,
            in_flight=48,
        ),
    )
}
"""By name, in the order in which they are offered."""

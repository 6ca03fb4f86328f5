"""The life of a ledger beside a simulated server: spans, GPU samples and readings come as they would, and the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from infermeter.ledger import Ledger
from infermeter.model import GpuSample, InferenceBatch, Ints, LedgerSnapshot, ServerReading
from support.ledgers import GPU, START_NS, S, at
from support.simulated_servers import Floats, Served

Delivery: TypeAlias = Literal["in order", "delayed", "shuffled"]
DELIVERIES: tuple[Delivery, ...] = ("in order", "delayed", "shuffled")
_EXPORT_SECONDS = 20.0
_MOST_DELAY_SECONDS = 25.0


@dataclass(frozen=True, eq=False)
class Spans:
    """One span an inference, `rows` at a time. `tokens` False: the server tells none, as one that isn't an LLM's."""

    served: Served
    models: Sequence[str]
    tokens: bool = True

    def __len__(self) -> int:
        return len(self.models)

    def rows(self, rows: Ints) -> InferenceBatch:
        """These inferences, in this order."""
        one, count = self.served, len(rows)
        start_ns, began_ns, end_ns = (_instants(seconds[rows]) for seconds in (one.arrived, one.began, one.ended))
        steps = one.steps[rows]
        stages_ns = np.full((count, 4), -1, np.int64)
        stages_ns[:, 0], stages_ns[:, 1] = began_ns - start_ns, end_ns - began_ns
        after_first = (one.ended[rows] - one.first[rows]) / np.maximum(steps - 1, 1)
        return InferenceBatch(
            model=[self.models[row] for row in rows.tolist()],
            start_ns=start_ns,
            end_ns=end_ns,
            stages_ns=stages_ns,
            parts=(),
            compute_rows=np.arange(count),
            compute_start_ns=began_ns,
            compute_end_ns=end_ns,
            compute_estimated=np.zeros(count, np.bool_),
            ttft_seconds=one.first[rows] - one.arrived[rows] if self.tokens else np.full(count, np.nan),
            tpot_seconds=np.where(steps > 1, after_first, np.nan) if self.tokens else np.full(count, np.nan),
            tokens_input=np.full(count, 100 if self.tokens else -1, np.int64),
            tokens_output=steps.astype(np.int64) if self.tokens else np.full(count, -1, np.int64),
            error=np.zeros(count, np.bool_),
            trace_id=[b"\x01" * 16] * count,
            quality={"queue": "measured", "compute": "measured"},
        )


def _instants(seconds: Floats) -> Ints:
    return START_NS + np.rint(seconds * S).astype(np.int64)


def together(*spans: Spans) -> Spans:
    """Several servers' inferences as those of one, by arrival."""
    order = np.argsort(np.concatenate([one.served.arrived for one in spans]), kind="stable")
    names = [name for one in spans for name in one.models]
    columns = (
        np.concatenate([getattr(one.served, column) for one in spans])[order] for column in ("arrived", "began", "ended", "steps", "first")
    )
    return Spans(Served(*columns), [names[i] for i in order.tolist()], all(one.tokens for one in spans))


def arriving(ended: Floats, delivery: Delivery, rng: np.random.Generator) -> Floats:
    """When each span comes: at its end, some seconds later, or with the export of its 20 seconds."""
    if delivery == "in order":
        return ended
    if delivery == "delayed":
        return np.asarray(ended + np.minimum(rng.exponential(4.0, len(ended)), _MOST_DELAY_SECONDS))
    return np.asarray(np.ceil(ended / _EXPORT_SECONDS) * _EXPORT_SECONDS)


@dataclass(frozen=True)
class Device:
    """What a GPU did, second by second: joules in all and in them those of running inferences, and how much of the second it worked."""

    joules: Floats
    running_joules: Floats
    busy: Floats

    def samples(self, *, utilisation: bool = True) -> list[GpuSample]:
        """A reading at the start and after each second."""
        counter = np.concatenate(([0.0], np.cumsum(self.joules))).tolist()
        busy = [0.0, *self.busy.tolist()]
        watts = [self.joules[0], *self.joules.tolist()]
        return [
            GpuSample(GPU, at(second), watts[second], joules, busy[second] if utilisation else None, 8 * 2**30, 80 * 2**30)
            for second, joules in enumerate(counter)
        ]


def device(served: Served, *, seconds: int, idle_watts: float, step_watts: float, per_sequence_watts: float) -> Device:
    """The GPU of a server: it draws `idle_watts`, while anything runs `step_watts` + `per_sequence_watts` x running on top of them.

    What is between the seconds is exact: the integral of a step function.
    """
    instants = np.concatenate((served.began, served.ended))
    order = np.argsort(instants, kind="stable")
    edges, level = instants[order], np.cumsum(np.repeat((1, -1), len(served.began))[order])
    lengths = np.diff(edges)
    watts = np.where(level > 0, idle_watts + step_watts + per_sequence_watts * level, 0.0)[:-1]
    grid = np.arange(seconds + 1, dtype=np.float64)

    def by_second(rates: Floats) -> Floats:
        return np.diff(np.interp(grid, edges, np.concatenate(([0.0], np.cumsum(rates * lengths)))))

    busy = np.clip(by_second((level[:-1] > 0).astype(np.float64)), 0.0, 1.0)
    running = by_second(watts)
    return Device(running + idle_watts * (1.0 - busy), running, busy)


def counted(served: Served, *, seconds: int, every: int = 5, model: str = "m") -> list[ServerReading]:
    """What the server itself tells every so many seconds: how many it has served since, and how many run."""
    times = range(0, seconds + 1, every)
    ended = np.searchsorted(np.sort(served.ended), times, side="right")
    running = np.searchsorted(np.sort(served.began), times, side="right") - ended
    return [
        ServerReading(
            at(time),
            at(time - every) if time else None,
            {(model, "ok"): float(ended[i] - ended[i - 1]) if i else 0.0},
            running=float(running[i]),
        )
        for i, time in enumerate(times)
    ]


def live(
    book: Ledger,
    spans: Spans,
    arriving_at: Floats,
    *,
    seconds: int,
    since: int = 0,
    step_seconds: int = 10,
    samples: Sequence[GpuSample] = (),
    readings: Sequence[ServerReading] = (),
) -> LedgerSnapshot:
    """A life between two seconds, looked at every `step_seconds` (at most 10, so that all time accrues); what it says at the end."""
    order = np.argsort(arriving_at, kind="stable")
    steps = range(since, seconds + 1, step_seconds)
    edges = np.searchsorted(arriving_at[order], np.array(steps), side="right")
    edges_of_samples = np.searchsorted([one.time_ns for one in samples], [at(step) for step in steps], side="right")
    edges_of_readings = np.searchsorted([one.time_ns for one in readings], [at(step) for step in steps], side="right")
    if not since:
        edges[0] = edges_of_samples[0] = edges_of_readings[0] = 0
    for number, step in enumerate(steps[1:], start=1):
        now_ns = at(step)
        book.add_samples(samples[edges_of_samples[number - 1] : edges_of_samples[number]])
        for told in readings[edges_of_readings[number - 1] : edges_of_readings[number]]:
            book.add_server_reading(told)
        if edges[number] > edges[number - 1]:
            book.add(spans.rows(order[edges[number - 1] : edges[number]]), now_ns)
        book.advance(now_ns, step_seconds * S)
    return book.snapshot(at(seconds))

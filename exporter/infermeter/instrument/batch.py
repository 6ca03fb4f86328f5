"""Inferences that are computed together: each waits for its batch, and each gets the batch's time, marked as shared."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from infermeter.instrument.inference import Inference, current
from infermeter.instrument.layout import STAGES, Stage

_BATCHES = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An inference that waits for its batch, since an instant of the monotonic clock; None: whoever waits is no inference."""

    inference: Inference | None
    since_ns: int
    part: str


def waiting(part: str = "batch") -> Waiting:
    """The current inference begins to wait. To be put into the queue with the request, and handed to Batch with it."""
    return Waiting(current(), time.perf_counter_ns(), part)


class Batch:
    """What is computed together from now on: the waiting of each ends, and each learns the batch's size.

    Its stages are timed once and told of each inference, with the same `infermeter.batch.id`: device time is shared, not multiplied.
    """

    def __init__(self, waiting: Sequence[Waiting]) -> None:
        self.id = next(_BATCHES)
        self.size = len(waiting)
        self._inferences = [one.inference for one in waiting if one.inference is not None]
        now_ns = time.perf_counter_ns()
        for one in waiting:
            if one.inference is not None:
                offset_ns = one.inference.now.offset_ns
                one.inference.add("queue", offset_ns + one.since_ns, offset_ns + now_ns, part=one.part)
                one.inference.in_batch_of(self.size)

    @contextmanager
    def stage(self, name: Stage, part: str | None = None) -> Iterator[None]:
        """Times a stage of the whole batch. Raises: ValueError for a stage that there isn't."""
        if name not in STAGES:
            raise ValueError(f"no stage {name!r}: there are {', '.join(STAGES)}")
        start_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            end_ns = time.perf_counter_ns()
            for one in self._inferences:
                offset_ns = one.now.offset_ns
                one.add(name, offset_ns + start_ns, offset_ns + end_ns, part=part, batch_id=self.id)

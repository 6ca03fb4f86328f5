"""What the server can do at its SLA, model by model: closed slots joined to stretches, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from infermeter.ledger.capacity import ObservedCapacity, Stretch, stretch_slots
from infermeter.ledger.instants import HOUR_SECONDS, SLOT_SECONDS
from infermeter.ledger.mg1 import ONE_AT_A_TIME, highest_rate
from infermeter.ledger.sketch import BUCKETS, estimate_seconds
from infermeter.ledger.steptime import ROWS, modelled_capacity, step_time, targets_of
from infermeter.model import CapacityFacts, Ints, SlaTarget

_LEAST_SHARE: Final = 0.9
_MOST_UNKNOWN: Final = 0.05
_LEAST_SERVICES: Final = 300
_LEAST_INFERENCES: Final = 300
_MOST_SLOTS: Final = HOUR_SECONDS // SLOT_SECONDS
"""A stretch goes on until it has so many inferences, an hour at most: the rate of a few would be chance."""

_NO_LATENCIES: Final = np.empty(0, np.int64), np.empty(0, np.int64)
_SERVICE_SECONDS: Final = np.array([estimate_seconds(bucket) for bucket in range(BUCKETS)])


@dataclass(frozen=True, slots=True)
class ClosedSlot:
    """One model in one closed slot. Seconds: `accrued`, of them `known` to be busy or idle, `active` of the server, `busy` of the model.

    `served` is how many ended without error, by the server's own count where there is one. `compute_seconds` are those of all inferences
    that computed in it, `computing_seconds` those with at least one of the server's; both are 0 where spans are a sample. `latencies`
    counts the signals, and after them the time of computing, by bucket: (keys, counts), a key being row x BUCKETS + bucket.
    """

    slot: int
    accrued_seconds: float
    known_seconds: float
    active_seconds: float
    busy_seconds: float
    served: float
    observed: int
    ok: int
    within: int
    tokens: int
    stage_compute_seconds: float
    compute_seconds: float
    computing_seconds: float
    latencies: tuple[Ints, Ints]


class ModelCapacity:
    """Follows one model with an SLA."""

    def __init__(self, sla: SlaTarget, *, confidence: float, horizon_seconds: float, max_batch: int | None) -> None:
        """`max_batch` is the server's own limit, None if it isn't known."""
        self.sla = sla
        self._max_batch = max_batch
        self._observed = ObservedCapacity(sla, confidence=confidence, horizon_seconds=horizon_seconds)
        self._slots = stretch_slots(sla)
        self._sum = _Sum()
        self._number = self._stop_slot = 0
        self._by_tokens = False
        self._batches = False
        self._facts: CapacityFacts | None = None

    def close(self, closed: ClosedSlot) -> None:
        """The next slot has closed; after the last of a stretch, the stretch counts if it can speak for the server."""
        number = closed.slot // self._slots
        if number > self._number and closed.slot > self._stop_slot:
            self._join(self._number)
        self._number, self._stop_slot = number, closed.slot + 1
        self._sum.add(closed)
        self._by_tokens = self._by_tokens or closed.tokens > 0
        if (closed.slot + 1) % self._slots == 0 and self._sum.is_whole:
            self._join(number)

    def _join(self, number: int) -> None:
        """The slots of a stretch are all there."""
        stretch, self._sum = self._sum.stretch((number + 1) * self._slots), _Sum()
        if stretch is not None:
            self._observed.add(self._comparable(stretch))
            self._facts = None

    def _comparable(self, stretch: Stretch) -> Stretch:
        """The stretch with a work that others can be held against.

        Where no tokens tell it, compute seconds do, as long as inferences are computed one at a time: in a batch each takes longer
        for the others' sake, and a busy hour would look like other work. Then work counts as the same.
        """
        if self._by_tokens:
            return stretch
        if not self._batches and (stretch.batch is None or stretch.batch > ONE_AT_A_TIME):
            self._batches = True
            self._observed.restart()
        return replace(stretch, work=1.0) if self._batches else stretch

    def restart(self) -> None:
        """The server isn't what it was."""
        self._observed.restart()
        self._sum, self._facts = _Sum(), None

    @property
    def facts(self) -> CapacityFacts:
        """What is known by now."""
        if self._facts is None:
            observed = self._observed.capacity
            self._facts = CapacityFacts(
                observed_per_second=None if observed is None else observed.per_second,
                reached=observed is not None and observed.reached,
                modelled_per_second=self._modelled(None if observed is None else observed.missed_per_second),
                inferences=0 if observed is None else observed.inferences,
                step_time=step_time(self._observed.steps),
            )
        return self._facts

    def _modelled(self, missed_per_second: float | None) -> float | None:
        """Never above a load that was proven to miss: that refutes the model."""
        steps = self._observed.steps
        if steps and max(step.batch for step in steps) <= ONE_AT_A_TIME:
            modelled = self._one_at_a_time()
        else:
            modelled = modelled_capacity(steps, self.sla, max_batch=self._max_batch)
        return modelled if modelled is None or missed_per_second is None else min(modelled, missed_per_second)

    def _one_at_a_time(self) -> float | None:
        """By its queue: for a target on the whole duration alone, since nothing tells how service splits at the first token."""
        target, services = self.sla.duration_seconds, self._observed.services
        if target is None or len(targets_of(self.sla)) > 1 or services is None or services.sum() < _LEAST_SERVICES:
            return None
        seen = np.flatnonzero(services)
        return highest_rate(
            _SERVICE_SECONDS[seen],
            services[seen].astype(np.float64),
            target_seconds=target,
            quantile_ratio=self.sla.quantile_ratio,
        )

    def remember(self) -> list[dict[str, Any]]:
        """What is worth keeping over a restart, ready for JSON."""
        return self._observed.remember()

    def recall(self, remembered: Sequence[Mapping[str, Any]]) -> None:
        """Takes up what `remember` told. Raises: ValueError, KeyError or TypeError for anything else."""
        self._observed.recall(remembered)
        self._facts = None


class _Sum:
    """The slots of a stretch so far."""

    def __init__(self) -> None:
        self._closed: list[ClosedSlot] = []
        self._latencies = np.zeros(ROWS * BUCKETS, np.int64)

    def add(self, closed: ClosedSlot) -> None:
        keys, counts = closed.latencies
        self._closed.append(replace(closed, latencies=_NO_LATENCIES))
        self._latencies[keys] += counts

    @property
    def is_whole(self) -> bool:
        """Whether more slots would be of no use: there are enough inferences, an hour is over, or the stretch speaks of something else."""
        return self._total("served") >= _LEAST_INFERENCES or len(self._closed) >= _MOST_SLOTS or not self._speaks

    @property
    def _speaks(self) -> bool:
        """Whether it speaks of the server and this model: not too much is unknown, and no other model was at work."""
        known = self._total("known_seconds") >= (1 - _MOST_UNKNOWN) * self._total("accrued_seconds")
        return known and self._total("busy_seconds") >= _LEAST_SHARE * self._total("active_seconds")

    def stretch(self, stop_slot: int) -> Stretch | None:
        """All of it; None where it can't speak for the server, or nothing was served."""
        seconds = self._total("accrued_seconds")
        served, observed, ok = self._total("served"), round(self._total("observed")), round(self._total("ok"))
        tokens, stage_compute = self._total("tokens"), self._total("stage_compute_seconds")
        work = tokens or stage_compute
        if not (self._speaks and seconds > 0 and served > 0 and ok and work > 0):
            return None
        computing = self._total("computing_seconds")
        return Stretch(
            stop_slot=stop_slot,
            seconds=seconds,
            per_second=served / seconds,
            observed=observed,
            misses=observed - round(self._total("within")),
            work=work / ok,
            batch=self._total("compute_seconds") / computing if computing > 0 else None,
            compute_seconds=stage_compute,
            latencies=self._latencies.reshape(ROWS, BUCKETS) if computing > 0 else None,
        )

    def _total(self, name: str) -> float:
        return float(sum(getattr(closed, name) for closed in self._closed))

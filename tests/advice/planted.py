"""Simulated servers whose truth is known, lived through by the real ledger and the real adviser; nothing of the advice is in them.

A server is what it did (`Work`), what its GPUs showed (`Card`), what it told of itself (readings), and how it is configured. `lived` feeds
all of it to a `Ledger` as it would come, lets an `Adviser` consider it every minute, and keeps what was told at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from infermeter.advice.adviser import Adviser
from infermeter.catalogue import shipped_catalogue
from infermeter.config import Advice, Config, Cost, Rent, Sla
from infermeter.ledger import Ledger
from infermeter.model import Advice as Said
from infermeter.model import GpuIdentity, GpuSample, InferenceBatch, Ints, LedgerSnapshot, ServerReading
from support.ledgers import START_NS, S, at, config
from support.simulated_servers import Floats, Served

Codes: TypeAlias = frozenset[tuple[str, str | None]]

MINUTE = 60
HOUR = 3600
GIB = 2**30
H100 = "NVIDIA H100 80GB HBM3"
RENT = Cost(currency="USD", rent=Rent(per_hour=4.0, per="instance"))
ADVICE = Advice(idle_after=15.0 * MINUTE, minimum_history=30.0 * MINUTE)
"""As shipped, but for the times, which are shorter: a life here is little more than an hour."""

DAY_NS = 86_400 * S
LEAST_TOLD_SECONDS = 300
"""What is told is told for `advice.hold` at least: to look so often misses none."""


@dataclass(frozen=True, eq=False)
class Work:
    """Inferences: seconds since the start. Queue up to `began`, compute up to `ended`, then what else is told, in this order.

    `tokens` False: no LLM, so that neither tokens nor first ones are told.
    """

    served: Served
    model: str = "m"
    transfer: float = 0.0
    serialisation: float = 0.0
    failed: npt.NDArray[np.bool_] | None = None
    tokens: bool = False

    def __len__(self) -> int:
        return len(self.served.arrived)

    @property
    def arriving(self) -> Floats:
        """When each span is there."""
        return self.served.ended + self.transfer + self.serialisation

    def only(self, rows: npt.NDArray[np.bool_]) -> Work:
        """Those that leave a span."""
        columns = ("arrived", "began", "ended", "steps", "first")
        return replace(self, served=Served(*(getattr(self.served, column)[rows] for column in columns)))

    def rows(self, rows: Ints) -> InferenceBatch:
        one, count = self.served, len(rows)
        start_ns, began_ns, computed_ns = (_instants(seconds[rows]) for seconds in (one.arrived, one.began, one.ended))
        after_ns = [round(self.transfer * S), round(self.serialisation * S)]
        told = np.full((count, 2), [ns or -1 for ns in after_ns], np.int64)
        steps, nothing = one.steps[rows], np.full(count, np.nan)
        after_first = (one.ended[rows] - one.first[rows]) / np.maximum(steps - 1, 1)
        return InferenceBatch(
            model=[self.model] * count,
            start_ns=start_ns,
            end_ns=computed_ns + sum(after_ns),
            stages_ns=np.column_stack((began_ns - start_ns, computed_ns - began_ns, told)),
            parts=(),
            compute_rows=np.arange(count),
            compute_start_ns=began_ns,
            compute_end_ns=computed_ns,
            compute_estimated=np.zeros(count, np.bool_),
            ttft_seconds=one.first[rows] - one.arrived[rows] if self.tokens else nothing,
            tpot_seconds=np.where(steps > 1, after_first, np.nan) if self.tokens else nothing,
            tokens_input=np.full(count, 100 if self.tokens else -1, np.int64),
            tokens_output=steps.astype(np.int64) if self.tokens else np.full(count, -1, np.int64),
            error=np.zeros(count, np.bool_) if self.failed is None else self.failed[rows],
            trace_id=[b"\x01" * 16] * count,
            quality={"queue": "measured", "compute": "measured"},
        )


def _instants(seconds: Floats) -> Ints:
    return START_NS + np.rint(seconds * S).astype(np.int64)


@dataclass(frozen=True)
class Card:
    """A GPU as its driver shows it, every second. `busy` follows the work, if it is None.

    `dram` and `tensor`: how active they are while it is busy (None: no counters). `memory_gib` at the start, `loaded_gib` a minute that are
    loaded until `loading_seconds`. Readings stop at `until`.
    """

    uuid: str = "GPU-0"
    product: str = H100
    busy: float | None = None
    dram: float | None = None
    tensor: float | None = None
    memory_gib: float = 40.0
    loaded_gib: float = 0.0
    loading_seconds: float = 0.0
    until: float = float("inf")
    utilisation: bool = True
    assumed: bool = False

    @property
    def identity(self) -> GpuIdentity:
        return GpuIdentity(self.uuid, product=self.product, assumed=self.assumed)

    def samples(self, busy: Floats, since: int) -> list[GpuSample]:
        """`busy`: the part of each second in which any work computed, from `since` on."""
        shown = busy if self.busy is None else np.full_like(busy, self.busy)
        return [self._sample(since + second, part) for second, part in enumerate([0.0, *shown.tolist()]) if second <= self.until]

    def _sample(self, second: int, busy: float) -> GpuSample:
        loaded = self.loaded_gib * min(second, self.loading_seconds) / MINUTE
        return GpuSample(
            self.uuid,
            at(second),
            power_watts=80.0 + 300.0 * busy,
            utilisation_ratio=busy if self.utilisation else None,
            memory_used_bytes=round((self.memory_gib + loaded) * GIB),
            memory_total_bytes=80 * GIB,
            dram_active_ratio=None if self.dram is None else self.dram * busy,
            tensor_active_ratio=None if self.tensor is None else self.tensor * busy,
        )


def configured(*, sla: Sla | None = None, advice: Advice = ADVICE, cost: Cost | None = RENT, **keys: object) -> Config:
    return config(sla=sla, windows=(("30m", 30.0 * MINUTE),), per_hour=None if cost is None else 1.0, cost=cost, advice=advice, **keys)


@dataclass(frozen=True, eq=False)
class Planted:
    """A server, and what must be told of it at the end: nothing else, at no time, but for what may be told `meanwhile`."""

    expected: Codes = frozenset()
    work: Sequence[Work] = ()
    cards: Sequence[Card] = (Card(),)
    readings: Sequence[ServerReading] = ()
    config: Config = field(default_factory=configured)
    seconds: int = 75 * MINUTE
    sampled: bool = False
    price_age_days: float = 10.0
    since: int = 0
    remembered: str | None = None
    """The state file of an earlier life, which ended before `since`."""

    meanwhile: Codes = frozenset()
    says: Mapping[str, object] = field(default_factory=dict)
    """What else must be so: `bound`, `workload` of every model, `lever`, the stage that a missed SLA is due to, and `reached`: that its
    capacity was, and nothing models it."""


@dataclass(frozen=True)
class Outcome:
    """What was told at the end, and at any time."""

    said: Said
    ever: Codes
    snapshot: LedgerSnapshot
    remembered: str

    @property
    def told(self) -> Codes:
        return frozenset((finding.code, finding.model) for finding in self.said.findings)


def busy_by_second(work: Sequence[Work], seconds: int, since: int) -> Floats:
    """The part of each second from `since` on in which anything computed."""
    began = np.concatenate([one.served.began for one in work] or [np.zeros(0)])
    ended = np.concatenate([one.served.ended for one in work] or [np.zeros(0)])
    order = np.argsort(began)
    began, ended = began[order], np.maximum.accumulate(ended[order])
    began = np.maximum(began, np.concatenate(([0.0], ended[:-1])))
    covered = np.concatenate(([0.0], np.cumsum(np.clip(ended - began, 0.0, None))))
    edges = np.column_stack((began, np.maximum(began, ended))).ravel()
    reached = np.column_stack((covered[:-1], covered[1:])).ravel()
    grid = since + np.arange(seconds + 1, dtype=np.float64)
    return np.clip(np.diff(np.interp(grid, edges, reached)), 0.0, 1.0) if len(edges) else np.zeros(seconds)


def lived(planted: Planted) -> Outcome:
    """The life of a planted server from the start to its end, in steps of ten seconds."""
    settings = planted.config
    gpus = [card.identity for card in planted.cards]
    book = Ledger(settings, start_ns=at(planted.since), sampled=planted.sampled, gpus=gpus)
    if planted.remembered is not None:
        assert book.recall(json.loads(planted.remembered)) == ()
    adviser = Adviser(settings, shipped_catalogue(), ())
    price_as_of_ns = None if settings.cost is None else START_NS - round(planted.price_age_days * DAY_NS)
    end = planted.since + planted.seconds
    busy = busy_by_second(planted.work, planted.seconds, planted.since)
    samples = sorted((sample for card in planted.cards for sample in card.samples(busy, planted.since)), key=lambda sample: sample.time_ns)
    orders = [np.argsort(one.arriving, kind="stable") for one in planted.work]
    steps = range(planted.since, end + 1, 10)
    instants = [at(step) for step in steps]
    cuts = [np.searchsorted(one.arriving[order], steps, side="right") for one, order in zip(planted.work, orders, strict=True)]
    cuts_of_samples = np.searchsorted([sample.time_ns for sample in samples], instants, side="right")
    cuts_of_readings = np.searchsorted([reading.time_ns for reading in planted.readings], instants, side="right")
    ever: set[tuple[str, str | None]] = set()
    for number, (second, now_ns) in enumerate(zip(steps, instants, strict=True)):
        before = max(number - 1, 0)
        book.add_samples(samples[cuts_of_samples[before] if number else 0 : cuts_of_samples[number]])
        for reading in planted.readings[cuts_of_readings[before] if number else 0 : cuts_of_readings[number]]:
            book.add_server_reading(reading)
        for one, order, cut in zip(planted.work, orders, cuts, strict=True):
            if cut[number] > (cut[before] if number else 0):
                book.add(one.rows(order[cut[before] if number else 0 : cut[number]]), now_ns)
        book.advance(now_ns, 10 * S if number else 0)
        if second % MINUTE == 0:
            adviser.consider(now_ns, partial(book.snapshot, now_ns), price_as_of_ns=price_as_of_ns)
        if second % LEAST_TOLD_SECONDS == 0:
            said = adviser.advice(book.snapshot(now_ns), price_as_of_ns=price_as_of_ns)
            ever |= {(finding.code, finding.model) for finding in said.findings}
    snapshot = book.snapshot(at(end))
    remembered = json.dumps(book.remember())
    return Outcome(adviser.advice(snapshot, price_as_of_ns=price_as_of_ns), frozenset(ever), snapshot, remembered)

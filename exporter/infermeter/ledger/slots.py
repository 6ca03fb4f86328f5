"""Slots of ten seconds: counts by arrival, money and joules by settlement, and the closed ones as rows of the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, overload

import numpy as np

from infermeter.ledger.columns import runs, sums_by
from infermeter.ledger.instants import DAY_SLOTS, HOUR_SECONDS, SLOT_NS, SLOT_SECONDS
from infermeter.ledger.running import GAUGE_FIELDS
from infermeter.ledger.tariff import COMPONENTS
from infermeter.ledger.timeline import Timeline
from infermeter.model import STAGES, Bools, Component, Floats, Ints, Slot

OBSERVED, OK, WITHIN, TOKENS_INPUT, TOKENS_OUTPUT, PREFILL_NS, DECODE_NS, FIRST_STAGE = range(8)
FIRST_MISSED_STAGE: Final = FIRST_STAGE + len(STAGES) + 1
_COUNTS: Final = FIRST_MISSED_STAGE + len(STAGES) + 1
"""PREFILL_NS up to the first token without the queue, DECODE_NS from it on; from FIRST_STAGE on in each of STAGES, and in none, and
from FIRST_MISSED_STAGE on what of it is in the signals that missed the SLA, of those without an error."""
COST, JOULES, BUSY_SECONDS, COMPUTE_SECONDS = range(4)
_AMOUNTS: Final = 4
ACCRUED_SECONDS, ACTIVE_SECONDS, IDLE_SECONDS, COMPUTING_SECONDS = range(4)
_SERVER: Final = 4
_RUNNING: Final = 1 + GAUGE_FIELDS
"""COMPUTE_SECONDS of all inferences, COMPUTING_SECONDS with at least one: both as spans tell, and none where these are a sample."""

_LEAST_SLOTS: Final = HOUR_SECONDS // SLOT_SECONDS + 64
"""An hour, and those that are open: what holds it never moves meanwhile, and leaves no holes behind."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over consecutive slots: `counts` of shape (models, 18), `amounts` (models, 4), `server` (4,).

    `unpriced_seconds` by component, in the order of COMPONENTS: accrued time in which its price was wanted and not known. `running`: the
    compute seconds of the inferences that were seen, while the server's gauge of running ones is told, and `RunningGauge.sums` of it.
    """

    counts: Ints
    amounts: Floats
    server: Floats
    unpriced_seconds: Floats
    running: Floats


class Slots:
    """Every slot of the last 24 hours, by model. A slot is closed, and never changes again, once both watermarks have passed it."""

    def __init__(self, first_slot: int) -> None:
        self.first_slot = first_slot
        self.closed = first_slot
        self._counts: Timeline[np.int64] = Timeline(first_slot, (1, _COUNTS), np.int64, least_rows=_LEAST_SLOTS)
        self._amounts: Timeline[np.float64] = Timeline(first_slot, (1, _AMOUNTS), np.float64, least_rows=_LEAST_SLOTS)
        self._server: Timeline[np.float64] = Timeline(first_slot, (_SERVER,), np.float64, least_rows=_LEAST_SLOTS)
        self._unpriced: Timeline[np.float64] = Timeline(first_slot, (len(COMPONENTS),), np.float64, least_rows=_LEAST_SLOTS)
        self._running: Timeline[np.float64] = Timeline(first_slot, (_RUNNING,), np.float64, least_rows=_LEAST_SLOTS)

    @property
    def stop(self) -> int:
        """One past the last slot with anything in it."""
        return max(self._counts.stop, self._server.stop)

    def widen(self, models: int) -> None:
        """Makes room for this many models."""
        self._counts.widen(models)
        self._amounts.widen(models)

    def count(self, slot: int, codes: Ints, counts: Ints) -> None:
        """Books what inferences of these models, each named once, come to; shape (models, columns up to FIRST_MISSED_STAGE)."""
        self._counts.row(slot)[codes, :FIRST_MISSED_STAGE] += counts

    def count_missed(self, slots: Ints, codes: Ints, stages_ns: Ints) -> None:
        """Books where the time went of those that missed the SLA and ended well (n >= 1): shape (5, n), as `missed_stages_ns`."""
        models = self._counts.width
        keys, sums = sums_by(slots * models + codes, stages_ns)
        of_sums, codes = np.divmod(keys, models)
        for slot, first, stop in runs(of_sums):
            self._counts.row(slot)[codes[first:stop], FIRST_MISSED_STAGE:] += sums[first:stop]

    def settle(self, slot: int, models: Floats, server: Floats) -> None:
        """Adds a settled tick: `models` of shape (models, 3), `server` (3,): up to BUSY_SECONDS and IDLE_SECONDS."""
        self._amounts.row(slot)[: len(models), :COMPUTE_SECONDS] += models
        self._server.row(slot)[:COMPUTING_SECONDS] += server

    def miss_prices(self, slot: int, mask: int, seconds: float) -> None:
        """Adds a settled tick in which money lacked these components, as `Tariff.unpriced_mask` tells them."""
        self._unpriced.row(slot)[[bool(mask >> place & 1) for place in range(len(COMPONENTS))]] += seconds

    def run(self, slot: int, computing_seconds: float, gauge: Floats) -> None:
        """Adds a settled tick in which the server told how many were running, as `Sums.running`."""
        row = self._running.row(slot)
        row[0] += computing_seconds
        row[1:] += gauge

    def compute(self, slot: int, models: Floats, together: float) -> None:
        """Adds what computed in a settled tick: seconds of all inferences, shape (models,), and with at least one of them."""
        self._amounts.row(slot)[: len(models), COMPUTE_SECONDS] += models[: self._amounts.width]
        self._server.row(slot)[COMPUTING_SECONDS] += together

    def close(self, stop: int) -> None:
        """Slots before `stop` are closed; those of more than a day before it are forgotten."""
        self.closed = stop
        for timeline in (self._counts, self._amounts, self._server, self._unpriced, self._running):
            timeline.drop(stop - DAY_SLOTS)
            timeline.reach(stop)

    def sums(self, first: int, stop: int) -> Sums:
        """Over the slots [first, stop)."""
        timelines = (self._counts, self._amounts, self._server, self._unpriced, self._running)
        return Sums(*(timeline.rows(first, stop).sum(axis=0) for timeline in timelines))

    def seen(self, first: int, stop: int) -> Ints:
        """Counts of every slot in [first, stop), closed or not, by model: shape (slots, models, 2), OBSERVED and OK."""
        return whole_rows(self._counts, first, stop)[:, :, : OK + 1]

    def closed_rows(
        self,
        told: Mapping[int, Told],
        served: Callable[[int, int], Ints | None],
        *,
        start_ns: int,
        priced: Collection[Component],
        metered: bool,
    ) -> ClosedSlots:
        """The closed slots for the report; `told` has an entry for each code, in the order of the rows; `served` tells ok inferences.

        `priced`: the components that have ever been priced.
        """
        first = self._counts.first
        return ClosedSlots(
            told=tuple(told.values()),
            codes=list(told),
            first_slot=first,
            start_ns=start_ns,
            counts=self._counts.rows(first, self.closed),
            served=partial(served, first, self.closed),
            amounts=self._amounts.rows(first, self.closed),
            seconds=self._server.rows(first, self.closed)[:, ACCRUED_SECONDS],
            unpriced_seconds=self._unpriced.rows(first, self.closed),
            priced=frozenset(priced),
            metered=metered,
        )


def unpriced_longest(unpriced_seconds: Floats, priced: Collection[Component]) -> Floats:
    """The seconds for which the price was missing that was missing longest, of those in `priced`; components along the last axis.

    A component that nobody has ever told the price of isn't in the money at all, and a finding says so.
    """
    places = [place for place, component in enumerate(COMPONENTS) if component in priced]
    longest: Floats = unpriced_seconds[..., places].max(axis=-1, initial=0.0)
    return longest


def whole_rows(timeline: Timeline[np.int64], first: int, stop: int) -> Ints:
    """A copy of the rows in [first, stop), zeros where a timeline has none."""
    kept = timeline.rows(first, stop)
    rows = np.zeros((max(stop - first, 0), *kept.shape[1:]), np.int64)
    if len(kept):
        at = max(timeline.first - first, 0)
        rows[at : at + len(kept)] = kept
    return rows


class Told(NamedTuple):
    """Which facts there are of a model: nothing is within an SLA that isn't there, and not every server tells tokens.

    `sla_since`: the first slot that was judged by the SLA in force alone; None without one.
    """

    model: str
    sla_since: int | None
    tokens_input: bool
    tokens_output: bool


@dataclass(frozen=True, slots=True, eq=False)
class ClosedSlots(Sequence[Slot]):
    """Closed slots by time and model, where there was anything; made when they are read, since most snapshots are not.

    The arrays are the ledger's own, a day of them, and no copies: what the ledger has forgotten by the time of reading isn't told, also
    where that is between two slots.
    """

    told: Sequence[Told]
    codes: list[int]
    first_slot: int
    start_ns: int
    counts: Ints
    served: Callable[[], Ints | None]
    amounts: Floats
    seconds: Floats
    unpriced_seconds: Floats
    priced: frozenset[Component]
    metered: bool

    def _filled(self, served_ok: Ints | None) -> tuple[Bools, Bools]:
        """Where there is anything, by row and place; and of these, shape (slots, 2), whether inferences are counted, amounts booked."""
        parts = np.stack([np.logical_or.reduce(rows, axis=2)[:, self.codes] for rows in (self.counts, self.amounts)], axis=-1)
        filled: Bools = np.logical_or.reduce(parts, axis=-1)
        if served_ok is not None:
            filled |= served_ok[:, self.codes] > 0
        return filled, parts[filled]

    def __len__(self) -> int:
        return int(np.count_nonzero(self._filled(self.served())[0]))

    def __iter__(self) -> Iterator[Slot]:
        served_ok, seconds = self.served(), self.seconds.tolist()
        unpriced_seconds = unpriced_longest(self.unpriced_seconds, self.priced).tolist()
        filled, parts = self._filled(served_ok)
        for (row, place), (counted, booked) in zip(np.argwhere(filled).tolist(), parts.tolist(), strict=True):
            counts, amounts = self.counts[row, self.codes[place]].tolist(), self.amounts[row, self.codes[place]].tolist()
            if any(counts) >= counted and any(amounts) >= booked:  # else it has been forgotten meanwhile
                served = None if served_ok is None else int(served_ok[row, self.codes[place]])
                yield self._slot(row, self.told[place], counts, amounts, served, seconds[row], unpriced_seconds[row])

    @overload
    def __getitem__(self, index: int) -> Slot: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Slot]: ...

    def __getitem__(self, index: int | slice) -> Slot | Sequence[Slot]:
        return tuple(self)[index]

    def _slot(
        self, row: int, told: Told, counts: list[int], amounts: list[float], served_ok: int | None, seconds: float, unpriced_seconds: float
    ) -> Slot:
        is_paid = self.priced and (amounts[COST] > 0 or not unpriced_seconds)
        judged = told.sla_since is not None and told.sla_since <= self.first_slot + row
        return Slot(
            start_ns=max((self.first_slot + row) * SLOT_NS, self.start_ns),
            seconds=seconds,
            model=told.model,
            observed=counts[OBSERVED],
            ok=counts[OK],
            within_sla=counts[WITHIN] if judged else None,
            cost=amounts[COST] if is_paid else None,
            joules=amounts[JOULES] if self.metered else None,
            busy_seconds=amounts[BUSY_SECONDS],
            tokens_input=counts[TOKENS_INPUT] if told.tokens_input else None,
            tokens_output=counts[TOKENS_OUTPUT] if told.tokens_output else None,
            served_ok=served_ok,
            unpriced_seconds=unpriced_seconds,
        )

"""What was served by the server's own counters: by model and outcome, since the first reading and by slot. Increases only.

The spans say nothing here but when (how the increases of a reading lie in the slots) and, where the counters don't tell outcomes
apart, what share of inferences ended in error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from infermeter.config import Config
from infermeter.ledger import arrivals as tallies
from infermeter.ledger import slots as columns
from infermeter.ledger.arrivals import Arrivals
from infermeter.ledger.columns import widened
from infermeter.ledger.fallback import Fallback
from infermeter.ledger.instants import DAY_SLOTS, SECOND_NS, SLOT_NS, TICK_NS, nanoseconds
from infermeter.ledger.names import OTHER, UNKNOWN
from infermeter.ledger.slots import Slots, whole_rows
from infermeter.ledger.stretch import stretch
from infermeter.ledger.timeline import Timeline
from infermeter.ledger.tokens import Tokens
from infermeter.ledger.work import Work
from infermeter.model import Bools, Ints, Outcome, ServerReading

OK, ERROR, REST = range(3)
"""REST: how many of the two were served before their slot, in slots that had closed when the server told."""
_FIELDS: Final = 3

_TELLS: Final[Mapping[Outcome | None, int]] = {"ok": 0, "error": 1, None: 2}
_ROUNDING: Final = 1e-6
_MILLISECOND_NS: Final = 1_000_000

_LEAST_OUTAGE_NS: Final = 60 * SECOND_NS
_INTERVALS_AN_OUTAGE: Final = 2
_SHARES_SLOTS: Final = 6
"""Shares of outcomes are those of the minute up to a reading: the spans of its last seconds are still under way."""


@dataclass(slots=True, eq=False)
class _Column:
    """A name of the server's own; `inner`: its counts hold calls by other models, so they wait for a span of the model itself."""

    place: int
    name: str
    inner: bool
    error_fraction: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """The increases between two readings, shape (columns, 2), that aren't in slots yet."""

    since_ns: int
    time_ns: int
    more: Ints


class Totals:
    """The counts of the server itself; its `tokens`, `work` and times (`fallback`) apart. Bounded by its models, and by a day of slots.

    Whole inferences only: a fraction of one waits for the rest of it. Increases enter the slots between two readings once the spans of
    that time are here, in proportion to the observed; what belongs to slots that have closed goes to the oldest open one.
    """

    def __init__(self, config: Config, arrivals: Arrivals, slots: Slots, *, start_ns: int, offline: bool = False) -> None:
        """Nothing is known before the first reading; where none is to come (`offline`, no `server.metrics_url`), nothing waits for one."""
        self.first_slot: int | None = None
        self.tokens = Tokens(arrivals, slots, waits=config.server.metrics_url is not None and not offline)
        self.fallback = Fallback(arrivals, slots)
        self.work = Work(slots)
        self._arrivals = arrivals
        self._slots = slots
        self._most_columns = config.limits.models
        self._outage_ns = max(_LEAST_OUTAGE_NS, _INTERVALS_AN_OUTAGE * nanoseconds(config.server.metrics_interval))
        self._read_ns: int | None = None if config.server.metrics_url is None else start_ns
        self._columns: dict[str, _Column] = {}
        self._fractions = np.zeros((0, len(_TELLS)))
        self._sums = np.zeros((0, 2), np.int64)
        self._closed_ok = np.zeros(0, np.int64)
        self._told_ok = np.zeros(0, np.int64)
        self._placed: Timeline[np.int64] = Timeline(slots.first_slot, (1, _FIELDS), np.int64)
        self._counted_ns: Timeline[np.int64] = Timeline(slots.first_slot, (1,), np.int64)
        self._closed = slots.first_slot
        self._waiting: list[_Told] = []
        self._owed: tuple[int, int] | None = None
        self._changes = 0
        self._told_from: dict[int, int] = {}  # the slots that hold what was served before them, and the first of which they do

    @property
    def known(self) -> bool:
        """Whether any reading has told of inferences."""
        return self.first_slot is not None

    @property
    def revision(self) -> tuple[int | None, ...]:
        """Is another one once anything here says something else of closed slots than before, `tokens`, `work` and `fallback` included."""
        return self._changes, *self._codes()

    @property
    def unnamed(self) -> int | None:
        """The code of what is of a model that nobody names; None: there is nothing. One that was configured for it is a named one."""
        return self._arrivals.names.find(UNKNOWN)

    def hold_tick(self, now_ns: int) -> int | None:
        """Nothing from this tick on can be settled, since the server may still tell of it; None: it tells nothing, or no longer."""
        if self._read_ns is None or now_ns - self._read_ns > self._outage_ns:
            return None
        return self._read_ns // TICK_NS

    def read(self, reading: ServerReading) -> None:
        """Takes in what was served since the last reading; models that the server names are known from now on."""
        self._changes += 1
        self._read_ns = reading.time_ns
        self._arrivals.names.served(reading.model)
        for owner in (self.tokens, self.fallback, self.work):
            owner.read(reading)
        told = [(self._column(model, inner=reading.inner_calls), _TELLS[outcome], more) for (model, outcome), more in _sorted(reading)]
        if not told:
            return
        if self.first_slot is None:
            since_ns = reading.time_ns if reading.since_ns is None else reading.since_ns
            self.first_slot = max(-(-since_ns // SLOT_NS), self._slots.first_slot)
        self._widen()
        if reading.since_ns is None:
            return
        for column, outcome, more in told:
            self._fractions[column, outcome] += more
        more_by_outcome = self._by_outcome(self._whole(), reading.time_ns)
        self._sums += more_by_outcome
        self._waiting.append(_Told(reading.since_ns, reading.time_ns, more_by_outcome))
        self.place(complete_slot=self._slots.closed, closing_slot=self._slots.closed)

    def place(self, *, complete_slot: int, closing_slot: int) -> None:
        """Puts increases into slots: those up to `complete_slot`, whose spans are all here, and those that a closing slot has a part in."""
        self.fallback.book(complete_slot)
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            if told.time_ns <= complete_slot * SLOT_NS or told.since_ns < closing_slot * SLOT_NS:
                self._place(told)
            else:
                self._waiting.append(told)

    def close(self, stop: int) -> None:
        """Slots before `stop` have closed."""
        self._closed_ok = self._closed_ok + self._placed.rows(self._closed, stop)[:, : len(self._sums), OK].sum(axis=0)
        self._closed = stop
        for owner in (self.tokens, self.fallback, self.work):
            owner.close(stop)
        for timeline in (self._placed, self._counted_ns):
            timeline.drop(stop - DAY_SLOTS)
        self._told_from = {slot: first for slot, first in self._told_from.items() if slot >= stop - DAY_SLOTS}

    def told_ok(self) -> Ints:
        """Ok inferences by model that closed slots have told of since the last call: those of models just recognised among them."""
        codes = self._codes()
        due = np.where([code is not None for code in codes], self._closed_ok - self._told_ok, 0)
        self._told_ok = self._told_ok + due
        return self._by_model(due[:, None], codes)[:, 0]

    def by_model(self) -> dict[str, dict[Outcome, float]]:
        """Everything since the first reading, by model; born 0."""
        codes = self._codes()
        sums, names = self._by_model(self._sums, codes), self._arrivals.names.names
        return {
            names[code]: {"ok": float(sums[code, OK]), "error": float(sums[code, ERROR])}
            for code in sorted({c for c in codes if c is not None})
        }

    def sums(self, first: int, stop: int) -> Ints | None:
        """Ok inferences by model in the slots [first, stop); None before any reading has told."""
        if not self.known:
            return None
        return self._by_model(self._placed.rows(first, stop)[:, : len(self._columns), OK].sum(axis=0)[:, None])[:, 0]

    def ok_by_slot(self, first: int, stop: int) -> Ints | None:
        """Ok inferences in each of the slots [first, stop), shape (slots, models); None before any reading has told."""
        return self._by_model(whole_rows(self._placed, first, stop)[:, : len(self._columns), OK].T).T if self.known else None

    def around(self, first: int, stop: int) -> tuple[Ints, Ints, Bools]:
        """What coverage is judged by: observed and served, shape (slots, models), and which slots the server has told whole."""
        observed = self._slots.seen(first, stop)[:, :, columns.OBSERVED]
        rows = whole_rows(self._placed, first, stop)[:, : len(self._columns)]
        served = self._by_model((rows[:, :, OK] + rows[:, :, ERROR] - rows[:, :, REST]).T).T
        counted: Bools = whole_rows(self._counted_ns, first, stop)[:, 0] >= SLOT_NS - _MILLISECOND_NS
        return observed[:, : served.shape[1]], served, counted

    def unknown_seconds(self, first: int, stop: int) -> float:
        """For how much time the totals of the slots [first, stop) are wrong.

        Up to `stop` it is in none of them yet, since the server didn't tell, or told too late; or it is in them, and lies before `first`.
        """
        since_ns = stop * SLOT_NS if self._read_ns is None else self._read_ns
        owed_ns = self._owed[1] if self._owed is not None and stop <= self._owed[0] else 0
        before_ns = sum(max(first - since, 0) for slot, since in self._told_from.items() if first <= slot < stop) * SLOT_NS
        return (max(stop * SLOT_NS - since_ns, 0) + owed_ns + before_ns) / SECOND_NS

    def _column(self, model: str | None, *, inner: bool) -> int:
        """The place of a model. Without inner calls it is known at once; else it has a place, but isn't known by that."""
        names = self._arrivals.names
        if not inner:
            self._arrivals.code(model)
        name = names.name(model)
        if name not in self._columns and names.find(name) is None and len(self._columns) >= self._most_columns:
            name = OTHER
        return self._columns.setdefault(name, _Column(len(self._columns), name, inner)).place

    def _codes(self) -> list[int | None]:
        """The model of each column; None while nothing has shown that it is one of its own."""
        return [self._code(column) for column in self._columns.values()]

    def _code(self, column: _Column) -> int | None:
        code = self._arrivals.names.find(self._arrivals.names.name(column.name))
        if code is None or not column.inner:
            return code
        return code if self._arrivals.tallies[code, [tallies.OK, tallies.ERROR]].any() else None

    def _widen(self) -> None:
        wide = len(self._columns)
        self._placed.widen(wide)
        self._fractions, self._sums = widened(self._fractions, wide), widened(self._sums, wide)
        self._closed_ok, self._told_ok = widened(self._closed_ok, wide), widened(self._told_ok, wide)

    def _whole(self) -> Ints:
        """The whole inferences that are told and not counted yet, shape (columns, 3)."""
        whole = np.floor(self._fractions + _ROUNDING)
        self._fractions -= whole
        return whole.astype(np.int64)

    def _by_outcome(self, more: Ints, time_ns: int) -> Ints:
        """Counts without an outcome are shared out as the spans of that time, else all spans of the model, say."""
        stop = time_ns // SLOT_NS + 1
        recent = self._slots.seen(stop - _SHARES_SLOTS, stop).sum(axis=0)
        by_outcome: Ints = more[:, [OK, ERROR]].copy()
        for row, (column, code) in enumerate(zip(self._columns.values(), self._codes(), strict=True)):
            untold = int(more[row, _TELLS[None]])
            if not untold:
                continue
            errors = 0
            if code is not None:
                ended = self._arrivals.tallies[code]
                since_start = int(ended[tallies.OK] + ended[tallies.ERROR]), int(ended[tallies.OK])
                observed, ok = recent[code].tolist() if code < len(recent) and recent[code].any() else since_start
                share = untold * (1 - ok / max(observed, 1)) if observed else 0.0
                errors = min(int(share + column.error_fraction + _ROUNDING), untold)
                column.error_fraction += share - errors
            by_outcome[row] += (untold - errors, errors)
        return by_outcome

    def _place(self, told: _Told) -> None:
        """Spreads increases over the slots of their time: as the observed ok lie in it, evenly where none was."""
        self._changes += 1
        between = stretch(told.since_ns, told.time_ns, open_slot=self._slots.closed)
        first, open_slot, parts_ns = between.first_slot, between.open_slot, between.parts_ns
        seen = self._slots.seen(first, first + len(parts_ns))[:, :, columns.OK]
        for row, code in enumerate(self._codes()[: len(told.more)]):
            ok = parts_ns * seen[:, code] if code is not None and code < seen.shape[1] else np.zeros(0, np.int64)
            for slot, share, late in between.spread(told.more[row], ok if ok.any() else parts_ns):
                if share.any():
                    self._placed.row(slot)[row] += (*share.tolist(), int(late.sum()))
        for slot, ns in enumerate(parts_ns[open_slot - first :].tolist(), start=open_slot):
            self._counted_ns.row(slot)[0] += ns
        owed_ns = int(parts_ns[: open_slot - first].sum())
        if owed_ns:
            self._told_from[open_slot] = min(first, self._told_from.get(open_slot, first))
            before_ns = self._owed[1] if self._owed is not None and open_slot <= self._owed[0] else 0
            self._owed = open_slot, before_ns + owed_ns

    def _by_model(self, rows: Ints, codes: list[int | None] | None = None) -> Ints:
        """Rows of columns, shape (columns, n), added up by model, shape (models, n)."""
        summed = np.zeros((len(self._arrivals.tallies), rows.shape[1]), np.int64)
        for row, code in zip(rows, self._codes() if codes is None else codes, strict=True):
            if code is not None:
                summed[code] += row
        return summed


def _sorted(reading: ServerReading) -> list[tuple[tuple[str | None, Outcome | None], float]]:
    """By name, so that what the bound lets in doesn't hang on the order of an exposition."""
    return sorted(reading.inferences.items(), key=lambda item: (item[0][0] or "", item[0][1] or ""))

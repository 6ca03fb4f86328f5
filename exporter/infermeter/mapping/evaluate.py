"""What the operators yield, for all spans that a rule matched at once. One method for each kind of operator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from infermeter.mapping.columns import Array
from infermeter.mapping.rules import (
    Attribute,
    Between,
    Difference,
    Duration,
    Edge,
    Event,
    Label,
    Number,
    Pick,
    Point,
    Quotient,
    Value,
    Values,
    Where,
)
from infermeter.mapping.spans import REJECTED, TEXT_CHARACTERS, Table
from infermeter.mapping.stages import Intervals
from infermeter.model import Floats, Ints, Names

NS_PER_SECOND = 1e9

ABSENT = int(np.iinfo(np.int64).min)
"""In a column of instants: not told."""

LONGEST_NS = 7 * 86_400 * 1_000_000_000
"""No inference takes longer; what says so is rejected."""

LABEL_CHARACTERS = 256


class Matches:
    """Spans of a table that a rule matched. Every result is a column over them.

    None of them lies below another one, so that a span is related to one match at most.
    """

    def __init__(self, table: Table, rows: Ints, inner_start_ns: Ints | None = None, inner_end_ns: Ints | None = None) -> None:
        """`rows` of the table. Where better inferences within each of them begin and end, if this is about what lies around these."""
        self.table = table
        self.rows = rows
        self._inner = {"start": inner_start_ns, "end": inner_end_ns}
        self._match_of = np.full(len(table.parent), -1, np.int64)
        self._match_of[rows] = np.arange(len(rows))
        self._below: dict[str, Ints] = {}
        self._related: dict[Where, Ints] = {}
        self._instants: dict[Point, Ints] = {}

    def __len__(self) -> int:
        return len(self.rows)

    # --- relations -----------------------------------------------------------------------------------------------------------------
    def related(self, where: Where) -> Ints:
        """For each row of the table the match whose selection it belongs to, -1 for none."""
        if where not in self._related:
            if where.relation not in self._below:
                below = self._match_of[self.table.parent]
                self._below[where.relation] = self.table.inherited(below) if where.relation == "descendant" else below
            self._related[where] = np.where(self.table.selected(where), self._below[where.relation][: len(self.table)], -1)
        return self._related[where]

    # --- instants and intervals ----------------------------------------------------------------------------------------------------
    def instants(self, point: Point) -> Ints:
        """Unix nanoseconds, or ABSENT."""
        if point not in self._instants:
            self._instants[point] = self._instant(point)
        return self._instants[point]

    def _instant(self, point: Point) -> Ints:
        match point:
            case Edge():
                return self._edge(point)
            case Event():
                return self._event(point)
            case _:
                inner = self._inner[point.edge]
                return np.full(len(self), ABSENT, np.int64) if inner is None else inner

    def _edge(self, point: Edge) -> Ints:
        instants_ns = self.table.start_ns if point.edge == "start" else self.table.end_ns
        if point.where is None:
            return self.of_column(instants_ns)
        related = self.related(point.where)
        rows = np.flatnonzero(related >= 0)
        return self._extreme(related[rows], instants_ns[rows], "first")

    def _event(self, point: Event) -> Ints:
        match_of = self._match_of if point.where is None else self.related(point.where)
        told = np.full(len(self), ABSENT, np.int64)
        for name in point.names:
            rows, times = self.table.events(name)
            match = match_of[rows]
            told = np.where(told == ABSENT, self._extreme(match[match >= 0], times[match >= 0], point.pick), told)
        return told

    def _extreme(self, match: Ints, times: Ints, pick: Pick) -> Ints:
        """The first or last of the instants of each match, ABSENT where it has none."""
        extreme = np.full(len(self), ABSENT, np.int64)
        if pick == "last":
            np.maximum.at(extreme, match, times)
            return extreme
        np.maximum.at(extreme, match, -times)
        return np.where(extreme == ABSENT, ABSENT, -extreme)

    def intervals(self, source: Between | Duration) -> tuple[Intervals, Ints]:
        """Of `Between` one at most for each match, of `Duration` one for each span it selects; and the rows that told them.

        Nothing is taken away yet for `minus`.
        """
        if isinstance(source, Between):
            first, last = self.instants(source.first), self.instants(source.last)
            match = np.flatnonzero((first != ABSENT) & (last != ABSENT))
            return Intervals(match, first[match], np.maximum(first, last)[match]), self.rows[match]
        if source.where is None:
            match, row = np.arange(len(self)), self.rows
        else:
            related = self.related(source.where)
            row = np.flatnonzero(related >= 0)
            match = related[row]
        return Intervals(match, self.table.start_ns[row], self.table.end_ns[row]), row

    def selected(self, where: Where) -> Intervals:
        """From start to end of each span that is related so."""
        return self.intervals(Duration(where))[0]

    # --- values --------------------------------------------------------------------------------------------------------------------
    def first_value(self, values: Values, duration_ns: Ints) -> Floats:
        """Of the first alternative that yields: seconds or a count, NaN where none does, REJECTED where it can't be right."""
        return self._first(self.value(value, duration_ns) for value in values)

    def _first(self, columns: Iterable[Floats]) -> Floats:
        """In each row the first that isn't NaN. Columns that can't be it anywhere aren't made; the result is not to be written to."""
        told: Floats | None = None
        for column in columns:
            told = column if told is None else np.where(np.isnan(told), column, told)
            if not np.isnan(told).any():
                break
        return np.full(len(self), np.nan) if told is None else told

    def value(self, value: Value, duration_ns: Ints) -> Floats:
        """Seconds or a count: NaN where it isn't told, REJECTED where it can't be right; `duration_ns` is the limit of `max_of: e2e`."""
        match value:
            case Number(value=number):
                return np.full(len(self), number)
            case Attribute():
                return self._attribute(value, duration_ns)
            case Difference(terms=(first, second)):
                a, b = self.value(first, duration_ns), self.value(second, duration_ns)
                return _either_rejected(a, b, a - np.where(np.isinf(b), 0.0, b))
            case Quotient(dividend=first, divisor=second):
                a, b = self.value(first, duration_ns), self.value(second, duration_ns)
                with np.errstate(over="ignore"):  # what is too large is rejected
                    return _either_rejected(a, b, a / np.where((b > 0) & (b < REJECTED), b, np.nan))
            case Between(first=start, last=end):
                a_ns, b_ns = self.instants(start), self.instants(end)
                return np.where((a_ns == ABSENT) | (b_ns == ABSENT), np.nan, (b_ns - a_ns) / NS_PER_SECOND)
            case _:
                told: Floats = (self.of_column(self.table.end_ns) - self.of_column(self.table.start_ns)) / NS_PER_SECOND
                return told

    def _attribute(self, attribute: Attribute, duration_ns: Ints) -> Floats:
        columns = map(self.table.seconds if attribute.spelt else self.table.numbers, attribute.keys)
        where = attribute.where
        told = self._first(self.of_column(column) if where is None else self._earliest_number(column, where) for column in columns)
        if attribute.scale != 1:
            told = told * attribute.scale
        wrong = told < 0
        if attribute.above is not None:
            wrong |= told <= attribute.above
        if attribute.within_duration:
            with np.errstate(over="ignore"):
                wrong |= np.rint(told * NS_PER_SECOND) > duration_ns
        return np.where(wrong, REJECTED, told) if wrong.any() else told

    def of_column(self, column: Array) -> Array:
        """A column of the table, for the matches only; not to be written to."""
        return column if len(self) == len(self.table) else column[self.rows]

    def _earliest_number(self, column: Floats, where: Where) -> Floats:
        """Of the related spans that have a number, that of the one which starts first."""
        related = self.related(where)
        rows = np.flatnonzero((related >= 0) & ~np.isnan(column))
        rows = rows[np.lexsort((column[rows], self.table.start_ns[rows]))]
        match, first = np.unique(related[rows], return_index=True)
        told = np.full(len(self), np.nan)
        told[match] = column[rows[first]]
        return told

    # --- texts ---------------------------------------------------------------------------------------------------------------------
    def first_label(self, labels: Sequence[Label]) -> Names:
        """The text of the first of the labels that yields one, fit for an exposition; None where none does."""
        told: Names | None = None
        for label, key in [(one, key) for one in labels for key in one.keys]:
            here = self._texts(key, label).mapped(partial(label_text, pattern=label.pattern))
            told = here if told is None else told.filled(here)
            if not (None in told.kinds and told.missing().any()):
                break
        return Names.nothing(len(self)) if told is None else told

    def _texts(self, key: str, label: Label) -> Names:
        if label.where is not None:
            return self._earliest(self.table.texts(key), label.where)
        texts = self.table.resource_texts(key) if label.resource else self.table.texts(key)
        return texts if len(self) == len(self.table) else texts.rows(self.rows)

    def _earliest(self, texts: Names, where: Where) -> Names:
        """Of the related spans that have a text, that of the one which starts first."""
        related = self.related(where)
        rows = np.flatnonzero((related >= 0) & ~texts.missing())
        match = related[rows]
        if len(match) and np.bincount(match).max() > 1:
            ranks = {text: rank for rank, text in enumerate(sorted({kind or "" for kind in texts.kinds}))}  # for those that start at once
            rank = np.array([ranks[kind or ""] for kind in texts.kinds], np.int64).take(texts.places[rows])
            rows = rows[np.lexsort((rank, self.table.start_ns[rows]))]
            match, first = np.unique(related[rows], return_index=True)
            rows = rows[first]
        places = np.full(len(self), len(texts.kinds), np.int64)
        places[match] = texts.places[rows]
        return Names((*texts.kinds, None), places)


def label_text(text: str | None, pattern: re.Pattern[str] | None) -> str | None:
    """The text that becomes a label: what the pattern captures, without control characters, bounded in length; None if that is empty."""
    if text is not None and pattern is not None:
        found = pattern.search(text[:TEXT_CHARACTERS])
        text = found[1] if found else None
    if text is None:
        return None
    text = text[:LABEL_CHARACTERS]
    return (text if text.isprintable() else "".join(filter(str.isprintable, text))).strip() or None


def _either_rejected(a: Floats, b: Floats, result: Floats) -> Floats:
    return np.where(np.isinf(a) | np.isinf(b), REJECTED, result)

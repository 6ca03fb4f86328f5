"""Spans as columns: those of one layout and resource (`Spans`), many of them end to end (`Table`), and conditions as masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import is_
from sys import getsizeof

import numpy as np

from infermeter.mapping.columns import NO_EVENTS, Array, Events, Told, end_to_end, is_objects, rows_of, told_end_to_end
from infermeter.mapping.layouts import Condition, Plan
from infermeter.mapping.rules import SECONDS, Where
from infermeter.mapping.texts import TextMatch
from infermeter.model import AttributeValue, Bools, Floats, Ints, Names, SpanBatch

NO_RULE = np.iinfo(np.int64).max
"""In place of the number of a rule: after all of them in precedence."""

REJECTED = np.inf
"""In a column of numbers: a value was told that is none, or can't be right. Unlike an absent one (NaN) nothing takes its place."""

TEXT_CHARACTERS = 1024
"""Of an attribute's text; what comes after isn't looked at."""

_SPELT = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|ms|µs|us|ns)")
_SPELT_SECONDS = {**SECONDS, "µs": 1e-6}

SPAN_BYTES, VALUE_BYTES, EVENT_BYTES = 96, 16, 32
"""What a span takes in memory without its attributes and events, the place of a value, an event; rounded up."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Spans of one layout and resource as columns. Names are missing: the layout stands for them.

    `trace_id` holds raw bytes, `span_id` and `parent_id` the 8 bytes as one number, 0 for no parent. `number` is that of the batch that
    each came in, ascending; `arrived_ns` when that was.
    """

    plan: Plan
    resource: Mapping[str, AttributeValue]
    number: Ints
    arrived_ns: Ints
    trace_id: Array
    span_id: Array
    parent_id: Array
    kind: Array
    status: Array
    start_ns: Ints
    end_ns: Ints
    attributes: tuple[Told | None, ...]
    events: Events

    @classmethod
    def of(cls, plan: Plan, *batches: SpanBatch, number: Ints | None = None, arrived_ns: Ints | None = None) -> Spans:
        """All spans of batches (at least one) of this plan, of one resource and with columns of the same types.

        `number` and `arrived_ns` have an entry for each batch; without them nobody asks when it came.
        """
        first, lengths = batches[0], [len(batch) for batch in batches]
        if number is None or arrived_ns is None:
            number = arrived_ns = np.zeros(len(batches), np.int64)
        came = number.repeat(lengths), arrived_ns.repeat(lengths)
        if len(batches) == 1:
            return cls(
                plan,
                first.resource,
                *came,
                first.trace_id,
                first.span_id,
                first.parent_id,
                first.kind,
                first.status,
                first.start_ns,
                first.end_ns,
                first.attributes,
                Events.of(plan, batches),
            )
        return cls(
            plan,
            first.resource,
            *came,
            np.concatenate([batch.trace_id for batch in batches]),
            np.concatenate([batch.span_id for batch in batches]),
            np.concatenate([batch.parent_id for batch in batches]),
            np.concatenate([batch.kind for batch in batches]),
            np.concatenate([batch.status for batch in batches]),
            np.concatenate([batch.start_ns for batch in batches]),
            np.concatenate([batch.end_ns for batch in batches]),
            tuple(map(_joined, zip(*(batch.attributes for batch in batches), strict=True))),
            Events.of(plan, batches),
        )

    def __len__(self) -> int:
        return len(self.start_ns)

    def rows(self, rows: Ints) -> Spans:
        """Some of the spans, in their order; at least one."""
        if len(rows) == len(self):
            return self
        return Spans(
            self.plan,
            self.resource,
            self.number[rows],
            self.arrived_ns[rows],
            self.trace_id[rows],
            self.span_id[rows],
            self.parent_id[rows],
            self.kind[rows],
            self.status[rows],
            self.start_ns[rows],
            self.end_ns[rows],
            tuple(None if column is None else rows_of(column, rows) for column in self.attributes),
            self.events.rows(rows, len(self)),
        )

    def kept(self) -> Spans:
        """The same to be kept for a while: of texts only what is ever looked at, and none for longer than its span is."""
        cut = tuple(map(_cut, self.attributes))
        return self if all(map(is_, cut, self.attributes)) else replace(self, attributes=cut)

    def links(self) -> Spans:
        """The same for their ids only."""
        return replace(self, resource={}, attributes=(), events=NO_EVENTS)

    def size_bytes(self) -> Ints:
        """About what each of them takes in memory; rounded up."""
        told = np.full(len(self), SPAN_BYTES, np.int64)
        for column in self.attributes:
            told += VALUE_BYTES
            if column is not None and is_objects(column):
                told += np.fromiter(map(getsizeof, column.tolist()), np.int64, len(self))
        if len(self.events.row):
            told += EVENT_BYTES * np.bincount(self.events.row, minlength=len(self))
        return told

    def rule(self) -> Ints:
        """For each span the number of the first rule that it fits, or NO_RULE."""
        rule = np.full(len(self), NO_RULE, np.int64)
        for candidate in self.plan.candidates:
            if candidate.condition is True and not candidate.ignore:  # it is the last
                rule[rule == NO_RULE] = candidate.number
                break
            fits = (rule == NO_RULE) & self.fit(candidate.condition)
            for condition in candidate.ignore:
                fits &= ~self.fit(condition)
            rule[fits] = candidate.number
        return rule

    def selected(self) -> Bools:
        """Which of the spans a rule may read for another span."""
        conditions = self.plan.selections.values()
        selected = np.full(len(self), any(condition is True for condition in conditions))
        for condition in conditions:
            if selected.all():
                break
            selected |= self.fit(condition)
        return selected

    def errors(self, rule: int) -> Bools:
        """Which of the spans are errors, if they are inferences of a rule."""
        conditions = [condition for one in self.plan.candidates if one.number == rule for condition in one.errors]
        errors = np.zeros(len(self), np.bool_)
        for condition in conditions:
            errors |= self.fit(condition)
        return errors

    def attribute(self, key: str) -> Told | None:
        """The column of a key, with None where a span lacks it; None where all do, or nobody reads that of this layout."""
        keys = self.plan.layout.keys
        return self.attributes[keys.index(key)] if key in keys else None

    def texts(self, key: str) -> Names:
        """The texts under a key; None where there is none."""
        column = self.attribute(key)
        if isinstance(column, Names):
            return column
        if column is None or column.dtype != np.object_:
            return Names.nothing(len(self))
        values: list[AttributeValue | None] = column.tolist()
        return Names.of([value if isinstance(value, str) else None for value in values])

    def numbers(self, key: str) -> Floats:
        """The numbers under a key: NaN where there is none, REJECTED where it is no number."""
        column = self.attribute(key)
        return np.full(len(self), np.nan) if column is None else numbers(column)

    def fit(self, condition: Condition) -> Bools:
        """Which of the spans fit what their layout left of a match."""
        if isinstance(condition, bool):
            return np.full(len(self), condition)
        fits = np.ones(len(self), np.bool_)
        if not all(_fits(self.resource.get(key), match) for key, match in condition.resource):
            return ~fits
        if condition.kinds:
            fits &= np.isin(self.kind, list(condition.kinds))
        if condition.status is not None:
            fits &= self.status == condition.status
        for key, match in condition.attributes:
            column = self.attribute(key)
            fits &= column is not None and _fitting(column, match)
        if condition.any:
            fits &= np.logical_or.reduce([self.fit(one) for one in condition.any])
        return fits


class Table:
    """Spans of several layouts end to end; a row is a span. Columns are made when they are asked for."""

    def __init__(self, groups: Sequence[Spans], parent: Ints | None = None) -> None:
        """At least one group. `parent` has the row of each row's parent; None: nobody has one.

        Rows of `parent` beyond those of the groups only link. The last one is nobody's, and stands for a parent that there isn't.
        """
        self.groups = groups
        self.start_ns = end_to_end([group.start_ns for group in groups])
        self.end_ns = end_to_end([group.end_ns for group in groups])
        nobody = len(self.start_ns)
        self.parent = np.full(nobody + 1, nobody, np.int64) if parent is None else parent
        self._numbers: dict[str, Floats] = {}
        self._texts: dict[str, Names] = {}

    def __len__(self) -> int:
        return len(self.start_ns)

    def errors(self, rule: int) -> Bools:
        """Which rows are errors, if they are inferences of a rule."""
        return end_to_end([group.errors(rule) for group in self.groups])

    @cached_property
    def below(self) -> Bools:
        """Which rows have a parent, wherever that is."""
        below: Bools = end_to_end([group.parent_id for group in self.groups]) != 0
        return below

    @cached_property
    def trace_id(self) -> Array:
        """Raw trace ids."""
        return end_to_end([group.trace_id for group in self.groups])

    def numbers(self, key: str) -> Floats:
        """The numbers under a key: NaN where there is none, REJECTED where it is no number."""
        if key not in self._numbers:
            columns = [group.attribute(key) for group in self.groups]
            told = [column for column in columns if column is not None]
            if not told:
                self._numbers[key] = np.full(len(self), np.nan)
            elif len(told) == len(columns) and not any(map(is_objects, told)):
                self._numbers[key] = numbers(told_end_to_end(told))
            else:
                self._numbers[key] = end_to_end([group.numbers(key) for group in self.groups])
        return self._numbers[key]

    def seconds(self, key: str) -> Floats:
        """The times under a key that are texts with a unit (RUST_DURATION): NaN where there is none, REJECTED where it is no such text."""
        texts = self.texts(key)
        return np.array([np.nan if text is None else _spelt_seconds(text) for text in texts.kinds], np.float64).take(texts.places)

    def texts(self, key: str) -> Names:
        """The texts under a key, of any length; None where there is none."""
        if key not in self._texts:
            self._texts[key] = Names.joined([group.texts(key) for group in self.groups])
        return self._texts[key]

    def resource_texts(self, key: str) -> Names:
        """The text of the resource of each row; None where there is none."""
        of_group = [value if isinstance(value := group.resource.get(key), str) else None for group in self.groups]
        return Names(of_group, np.arange(len(of_group)).repeat([len(group) for group in self.groups]))

    def selected(self, where: Where) -> Bools:
        """Which rows fit the condition of a selection, whatever they are related to."""
        return end_to_end([group.fit(group.plan.selections.get(where, False)) for group in self.groups])

    def inherited(self, own: Ints) -> Ints:
        """For each row the value of the nearest of itself and its ancestors that has one (not -1)."""
        jump = self.parent
        for _ in range(len(jump).bit_length()):  # each round looks twice as far; rows that are their own ancestors end too
            unknown = own < 0
            if not (unknown & (jump != len(jump) - 1)).any():
                break
            own = np.where(unknown, own[jump], own)
            jump = jump[jump]
        return own

    def least_above(self, own: Ints) -> Ints:
        """For each row the least value of its ancestors; the value of nobody where it has none."""
        least, jump = own[self.parent], self.parent
        for _ in range(len(jump).bit_length()):
            if (jump == len(jump) - 1).all():
                break
            least = np.minimum(least, least[jump])
            jump = jump[jump]
        return least

    def least_below(self, own: Ints) -> Ints:
        """For each row the least value of its descendants; the greatest integer where it has none. Of nobody it is anything."""
        least = np.full(len(own), np.iinfo(np.int64).max)
        reach, jump = own.copy(), self.parent  # the least within a distance that doubles
        for _ in range(len(jump).bit_length()):
            if (jump == len(jump) - 1).all():
                break
            np.minimum.at(least, jump, reach)
            reach = np.minimum(own, least)
            jump = jump[jump]
        return least

    @cached_property
    def _events(self) -> Events:
        """Those of all rows, by name."""
        events = Events.joined([group.events for group in self.groups], [len(group) for group in self.groups])
        short = np.min_scalar_type(len(self.groups[0].plan.event_numbers))  # numbers of a byte or two are sorted in no time
        order = np.argsort(events.name.astype(short), kind="stable")
        return Events(events.row[order], events.name[order], events.time_ns[order])

    def events(self, name: str) -> tuple[Ints, Ints]:
        """Rows and instants of all events of a name."""
        number = self.groups[0].plan.event_numbers[name]
        first, last = np.searchsorted(self._events.name, (number, number + 1))
        return self._events.row[first:last], self._events.time_ns[first:last]


def numbers(column: Told) -> Floats:
    """The column as numbers; texts that hold a number are numbers, truth values are none."""
    if isinstance(column, Names):
        return np.array([_number(kind) for kind in column.kinds], np.float64).take(column.places)
    types = set(map(type, column.tolist())) if column.dtype == np.object_ else set()
    if types == {type(None)}:
        return np.full(len(column), np.nan)
    if types <= {float, int}:
        try:
            told = np.array(column, np.float64)
        except OverflowError:
            pass
        else:
            told[~np.isfinite(told)] = REJECTED
            return told
    return np.array([_number(value) for value in column.tolist()], np.float64)


def _number(value: AttributeValue | None) -> float:
    if value is None:
        return np.nan
    try:
        number = REJECTED if isinstance(value, bool) else float(value[:TEXT_CHARACTERS] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return REJECTED
    return number if np.isfinite(number) else REJECTED


def _spelt_seconds(text: str) -> float:
    """Source: impl Debug for Duration, library/core/src/time.rs."""
    found = _SPELT.fullmatch(text[:TEXT_CHARACTERS])
    return float(found[1]) * _SPELT_SECONDS[found[2]] if found else REJECTED


def _fitting(column: Told, match: TextMatch | None) -> Bools:
    """Which values fit; most columns that are asked for are empty."""
    if isinstance(column, Names):
        return np.array([_fits(kind, match) for kind in column.kinds], np.bool_).take(column.places)
    values = column.tolist()
    missing = values.count(None)
    if missing == len(values) or (match is None and not missing):
        return np.full(len(values), not missing)
    return np.fromiter((_fits(value, match) for value in values), np.bool_, len(values))


def _fits(value: AttributeValue | None, match: TextMatch | None) -> bool:
    if value is None or match is None:
        return value is not None
    return match.matches(value[:TEXT_CHARACTERS] if isinstance(value, str) else str(value))


def _cut(column: Told | None) -> Array | None:
    """The column, of texts only what is ever looked at."""
    if isinstance(column, Names):
        return column.mapped(lambda kind: kind and kind[:TEXT_CHARACTERS]).objects()
    if column is None or column.dtype != np.object_:
        return column
    values = column.tolist()
    if max(map(getsizeof, set(values))) <= TEXT_CHARACTERS:
        return column
    return np.fromiter([value[:TEXT_CHARACTERS] if isinstance(value, str) else value for value in values], np.object_, len(values))


def _joined(columns: Sequence[Told | None]) -> Told | None:
    """One column: all of them have the same type, or are None."""
    told = [column for column in columns if column is not None]
    return told_end_to_end(told) if told else None

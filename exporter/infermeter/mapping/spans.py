"""Spans as columns: those of one layout and resource (`Spans`), many of them end to end (`Table`), and conditions as masks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeAlias, TypeVar

import numpy as np

from infermeter.mapping.layouts import Condition, Plan
from infermeter.mapping.rules import SECONDS, Where
from infermeter.mapping.texts import TextMatch
from infermeter.model import AttributeValue, Bools, Column, Floats, Ints, SpanBatch

NO_RULE = np.iinfo(np.int64).max
"""In place of the number of a rule: after all of them in precedence."""

T = TypeVar("T")

REJECTED = np.inf
"""In a column of numbers: a value was told that is none, or can't be right. Unlike an absent one (NaN) nothing takes its place."""

TEXT_CHARACTERS = 1024
"""Of an attribute's text; what comes after isn't looked at."""

_SPELT = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|ms|µs|us|ns)")
_SPELT_SECONDS = {**SECONDS, "µs": 1e-6}

Events: TypeAlias = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Spans of one layout and resource as parallel columns. Names are missing: the layout stands for them."""

    plan: Plan
    resource: Mapping[str, AttributeValue]
    trace_id: Sequence[bytes]
    span_id: Sequence[bytes]
    parent_id: Sequence[bytes]
    kind: Sequence[int]
    status: Sequence[int]
    start_ns: Sequence[int]
    end_ns: Sequence[int]
    attributes: tuple[Column, ...]
    events: Sequence[Events]

    @classmethod
    def of(cls, plan: Plan, batch: SpanBatch) -> Spans:
        """All spans of a batch."""
        return cls(
            plan,
            batch.resource,
            batch.trace_id,
            batch.span_id,
            batch.parent_id,
            batch.kind,
            batch.status,
            batch.start_ns,
            batch.end_ns,
            batch.attributes,
            batch.events if plan.layout.events else ((),) * len(batch),
        )

    def __len__(self) -> int:
        return len(self.start_ns)

    def rows(self, rows: Sequence[int]) -> Spans:
        """Some of the spans; at least one."""
        if len(rows) == len(self):
            return self

        def picked(column: Sequence[T]) -> Sequence[T]:
            return [column[row] for row in rows]

        return Spans(
            self.plan,
            self.resource,
            picked(self.trace_id),
            picked(self.span_id),
            picked(self.parent_id),
            picked(self.kind),
            picked(self.status),
            picked(self.start_ns),
            picked(self.end_ns),
            tuple(column[rows] if isinstance(column, np.ndarray) else picked(column) for column in self.attributes),
            picked(self.events),
        )

    def rule(self) -> Ints:
        """For each span the number of the first rule that it fits, or NO_RULE."""
        rule = np.full(len(self), NO_RULE, np.int64)
        for candidate in self.plan.candidates:
            fits = (rule == NO_RULE) & self.fit(candidate.condition)
            for condition in candidate.ignore:
                fits &= ~self.fit(condition)
            rule[fits] = candidate.number
        return rule

    def selected(self) -> Bools:
        """Which of the spans a rule may read for another span."""
        selected = np.zeros(len(self), np.bool_)
        for condition in self.plan.selections.values():
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

    def attribute(self, key: str) -> Column:
        """The column of a key; None where a span lacks it."""
        keys = self.plan.layout.keys
        return self.attributes[keys.index(key)] if key in keys else (None,) * len(self)

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
            fits &= np.asarray(self.status) == condition.status
        for key, match in condition.attributes:
            fits &= _fitting(self.attribute(key), match)
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
        self.start_ns = _integers(group.start_ns for group in groups)
        self.end_ns = _integers(group.end_ns for group in groups)
        nobody = len(self.start_ns)
        self.parent = np.full(nobody + 1, nobody, np.int64) if parent is None else parent
        self._numbers: dict[str, Floats] = {}
        self._texts: dict[str, list[str | None]] = {}

    def __len__(self) -> int:
        return len(self.start_ns)

    def errors(self, rule: int) -> Bools:
        """Which rows are errors, if they are inferences of a rule."""
        return np.concatenate([group.errors(rule) for group in self.groups])

    @cached_property
    def below(self) -> Bools:
        """Which rows have a parent, wherever that is."""
        return np.fromiter(map(bool, chain.from_iterable(group.parent_id for group in self.groups)), np.bool_, len(self))

    @cached_property
    def trace_id(self) -> list[bytes]:
        """Raw trace ids."""
        return list(chain.from_iterable(group.trace_id for group in self.groups))

    def numbers(self, key: str) -> Floats:
        """The numbers under a key: NaN where there is none, REJECTED where it is no number."""
        if key not in self._numbers:
            self._numbers[key] = np.concatenate([numbers(group.attribute(key)) for group in self.groups])
        return self._numbers[key]

    def seconds(self, key: str) -> Floats:
        """The times under a key that are texts with a unit (RUST_DURATION): NaN where there is none, REJECTED where it is no such text."""
        return np.array([np.nan if text is None else _spelt_seconds(text) for text in self.texts(key)], np.float64)

    def texts(self, key: str) -> list[str | None]:
        """The texts under a key, of any length; None where there is none."""
        if key not in self._texts:
            values = chain.from_iterable(_values(group.attribute(key)) for group in self.groups)
            self._texts[key] = [value if isinstance(value, str) else None for value in values]
        return self._texts[key]

    def resource_texts(self, key: str) -> list[str | None]:
        """The text of the resource of each row; None where there is none."""
        of_group = [value if isinstance(value := group.resource.get(key), str) else None for group in self.groups]
        return [text for text, group in zip(of_group, self.groups, strict=True) for _ in range(len(group))]

    def selected(self, where: Where) -> Bools:
        """Which rows fit the condition of a selection, whatever they are related to."""
        return np.concatenate([group.fit(group.plan.selections.get(where, False)) for group in self.groups])

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
    def _events(self) -> tuple[Ints, Ints, Ints, dict[str, int]]:
        """Row, instant and number of the name of every event, and the names' numbers."""
        of_row = list(chain.from_iterable(group.events for group in self.groups))
        rows = np.repeat(np.arange(len(of_row)), list(map(len, of_row)))
        names = [name for events in of_row for name, _ in events]
        times_ns = [time_ns for events in of_row for _, time_ns in events]
        numbers = {name: number for number, name in enumerate(set(names))}
        return rows, np.array(times_ns, np.int64), np.array([numbers[name] for name in names], np.int64), numbers

    def events(self, name: str) -> tuple[Ints, Ints]:
        """Rows and instants of all events of a name."""
        rows, times_ns, names, numbers = self._events
        of_name = names == numbers.get(name, -1)
        return rows[of_name], times_ns[of_name]


def numbers(column: Column) -> Floats:
    """The column as numbers; texts that hold a number are numbers, truth values are none."""
    types = set() if isinstance(column, np.ndarray) else set(map(type, column))
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
    return np.array([_number(value) for value in column], np.float64)


def _number(value: AttributeValue | None) -> float:
    if value is None:
        return np.nan
    try:
        number = REJECTED if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        return REJECTED
    return number if np.isfinite(number) else REJECTED


def _spelt_seconds(text: str) -> float:
    """Source: impl Debug for Duration, library/core/src/time.rs."""
    found = _SPELT.fullmatch(text[:TEXT_CHARACTERS])
    return float(found[1]) * _SPELT_SECONDS[found[2]] if found else REJECTED


def _fitting(column: Column, match: TextMatch | None) -> Bools:
    """Which values fit; most columns that are asked for are empty."""
    values = _values(column)
    if values.count(None) == len(values):
        return np.zeros(len(values), np.bool_)
    return np.fromiter((_fits(value, match) for value in values), np.bool_, len(values))


def _values(column: Column) -> Sequence[AttributeValue | None]:
    """The column value by value."""
    return column.tolist() if isinstance(column, np.ndarray) else column


def _fits(value: AttributeValue | None, match: TextMatch | None) -> bool:
    if value is None or match is None:
        return value is not None
    return match.matches(value[:TEXT_CHARACTERS] if isinstance(value, str) else str(value))


def _integers(columns: Iterable[Sequence[int]]) -> Ints:
    return np.concatenate([np.asarray(column, np.int64) for column in columns])

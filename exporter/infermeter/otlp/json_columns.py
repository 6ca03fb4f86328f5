"""Columns of parsed spans, each read and converted as a whole. Pure.

What costs most of a span are calls of functions. So each member of all spans is one comprehension, and what differs little, as kinds do, is
read once for each different value. A column that isn't written as nearly all senders write it is read value by value (json_values.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from infermeter.model import AttributeValue, Column, Floats, Ints, SpanEvents
from infermeter.otlp.columns import END_OF_TIME_NS, objects
from infermeter.otlp.json_messages import AnyValue, KeyValue, Span
from infermeter.otlp.json_values import double, id_bytes, int64, integer

_INSTANT_DIGITS = 19
"""Of unix nanoseconds in decimal, from 2001 to 2286."""

_POWERS: Final = np.uint64(10) ** np.arange(_INSTANT_DIGITS - 1, -1, -1, dtype=np.uint64)


def ids(column: list[str], count_bytes: int) -> tuple[bytes, Sequence[int]]:
    """The bytes of ids that have so many, one after the other, and the rows of those that don't, which are zeros."""
    hexed = "".join(column)
    if set(map(len, column)) == {2 * count_bytes}:
        try:
            raw = bytes.fromhex(hexed)
        except ValueError:
            raw = b""
        if 2 * len(raw) == len(hexed):  # white space is skipped there
            return raw, ()
    each = [id_bytes(told) for told in column]
    unfit = [row for row, raw in enumerate(each) if len(raw) != count_bytes]
    for row in unfit:
        each[row] = bytes(count_bytes)
    return b"".join(each), unfit


def instants(column: list[Any]) -> Ints:
    """Unix nanoseconds, 0 for what is none after 1970 and before the end of time."""
    try:
        written = np.frombuffer(",".join(column).encode() + b",", np.uint8).reshape(len(column), _INSTANT_DIGITS + 1)
        digits = written[:, :-1] - ord("0")  # what is below wraps around
        are_digits = digits.max(initial=0) <= 9  # so the commas, one for each row, are where they belong
    except (TypeError, ValueError):  # numbers, or not all of this length
        are_digits = False
    if not are_digits:
        told = [ns if 0 < (ns := integer(one) or 0) < END_OF_TIME_NS else 0 for one in column]
        return np.fromiter(told, np.int64, len(column))
    instants_ns = np.einsum("ij,j->i", digits, _POWERS)  # never copies all digits
    if len(column) and instants_ns.max() >= END_OF_TIME_NS:
        instants_ns[instants_ns >= END_OF_TIME_NS] = 0
    whole: Ints = instants_ns.astype(np.int64)
    return whole


def codes(column: list[Any], read: Callable[[object], int], many: int) -> npt.NDArray[np.uint8]:
    """The codes with those that don't exist (yet) as 0, unspecified."""
    known = {told: code if 0 <= (code := read(told)) < many else 0 for told in set(column)}
    if len(known) == 1:
        return np.full(len(column), known.popitem()[1], np.uint8)
    return np.fromiter(map(known.__getitem__, column), np.uint8, len(column))


def attributes(spans: Sequence[Span], keys: tuple[str, ...]) -> tuple[Column | None, ...]:
    """A column for each key."""
    lists = [span.attributes or () for span in spans] if keys else []
    every = list(chain.from_iterable(lists))
    if not every:
        return (None,) * len(keys)
    told, period = [one.key for one in every], len(lists[0])
    if set(map(len, lists)) == {period} and told == told[:period] * len(lists):  # all spans tell the same, in the same order
        places = {key: place for place, key in enumerate(told[:period])}
        return tuple([_column(every[places[key] :: period]) if key in places else None for key in keys])
    maps = [{one.key: one for one in each} for each in lists]
    return tuple([_column([by_key.get(key) for by_key in maps]) for key in keys])


def _column(attributes: Sequence[KeyValue | None]) -> Column | None:
    """The values of one attribute: read together where all are of one type, else one by one."""
    try:
        for told, read in _COLUMNS:
            column = told(attributes)
            if None not in column:
                return read(column)
            if column.count(None) < len(column):
                break
    except (AttributeError, ValueError, OverflowError):  # one has no value, isn't of the type, or is no number that fits
        pass
    return objects([None if attribute is None else scalar(attribute.value) for attribute in attributes])


def _integers(column: list[Any]) -> Ints:
    """Whole numbers of 64 bits, all written as strings or all as numbers."""
    if set(map(type, column)) not in ({str}, {int}):
        raise ValueError
    return np.fromiter(map(int, column), np.int64, len(column))


def _doubles(column: list[Any]) -> Floats:
    if set(map(type, column)) != {float}:
        raise ValueError
    return np.fromiter(column, np.float64, len(column))


def _texts(column: list[Any]) -> Column:
    return np.fromiter(column, np.object_, len(column))


_COLUMNS: Sequence[tuple[Callable[[Sequence[Any]], list[Any]], Callable[[list[Any]], Column]]] = (
    (lambda attributes: [attribute.value.double_value for attribute in attributes], _doubles),
    (lambda attributes: [attribute.value.int_value for attribute in attributes], _integers),
    (lambda attributes: [attribute.value.string_value for attribute in attributes], _texts),
)
"""In the order in which `json_values.scalar` looks."""


def scalar(value: AnyValue | None) -> AttributeValue | None:
    """The value of an attribute, None where it is unset or no scalar."""
    if value is None:
        return None
    if value.double_value is not None:
        return double(value.double_value)
    if value.int_value is not None:
        return int64(value.int_value)
    return value.bool_value if value.string_value is None else value.string_value


def events(spans: Sequence[Span]) -> SpanEvents:
    """The events of the spans that have a time."""
    of_spans = [span.events or () for span in spans]
    every = list(chain.from_iterable(of_spans))
    told = [event.name for event in every]
    numbers: defaultdict[str, int] = defaultdict(count().__next__)  # a new name gets the next number
    once = told[: len(of_spans[0])]
    if told != once * len(of_spans):  # else all spans tell the same, in the same order
        once = told
    name = np.fromiter(map(numbers.__getitem__, once), np.int64, len(once))
    if len(once) < len(told):
        name = np.tile(name, len(of_spans))
    row = np.repeat(np.arange(len(of_spans)), np.fromiter(map(len, of_spans), np.int64, len(of_spans)))
    time_ns = instants([event.time_unix_nano for event in every])
    if not time_ns.all():
        timed = np.flatnonzero(time_ns)
        row, name, time_ns = row[timed], name[timed], time_ns[timed]
    return SpanEvents(names=tuple(numbers), row=row, name=name, time_ns=time_ns)

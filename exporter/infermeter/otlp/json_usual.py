"""Spans of an export in JSON that are written as nearly all senders write them: a column at a time. Pure.

Once orjson has made the objects, what costs most are calls of functions for each of them. So here each member of all spans is one
comprehension, a column is checked and converted as a whole, and what differs little, as kinds do, is read once for each different value.
That takes keys in camelCase, ids in hex, the numbers of a column of one type, and spans that are all fit. Wherever something is not so,
nothing is returned, and the scope's spans are read one by one (json_spans.py): what is read here is what would be read there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count, repeat
from operator import contains
from types import NoneType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, Column, Floats, Ints, SpanBatch, SpanEvents, SpanFilter
from infermeter.otlp.columns import END_OF_TIME_NS, TRACE_ID, objects
from infermeter.otlp.json_values import Object, kind_code, scalar, status_code

Usual: TypeAlias = tuple[list[SpanBatch], tuple[bytes, bytes]]
"""The batches of one scope, and the ids of its first and its last span."""

_TRACE_DIGITS = 32
_SPAN_DIGITS = 16
_SPAN_ID_BYTES = 8
_NO_PARENT = "0" * _SPAN_DIGITS

_INSTANT_DIGITS = 19
"""Of unix nanoseconds in decimal, from 2001 to 2286."""

_POWERS: Final = np.uint64(10) ** np.arange(_INSTANT_DIGITS - 1, -1, -1, dtype=np.uint64)


class _Unusual(ValueError):
    """Something that isn't read here."""


def usual_spans(resource: Mapping[str, AttributeValue], scope: str, spans: Sequence[Object], wanted: SpanFilter) -> Usual | None:
    """The spans of one scope, at least one; None where not all is as usual."""
    try:
        return _usual_spans(resource, scope, spans, wanted)
    except (KeyError, TypeError, ValueError, OverflowError):  # missing, of another type, no hex or no number, a number too large
        return None


def _usual_spans(resource: Mapping[str, AttributeValue], scope: str, spans: Sequence[Object], wanted: SpanFilter) -> Usual:
    raw_ids = _ids([span["spanId"] for span in spans], _SPAN_DIGITS)
    trace_id = np.frombuffer(_ids([span["traceId"] for span in spans], _TRACE_DIGITS), TRACE_ID)
    span_id = np.frombuffer(raw_ids, np.uint64)
    parent_id = np.frombuffer(_ids(_parents(spans), _SPAN_DIGITS), np.uint64)
    start_ns = _instants([span["startTimeUnixNano"] for span in spans])
    end_ns = _instants([span["endTimeUnixNano"] for span in spans])
    _must((start_ns <= end_ns).all() and span_id.all() and trace_id.view(np.uint64).reshape(-1, 2).any(axis=1).all())
    kind = _codes([span.get("kind") for span in spans], kind_code, len(SPAN_KINDS))
    status = _codes(_status_codes(spans), status_code, len(STATUS_CODES))
    names = [span.get("name", "") for span in spans]
    different = dict.fromkeys(names)
    _must({str}.issuperset(map(type, different)))
    of_name = {name: wanted.layout(scope, name) for name in different}
    layouts = list(dict.fromkeys(of_name.values()))
    numbers = {name: layouts.index(layout) for name, layout in of_name.items()}
    number = np.array([numbers[name] for name in names], np.intp)
    batches: list[SpanBatch] = []
    for layout in layouts:
        rows = np.flatnonzero(number == len(batches))
        of_layout = [spans[row] for row in rows.tolist()]
        batches.append(
            SpanBatch(
                resource=resource,
                scope=scope,
                layout=layout,
                trace_id=trace_id[rows],
                span_id=span_id[rows],
                parent_id=parent_id[rows],
                kind=kind[rows],
                status=status[rows],
                start_ns=start_ns[rows],
                end_ns=end_ns[rows],
                attributes=_attributes(of_layout, layout.keys),
                events=_events(of_layout) if layout.events else None,
            )
        )
    return batches, (raw_ids[:_SPAN_ID_BYTES], raw_ids[-_SPAN_ID_BYTES:])


def _must(is_usual: object) -> None:
    if not is_usual:
        raise _Unusual


def _ids(column: list[str], digits: int) -> bytes:
    """The bytes of ids, one after the other, each written with so many hex digits."""
    hexed = "".join(column)
    _must(set(map(len, column)) == {digits})
    raw = bytes.fromhex(hexed)
    _must(2 * len(raw) == len(hexed))  # white space is skipped there
    return raw


def _parents(spans: Sequence[Object]) -> list[str]:
    """The ids of the parents, zeros where there is none."""
    parents = [span.get("parentSpanId", "") for span in spans]
    if "" in parents:
        _must(not any(map(contains, spans, repeat("parent_span_id"))))
        return [_NO_PARENT if parent == "" else parent for parent in parents]
    return parents


def _instants(column: list[Any]) -> Ints:
    """Unix nanoseconds, all after 1970 and before the end of time."""
    try:
        written = np.frombuffer(",".join(column).encode() + b",", np.uint8).reshape(len(column), _INSTANT_DIGITS + 1)
        digits = written[:, :-1] - ord("0")  # what is below wraps around
        are_digits = digits.max() <= 9  # so the commas, one for each row, are where they belong
    except (TypeError, ValueError):  # numbers, or not all of this length
        are_digits = False
    instants = np.einsum("ij,j->i", digits, _POWERS) if are_digits else _integers(column)  # einsum never copies all digits
    _must(instants.min() > 0 and instants.max() < END_OF_TIME_NS)
    return instants.astype(np.int64)


def _integers(column: list[Any]) -> Ints:
    """Whole numbers of 64 bits, all written as strings or all as numbers."""
    _must(set(map(type, column)) in ({str}, {int}))
    return np.array(list(map(int, column)), np.int64)


def _codes(column: list[Any], read: Callable[[object], int], codes: int) -> npt.NDArray[np.uint8]:
    """The codes with those that don't exist (yet) as 0, unspecified."""
    _must({int, str, NoneType}.issuperset(map(type, column)))  # True and 1.0 are the same as 1
    known = {told: code if 0 <= (code := read(told)) < codes else 0 for told in set(column)}
    if len(known) == 1:
        return np.full(len(column), known.popitem()[1], np.uint8)
    return np.array([known[told] for told in column], np.uint8)


def _status_codes(spans: Sequence[Object]) -> list[Any]:
    """The codes of the statuses, None where there is none."""
    statuses = [span.get("status") for span in spans]
    _must({dict, NoneType}.issuperset(map(type, statuses)))
    if not any(statuses):
        return [None] * len(statuses)
    return [status.get("code") if status else None for status in statuses]


def _lists(spans: Sequence[Object], name: str) -> list[list[Any]]:
    """A list of each span, empty where it has none."""
    nothing: list[Any] = []
    lists = [span.get(name, nothing) for span in spans]
    _must({list}.issuperset(map(type, lists)))
    return lists


def _attributes(spans: Sequence[Object], keys: tuple[str, ...]) -> tuple[Column | None, ...]:
    """A column for each key."""
    lists = _lists(spans, "attributes") if keys else []
    if not any(lists):
        return (None,) * len(keys)
    maps = [{told["key"]: told.get("value") for told in attributes} for attributes in lists]
    _must({str}.issuperset(map(type, set(chain.from_iterable(maps)))))
    return tuple([_column([told.get(key) for told in maps]) for key in keys])


def _column(values: list[Any]) -> Column | None:
    """The values of one attribute: read together where all are of one type, else one by one."""
    try:
        (type_name,) = set(chain.from_iterable(values))
        return _COLUMNS[type_name]([value[type_name] for value in values])
    except (KeyError, TypeError, ValueError, OverflowError):
        return objects(list(map(scalar, values)))


def _texts(column: list[Any]) -> Column:
    _must(set(map(type, column)) == {str})
    return np.fromiter(column, np.object_, len(column))


def _doubles(column: list[Any]) -> Floats:
    _must({float, int}.issuperset(map(type, column)))
    return np.array(column, np.float64)


_COLUMNS: Mapping[str, Callable[[list[Any]], Column]] = {"stringValue": _texts, "intValue": _integers, "doubleValue": _doubles}


def _events(spans: Sequence[Object]) -> SpanEvents:
    """The events of the spans, each with a time."""
    of_spans = _lists(spans, "events")
    every = list(chain.from_iterable(of_spans))
    numbers: defaultdict[Any, int] = defaultdict(count().__next__)  # a new name gets the next number
    name = np.array([numbers[event["name"]] for event in every], np.int64)
    _must({str}.issuperset(map(type, numbers)))
    return SpanEvents(
        names=tuple(numbers),
        row=np.repeat(np.arange(len(of_spans)), np.fromiter(map(len, of_spans), np.int64, len(of_spans))),
        name=name,
        time_ns=_instants([event["timeUnixNano"] for event in every]) if every else np.empty(0, np.int64),
    )

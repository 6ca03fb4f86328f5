"""From spans that fit templates to batches: every value is a slice of the matrices of their bytes. Pure.

What is done with a column costs by the call until it has some thousand rows. So whatever can be one batch is one, though it fits several
templates, and all values but texts are brought together as words before anything is made of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError as WireError

from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, Bools, Column, Names, SpanBatch, SpanEvents, numbering
from infermeter.otlp.columns import END_OF_TIME_NS, TRACE_ID
from infermeter.otlp.template import WORD_BYTES, Kin, Matrix
from infermeter.otlp.templates import Alike

_Words: TypeAlias = npt.NDArray[np.uint64]
_Bounds: TypeAlias = Sequence[tuple[int, int]]
"""Where the rows of each template begin and end in a column."""

_NUMBER: Final = [int.from_bytes(b"\x7f" * size, "little") for size in range(WORD_BYTES + 1)]
"""By the size of a varint: which bits of it are the number's, seven of each byte."""

_PAIRS: Final = ((0x007F007F007F007F, 1), (0x00003FFF00003FFF, 2), (0x000000000FFFFFFF, 4))
"""Of pairs of seven bits, then of fourteen and of twenty-eight: the lower ones, and how wide the gap to the upper ones is."""


def alike_spans(resource: Mapping[str, AttributeValue], scope: str, alike: Sequence[Alike]) -> Iterator[SpanBatch]:
    """One batch of the fit ones among the spans of each kin; nothing where there is none.

    Raises:
        google.protobuf.message.DecodeError: a wanted text is no UTF-8.
    """
    of_kin: defaultdict[Kin, list[Alike]] = defaultdict(list)
    for one in alike:
        of_kin[one.template.kin].append(one)
    for kin, akin in of_kin.items():
        yield from _batch(resource, scope, kin, akin)


def _batch(resource: Mapping[str, AttributeValue], scope: str, kin: Kin, alike: Sequence[Alike]) -> Iterator[SpanBatch]:
    """One batch, if any of the spans is fit."""
    counts = [len(matrix) for _, matrix in alike]
    bounds = tuple(pairwise(accumulate(counts, initial=0)))
    trace_id, words = _values(alike, bounds)
    span_id, parent_id, start_ns, end_ns = words[:4]
    fit = _fit(trace_id, span_id, start_ns, end_ns)
    if not fit.all():
        rows = [np.flatnonzero(fit[begin:end]) for begin, end in bounds]
        if some := [Alike(one.template, one.matrix[left]) for one, left in zip(alike, rows, strict=True) if len(left)]:
            yield from _batch(resource, scope, kin, some)
        return
    yield SpanBatch(
        resource=resource,
        scope=scope,
        layout=kin.layout,
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        kind=_codes([one.template.kind for one in alike], len(SPAN_KINDS), counts),
        status=_codes([one.template.status for one in alike], len(STATUS_CODES), counts),
        start_ns=start_ns.view(np.int64),
        end_ns=end_ns.view(np.int64),
        attributes=_attributes(kin, alike, bounds, words[4:]),
        events=_events(kin.events, words[len(words) - len(kin.events) :]) if kin.layout.events else None,
    )


def _values(alike: Sequence[Alike], bounds: _Bounds) -> tuple[npt.NDArray[np.void], _Words]:
    """The traces' ids, and a row for each of the further fields of the templates' records."""
    fields = alike[0].template.record.names or ()  # the same of all of one kin: numbers
    count = bounds[-1][1]
    trace_id = np.empty(count, TRACE_ID)
    words = np.empty((len(fields) - 1, count), np.uint64)
    columns = [trace_id, *words]
    for (template, matrix), (begin, end) in zip(alike, bounds, strict=True):
        records = matrix.view(template.record)[:, 0]
        for field, column in zip(fields, columns, strict=True):
            column[begin:end] = records[field]
    return trace_id, words


def _fit(trace_id: npt.NDArray[np.void], span_id: _Words, start_ns: _Words, end_ns: _Words) -> Bools:
    """Which spans have ids that aren't all zeros, and times that ascend and exist."""
    halves = trace_id.view(np.uint64)
    traced = (halves[::2] | halves[1::2]) != 0
    fit: Bools = traced & (span_id != 0) & (start_ns > 0) & (start_ns <= end_ns) & (end_ns < END_OF_TIME_NS)
    return fit


def _codes(codes: Sequence[int], count: int, repeats: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The code of each template, so many times; those that don't exist (yet) as 0, unspecified."""
    return np.array([code if code < count else 0 for code in codes], np.uint8).repeat(repeats)


def _attributes(kin: Kin, alike: Sequence[Alike], bounds: _Bounds, words: _Words) -> tuple[Column | None, ...]:
    """The wanted attributes, in the order of the layout's keys; `words`: doubles and integers, and what else follows them."""
    told: dict[int, Column] = dict(zip(kin.doubles, words.view(np.float64), strict=False))
    if kin.integers:
        first = len(kin.doubles)
        sizes = np.array([one.template.sizes for one in alike]).T
        whole = _integers(words[first : first + len(kin.integers)], sizes, [end - begin for begin, end in bounds])
        told.update(zip(kin.integers, whole, strict=True))
    for number, column in enumerate(kin.texts):
        told[column] = _texts([matrix[:, slice(*template.texts[number])] for template, matrix in alike], bounds)
    return tuple([told.get(column) for column in range(len(kin.layout.keys))])


def _integers(words: _Words, sizes: npt.NDArray[np.int64], repeats: Sequence[int]) -> npt.NDArray[np.int64]:
    """The integers of varints that begin where the words do; `sizes` in bytes: a row for each column, in it one for each template."""
    numbers = np.array(_NUMBER, np.uint64)[sizes].repeat(repeats, axis=1)
    numbers &= words
    for lower, gap in _PAIRS[: int(sizes.max() - 1).bit_length()]:
        low = numbers & np.uint64(lower)
        numbers = low | (numbers ^ low) >> np.uint64(gap)
    return numbers.view(np.int64)


def _texts(columns: Sequence[Matrix], bounds: _Bounds) -> Names:
    """The texts of columns of octets, in each of one size; most often there is one text only, such as the name of a model.

    Raises:
        google.protobuf.message.DecodeError: one is no UTF-8.
    """
    places = np.empty(bounds[-1][1], np.int64)
    number_of = numbering()
    for octets, (begin, end) in zip(columns, bounds, strict=True):
        size = octets.shape[1]
        if not size or (octets == octets[0]).all():
            places[begin:end] = number_of[octets[0].tobytes()]  # numpy's own text would lose zeros at the end
            continue
        raws = np.ascontiguousarray(octets).view(f"V{size}")[:, 0].tolist()
        places[begin:end] = np.fromiter(map(number_of.__getitem__, raws), np.int64, len(raws))
    try:
        return Names(list(map(bytes.decode, number_of)), places)
    except UnicodeDecodeError:
        raise WireError from None


def _events(names: tuple[str, ...], times_ns: _Words) -> SpanEvents:
    """The events that have a time: of each span those of its template."""
    timed = (times_ns > 0) & (times_ns < END_OF_TIME_NS)
    name, row = np.nonzero(timed)
    return SpanEvents(names, row, name, times_ns[timed].view(np.int64))

"""From spans that fit a template to a batch: every value is a slice of the matrix of their bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError as WireError

from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, Bools, Column, Ints, SpanBatch, SpanEvents
from infermeter.otlp.columns import END_OF_TIME_NS, TRACE_ID
from infermeter.otlp.template import Matrix, Template


def alike_spans(resource: Mapping[str, AttributeValue], scope: str, template: Template, matrix: Matrix) -> Iterator[SpanBatch]:
    """One batch of the fit ones among the rows; nothing where there is none.

    Raises:
        google.protobuf.message.DecodeError: a wanted text is no UTF-8.
    """
    read = _Marks.of(matrix, template)
    fit = read.fit()
    if not fit.all():
        if not fit.any():
            return
        matrix = matrix[np.flatnonzero(fit)]
        read = _Marks.of(matrix, template)
    count = len(matrix)
    parent_at = template.ids[2]
    yield SpanBatch(
        resource=resource,
        scope=scope,
        layout=template.layout,
        trace_id=read.trace_id,
        span_id=read.span_id,
        parent_id=np.zeros(count, np.uint64) if parent_at is None else _words(matrix, parent_at),
        kind=np.full(count, template.kind if template.kind < len(SPAN_KINDS) else 0, np.uint8),
        status=np.full(count, template.status if template.status < len(STATUS_CODES) else 0, np.uint8),
        start_ns=read.start_ns.view(np.int64),
        end_ns=read.end_ns.view(np.int64),
        attributes=_columns(matrix, template),
        events=_events(matrix, template) if template.layout.events else None,
    )


class _Marks(NamedTuple):
    """By what spans are fit or not."""

    trace_id: npt.NDArray[np.void]
    span_id: npt.NDArray[np.uint64]
    start_ns: npt.NDArray[np.uint64]
    end_ns: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, matrix: Matrix, template: Template) -> _Marks:
        trace_at, span_at, _ = template.ids
        trace_id = np.ndarray(len(matrix), TRACE_ID, matrix, trace_at, matrix.strides[:1]).copy()
        return cls(trace_id, _words(matrix, span_at), *(_words(matrix, at) for at in template.times))

    def fit(self) -> Bools:
        """Which rows have ids that aren't all zeros, and times that ascend and exist."""
        halves = self.trace_id.view(np.uint64)
        traced = (halves[::2] | halves[1::2]) != 0
        fit: Bools = traced & (self.span_id != 0) & (self.start_ns > 0) & (self.start_ns <= self.end_ns) & (self.end_ns < END_OF_TIME_NS)
        return fit


def _words(matrix: Matrix, at: int) -> npt.NDArray[np.uint64]:
    """The eight bytes from an offset on of each row, as one number."""
    return np.ndarray(len(matrix), "<u8", matrix, at, matrix.strides[:1]).astype(np.uint64)


def _columns(matrix: Matrix, template: Template) -> tuple[Column | None, ...]:
    """The wanted attributes, in the order of the layout's keys."""
    told: dict[int, Column] = {
        column: np.ndarray(len(matrix), "<f8", matrix, at, matrix.strides[:1]).astype(np.float64) for column, at in template.doubles
    }
    for column, begin, end in template.integers:
        told[column] = _integers(matrix, begin, end)
    for column, begin, end in template.texts:
        told[column] = _texts(matrix[:, begin:end])
    return tuple(told.get(column) for column in range(len(template.layout.keys)))


def _integers(matrix: Matrix, begin: int, end: int) -> Ints:
    """The integers of varints of one size, which stand between two offsets, a row each."""
    if end - begin == 2:  # as most counts of tokens
        pairs = np.ndarray(len(matrix), "<u2", matrix, begin, matrix.strides[:1])
        return (pairs & 0x7F | (pairs & 0x7F00) >> 1).astype(np.int64)
    whole = np.zeros(len(matrix), np.int64)
    for place in range(end - begin):
        whole |= (matrix[:, begin + place] & 0x7F).astype(np.int64) << (7 * place)
    return whole


def _texts(octets: Matrix) -> Column:
    """The texts of one size, a row each; most often there is one only, such as the name of a model.

    Raises:
        google.protobuf.message.DecodeError: one is no UTF-8.
    """
    count, size = octets.shape
    try:
        if not size or (octets == octets[0]).all():
            same = np.empty(count, np.object_)
            same.fill(octets[0].tobytes().decode())  # numpy's own text would lose zeros at the end
            return same
        raws = np.ascontiguousarray(octets).view(f"V{size}")[:, 0].tolist()
        known = {raw: raw.decode() for raw in set(raws)}
    except UnicodeDecodeError:
        raise WireError from None
    return np.fromiter([known[raw] for raw in raws], np.object_, count)


def _events(matrix: Matrix, template: Template) -> SpanEvents:
    """The events that have a time: of each span those of the template."""
    count, each = len(matrix), len(template.events)
    times_ns = np.array([_words(matrix, at) for _, at in template.events], np.uint64).reshape(each, count)
    timed = (times_ns > 0) & (times_ns < END_OF_TIME_NS)
    name, row = np.nonzero(timed)
    return SpanEvents(tuple(name for name, _ in template.events), row, name, times_ns[timed].view(np.int64))

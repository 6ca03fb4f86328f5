"""From spans that fit a template to a batch: every value is a slice of the matrix of their bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat

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
    start_ns, end_ns = (_words(matrix, at) for at in template.times)
    fit = _fit(matrix, template, start_ns, end_ns)
    if not fit.all():
        if not fit.any():
            return
        rows = np.flatnonzero(fit)
        matrix, start_ns, end_ns = matrix[rows], start_ns[rows], end_ns[rows]
    count = len(matrix)
    trace_at, span_at, parent_at = template.ids
    yield SpanBatch(
        resource=resource,
        scope=scope,
        layout=template.layout,
        trace_id=np.ndarray(count, TRACE_ID, matrix, trace_at, matrix.strides[:1]).copy(),
        span_id=_words(matrix, span_at),
        parent_id=np.zeros(count, np.uint64) if parent_at is None else _words(matrix, parent_at),
        kind=np.full(count, template.kind if template.kind < len(SPAN_KINDS) else 0, np.uint8),
        status=np.full(count, template.status if template.status < len(STATUS_CODES) else 0, np.uint8),
        start_ns=start_ns.view(np.int64),
        end_ns=end_ns.view(np.int64),
        attributes=_columns(matrix, template),
        events=_events(matrix, template) if template.layout.events else None,
    )


def _words(matrix: Matrix, at: int) -> npt.NDArray[np.uint64]:
    """The eight bytes from an offset on of each row, as one number."""
    return np.ndarray(len(matrix), "<u8", matrix, at, matrix.strides[:1]).astype(np.uint64)


def _fit(matrix: Matrix, template: Template, start_ns: npt.NDArray[np.uint64], end_ns: npt.NDArray[np.uint64]) -> Bools:
    """Which rows have ids that aren't all zeros, and times that ascend and exist."""
    trace_at, span_at, _ = template.ids
    traced = (_words(matrix, trace_at) | _words(matrix, trace_at + 8)) != 0
    fit: Bools = traced & (_words(matrix, span_at) != 0) & (start_ns > 0) & (start_ns <= end_ns) & (end_ns < END_OF_TIME_NS)
    return fit


def _columns(matrix: Matrix, template: Template) -> tuple[Column | None, ...]:
    """The wanted attributes, in the order of the layout's keys."""
    told: dict[int, Column] = {
        column: np.ndarray(len(matrix), "<f8", matrix, at, matrix.strides[:1]).astype(np.float64) for column, at in template.doubles
    }
    for column, begin, end in template.integers:
        told[column] = _integers(matrix[:, begin:end])
    for column, begin, end in template.texts:
        told[column] = _texts(matrix[:, begin:end])
    return tuple(told.get(column) for column in range(len(template.layout.keys)))


def _integers(octets: Matrix) -> Ints:
    """The integers of varints of one size, a row each."""
    whole = np.zeros(len(octets), np.int64)
    for place in range(octets.shape[1]):
        whole |= (octets[:, place] & 0x7F).astype(np.int64) << (7 * place)
    return whole


def _texts(octets: Matrix) -> Column:
    """The texts of one size, a row each; most often there is one only, such as the name of a model.

    Raises:
        google.protobuf.message.DecodeError: one is no UTF-8.
    """
    count, size = octets.shape
    try:
        if not size or (octets == octets[0]).all():
            text = octets[0].tobytes().decode()
            return np.fromiter(repeat(text, count), np.object_, count)  # numpy's own text would lose zeros at the end
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

"""Templates: spans of one length and layout, decoded together as a matrix of bytes. Pure.

A server's spans look alike: the same attributes in the same order, in values of the same size. A template is made from one of them. It
knows which bytes are structure (tags, lengths, keys, the span's name), which must be the same in every span that fits it, and where
the values stand, which may be anything. Whether spans fit is one comparison of the matrix; then each value is a slice of it. What fits
no template is read by protobuf's own parser, which is also what the tests compare this with: the result is the same to the bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError as WireError

from infermeter.model import AttributeValue, Column, Ints, Layout, SpanFilter
from infermeter.otlp.columns import END_OF_TIME_NS
from infermeter.otlp.template import Matrix, Template, matrix_of, template_of

LEAST_ROWS: Final = 16
"""So many spans of one length, or of one template, are worth the fixed costs of a matrix."""

LONGEST_BYTES: Final = 8192
"""Longer spans hold prompts, or something else that makes each of them different."""

MOST_TEMPLATES: Final = 512
"""Kept at a time, and looked for in vain; then all are made anew. A sender controls how many there could be."""

MOST_ALIKE: Final = 16
"""Templates of one scope and length: each is one comparison more for all spans of that length."""

LONGEST_SCOPE: Final = 256
"""Characters of a scope's name; spans of longer ones fit no template."""

MOST_FAILURES: Final = 3
"""So often is a template looked for in vain for spans of one scope and length."""


class Templates:
    """The templates of the spans that were seen, for one filter."""

    def __init__(self, wanted: SpanFilter) -> None:
        self._wanted = wanted
        self._known: dict[tuple[str, int], list[Template]] = {}
        self._failures: Counter[tuple[str, int]] = Counter()
        self._count = 0

    def decoded(self, raws: Sequence[bytes], scope: str) -> tuple[list[AlikeSpans], list[bytes]]:
        """Serialised spans of one scope: those that fit a template, by layout, and those that don't.

        Raises:
            google.protobuf.message.DecodeError: a wanted text is no UTF-8.
        """
        of_length: dict[int, list[bytes]] = {}
        for raw in raws:
            of_length.setdefault(len(raw), []).append(raw)
        alike: dict[Layout, AlikeSpans] = {}
        others: list[bytes] = []
        for length_bytes, group in of_length.items():
            if len(group) >= LEAST_ROWS and length_bytes <= LONGEST_BYTES and len(scope) <= LONGEST_SCOPE:
                others += self._fitting(group, scope, alike)
            else:
                others += group
        return list(alike.values()), others

    def _fitting(self, raws: list[bytes], scope: str, alike: dict[Layout, AlikeSpans]) -> list[bytes]:
        """Takes the spans (of one length) that fit a template; what is left. New templates are made while that is worth it."""
        if self._count >= MOST_TEMPLATES or len(self._failures) >= MOST_TEMPLATES:
            self._known.clear()
            self._failures.clear()
            self._count = 0
        place = (scope, len(raws[0]))
        left = _Left(raws, matrix_of(raws))
        for template in self._known.get(place, ()):
            left = left.without_fitting(template, alike)
        while len(left.raws) >= LEAST_ROWS and self._failures[place] < MOST_FAILURES and len(self._known.get(place, ())) < MOST_ALIKE:
            made = template_of(left.raws[0], scope, self._wanted)
            rest = left if made is None else left.without_fitting(made, alike)
            if made is None or rest is left:
                self._failures[place] += 1
                break
            self._keep(place, made)
            left = rest
        return left.raws

    def _keep(self, place: tuple[str, int], template: Template) -> None:
        self._known.setdefault(place, []).append(template)
        self._count += 1


class _Left(NamedTuple):
    """Spans of one length that fit no template yet: as they came, and as a matrix."""

    raws: list[bytes]
    matrix: Matrix

    def without_fitting(self, template: Template, alike: dict[Layout, AlikeSpans]) -> _Left:
        """Those that don't fit; the others go to the spans of their layout. All of them, if too few fit."""
        if len(self.raws) < LEAST_ROWS:
            return self
        fits = template.fits(self.matrix)
        rows = np.flatnonzero(fits).tolist()
        if len(rows) < LEAST_ROWS:
            return self
        spans = alike.setdefault(template.layout, AlikeSpans(template.layout))
        if len(rows) == len(self.raws):
            spans.add(template, self.matrix, self.raws)
            return _Left([], self.matrix[:0])
        spans.add(template, self.matrix[rows], [self.raws[row] for row in rows])
        rest = np.flatnonzero(~fits).tolist()
        return _Left([self.raws[row] for row in rest], self.matrix[rest])


class AlikeSpans:
    """`columns.ScopeSpans` over spans that fit templates of one layout."""

    def __init__(self, layout: Layout) -> None:
        self.trace_id: list[bytes] = []
        self.span_id: list[bytes] = []
        self.parent_id: list[bytes] = []
        self.name: list[str] = []
        self.kind: list[int] = []
        self.status: list[int] = []
        self.start_ns: list[int] = []
        self.end_ns: list[int] = []
        self._pieces: dict[str, list[Column]] = {key: [] for key in layout.keys}
        self._events: list[list[tuple[str, int]]] = []

    def add(self, template: Template, matrix: Matrix, raws: Sequence[bytes]) -> None:
        """Adds spans that fit a template: as a matrix, and as they came.

        Raises:
            google.protobuf.message.DecodeError: a wanted text is no UTF-8.
        """
        rows = len(raws)
        (trace, trace_end), (span, span_end), (parent, parent_end) = template.ids
        self.trace_id += [raw[trace:trace_end] for raw in raws]
        self.span_id += [raw[span:span_end] for raw in raws]
        self.parent_id += [raw[parent:parent_end] for raw in raws]
        self.name += [template.name] * rows
        self.kind += [template.kind] * rows
        self.status += [template.status] * rows
        eights = np.ascontiguousarray(matrix[:, template.eights]).view("<u8")
        self.start_ns += eights[:, 0].tolist()
        self.end_ns += eights[:, 1].tolist()
        told: dict[int, Column] = {}
        behind = 2 + len(template.doubles)
        if template.doubles:
            told |= zip(template.doubles, np.ascontiguousarray(eights[:, 2:behind].view("<f8").T), strict=True)
        self._events += _events(template.events, eights[:, behind:])
        if template.integers:
            told |= zip(template.integers, _integers(matrix, template.integer_bytes).T, strict=True)
        for i, begin, end in template.texts:
            told[i] = _texts([raw[begin:end] for raw in raws])
        for i, pieces in enumerate(self._pieces.values()):
            pieces.append(told.get(i, [None] * rows))

    def attributes(self, keys: tuple[str, ...], rows: Sequence[int]) -> tuple[Column, ...]:
        """A column for each key of the layout."""
        columns = [_joined(self._pieces[key]) for key in keys]
        if len(rows) == len(self.name):
            return tuple(columns)
        return tuple(column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows] for column in columns)

    def events(self, rows: Sequence[int]) -> list[list[tuple[str, int]]]:
        """Names and times of the events that have a time; none where the layout doesn't want them."""
        return self._events if len(rows) == len(self._events) else [self._events[row] for row in rows]


def _events(names: Sequence[str], times_ns: npt.NDArray[np.uint64]) -> list[list[tuple[str, int]]]:
    """The events of spans that have the same: their names, and a row of times for each span."""
    told = [list(zip(names, row, strict=True)) for row in times_ns.tolist()]
    if ((times_ns == 0) | (times_ns >= END_OF_TIME_NS)).any():
        return [[event for event in events if 0 < event[1] < END_OF_TIME_NS] for events in told]
    return told


def _integers(matrix: Matrix, offsets: Ints) -> Ints:
    """The integers whose bytes stand at these offsets, shape (integers, bytes): a column each."""
    octets = matrix[:, offsets].astype(np.int64) & 0x7F
    whole: Ints = (octets << (7 * np.arange(offsets.shape[1]))).sum(axis=2)
    return whole


def _joined(pieces: Sequence[Column]) -> Column:
    """A column end to end: an array, if all of its pieces are arrays of one type."""
    arrays = [piece for piece in pieces if isinstance(piece, np.ndarray)]
    if len(arrays) == len(pieces) and len({array.dtype for array in arrays}) == 1:
        return np.concatenate(arrays)  # type: ignore[return-value]  # of the one type that they have
    return [value for piece in pieces for value in (piece.tolist() if isinstance(piece, np.ndarray) else piece)]


def _texts(raws: Sequence[bytes]) -> list[AttributeValue | None]:
    try:
        known = {raw: raw.decode() for raw in set(raws)}
    except UnicodeDecodeError:
        raise WireError from None
    return [known[raw] for raw in raws]

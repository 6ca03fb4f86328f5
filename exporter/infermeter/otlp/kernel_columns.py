"""From what the compiled kernel has written to a batch of spans: columns are views of one block of memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infermeter.model import AttributeValue, Column, Layout, Names, SpanBatch, SpanEvents
from infermeter.otlp.columns import TRACE_ID

_DOUBLE, _INTEGER, _TEXT, _TRUTH = 1, 2, 3, 4


class Written(NamedTuple):
    """A batch but for its texts. `words`: ids of traces (two rows), of spans, of parents, starts, ends, and the values of each key.

    `octets`: the type of the value of each key, kinds, and status codes. `told`: for each key how many spans have it, and a bit for each
    type that its values have.
    """

    resource: Mapping[str, AttributeValue]
    scope: str
    layout: Layout
    words: npt.NDArray[np.uint64]
    octets: npt.NDArray[np.uint8]
    told: Sequence[tuple[int, int]]
    events: SpanEvents | None

    def batch(self, texts: Sequence[str]) -> SpanBatch:
        """The whole, with the texts by their numbers."""
        words, octets = self.words, self.octets
        return SpanBatch(
            resource=self.resource,
            scope=self.scope,
            layout=self.layout,
            trace_id=np.ndarray(words.shape[1], TRACE_ID, words),
            span_id=words[2],
            parent_id=words[3],
            kind=octets[-2],
            status=octets[-1],
            start_ns=words[4].view(np.int64),
            end_ns=words[5].view(np.int64),
            attributes=tuple([_column(*told, words[6 + i], octets[i], texts) for i, told in enumerate(self.told)]),
            events=self.events,
        )


def _column(count: int, types: int, bits: npt.NDArray[np.uint64], type_of: npt.NDArray[np.uint8], texts: Sequence[str]) -> Column | None:
    """The values of a key, of which so many are there, and that have these types (a bit for each)."""
    if not count:
        return None
    if count == len(bits) and types in (1 << _DOUBLE, 1 << _INTEGER, 1 << _TEXT):
        return _values(types.bit_length() - 1, bits, texts)
    column = np.full(len(bits), None, np.object_)
    column[type_of == _TRUTH] = bits[type_of == _TRUTH] != 0
    for one in (_DOUBLE, _INTEGER, _TEXT):
        values = _values(one, bits[type_of == one], texts)
        column[type_of == one] = values.objects() if isinstance(values, Names) else values
    return column


def _values(of_type: int, bits: npt.NDArray[np.uint64], texts: Sequence[str]) -> Column:
    """The values of one type."""
    if of_type == _DOUBLE:
        return bits.view(np.float64)
    return bits.view(np.int64) if of_type == _INTEGER else Names(texts, bits.view(np.int64)).needed()

"""Serialised AnyValue messages to values, a column at a time. Pure.

A column is one attribute of many spans, so its values have one type almost always: a column of doubles, which is most of what
inference servers tell, and a column of integers are converted as one block each.

Source: opentelemetry-proto common/v1/common.proto, AnyValue; protobuf encoding guide.
"""

from __future__ import annotations

import numpy as np

from infermeter.model import AttributeValue, Column, Ints
from infermeter.otlp.columns import objects
from infermeter.otlp.messages import ANY_VALUE

_DOUBLE_TAG = b"\x21"
_DOUBLE_BYTES = 9
_INTEGER_TAG = 0x18
_VARINT_BYTES = 10
_BLOCK = 16
"""Columns shorter than this are converted value by value: a block has fixed costs."""


def column_values(column: list[bytes]) -> Column | None:
    """A column of AnyValue messages: None in it where one is empty or holds no scalar, and in its place where all are.

    Raises:
        google.protobuf.message.DecodeError: some are no such messages.
    """
    lengths = set(map(len, column))
    joined = b"".join(column)
    if lengths == {_DOUBLE_BYTES} and joined[::_DOUBLE_BYTES] == _DOUBLE_TAG * len(column):
        return np.ndarray(len(column), "<f8", joined, offset=1, strides=(_DOUBLE_BYTES,)).astype(np.float64)
    if len(column) >= _BLOCK and 0 not in lengths and max(lengths) <= 1 + _VARINT_BYTES and joined[0] == _INTEGER_TAG:
        integers = _integers(column, joined)
        if integers is not None:
            return integers
    known = {raw: value_of(raw) if raw else None for raw in set(column)}
    return objects([known[raw] for raw in column])


def value_of(raw: bytes) -> AttributeValue | None:
    """The value of one AnyValue message, None where it is empty or holds no scalar.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    message = ANY_VALUE.FromString(raw)
    told = message.WhichOneof("value")
    return getattr(message, told) if told else None


def _integers(column: list[bytes], joined: bytes) -> Ints | None:
    """The values of a column, if each is the tag of an integer and one varint of at most 10 bytes."""
    octets = np.frombuffer(joined, np.uint8)
    ends = np.fromiter(map(len, column), np.intp, len(column)).cumsum()
    starts = np.concatenate(([0], ends[:-1]))
    goes_on = octets >= 0x80
    goes_on[starts] = True
    if (octets[starts] != _INTEGER_TAG).any() or not np.array_equal(np.flatnonzero(~goes_on), ends - 1):
        return None
    bits = (octets & 0x7F).astype(np.uint64)
    bits[starts] = 0
    shifts = 7 * (np.arange(len(octets)) - np.repeat(starts, np.diff(ends, prepend=0)) - 1)
    shifts[starts] = 0
    whole: Ints = np.add.reduceat(bits << shifts.astype(np.uint64), starts).view(np.int64)
    return whole

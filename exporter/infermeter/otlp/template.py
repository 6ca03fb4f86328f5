"""One template: where things stand in spans that are alike, found by a walk over the wire format of one of them. Pure.

Some bytes of a span are structure (tags, lengths, keys, the span's name) and must be the same in every span that fits; where values stand
there may be anything. A varint's size is structure too: its bytes that go on, and the one that doesn't.

Source: protobuf encoding guide; opentelemetry-proto trace/v1/trace.proto, common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from infermeter.model import Ints, Layout, SpanFilter

MOST_FIELDS: Final = 256
"""Spans of more fit no template."""

Matrix = npt.NDArray[np.uint8]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TRACE_ID, _SPAN_ID, _PARENT_ID, _NAME, _KIND, _START, _END, _ATTRIBUTE, _EVENT, _STATUS = 1, 2, 4, 5, 6, 7, 8, 9, 11, 15
_KNOWN = frozenset({_TRACE_ID, _SPAN_ID, _PARENT_ID, _NAME, _KIND, _START, _END, _ATTRIBUTE, _EVENT, _STATUS})
_KEY, _VALUE = 1, 2
_TEXT, _INTEGER, _DOUBLE = 1, 3, 4
_STATUS_CODE = 3
_EVENT_TIME, _EVENT_NAME = 1, 2
_GOES_ON = 0x80
_LONGEST_TAG = 4
_LONGEST_INTEGER = 9
"""Bytes of a varint that is positive; a negative one has ten."""

WORD_BYTES: Final = 8
"""As a value is read from a matrix, whatever its size: so a wanted integer has no more bytes."""

_TRACE_ID_BYTES = 16


class _Field(NamedTuple):
    """One field on the wire: its number, its type, and where its value begins and ends (for bytes: their content)."""

    number: int
    wire_type: int
    begin: int
    end: int


_Place: TypeAlias = tuple[int, int, int]
"""The column of a wanted attribute, and where its value begins and ends."""


class Kin(NamedTuple):
    """What templates have in common whose spans can be one batch, wherever the values stand in them.

    `doubles`, `integers` and `texts` are columns of the layout; `events` names.
    """

    layout: Layout
    doubles: tuple[int, ...]
    integers: tuple[int, ...]
    texts: tuple[int, ...]
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Where things stand in spans that are alike.

    `mask` and `structure` are words. `record` is what a row of their matrix holds: the trace's id, and a word for each value that is no
    text, in this order: ids of span and parent, start, end, and as the kin has them doubles, integers (`sizes` of which are in bytes)
    and times of events. `texts`: where each begins and ends.
    """

    mask: npt.NDArray[np.uint64]
    structure: npt.NDArray[np.uint64]
    kin: Kin
    kind: int
    status: int
    record: np.dtype[np.void]
    sizes: tuple[int, ...]
    texts: tuple[tuple[int, int], ...]

    def misfits(self, matrix: Matrix) -> Ints:
        """The rows of a matrix of spans of this length, padded with zeros to whole words, that have another structure."""
        same = (matrix.view(np.uint64) & self.mask) == self.structure
        if same.all():
            return _NO_ROWS
        rows: Ints = np.flatnonzero(~same.all(axis=1))
        return rows


_NO_ROWS: Final = np.empty(0, np.int64)


def padded_bytes(length_bytes: int) -> int:
    """The width of a matrix of spans of this length: whole words, of which one at least would be zero behind the span."""
    return (length_bytes + 2 * WORD_BYTES - 1) // WORD_BYTES * WORD_BYTES


def matrix_of(raws: Sequence[bytes]) -> Matrix:
    """Spans of one length as rows, to be read only."""
    length_bytes = len(raws[0])
    width = padded_bytes(length_bytes)
    return np.frombuffer(bytes(width - length_bytes).join([*raws, b""]), np.uint8).reshape(len(raws), width)


def template_of(raw: bytes, scope: str, wanted: SpanFilter) -> Template | None:
    """The template of one span; None where it has something that templates don't know: then it is left to protobuf's parser.

    That is: a singular field given twice, events with several attributes, ids of another length, wanted values that are no text, integer or
    double, integers that are negative or above 2**56, groups, and anything damaged.
    """
    try:
        return _template(raw, list(islice(_fields(raw, 0, len(raw)), MOST_FIELDS + 1)), scope, wanted)
    except (_UnknownError, UnicodeDecodeError):
        return None


class _UnknownError(Exception):
    """Something that templates don't know."""


def _template(raw: bytes, fields: Sequence[_Field], scope: str, wanted: SpanFilter) -> Template:
    repeated = {number: [field for field in fields if field.number == number] for number in (_ATTRIBUTE, _EVENT)}
    singular = {field.number: field for field in fields if field.number not in repeated}
    if len(fields) > MOST_FIELDS or len(singular) + sum(map(len, repeated.values())) != len(fields):
        raise _UnknownError
    name = raw[singular[_NAME].begin : singular[_NAME].end].decode() if _typed(singular, _NAME, _BYTES) else ""
    layout = wanted.layout(scope, name)
    mask = bytearray(b"\xff" * len(raw))
    for field in singular.values():
        if field.number not in _KNOWN and field.wire_type == _BYTES:
            mask[field.begin : field.end] = bytes(field.end - field.begin)
    size = padded_bytes(len(raw))
    trace = _free(mask, singular, _TRACE_ID, _BYTES, _TRACE_ID_BYTES)
    span = _free(mask, singular, _SPAN_ID, _BYTES, 8)
    parent = _free(mask, singular, _PARENT_ID, _BYTES, 8) if _PARENT_ID in singular else size - WORD_BYTES
    times = [_free(mask, singular, number, _FIXED64, 8) for number in (_START, _END)]
    doubles, integers, texts = _attributes(raw, mask, repeated[_ATTRIBUTE], layout)
    events = _events(raw, mask, repeated[_EVENT])
    masked = np.frombuffer(bytes(mask).ljust(size, b"\x00"), np.uint8)
    wanted_events = events if layout.events else []
    of_doubles, of_integers, of_texts = (tuple(column for column, _, _ in places) for places in (doubles, integers, texts))
    words = [span, parent, *times, *(begin for _, begin, _ in doubles + integers), *(begin for _, begin in wanted_events)]
    return Template(
        mask=masked.view(np.uint64),
        structure=(masked & np.frombuffer(raw.ljust(size, b"\x00"), np.uint8)).view(np.uint64),
        kin=Kin(layout, of_doubles, of_integers, of_texts, tuple(name for name, _ in wanted_events)),
        kind=_enum(raw, singular[_KIND]) if _typed(singular, _KIND, _VARINT) else 0,
        status=_status(raw, singular),
        record=_record([trace, *words], size),
        sizes=tuple(end - begin for _, begin, end in integers),
        texts=tuple((begin, end) for _, begin, end in texts),
    )


def _record(offsets: Sequence[int], size: int) -> np.dtype[np.void]:
    """Of this size: a trace's id, and words, that begin at these offsets."""
    formats = [f"V{_TRACE_ID_BYTES}"] + ["<u8"] * (len(offsets) - 1)
    return np.dtype({"names": [str(number) for number in range(len(offsets))], "formats": formats, "offsets": offsets, "itemsize": size})


def _attributes(raw: bytes, mask: bytearray, fields: Sequence[_Field], layout: Layout) -> tuple[list[_Place], list[_Place], list[_Place]]:
    """Frees the values in the mask; the places of those that are wanted: doubles, integers, texts."""
    of_key = {key: column for column, key in enumerate(layout.keys)}
    places: dict[tuple[int, int], list[_Place]] = {(_DOUBLE, _FIXED64): [], (_INTEGER, _VARINT): [], (_TEXT, _BYTES): []}
    for field in fields:
        if field.wire_type != _BYTES:
            raise _UnknownError
        entry = {inner.number: inner for inner in _fields(raw, field.begin, field.end)}
        if entry.keys() != {_KEY, _VALUE} or any(inner.wire_type != _BYTES for inner in entry.values()):
            raise _UnknownError
        key = raw[entry[_KEY].begin : entry[_KEY].end].decode()
        begin, end = entry[_VALUE].begin, entry[_VALUE].end
        if key not in layout.keys:
            mask[begin:end] = bytes(end - begin)
            continue
        value = next(_fields(raw, begin, end), None)
        if key not in of_key or value is None or value.end != end or value[:2] not in places:
            raise _UnknownError
        if value.wire_type == _VARINT and value.end - value.begin > WORD_BYTES:
            raise _UnknownError
        places[value[:2]].append((of_key.pop(key), value.begin, value.end))
        mask[value.begin : value.end] = bytes([_GOES_ON if value.wire_type == _VARINT else 0]) * (value.end - value.begin)
    doubles, integers, texts = places.values()
    return doubles, integers, texts


def _events(raw: bytes, mask: bytearray, fields: Sequence[_Field]) -> list[tuple[str, int]]:
    """Frees the times of events in the mask, and what else is in them; the name of each that has a time, and where that begins."""
    events: list[tuple[str, int]] = []
    for field in fields:
        if field.wire_type != _BYTES:
            raise _UnknownError
        inner = list(_fields(raw, field.begin, field.end))
        entry = {one.number: one for one in inner}
        if len(entry) != len(inner):
            raise _UnknownError
        name = raw[entry[_EVENT_NAME].begin : entry[_EVENT_NAME].end].decode() if _typed(entry, _EVENT_NAME, _BYTES) else ""
        for one in inner:
            if one.number != _EVENT_NAME and one.wire_type == _BYTES:
                mask[one.begin : one.end] = bytes(one.end - one.begin)
        if _typed(entry, _EVENT_TIME, _FIXED64):
            events.append((name, _free(mask, entry, _EVENT_TIME, _FIXED64, 8)))
    return events


def _typed(fields: dict[int, _Field], number: int, wire_type: int) -> bool:
    """Whether there is a field; of another wire type it isn't known."""
    if number in fields and fields[number].wire_type != wire_type:
        raise _UnknownError
    return number in fields


def _free(mask: bytearray, fields: dict[int, _Field], number: int, wire_type: int, size: int) -> int:
    """Frees the value of a field of this size in the mask; where it begins."""
    if not _typed(fields, number, wire_type) or fields[number].end - fields[number].begin != size:
        raise _UnknownError
    begin = fields[number].begin
    mask[begin : begin + size] = bytes(size)
    return begin


def _status(raw: bytes, fields: dict[int, _Field]) -> int:
    """The status code, which is structure."""
    if not _typed(fields, _STATUS, _BYTES):
        return 0
    inner = [field for field in _fields(raw, fields[_STATUS].begin, fields[_STATUS].end) if field.number == _STATUS_CODE]
    if len(inner) > 1 or any(field.wire_type != _VARINT for field in inner):
        raise _UnknownError
    return _enum(raw, inner[0]) if inner else 0


def _enum(raw: bytes, field: _Field) -> int:
    """A small number."""
    if field.end - field.begin != 1:
        raise _UnknownError
    return raw[field.begin]


def _fields(raw: bytes, begin: int, end: int) -> Iterator[_Field]:
    """The fields of a message that lies between two offsets. Source: protobuf encoding guide."""
    at = begin
    while at < end:
        tag, at = _varint(raw, at, end, _LONGEST_TAG)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            stop = _varint(raw, at, end, _LONGEST_INTEGER)[1]
        elif wire_type == _BYTES:
            size, at = _varint(raw, at, end, _LONGEST_TAG)
            stop = at + size
        elif wire_type in (_FIXED64, _FIXED32):
            stop = at + (8 if wire_type == _FIXED64 else 4)
        else:
            raise _UnknownError
        if stop > end or number == 0:
            raise _UnknownError
        yield _Field(number, wire_type, at, stop)
        at = stop


def _varint(raw: bytes, begin: int, end: int, longest: int) -> tuple[int, int]:
    """A varint of at most so many bytes, and the offset behind it."""
    value = 0
    for i, byte in enumerate(raw[begin : min(end, begin + longest)]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < _GOES_ON:
            return value, begin + i + 1
    raise _UnknownError

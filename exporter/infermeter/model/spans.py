"""Spans, on their way from otlp to mapping, and exports as they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from infermeter.model.kinds import AttributeValue, Column


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What the mapping wants read from one kind of span; made by a `SpanFilter`, compared by identity.

    `keys` are the attribute keys, in the order of `SpanBatch.attributes`; anything else in a span is never copied out of the wire
    format, prompts least of all. `events` tells whether event names and times are needed.
    """

    keys: tuple[str, ...]
    events: bool


class SpanFilter(Protocol):
    """What a decoder asks of the mapping, so that it reads only what some rule needs."""

    @property
    def resource_keys(self) -> frozenset[str]:
        """Resource attributes that some rule reads."""
        ...

    def layout(self, scope: str, name: str, /) -> Layout:
        """The layout for spans of this scope and name: a small closed set, however many names a sender invents."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SpanBatch:
    """Spans of one resource, one scope and one layout, as parallel columns in any order (all of one length, at least 1).

    Ids are raw bytes (trace 16, span 8, parent 8 or empty for none), already checked; `kind` indexes SPAN_KINDS, `status`
    STATUS_CODES; `start_ns <= end_ns`. `attributes[i]` is the column of `layout.keys[i]`, None where a span lacks it (or where it
    holds an array, a map or bytes). `events` holds for each span its events as (name, unix nanoseconds), in their order, or is
    empty where the layout doesn't want them.
    """

    resource: Mapping[str, AttributeValue]
    scope: str
    layout: Layout
    trace_id: Sequence[bytes]
    span_id: Sequence[bytes]
    parent_id: Sequence[bytes]
    name: Sequence[str]
    kind: Sequence[int]
    status: Sequence[int]
    start_ns: Sequence[int]
    end_ns: Sequence[int]
    attributes: tuple[Column, ...]
    events: Sequence[Sequence[tuple[str, int]]]

    def __len__(self) -> int:
        return len(self.span_id)


@dataclass(frozen=True, slots=True)
class Export:
    """One decoded export: its batches, and how many of its spans were unfit (bad id, end before start, absurd time).

    `outermost` holds the ids of the first and the last span as they were sent: an export that comes again has the same.
    """

    batches: tuple[SpanBatch, ...]
    spans: int
    malformed: int
    outermost: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An export that was taken, as it was sent: to be passed on. `spans` are all that it holds, `unpacked_bytes` is its length unpacked.

    `passed_by` names the sidecars that it has come through, this one too: whoever is among them has had it.
    """

    body: bytes
    encoding: Literal["protobuf", "json"]
    packing: Literal["identity", "gzip"]
    spans: int
    unpacked_bytes: int
    passed_by: tuple[str, ...] = ()

"""Spans, on their way from otlp to mapping, and exports as they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from infermeter.model.kinds import AttributeValue, Floats, Ints
from infermeter.model.names import Names

Column: TypeAlias = Floats | Ints | Names | npt.NDArray[np.object_]
"""An attribute of many spans: numbers or texts where each tells one of that type, else objects (`AttributeValue`), None where a span
lacks it. A column of texts may be either."""


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
class SpanEvents:
    """The events of some spans, in any order: of each the row of its span, its name as a place in `names`, and unix nanoseconds."""

    names: Sequence[str]
    row: Ints
    name: Ints
    time_ns: Ints


@dataclass(frozen=True, slots=True, eq=False)
class SpanBatch:
    """Spans of one resource, one scope and one layout, as parallel columns in any order (all of one length, at least 1).

    `trace_id` has 16 raw bytes in a row (dtype V16), `span_id` and `parent_id` their 8 bytes as one number, 0 for no parent: all checked,
    and to be compared only. `kind` indexes SPAN_KINDS, `status` STATUS_CODES; `start_ns <= end_ns`. `attributes[i]` is the column of
    `layout.keys[i]`, None where none of the spans has it (as a scalar). `events` is None where the layout doesn't want them.
    """

    resource: Mapping[str, AttributeValue]
    scope: str
    layout: Layout
    trace_id: npt.NDArray[np.void]
    span_id: npt.NDArray[np.uint64]
    parent_id: npt.NDArray[np.uint64]
    kind: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]
    start_ns: Ints
    end_ns: Ints
    attributes: tuple[Column | None, ...]
    events: SpanEvents | None

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

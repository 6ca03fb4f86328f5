"""What a decoder of protobuf exports can do: judge one at once, and decode many of those that it judged together. Pure.

An export is answered once it was judged. Decoding costs least for many spans at a time, so what was judged may wait for company.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from infermeter.model import SpanBatch


class Checked(NamedTuple):
    """What is known of an export that can be decoded later without fail. `malformed` of its `spans` will be left out.

    `outermost`: the ids of its first and its last span as they were sent, as in `Export`.
    """

    spans: int
    malformed: int
    outermost: tuple[bytes, bytes]


class Decoder(Protocol):
    """For one filter of what is wanted of spans."""

    def checked(self, body: bytes) -> Checked | None:
        """Judges one serialised ExportTraceServiceRequest; None: it is to be decoded at once and by itself, which may fail."""
        ...

    def batches(self, bodies: Sequence[bytes]) -> Sequence[SpanBatch]:
        """The spans of bodies that were `checked`, those of one resource, scope and layout together; without those that are malformed."""
        ...

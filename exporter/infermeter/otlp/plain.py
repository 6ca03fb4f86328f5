"""The decoder of small exports that is there everywhere: protobuf's parser judges each, templates decode them together. Pure.

An export of few spans costs most of what it costs per layout and per message, not per span. Joined, serialised messages are one message:
so many exports are parsed as one, and what is told of one server in one scope is decoded as if it had come at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError as WireError

from infermeter.model import AttributeValue, SpanBatch, SpanFilter
from infermeter.otlp.columns import fit_rows
from infermeter.otlp.decoder import Checked
from infermeter.otlp.messages import POOLED_EXPORT_REQUEST, RESOURCE, SCOPE, STRICT_EXPORT_REQUEST, Message
from infermeter.otlp.protobuf import raw_batches, resource_of
from infermeter.otlp.templates import Templates

SMALL_BYTES: Final = 3 * 2**15
"""Larger exports are decoded at once: they hold enough spans of each layout, and to judge them is to parse them once more.

Where both cost the same hangs on what spans are like: 130 of vLLM's are 90 kB, 230 of Triton's 50 kB.
"""

TINY_BYTES: Final = 2**12
"""So small an export gains by company even where no spans are alike."""

PASSED_OVER: Final = 1024
"""So many exports that aren't tiny are decoded at once after half of what was decoded together was alike to nothing: to wait cost more."""


class Plain:
    """A `Decoder`."""

    def __init__(self, wanted: SpanFilter) -> None:
        self._wanted = wanted
        self._templates = Templates(wanted)
        self._passed_over = PASSED_OVER

    def checked(self, body: bytes) -> Checked | None:
        """None for what is large, empty, or has anything in it that not everybody would parse: whether it is wanted isn't asked here."""
        if len(body) > TINY_BYTES and (len(body) > SMALL_BYTES or self._passed_over < PASSED_OVER):
            self._passed_over += 1
            return None
        try:
            request = STRICT_EXPORT_REQUEST.FromString(body)
        except WireError:
            return None
        spans = [span for told in request.resource_spans for scoped in told.scope_spans for span in scoped.spans]
        if not spans:
            return None
        marks = _Marks(spans)
        return Checked(len(spans), len(spans) - len(fit_rows(marks)), (marks.span_id[0], marks.span_id[-1]))

    def batches(self, bodies: Sequence[bytes]) -> Sequence[SpanBatch]:
        """The spans of bodies that were `checked`."""
        batches: list[SpanBatch] = []
        spans, unlike = 0, self._templates.unlike
        for resource, of_scope in self._pools(POOLED_EXPORT_REQUEST.FromString(b"".join(bodies))):
            for scope, raws in of_scope.items():
                batches += raw_batches(resource, SCOPE.FromString(scope).name, raws, self._wanted, self._templates)
                spans += len(raws)
        if (self._templates.unlike - unlike) * 2 > spans:
            self._passed_over = 0
        return batches

    def _pools(self, request: Message) -> Sequence[_Pool]:
        """The serialised spans of each serialised scope of each resource, of which only what is wanted tells it from others."""
        of_raw: dict[bytes, _Pool] = {}
        of_told: dict[tuple[bytes, ...], _Pool] = {}
        for resource_spans in request.resource_spans:
            raw = b"".join(resource_spans.resource)
            pool = of_raw.get(raw)
            if pool is None:
                message = RESOURCE.FromString(raw)
                told = tuple([message.attributes[key] for key in self._wanted.resource_keys])
                pool = of_raw[raw] = of_told.setdefault(told, _Pool(resource_of(message, self._wanted), defaultdict(list)))
            for scope_spans in resource_spans.scope_spans:
                pool.of_scope[b"".join(scope_spans.scope)] += scope_spans.spans
        return tuple(of_told.values())


class _Pool(NamedTuple):
    """The spans of one resource, as far as it is wanted."""

    resource: dict[str, AttributeValue]
    of_scope: defaultdict[bytes, list[bytes]]


class _Marks:
    """`columns.Marks` over parsed messages."""

    def __init__(self, spans: list[Message]) -> None:
        self.trace_id: list[bytes] = [span.trace_id for span in spans]
        self.span_id: list[bytes] = [span.span_id for span in spans]
        self.parent_id: list[bytes] = [span.parent_span_id for span in spans]
        self.start_ns: list[int] = [span.start_time_unix_nano for span in spans]
        self.end_ns: list[int] = [span.end_time_unix_nano for span in spans]

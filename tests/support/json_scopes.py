"""Exports in JSON, read together and read span by span."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from infermeter.errors import DecodeError
from infermeter.model import Export, Layout, SpanFilter
from infermeter.otlp.json import decode_any_json
from infermeter.otlp.json_usual import usual_export
from support import span_rows
from unit.otlp.exports import Wanted

KEYS = ("model", "tokens", "seconds", "ok")
WANTED = Wanted(
    {
        "InferRequest": Layout((), events=True),
        "model": Layout(KEYS, events=True),
        "again": (several := Layout(KEYS[:1], events=False)),
        "and again": several,
    },
    resource_keys=("service.name",),
)
"""A filter with a layout of each sort, and one that two names share."""


def body_of(spans: Sequence[Any]) -> bytes:
    """An export of these spans in one scope."""
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "scope"}, "spans": spans}]}]})


def read_together(body: bytes, wanted: SpanFilter = WANTED) -> tuple[object, ...] | None:
    """Everything that an export tells; None where not all is as usual."""
    read = usual_export(body, wanted)
    return None if read is None else _told(read)


def read_one_by_one(body: bytes, wanted: SpanFilter = WANTED) -> tuple[object, ...] | None:
    """The same, as it is where nothing is as usual; None for what is refused."""
    try:
        return _told(decode_any_json(body, wanted))
    except DecodeError:
        return None


def _told(export: Export) -> tuple[object, ...]:
    batches = [(id(batch.layout), len(batch), span_rows.rows(batch)) for batch in export.batches]
    return batches, export.spans, export.malformed, export.outermost

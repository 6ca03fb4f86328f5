"""Spans of one scope in JSON, read together and read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infermeter.errors import DecodeError
from infermeter.model import Layout, SpanBatch, SpanFilter
from infermeter.otlp.columns import span_batches
from infermeter.otlp.json_spans import JsonSpans
from infermeter.otlp.json_usual import usual_spans
from support import span_rows
from unit.otlp.exports import Wanted

KEYS = ("model", "tokens", "seconds", "ok")
WANTED = Wanted(
    {
        "InferRequest": Layout((), events=True),
        "model": Layout(KEYS, events=True),
        "again": (several := Layout(KEYS[:1], events=False)),
        "and again": several,
    }
)
"""A filter with a layout of each sort, and one that two names share."""


def read_together(spans: Sequence[Any], wanted: SpanFilter = WANTED) -> tuple[object, ...] | None:
    """Everything of the batches, and the ids of the first and the last span; None where not all is as usual."""
    read = usual_spans({}, "scope", spans, wanted)
    return None if read is None else (_told(read[0]), read[1])


def read_one_by_one(spans: Sequence[Any], wanted: SpanFilter = WANTED) -> tuple[object, ...] | None:
    """The same, as it is where nothing is as usual; None for what is refused."""
    try:
        columns = JsonSpans(spans)
        return _told(span_batches({}, "scope", columns, wanted)), (columns.span_id[0], columns.span_id[-1])
    except DecodeError:
        return None


def _told(batches: Sequence[SpanBatch]) -> list[object]:
    return [(id(batch.layout), len(batch), span_rows.rows(batch)) for batch in batches]

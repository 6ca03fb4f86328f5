"""Spans written by hand, in milliseconds and with short ids, and what a mapper makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, ServerMapping
from infermeter.mapping.schema import read_mapping
from infermeter.model import SPAN_KINDS, STAGES, STATUS_CODES, AttributeValue, InferenceBatch, Layout, SpanBatch, SpanFilter
from infermeter.otlp.columns import TRACE_ID, events, objects

EPOCH_NS = 1_800_000_000_000_000_000
MS = 1_000_000


@dataclass(frozen=True)
class Span:
    """`start` and `end` in milliseconds after EPOCH_NS; ids are texts, `parent` "" for none; events are (name, milliseconds)."""

    name: str
    start: float
    end: float
    id: str = "root"
    parent: str = ""
    trace: str = "trace"
    scope: str = "test"
    kind: str = "server"
    status: str = "unset"
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    events: Sequence[tuple[str, float]] = ()
    resource: Mapping[str, AttributeValue] = field(default_factory=dict)


def ns(milliseconds: float) -> int:
    return EPOCH_NS + round(milliseconds * MS)


def batches(spans: Sequence[Span], wanted: SpanFilter) -> list[SpanBatch]:
    """As a decoder would make them: one for each resource, scope and layout, with the wanted attributes and events only."""
    groups: dict[tuple[tuple[tuple[str, AttributeValue], ...], str, Layout], list[Span]] = {}
    for span in spans:
        resource = tuple((key, value) for key, value in span.resource.items() if key in wanted.resource_keys)
        groups.setdefault((resource, span.scope, wanted.layout(span.scope, span.name)), []).append(span)
    return [
        SpanBatch(
            resource=dict(resource),
            scope=scope,
            layout=layout,
            trace_id=np.array([span.trace.encode().ljust(16, b"-") for span in group], TRACE_ID),
            span_id=np.frombuffer(b"".join(span.id.encode().ljust(8, b"-") for span in group), np.uint64),
            parent_id=np.frombuffer(b"".join(span.parent.encode().ljust(8, b"-" if span.parent else b"\0") for span in group), np.uint64),
            kind=np.array([SPAN_KINDS.index(span.kind) for span in group], np.uint8),
            status=np.array([STATUS_CODES.index(span.status) for span in group], np.uint8),
            start_ns=np.array([ns(span.start) for span in group], np.int64),
            end_ns=np.array([ns(span.end) for span in group], np.int64),
            attributes=tuple(objects([span.attributes.get(key) for span in group]) for key in layout.keys),
            events=events([[(name, ns(at)) for name, at in span.events] for span in group]) if layout.events else None,
        )
        for (resource, scope, layout), group in groups.items()
    ]


def mapping(rule: str, *, server: str = "test", role: str = "engine", extra: str = "", match: str = "{span: inference}") -> ServerMapping:
    """A mapping with one rule, whose `emit` is given in YAML's flow style."""
    return read_mapping(
        f"""
schema: 1
server: {server}
title: test
versions: "1"
role: {role}
{extra}
rules:
  - id: rule
    match: {match}
    emit: {rule}
""",
        "test.yaml",
    )


def mapper(*mappings: ServerMapping, bounded: bool = True, assembly: Assembly | None = None, limits: Limits | None = None) -> Mapper:
    return Mapper(mappings, assembly=assembly or Assembly(), limits=limits or Limits(), bounded=bounded)


def mapped(rule: str | ServerMapping, *spans: Span) -> InferenceBatch:
    """The inferences that a rule makes of some spans, all of which arrived."""
    of = mapper(mapping(rule) if isinstance(rule, str) else rule, bounded=False)
    of.add(batches(spans, of.wanted), 0)
    batch = of.finish()
    assert batch is not None
    return batch


def stages_ms(batch: InferenceBatch, row: int = 0) -> dict[str, float]:
    """The stages of one inference that aren't absent, and `other`, in milliseconds."""
    stages = {stage: int(ns) / MS for stage, ns in zip(STAGES, batch.stages_ns[row], strict=True) if ns >= 0}
    return stages | {"other": duration_ms(batch, row) - sum(stages.values())}


def duration_ms(batch: InferenceBatch, row: int = 0) -> float:
    return int(batch.end_ns[row] - batch.start_ns[row]) / MS


def parts_ms(batch: InferenceBatch, row: int = 0) -> dict[tuple[str, str], float]:
    """The named parts of one inference, in milliseconds."""
    return {(one.stage, one.part): int(ns) / MS for one in batch.parts for at, ns in zip(one.rows, one.ns, strict=True) if at == row}


def compute_ms(batch: InferenceBatch, row: int = 0) -> list[tuple[float, float]]:
    """When one inference was computing, in milliseconds after EPOCH_NS."""
    intervals = zip(batch.compute_rows, batch.compute_start_ns, batch.compute_end_ns, strict=True)
    return sorted(((int(start) - EPOCH_NS) / MS, (int(end) - EPOCH_NS) / MS) for at, start, end in intervals if at == row)

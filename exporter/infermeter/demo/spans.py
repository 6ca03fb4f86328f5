"""One inference as spans in Infermeter's own layout, through opentelemetry-sdk: the way any Python server can do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from opentelemetry.trace import SpanKind, StatusCode, Tracer, set_span_in_context

SCOPE = "infermeter"
"""The instrumentation scope by which the layout is recognised."""

SpanName: TypeAlias = Literal["queue", "compute", "transfer", "serialisation"]


@dataclass(frozen=True, slots=True)
class StageInterval:
    """A piece of an inference that one stage claims, in unix nanoseconds. `batch_id`: the same device time serves a whole batch."""

    stage: SpanName
    start_ns: int
    end_ns: int
    part: str | None = None
    batch_id: int | None = None


@dataclass(frozen=True, slots=True)
class TimedInference:
    """One inference from its first to its last instant, and what its time went to."""

    model: str
    start_ns: int
    end_ns: int
    intervals: Sequence[StageInterval]
    batch_size: int | None = None
    failed: bool = False


def emit(tracer: Tracer, inference: TimedInference) -> None:
    """Writes the SERVER span `inference` and one INTERNAL child for each interval, with the times that were measured."""
    attributes: dict[str, str | int] = {"infermeter.model": inference.model}
    if inference.batch_size is not None:
        attributes["infermeter.batch.size"] = inference.batch_size
    root = tracer.start_span("inference", kind=SpanKind.SERVER, attributes=attributes, start_time=inference.start_ns)
    within = set_span_in_context(root)
    for interval in inference.intervals:
        about: dict[str, str | int] = {}
        if interval.part is not None:
            about["infermeter.part"] = interval.part
        if interval.batch_id is not None:
            about["infermeter.batch.id"] = interval.batch_id
        tracer.start_span(interval.stage, within, SpanKind.INTERNAL, about, start_time=interval.start_ns).end(interval.end_ns)
    if inference.failed:
        root.set_status(StatusCode.ERROR)
    root.end(inference.end_ns)

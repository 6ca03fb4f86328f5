"""One inference that was timed already, as spans in the native layout: for servers that know what their time went to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.trace import SpanKind, StatusCode, Tracer, set_span_in_context

from infermeter.instrument import layout
from infermeter.instrument.layout import Stage


@dataclass(frozen=True, slots=True)
class StageInterval:
    """A piece of an inference that one stage claims, in unix nanoseconds. `batch_id`: the same device time serves a whole batch."""

    stage: Stage
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
    first_token_ns: int | None = None
    tokens_input: int | None = None
    tokens_output: int | None = None


def emit(tracer: Tracer, inference: TimedInference) -> None:
    """Writes the SERVER span `inference` and one INTERNAL child for each interval, with the times that were measured.

    Below the span that is current, if there is one.
    """
    told = {
        layout.MODEL: inference.model,
        layout.BATCH_SIZE: inference.batch_size,
        layout.TOKENS_INPUT: inference.tokens_input,
        layout.TOKENS_OUTPUT: inference.tokens_output,
    }
    attributes = {key: value for key, value in told.items() if value is not None}
    root = tracer.start_span(layout.INFERENCE, kind=SpanKind.SERVER, attributes=attributes, start_time=inference.start_ns)
    within = set_span_in_context(root)
    for interval in inference.intervals:
        about = attributes_of(interval.part, interval.batch_id)
        tracer.start_span(interval.stage, within, SpanKind.INTERNAL, about, start_time=interval.start_ns).end(interval.end_ns)
    if inference.first_token_ns is not None:
        root.add_event(layout.FIRST_TOKEN, timestamp=inference.first_token_ns)
    if inference.failed:
        root.set_status(StatusCode.ERROR)
    root.end(inference.end_ns)


def attributes_of(part: str | None, batch_id: int | None = None) -> dict[str, str | int]:
    """Of a stage's span."""
    told = {layout.PART: part, layout.BATCH_ID: batch_id}
    return {key: value for key, value in told.items() if value is not None}

"""Spans that are packed by hand are what the SDK's encoder makes of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from infermeter.proxy.packing import PackedSpan, packed_export

TIMES = st.integers(0, 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
CONTEXTS = st.builds(
    SpanContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), is_remote=st.booleans(), trace_flags=st.just(TraceFlags(1))
)
RESOURCE = Resource({"service.name": "a" * 200, "process.pid": 7})
SPANS = st.builds(
    lambda packed, name, **rest: PackedSpan(name, **rest) if packed else ReadableSpan(name, **rest),
    packed=st.booleans(),
    name=TEXTS,
    context=CONTEXTS,
    parent=st.none() | CONTEXTS,
    resource=st.just(RESOURCE),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
    events=st.lists(st.builds(Event, TEXTS, timestamp=TIMES), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from([Status(code) for code in StatusCode]),
    start_time=TIMES,
    end_time=TIMES,
    instrumentation_scope=st.just(InstrumentationScope("infermeter", "1")),
)


@given(st.lists(SPANS, min_size=1, max_size=4))
def test_packed_spans_are_what_the_sdk_s_encoder_makes_of_them(spans: list[ReadableSpan]) -> None:
    assert ExportTraceServiceRequest.FromString(packed_export(spans)) == encode_spans(spans)

"""Floods: exports of spans whose root never comes, as protobuf, for mapping.py. Every span is one that some rule waits for, or links."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

COMPUTE_EVENTS = ("COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
NUMBERS = random.Random(11)


@dataclass(frozen=True)
class Flood:
    """So many exports of so many spans of one shape; `spans_a_trace` of them have one trace id. `kind`: the mapping that applies."""

    shape: Callable[[Span, int], None]
    spans_an_export: int = 512
    exports_sent: int = 400
    spans_a_trace: int = 1
    kind: str = "triton"

    def exports(self) -> Iterator[bytes]:
        """Each of them, serialised."""
        numbers = itertools.count()
        for _ in range(self.exports_sent):
            request = ExportTraceServiceRequest()
            scope_spans = request.resource_spans.add().scope_spans.add()
            scope_spans.scope.name = "triton-server"
            for number in itertools.islice(numbers, self.spans_an_export):
                now_ns = time.time_ns()
                span = scope_spans.spans.add(
                    trace_id=(number // self.spans_a_trace + 1).to_bytes(16, "big"),
                    span_id=NUMBERS.randbytes(8),
                    parent_span_id=NUMBERS.randbytes(8),
                    start_time_unix_nano=now_ns - 1_000_000,
                    end_time_unix_nano=now_ns,
                )
                self.shape(span, number)
            yield request.SerializeToString()


def compute(span: Span, _: int) -> None:
    span.name = "compute"
    for name in COMPUTE_EVENTS:
        span.events.add(name=name, time_unix_nano=span.end_time_unix_nano)


def _model(span: Span, name: str, model: str) -> None:
    span.name = name
    for key in ("triton.model_name", "triton.request_id"):
        span.attributes.add(key=key).value.string_value = model


def _many_events(span: Span, number: int) -> None:
    for _ in range(200):
        compute(span, number)


def _unread(span: Span, number: int) -> None:
    span.name = f"client {number}"


FLOODS = {
    "one_span_a_trace": Flood(compute),
    "ten_a_trace": Flood(compute, spans_a_trace=10),
    "one_trace": Flood(compute, spans_a_trace=2**40),
    "one_span_an_export": Flood(compute, spans_an_export=1, exports_sent=100_000, spans_a_trace=20),
    "big_attributes": Flood(lambda span, number: _model(span, "resnet50", f"{number:8}" * 4096), spans_an_export=64),
    "wide_texts": Flood(lambda span, number: _model(span, "resnet50", f"{number:8}" * 1024 + "\U0001f525"), spans_an_export=256),
    "many_events": Flood(_many_events, spans_an_export=64),
    "distinct_names": Flood(lambda span, number: _model(span, f"model-{number}", f"model-{number}"), spans_a_trace=10),
    "links": Flood(_unread, spans_a_trace=1000),
    "any_mapping": Flood(compute, spans_a_trace=10, kind="auto"),
}

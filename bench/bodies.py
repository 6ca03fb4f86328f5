"""OTLP exports as two servers send them, encoded beforehand as protobuf or as JSON.

vllm: one span `llm_request` an inference, 14 attributes, some 690 bytes. triton: an ensemble of two models, 5 spans an inference with 2 to
5 events each, some 270 bytes a span.

Every id begins with the four bytes MARK, which stand nowhere else. Whoever sends a body puts other bytes in their place: so each export has
ids of its own, and children still name their parents. All spans end within the second before the bodies were made.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

MARK = b"\xf7\xe3\xb5\x9d"
SECOND_NS = 1_000_000_000
MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-32B-Instruct", "mistralai/Mistral-7B-v0.3")

TRITON_SPANS = 5
"""Spans of one inference in the shape of Triton."""


@dataclass(frozen=True)
class Body:
    """One encoded export, cut where its marks were, and how many spans and inferences it holds."""

    pieces: tuple[bytes, ...]
    spans: int
    inferences: int

    def with_ids_of(self, nonce: bytes) -> bytes:
        """The export with `nonce` (four bytes, in JSON eight hex digits) at the beginning of every id."""
        return nonce.join(self.pieces)


def bodies(shape: str, encoding: str, spans: int, *, count: int, seed: int = 7) -> list[Body]:
    """`count` different exports of at most `spans` spans, of whole inferences. shape: vllm, triton; encoding: protobuf, json."""
    numbers = random.Random(seed)
    now_ns = time.time_ns()
    result: list[Body] = []
    while len(result) < count:
        request = SHAPES[shape](spans, numbers, now_ns)
        sent = request.resource_spans[0].scope_spans[0].spans
        ids = sum(2 + bool(span.parent_span_id) for span in sent)
        mark = MARK.hex().encode() if encoding == "json" else MARK
        pieces = tuple((_json(request) if encoding == "json" else request.SerializeToString()).split(mark))
        if len(pieces) == ids + 1:  # else chance has put the mark elsewhere too: draw again
            result.append(Body(pieces, len(sent), len(sent) // (TRITON_SPANS if shape == "triton" else 1)))
    return result


class _Export:
    """One export under construction: one resource, one scope."""

    def __init__(self, service: str, scope: str, numbers: random.Random) -> None:
        self.request = ExportTraceServiceRequest()
        self._numbers = numbers
        resource_spans = self.request.resource_spans.add()
        about = {
            "service.name": service,
            "service.instance.id": f"{numbers.getrandbits(128):032x}",
            "service.version": "0.11.0",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": "1.38.0",
            "host.name": "gpu-node-17",
            "k8s.pod.name": "server-7d9f7c6b5-x2x5z",
        }
        resource_spans.resource.attributes.extend(_attributes(about))
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = scope
        self._spans = scope_spans.spans

    def trace_id(self) -> bytes:
        return MARK + self._numbers.randbytes(12)

    def span(
        self,
        name: str,
        trace_id: bytes,
        parent_id: bytes,
        instants_ns: tuple[int, int],
        attributes: Mapping[str, str | int | float],
        events: Mapping[str, int],
    ) -> bytes:
        """Adds a SERVER span; its id."""
        span = self._spans.add(trace_id=trace_id, span_id=MARK + self._numbers.randbytes(4), parent_span_id=parent_id, name=name)
        span.kind = Span.SPAN_KIND_SERVER
        span.flags = 0x100
        span.start_time_unix_nano, span.end_time_unix_nano = instants_ns
        span.attributes.extend(_attributes(attributes))
        for event, time_ns in events.items():
            span.events.add(name=event, time_unix_nano=time_ns)
        span.status.SetInParent()
        return span.span_id


def _vllm(spans: int, numbers: random.Random, now_ns: int) -> ExportTraceServiceRequest:
    export = _Export("vllm-prod", "vllm.llm_engine", numbers)
    for _ in range(spans):
        queue, prefill, decode = numbers.expovariate(40), numbers.expovariate(10), numbers.expovariate(0.8)
        duration = queue + prefill + decode
        end = now_ns - numbers.randrange(SECOND_NS)
        about = {
            "gen_ai.response.model": numbers.choice(MODELS),
            "gen_ai.request.id": f"cmpl-{numbers.getrandbits(128):032x}-0",
            "gen_ai.request.temperature": 0.7,
            "gen_ai.request.top_p": 0.95,
            "gen_ai.request.max_tokens": numbers.choice((128, 512, 2048)),
            "gen_ai.request.n": 1,
            "gen_ai.usage.prompt_tokens": numbers.randrange(10, 8000),
            "gen_ai.usage.completion_tokens": numbers.randrange(1, 2048),
            "gen_ai.latency.time_in_queue": queue,
            "gen_ai.latency.time_to_first_token": queue + prefill,
            "gen_ai.latency.e2e": duration,
            "gen_ai.latency.time_in_model_prefill": prefill,
            "gen_ai.latency.time_in_model_decode": decode,
            "gen_ai.latency.time_in_model_inference": prefill + decode,
        }
        caller = MARK + numbers.randbytes(4)
        export.span("llm_request", export.trace_id(), caller, (end - int(duration * SECOND_NS), end), about, {})
    return export.request


def _triton(spans: int, numbers: random.Random, now_ns: int) -> ExportTraceServiceRequest:
    export = _Export("triton-inference-server", "triton-server", numbers)
    for number in range(1, spans // TRITON_SPANS + 1):
        queue, copy_in, infer, copy_out = (int(numbers.expovariate(rate) * SECOND_NS) for rate in (500, 3000, 100, 3000))
        end = now_ns - numbers.randrange(SECOND_NS)
        done = end - 200_000
        computing = done - copy_in - infer - copy_out
        queued = computing - queue
        asked = queued - 2_000
        begin = asked - 150_000
        trace_id = export.trace_id()
        received = {"HTTP_RECV_START": begin, "HTTP_RECV_END": begin + 90_000}
        answered = {"INFER_RESPONSE_COMPLETE": done, "HTTP_SEND_START": end - 100_000, "HTTP_SEND_END": end}
        root = export.span("InferRequest", trace_id, b"", (begin, end), {}, received | answered)
        for model in ("preprocess", "resnet50"):
            about = {"triton.model_name": model, "triton.model_version": 1, "triton.trace_id": number, "triton.trace_parent_id": number}
            waited = {"REQUEST_START": asked, "QUEUE_START": queued, "REQUEST_END": done}
            step = export.span(model, trace_id, root, (asked, done), about, waited)
            copied = {"COMPUTE_START": computing, "COMPUTE_INPUT_END": computing + copy_in}
            computed = {"COMPUTE_OUTPUT_START": done - copy_out, "COMPUTE_END": done}
            export.span("compute", trace_id, step, (computing, done), {}, copied | computed)
    return export.request


SHAPES: dict[str, Callable[[int, random.Random, int], ExportTraceServiceRequest]] = {"vllm": _vllm, "triton": _triton}


def _attributes(about: Mapping[str, str | int | float]) -> list[KeyValue]:
    fields = {str: "string_value", int: "int_value", float: "double_value"}
    return [KeyValue(key=key, value=AnyValue(**{fields[type(value)]: value})) for key, value in about.items()]


def _json(request: ExportTraceServiceRequest) -> bytes:
    """The request as OTLP/JSON: ids are hex, 64-bit integers strings. Source: OTLP specification, "JSON Protobuf Encoding"."""
    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _json_attributes(resource.resource.attributes)},
                    "scopeSpans": [
                        {"scope": {"name": scope.scope.name}, "spans": [_json_span(span) for span in scope.spans]}
                        for scope in resource.scope_spans
                    ],
                }
                for resource in request.resource_spans
            ]
        },
        separators=(",", ":"),
    ).encode()


def _json_span(span: Span) -> dict[str, Any]:
    parent = {"parentSpanId": span.parent_span_id.hex()} if span.parent_span_id else {}
    events = {"events": [{"timeUnixNano": str(e.time_unix_nano), "name": e.name} for e in span.events]} if span.events else {}
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        **parent,
        "flags": span.flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        "attributes": _json_attributes(span.attributes),
        **events,
        "status": {},
    }


def _json_attributes(attributes: Iterable[KeyValue]) -> list[dict[str, Any]]:
    return [{"key": a.key, "value": _json_value(a.value)} for a in attributes]


def _json_value(value: AnyValue) -> dict[str, Any]:
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case _:
            return {"doubleValue": value.double_value}

"""OTLP exports as two servers send them, encoded beforehand as protobuf or as JSON.

vllm: one span `llm_request` an inference, 14 attributes, some 690 bytes. triton: a BLS model that calls another, 5 spans an inference with
3 to 5 events each, some 230 bytes a span. In JSON they are written as a Collector and as Triton do: Triton's opentelemetry-cpp sorts
keys and leaves out what is unset (tests/captures/triton), which makes 570 bytes a span.

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
        encoded = as_json(request, as_triton=shape == "triton") if encoding == "json" else request.SerializeToString()
        pieces = tuple(encoded.split(mark))
        if len(pieces) == ids + 1:  # else chance has put the mark elsewhere too: draw again
            result.append(Body(pieces, len(sent), len(sent) // (TRITON_SPANS if shape == "triton" else 1)))
    return result


class _Export:
    """One export under construction: one resource, one scope."""

    def __init__(self, resource: Mapping[str, str], scope: str, numbers: random.Random) -> None:
        self.request = ExportTraceServiceRequest()
        self._numbers = numbers
        resource_spans = self.request.resource_spans.add()
        resource_spans.resource.attributes.extend(_attributes(resource))
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = scope
        self._spans = scope_spans.spans

    def trace_id(self) -> bytes:
        return MARK + self._numbers.randbytes(12)

    def span_id(self) -> bytes:
        return MARK + self._numbers.randbytes(4)

    def span(
        self,
        name: str,
        ids: tuple[bytes, bytes, bytes],
        instants_ns: tuple[int, int],
        attributes: Mapping[str, str | int | float],
        events: Mapping[str, int],
    ) -> Span:
        """Adds a SERVER span of this trace, id and parent."""
        span = self._spans.add(trace_id=ids[0], span_id=ids[1], parent_span_id=ids[2], name=name, kind=Span.SPAN_KIND_SERVER)
        span.start_time_unix_nano, span.end_time_unix_nano = instants_ns
        span.attributes.extend(_attributes(attributes))
        for event, time_ns in events.items():
            span.events.add(name=event, time_unix_nano=time_ns)
        return span


def _vllm(spans: int, numbers: random.Random, now_ns: int) -> ExportTraceServiceRequest:
    resource = {
        "service.name": "vllm-prod",
        "service.instance.id": f"{numbers.getrandbits(128):032x}",
        "service.version": "0.11.0",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": "1.38.0",
        "host.name": "gpu-node-17",
        "k8s.pod.name": "server-7d9f7c6b5-x2x5z",
    }
    export = _Export(resource, "vllm.llm_engine", numbers)
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
        ids = export.trace_id(), export.span_id(), export.span_id()
        span = export.span("llm_request", ids, (end - int(duration * SECOND_NS), end), about, {})
        span.flags = 0x100
        span.status.SetInParent()
    return export.request


def _triton(spans: int, numbers: random.Random, now_ns: int) -> ExportTraceServiceRequest:
    resource = {
        "telemetry.sdk.version": "1.13.0",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "cpp",
        "host.name": "gpu-node-17",
        "service.name": "triton-inference-server",
    }
    export = _Export(resource, "triton-server", numbers)
    for number in range(1, 2 * (spans // TRITON_SPANS), 2):
        queue, copy_in, infer, copy_out = (int(numbers.expovariate(rate) * SECOND_NS) for rate in (500, 3000, 100, 3000))
        end = now_ns - numbers.randrange(SECOND_NS)
        inner = _stages(end - 300_000, queue, copy_in, infer, copy_out)
        outer = _stages(end - 200_000, numbers.randrange(20_000, 90_000), 20_000, end - 230_000 - inner[0]["REQUEST_START"], 10_000)
        begin = outer[0]["REQUEST_START"] - 50_000
        received = {"HTTP_RECV_START": begin - 20_000, "HTTP_RECV_END": begin - 10_000}
        answered = {"INFER_RESPONSE_COMPLETE": end - 205_000, "HTTP_SEND_START": end - 100_000, "HTTP_SEND_END": end - 5_000}
        trace_id, root, caller, called = export.trace_id(), export.span_id(), export.span_id(), export.span_id()
        for model, ids, stages, about in (
            ("resnet50", (called, caller), inner, {"triton.trace_id": number + 1, "triton.trace_parent_id": number}),
            (
                "pipeline",
                (caller, root),
                outer,
                {"triton.trace_id": number, "triton.trace_parent_id": 0, "triton.request_id": f"r-{number}"},
            ),
        ):
            waited, computed = stages
            copied = computed["COMPUTE_START"], computed["COMPUTE_END"]
            export.span("compute", (trace_id, export.span_id(), ids[0]), copied, {}, computed)
            asked = waited["REQUEST_START"], waited["REQUEST_END"]
            export.span(model, (trace_id, *ids), asked, {"triton.model_name": model, "triton.model_version": 1} | about, waited)
        export.span("InferRequest", (trace_id, root, b""), (begin, end), {}, received | answered)
    return export.request


def _stages(done: int, queue: int, copy_in: int, infer: int, copy_out: int) -> tuple[dict[str, int], dict[str, int]]:
    """The events of a model's span and of its `compute`, which ends at `done`; all in nanoseconds."""
    told = done - copy_out
    computing = told - infer
    copying = computing - copy_in
    queued = copying - queue
    return (
        {"REQUEST_START": queued - 10_000, "QUEUE_START": queued, "REQUEST_END": done + 20_000},
        {"COMPUTE_START": copying, "COMPUTE_INPUT_END": computing, "COMPUTE_OUTPUT_START": told, "COMPUTE_END": done},
    )


SHAPES: dict[str, Callable[[int, random.Random, int], ExportTraceServiceRequest]] = {"vllm": _vllm, "triton": _triton}


def _attributes(about: Mapping[str, str | int | float]) -> list[KeyValue]:
    fields = {str: "string_value", int: "int_value", float: "double_value"}
    return [KeyValue(key=key, value=AnyValue(**{fields[type(value)]: value})) for key, value in about.items()]


def as_json(request: ExportTraceServiceRequest, *, as_triton: bool) -> bytes:
    """The request as OTLP/JSON: ids are hex, 64-bit integers strings. Source: OTLP specification, "JSON Protobuf Encoding".

    A Collector writes keys in the order of the schema; Triton sorts them.
    """
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
        sort_keys=as_triton,
    ).encode()


def _json_span(span: Span) -> dict[str, Any]:
    parent = {"parentSpanId": span.parent_span_id.hex()} if span.parent_span_id else {}
    flags = {"flags": span.flags} if span.flags else {}
    attributes = {"attributes": _json_attributes(span.attributes)} if span.attributes else {}
    events = {"events": [{"timeUnixNano": str(e.time_unix_nano), "name": e.name} for e in span.events]} if span.events else {}
    status = {"status": {}} if span.HasField("status") else {}
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        **parent,
        **flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        **attributes,
        **events,
        **status,
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

"""What people wrote, planted everywhere in spans that a sender can write to, comes out nowhere: not by any mapping, on no way."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infermeter import cli
from infermeter.mapping import shipped_mappings
from mapping.recordings import TESTS, bodies
from mapping.test_attributes import LABELS, REVIEWED_RESOURCE
from support.running import PROTOBUF, Clock, metrics, running, value

SECRET = "my PIN is 4711, don't tell"
TELLING = (
    *("prompt", "input.value", "output.value", "llm.input_messages.0.message.content", "llm.prompts", "gen_ai.prompt", "gen_ai.completion"),
    *(
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "llm.model",
        "model_name",
        "http.url.query",
        "exception.message",
    ),
)
TRACES = 8
KINDS = [server for server, mapping in shipped_mappings().items() if mapping.rules]


def recorded(server: str) -> ExportTraceServiceRequest:
    """The spans of one of a server's cases: the smallest one."""
    cases = sorted((TESTS / "mapping" / "cases" / server).glob("*.yaml"))
    inputs = [yaml.safe_load(path.read_text("utf-8"))["input"] for path in cases]
    paths = min(
        (bodies([TESTS / name for name in names]) for names in inputs), key=lambda paths: sum(path.stat().st_size for path in paths)
    )
    request = ExportTraceServiceRequest()
    for path in paths:
        if path.suffix == ".json":
            request.MergeFrom(ParseDict(_with_base64_ids(json.loads(path.read_bytes())), ExportTraceServiceRequest()))
        else:
            request.MergeFrom(ExportTraceServiceRequest.FromString(path.read_bytes()))
    kept = set(list(dict.fromkeys(span.trace_id for span in spans(request)))[:TRACES])
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            few = [span for span in scope.spans if span.trace_id in kept]
            del scope.spans[:]
            scope.spans.extend(few)
    return request


def _with_base64_ids(told: Any) -> Any:
    """OTLP's JSON as protobuf's own reader takes it."""
    if isinstance(told, list):
        return [_with_base64_ids(one) for one in told]
    if not isinstance(told, dict):
        return told
    ids = {"traceId", "spanId", "parentSpanId"}
    return {key: b64encode(bytes.fromhex(one)).decode() if key in ids else _with_base64_ids(one) for key, one in told.items()}


def spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def planted(request: ExportTraceServiceRequest) -> None:
    """The secret beside all that is there, so that everything counts as before."""
    nested = AnyValue(string_value=SECRET)
    listed = AnyValue()
    listed.array_value.values.append(nested)
    held = AnyValue()
    held.kvlist_value.values.append(KeyValue(key=SECRET, value=nested))
    attributes = [KeyValue(key=key, value=nested) for key in TELLING]
    attributes += [KeyValue(key=SECRET, value=nested), KeyValue(key="a", value=listed), KeyValue(key="b", value=held)]
    attributes.append(KeyValue(key="c", value=AnyValue(bytes_value=SECRET.encode())))
    for resource in request.resource_spans:
        resource.schema_url = SECRET
        resource.resource.attributes.extend(attributes)
        for scope in resource.scope_spans:
            scope.schema_url = scope.scope.version = SECRET
            scope.scope.attributes.extend(attributes)
            more = [
                Span(trace_id=span.trace_id, parent_span_id=span.span_id, span_id=bytes([n % 255 + 1] * 8))
                for n, span in enumerate(scope.spans)
            ]
            for span, child in zip(scope.spans, more, strict=True):
                child.start_time_unix_nano, child.end_time_unix_nano = span.start_time_unix_nano, span.end_time_unix_nano
            scope.spans.extend(more)
            for span in scope.spans:
                span.name = span.name or SECRET
                span.trace_state = span.status.message = SECRET
                span.attributes.extend(attributes)
                for event in span.events:
                    event.attributes.extend(attributes)
                span.events.add(time_unix_nano=span.start_time_unix_nano, name=SECRET, attributes=attributes)
                span.links.add(trace_id=span.trace_id, span_id=span.span_id, trace_state=SECRET, attributes=attributes)
        unknown = resource.scope_spans.add()
        unknown.scope.name = SECRET
        unknown.spans.add().CopyFrom(next(spans(request)))
        unknown.spans[0].name, unknown.spans[0].span_id = SECRET, b"\xff" * 8


def replaced(request: ExportTraceServiceRequest) -> None:
    """The secret in place of all that isn't the name of a model: most of it counts for nothing then."""
    named = LABELS | REVIEWED_RESOURCE.keys()
    for resource in request.resource_spans:
        for attribute in resource.resource.attributes:
            if attribute.key not in named:
                attribute.value.string_value = SECRET
    for span in spans(request):
        for attribute in span.attributes:
            if attribute.key not in named:
                attribute.value.string_value = SECRET
            elif attribute.value.string_value.startswith(("/", "http")):
                attribute.value.string_value += f"?q={SECRET}"
        if span.span_id[0] % 2:
            span.name = SECRET


@pytest.mark.parametrize("plant", [planted, replaced], ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_what_people_wrote_is_in_nothing_that_a_sidecar_says_or_keeps(
    kind: str,
    plant: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    request = recorded(kind)
    plant(request)
    clock = Clock(max(span.end_time_unix_nano for span in spans(request)) + 1_000_000_000)
    config = f"server: {{kind: {kind}, sampled: false}}\nsla: {{default: {{duration_seconds: 1}}}}\nstate_file: {tmp_path / 'state'}\n"

    async def life() -> str:
        async with running(config, clock) as sidecar:
            assert await sidecar.send(request.SerializeToString(), PROTOBUF) == 200
            while clock.monotonic_ns < 120e9:  # until traces are complete, and generic inferences have waited for better ones
                clock.turn(15)
                said = await metrics(sidecar)
            assert plant is replaced or value(said, "inferences_observed_total")
            said += await sidecar.text("/metrics")
            said += await sidecar.text("/api/v1/report") + await sidecar.text("/api/v1/findings") + await sidecar.text("/")
            assert "infermeter_spans_received_total" in said
            await sidecar.stopped()
            return said

    said = asyncio.run(life())
    said += caplog.text + (tmp_path / "state").read_text("utf-8")
    assert [word for word in ("PIN", "4711") if word in said] == []


@pytest.mark.parametrize("plant", [planted, replaced], ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_what_people_wrote_is_in_nothing_that_is_told_of_a_recording(
    kind: str,
    plant: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = recorded(kind)
    plant(request)
    for span in spans(request):  # of spans without a rule, names are told: these are the sender's, and no prompts
        span.name = span.name.replace(SECRET, "another")
        del span.events[-1:]
        for attribute in [attribute for attribute in span.attributes if attribute.key == SECRET]:
            span.attributes.remove(attribute)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            scope.scope.name = scope.scope.name.replace(SECRET, "another")
    path = tmp_path / "spans.pb"
    path.write_bytes(request.SerializeToString())
    assert cli.main(["mappings", "test", kind, "--spans", str(path)]) == 0
    assert cli.main(["replay", "--spans", str(path), "--format", "json"]) == 0
    assert cli.main(["replay", "--spans", str(path), "--format", "text"]) == 0
    out, err = capsys.readouterr()
    assert plant is replaced or "inferences_observed_total" in out
    assert [word for word in ("PIN", "4711") if word in out + err] == []

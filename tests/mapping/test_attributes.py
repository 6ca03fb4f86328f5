"""Which attributes are read at all: a reviewed list. Prompts and answers travel in spans; no key that can hold one is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infermeter import cli
from infermeter.mapping import shipped_mappings
from infermeter.mapping.rules import Attribute, Label, Match, Part, Rule, ServerMapping, operators
from mapping.recordings import TESTS, decoded, mapped, unbounded
from support import span_rows

REVIEWED = {
    # Infermeter's own layout
    "infermeter.model": "a name",
    "infermeter.part": "a name, of which eight are kept for each stage",
    "infermeter.tokens.input": "a number",
    "infermeter.tokens.output": "a number",
    # GenAI semantic conventions, and the latencies that engines add to them
    "gen_ai.latency.e2e": "a number",
    "gen_ai.latency.kv_cache_transfer_time": "a number",
    "gen_ai.latency.time_in_model_decode": "a number",
    "gen_ai.latency.time_in_model_execute": "a number",
    "gen_ai.latency.time_in_model_prefill": "a number",
    "gen_ai.latency.time_in_queue": "a number",
    "gen_ai.latency.time_to_first_token": "a number",
    "gen_ai.operation.name": "one of a few words, only compared",
    "gen_ai.request.model": "a name",
    "gen_ai.response.finish_reasons": "a few words, only compared",
    "gen_ai.response.model": "a name",
    "gen_ai.response.time_to_first_chunk": "a number",
    "gen_ai.server.time_to_first_token": "a number",
    "gen_ai.usage.completion_tokens": "a number",
    "gen_ai.usage.input_tokens": "a number",
    "gen_ai.usage.num_sequences": "a number",
    "gen_ai.usage.output_tokens": "a number",
    "gen_ai.usage.prompt_tokens": "a number",
    # OpenInference
    "embedding.model_name": "a name",
    "llm.model_name": "a name",
    "llm.token_count.completion": "a number",
    "llm.token_count.prompt": "a number",
    "openinference.span.kind": "one of a few words, only compared",
    "reranker.model_name": "a name",
    # HTTP and RPC
    "asgi.event.type": "one of a few words, only compared",
    "error.type": "a class or a code, only compared",
    "http.method": "only whether it is there",
    "http.request.method": "only whether it is there",
    "http.response.status_code": "a number, only compared",
    "http.status_code": "a number, only compared",
    "http.target": "a path, of which a model's name is cut out (/v2/models/NAME)",
    "http.url": "as http.target",
    "rpc.grpc.status_code": "a number or a word, only compared",
    "rpc.response.status_code": "a word, only compared",
    "rpc.status_code": "a word, only compared",
    "rpc.system": "only whether it is there",
    "rpc.system.name": "only whether it is there",
    "url.full": "as http.target",
    "url.path": "as http.target",
    # one server's own
    "avg_itl_ms": "Dynamo: a number",
    "code.namespace": "TGI: a module, only compared",
    "compute_tokens": "TEI: a number",
    "deployment": "Ray Serve: a name",
    "error_kind": "Dynamo: only whether it is there",
    "inference_time": "TGI, TEI: a time",
    "input_tokens": "Dynamo: a number",
    "method": "Dynamo: only whether it is there",
    "model": "Dynamo: a name",
    "multiplexed_model_id": "Ray Serve: a name",
    "output_tokens": "Dynamo: a number",
    "queue_time": "TGI, TEI: a time",
    "request.outcome": "Dynamo: one of a few words, only compared",
    "request_id": "Dynamo: only whether it is there",
    "rid": "SGLang: only whether it is there",
    "time_per_token": "TGI: a time",
    "tokenization_time": "TEI: a time",
    "total_time": "TGI, TEI: a time",
    "triton.model_name": "a name",
    "ttft_ms": "Dynamo: a number",
    "uri": "Dynamo: only whether it is there",
    "validation_time": "TGI: a time",
    "vllm.model": "vLLM's router: a name",
}
"""Every attribute of a span that a shipped mapping reads, with what it holds and is used for."""

REVIEWED_RESOURCE = {
    "gen_ai.request.model": "a name",
    "service.name": "a name",
    "service.namespace": "BentoML: only whether it is there",
    "vllm.instrumenting_module_name": "only whether it is there",
}

TELLING = re.compile(r"(^|[._])(prompts?|messages?|content|input|output|completion|query|text|documents?|body|value|arguments)($|[._])")
"""Words in keys that hold what people wrote; as the last word of a count they are harmless."""

LABELS = {"gen_ai.request.model", "gen_ai.response.model", "infermeter.part", "deployment", "multiplexed_model_id", "triton.model_name"} | {
    *("infermeter.model", "embedding.model_name", "llm.model_name", "reranker.model_name", "model", "vllm.model"),
    *("http.target", "http.url", "url.full", "url.path"),
}
"""Those whose text becomes the value of a label."""


def keys_of(mapping: ServerMapping) -> tuple[set[str], set[str]]:
    """The attributes of spans and of resources that a mapping reads."""
    spans: set[str] = set()
    resources: set[str] = set()
    for operator in operators(mapping):
        match operator:
            case Match(attributes=attributes, resource=resource):
                spans |= {key for key, _ in attributes}
                resources |= {key for key, _ in resource}
            case Label(resource=True, keys=keys):
                resources |= set(keys)
            case Label(keys=keys) | Attribute(keys=keys):
                spans |= set(keys)
            case Part(name_key=str(key)):
                spans.add(key)
            case _:
                pass
    return spans, resources


@pytest.mark.parametrize("server", shipped_mappings())
def test_every_attribute_that_a_mapping_reads_is_reviewed(server: str) -> None:
    spans, resources = keys_of(shipped_mappings()[server])
    assert spans - REVIEWED.keys() == set()
    assert resources - REVIEWED_RESOURCE.keys() == set()


def test_nothing_is_on_the_list_that_nobody_reads() -> None:
    read = [keys_of(mapping) for mapping in shipped_mappings().values()]
    assert set().union(*(spans for spans, _ in read)) == REVIEWED.keys()
    assert set().union(*(resources for _, resources in read)) == REVIEWED_RESOURCE.keys()


def test_no_key_on_the_list_is_one_that_holds_what_people_wrote() -> None:
    telling = {key for key in REVIEWED if TELLING.search(key)}
    assert {key for key in telling if not REVIEWED[key].endswith("a number")} == set()
    for key in ("input.value", "llm.input_messages.0.message.content", "gen_ai.prompt", "gen_ai.input.messages", "llm.prompts"):
        assert TELLING.search(key)


def test_only_names_and_paths_become_labels() -> None:
    rules: list[Rule] = [rule for mapping in shipped_mappings().values() for rule in mapping.rules]
    labels = {key for label in operators(tuple(rules)) if isinstance(label, Label) and not label.resource for key in label.keys}
    named = {part.name_key for part in operators(tuple(rules)) if isinstance(part, Part) and part.name_key is not None}
    assert labels | named == LABELS
    of_paths = [label for label in operators(tuple(rules)) if isinstance(label, Label) and {"http.target", "url.path"} & set(label.keys)]
    assert all(label.pattern is not None for label in of_paths)


PROMPTS = (b"SECRET", b"Hello!", b"You are a helpful assistant", b"Say this is a test")


@pytest.mark.parametrize("name", ["envoy_ai_gateway/openinference.json", "litellm/proxy.json", "generic_genai/conventions.json"])
def test_what_people_wrote_is_in_the_spans_and_is_never_copied_out_of_them(name: str) -> None:
    path: Path = TESTS / "mapping" / "cases" / name
    assert any(prompt in path.read_bytes() for prompt in PROMPTS)
    batches = decoded(path, unbounded("auto")).batches
    told = repr([row for batch in batches for row in span_rows.rows(batch)])
    assert {key for batch in batches for key in batch.layout.keys} <= REVIEWED.keys()
    _, inferences, _ = mapped("auto", [path])
    told += repr(inferences.model)
    assert [prompt for prompt in PROMPTS if prompt.decode() in told] == []


@pytest.mark.parametrize("name", ["envoy_ai_gateway/openinference.json", "litellm/proxy.json", "generic_genai/conventions.json"])
def test_what_people_wrote_is_in_no_report_and_in_no_log(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = TESTS / "mapping" / "cases" / name
    for form in ("json", "text"):
        assert cli.main(["replay", "--spans", str(path), "--format", form]) == 0
    out, err = capsys.readouterr()
    assert "inferences_observed_total" in out
    assert [prompt for prompt in PROMPTS if prompt.decode() in out + err] == []


def test_everything_else_of_a_span_stays_in_the_wire_format() -> None:
    wanted = unbounded("auto").wanted
    for scope, span in (("litellm", "litellm_request"), ("x", "ChatCompletion"), ("x", "chat gpt"), ("vllm.tracing.otel", "llm_request")):
        assert set(wanted.layout(scope, span).keys) <= REVIEWED.keys()

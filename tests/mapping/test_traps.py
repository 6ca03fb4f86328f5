"""What servers really send that a mapping can stumble over: sentinels, clocks that differ, spans within and beside each other, codes.

Written from what is known of each server's code, not from the mappings; every expectation was worked out by hand.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from infermeter.config import Assembly, Limits
from infermeter.mapping import Mapper, load_mappings, shipped_mappings
from infermeter.mapping.rules import Label, operators
from infermeter.mapping.texts import TextMatch
from infermeter.otlp.json import decode_json
from mapping.exports import body, seen
from unit.mapping.hand_made import EPOCH_NS, MS, Span, duration_ms, parts_ms, stages_ms

SECOND_NS = 1000 * MS


# --- Triton ------------------------------------------------------------------------------------------------------------------------
def triton(name: str, start: float, end: float, span_id: str = "root", parent: str = "", **events: float) -> Span:
    attributes = {"triton.model_name": name} if name not in ("InferRequest", "compute") else {}
    return Span(name, start, end, span_id, parent, scope="triton-server", attributes=attributes, events=list(events.items()))


def compute(start: float, end: float, span_id: str, parent: str, *, infer: tuple[float, float]) -> Span:
    events = {"COMPUTE_START": start, "COMPUTE_INPUT_END": infer[0], "COMPUTE_OUTPUT_START": infer[1], "COMPUTE_END": end}
    return triton("compute", start, end, span_id, parent, **events)


def test_tritons_wait_for_a_grpc_message_is_no_part_of_the_inference() -> None:
    root = triton("InferRequest", 0, 20, GRPC_WAITREAD_START=-44_700, GRPC_WAITREAD_END=-0.05, INFER_RESPONSE_COMPLETE=15, GRPC_SEND_END=17)
    model = triton("mlp", 1, 18, "m", "root", REQUEST_START=1, QUEUE_START=2, REQUEST_END=18)
    _, batch = seen(root, model, compute(7, 16, "c", "m", infer=(8, 14)))
    assert stages_ms(batch) == {"queue": 5, "compute": 6, "transfer": 3, "serialisation": 2, "other": 4}
    assert batch.ttft_seconds.tolist() == [0.015]


def test_a_model_that_tritons_outer_model_calls_counts_within_it() -> None:
    root = triton("InferRequest", 0, 40, HTTP_RECV_START=-2, HTTP_RECV_END=-1, INFER_RESPONSE_COMPLETE=31, HTTP_SEND_END=33)
    outer = triton("bls", 1, 35, "m", "root", REQUEST_START=1, QUEUE_START=2, REQUEST_END=35)
    inner = triton("mlp", 10, 22, "i", "m", REQUEST_START=10, QUEUE_START=11, REQUEST_END=22)
    _, batch = seen(root, outer, compute(5, 31, "c", "m", infer=(6, 30)), inner, compute(15, 21, "d", "i", infer=(16, 20)))
    assert (len(batch), batch.model[0], duration_ms(batch)) == (1, "bls", 42)
    assert stages_ms(batch) == {"queue": 3, "compute": 24, "transfer": 2, "serialisation": 5, "other": 8}


# --- vLLM, TensorRT-LLM -------------------------------------------------------------------------------------------------------------
def vllm(
    trace: str = "trace", *, scope: str = "vllm.tracing.otel", span_id: str = "v", parent: str = "", start: float = 0, **told: float
) -> Span:
    seconds = {
        "time_in_queue": 0.01,
        "time_in_model_prefill": 0.02,
        "time_in_model_decode": 0.05,
        "e2e": 0.09,
        "time_to_first_token": 0.035,
    }
    tokens = {"gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": round(told.pop("tokens", 6))}
    attributes = {f"gen_ai.latency.{name}": value for name, value in (seconds | told).items()}
    return Span("llm_request", start, start + 90.3, span_id, parent, trace, scope, attributes=attributes | tokens)


def test_a_sequence_of_vllm_that_was_never_scheduled_tells_no_stage() -> None:
    _, batch = seen(vllm(time_in_queue=-1e9, time_in_model_prefill=1e9, time_in_model_decode=0.0, time_to_first_token=0.0, tokens=0))
    assert stages_ms(batch) == {"other": 90}
    assert np.isnan(batch.ttft_seconds).all()
    assert batch.compute_estimated.all()


def test_stages_of_vllm_that_two_clocks_make_longer_than_the_sequence_do_not_exceed_it() -> None:
    _, batch = seen(vllm(time_in_queue=0.03, time_in_model_prefill=0.04, time_in_model_decode=0.05))
    assert stages_ms(batch) == {"queue": 0, "compute": 90, "serialisation": 0, "other": 0}


def test_vllms_three_answers_to_one_request_are_three_inferences() -> None:
    _, batch = seen(*(vllm(span_id=answer) for answer in "abc"))
    assert len(batch) == 3


@pytest.mark.parametrize("scope", ["vllm.llm_engine", "vllm.tracing.otel", "vllm.tracing", "vllm.v1.engine.output_processor"])
def test_vllm_is_known_in_whichever_of_its_modules_it_traces(scope: str) -> None:
    _, batch = seen(vllm(scope=scope))
    assert stages_ms(batch) == {"queue": 10, "compute": 70, "serialisation": 10, "other": 0}


def trtllm(**told: float) -> Span:
    seconds = {"time_in_queue": 0.01, "e2e": 0.09, "time_to_first_token": 0.03, "kv_cache_transfer_time": 0.0} | told
    attributes = {f"gen_ai.latency.{name}": value for name, value in seconds.items()} | {"gen_ai.usage.completion_tokens": 7}
    return Span("llm_request", 0, 91, scope="trt.llm", attributes=attributes)


@pytest.mark.parametrize(
    ("told", "stages", "ttft"),
    [
        ({}, {"queue": 10, "compute": 80, "transfer": 0, "other": 0}, 0.03),
        ({"kv_cache_transfer_time": 0.01}, {"queue": 10, "compute": 70, "transfer": 10, "other": 0}, 0.03),
        ({"time_to_first_token": -1}, {"queue": 10, "compute": 80, "transfer": 0, "other": 0}, None),
        ({"time_in_queue": -1}, {"transfer": 0, "other": 90}, 0.03),
    ],
)
def test_a_minus_one_of_tensorrt_llm_is_missing(told: dict[str, float], stages: dict[str, float], ttft: float | None) -> None:
    _, batch = seen(trtllm(**told))
    assert stages_ms(batch) == stages
    assert np.isnan(batch.ttft_seconds[0]) if ttft is None else batch.ttft_seconds[0] == ttft


# --- TGI, SGLang --------------------------------------------------------------------------------------------------------------------
def tgi(name: str, start: float, end: float, span_id: str, parent: str = "", module: str = "server", **told: str) -> Span:
    return Span(
        name, start, end, span_id, parent, kind="internal", attributes={"code.namespace": f"text_generation_router::{module}", **told}
    )


TIMES = {
    "total_time": "20s",
    "validation_time": "80µs",
    "queue_time": "1.5ms",
    "inference_time": "19.9984s",
    "time_per_token": "19.9984ms",
}


@pytest.mark.parametrize("module", ["infer", "validation"])
def test_what_tgi_ends_long_before_its_handler_is_no_failed_request(module: str) -> None:
    """Infer's own `generate_stream` ends once a request is scheduled, and may be exported 20 s before the handler of that name."""
    mapper = Mapper(load_mappings("auto", {}), assembly=Assembly(), limits=Limits())
    early = body([tgi("generate_stream", 1, 3, "inner", "handler", module)])
    mapper.add(decode_json(early, mapper.wanted).batches, EPOCH_NS + 5 * SECOND_NS)
    assert mapper.take(EPOCH_NS + 18 * SECOND_NS) is None
    late = body([tgi("generate_stream", 0, 20_000, "handler", **TIMES)])
    mapper.add(decode_json(late, mapper.wanted).batches, EPOCH_NS + 21 * SECOND_NS)
    batch = mapper.take(EPOCH_NS + 40 * SECOND_NS)
    assert batch is not None
    assert batch.error.tolist() == [False]
    assert {stage: round(ms, 3) for stage, ms in stages_ms(batch).items()} == {
        "queue": 1.5,
        "compute": 19998.4,
        "serialisation": 0.08,
        "other": 0.02,
    }


@pytest.mark.parametrize("wrapper", ["sagemaker_compatibility", "compat_generate"])
def test_a_wrapper_of_tgis_handlers_is_no_request_of_its_own(wrapper: str) -> None:
    module = "sagemaker" if wrapper.startswith("sagemaker") else "server"
    mapper, batch = seen(tgi(wrapper, 0, 2, "w", module=module), tgi("chat_completions", 1, 20_001, "h", "w", **TIMES))
    assert (len(batch), batch.error.tolist()) == (1, [False])
    assert mapper.spans_unmapped["no_rule"] == 1


def test_tgis_http_span_beside_the_handlers_is_no_second_request() -> None:
    http = Span("POST /generate", -1, 20_001, "http", "client", attributes={"http.method": "POST", "http.status_code": 200})
    mapper, batch = seen(tgi("generate", 0, 20_000, "handler", "client", **TIMES), http)
    assert len(batch) == 1
    assert mapper.spans_unmapped["suppressed"] == 1


def sglang(name: str, start: float, end: float, span_id: str, parent: str = "thread", **attributes: str) -> Span:
    return Span(name, start, end, span_id, parent, scope="sglang server", kind="internal", attributes=attributes)


THREAD = sglang("Scheduler [TP 0] (host:ab12 | pid:12)", 1, 99, "thread", "root")


def test_every_chunk_of_a_prefill_of_sglang_is_prefill_also_where_only_the_last_one_is_called_so() -> None:
    root = sglang(" Req a1b2c3d4", 0, 100, "root", "", rid="a1b2c3d4e5")
    chunks = [sglang("chunked_prefill", 20, 30, "c1"), sglang("chunked_prefill", 30, 40, "c2"), sglang("prefill_forward", 40, 55, "p")]
    tokens = [sglang("decode_loop", 55, 75, "d1"), sglang("decode_loop", 75, 95, "d2")]
    _, batch = seen(root, THREAD, sglang("prefill_waiting", 2, 20, "w"), *chunks, *tokens)
    assert stages_ms(batch) == {"queue": 18, "compute": 75, "other": 7}
    assert parts_ms(batch) == {("compute", "prefill"): 35, ("compute", "decode"): 40}


def test_chunks_within_a_prefill_and_tokens_within_a_decode_of_sglang_count_once() -> None:
    root = sglang(" Req a1b2c3d4", 0, 100, "root", "", rid="a1b2c3d4e5")
    prefill = [
        sglang("prefill_forward", 20, 55, "p"),
        sglang("chunked_prefill", 20, 40, "c1", "p"),
        sglang("chunked_prefill", 40, 55, "c2", "p"),
    ]
    decode = [sglang("decode_waiting", 55, 58, "dw"), sglang("decode_forward", 58, 95, "d"), sglang("decode_loop", 58, 75, "l", "d")]
    _, batch = seen(root, THREAD, sglang("prefill_waiting", 2, 20, "w"), *prefill, *decode)
    assert stages_ms(batch) == {"queue": 21, "compute": 72, "other": 7}
    assert parts_ms(batch) == {("compute", "prefill"): 35, ("compute", "decode"): 37}


@pytest.mark.parametrize("name", [" Req a1b2c3d4", "prefill Req my.req/1", " Req ü 1"])
def test_a_request_of_sglang_is_known_whatever_its_client_calls_it(name: str) -> None:
    _, batch = seen(sglang(name, 0, 100, "root", "", rid="whatever"))
    assert len(batch) == 1


# --- servers around servers ---------------------------------------------------------------------------------------------------------
BENTO = {"service.namespace": "bento", "service.name": "LLM"}


def bentoml(*, trace: str = "trace") -> list[Span]:
    asgi = "opentelemetry.instrumentation.asgi"
    return [
        Span("POST /generate", 0, 100, "b", "", trace, asgi, attributes={"http.method": "POST", "http.status_code": 200}, resource=BENTO),
        Span("POST /generate http receive", 0, 1, "r", "b", trace, asgi, "internal", attributes={"asgi.event.type": "http.request"}),
    ]


def test_a_request_to_a_bento_around_vllm_counts_once_and_as_vllms() -> None:
    mapper, batch = seen(*bentoml(), vllm(parent="b", start=8))
    assert len(batch) == 1
    assert stages_ms(batch) == {"queue": 10, "compute": 70, "serialisation": 10, "other": 0}
    assert mapper.spans_unmapped["suppressed"] == 2
    assert dict(batch.around_ns) == {(None, "serialisation", "net_in"): MS}


def test_a_request_to_a_bento_around_vllm_counts_once_also_if_their_traces_are_apart() -> None:
    _, batch = seen(*bentoml(), vllm("another"))
    assert len(batch) == 1
    assert batch.quality["queue"] == "measured"


def test_a_request_to_a_bento_alone_counts_as_its_own() -> None:
    _, batch = seen(*bentoml())
    assert (batch.model[0], stages_ms(batch)) == ("LLM", {"serialisation": 1, "other": 99})


def test_a_call_that_litellm_repeats_in_a_child_and_retries_is_one_inference() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "a"}
    done = {**call, "gen_ai.response.model": "b", "gen_ai.usage.prompt_tokens": 30, "gen_ai.usage.completion_tokens": 12}
    _, batch = seen(
        Span("Received Proxy Server Request", 0, 100, scope="litellm", attributes={"http.method": "POST"}),
        Span("litellm_request", 10, 40, "l1", "root", scope="litellm", kind="internal", status="error", attributes=call),
        Span("litellm_request", 50, 90, "l2", "root", scope="litellm", kind="internal", attributes=done),
        Span("raw_gen_ai_request", 50, 90, "raw", "l2", scope="litellm", kind="internal", attributes=done),
    )
    assert (len(batch), batch.model[0], batch.tokens_input[0], batch.error[0]) == (1, "b", 30, False)
    assert stages_ms(batch) == {"compute": 70, "serialisation": 30, "other": 0}


# --- any server ---------------------------------------------------------------------------------------------------------------------
def errors_of(*spans: Span) -> list[bool]:
    _, batch = seen(*spans, kind="generic_rpc")
    return [bool(error) for error in batch.error[np.argsort(batch.start_ns)]]


@pytest.mark.parametrize(
    ("code", "error"),
    [(0, False), (2, True), (3, False), (4, True), (5, False), (8, False), (12, True), (13, True), (15, True), (16, False)],
)
def test_a_call_that_the_client_got_wrong_is_no_error_of_the_server(code: int, error: bool) -> None:
    span = Span(
        "/inference.GRPCInferenceService/ModelInfer",
        0,
        10,
        scope="opentelemetry.instrumentation.grpc",
        attributes={"rpc.system": "grpc", "rpc.grpc.status_code": code},
    )
    assert errors_of(span) == [error]


@pytest.mark.parametrize("key", ["rpc.response.status_code", "rpc.status_code"])
@pytest.mark.parametrize(("code", "error"), [("OK", False), ("INVALID_ARGUMENT", False), ("UNAVAILABLE", True), ("internal", True)])
def test_a_call_tells_how_it_ended_by_the_new_names_too(code: str, error: bool, key: str) -> None:
    assert errors_of(Span("p.S/M", 0, 10, attributes={"rpc.system.name": "grpc", key: code})) == [error]


HTTP = ({"http.method": "GET"}, "http.target"), ({"http.request.method": "GET"}, "url.path")


@pytest.mark.parametrize(("attributes", "key"), HTTP)
@pytest.mark.parametrize(
    "path", ["/health", "/healthz?x=1", "/health/live", "/ready", "/live/", "/metrics", "/v2/health/ready", "/v2/models/m/versions/1/ready"]
)
def test_who_asks_whether_a_server_lives_asks_for_no_inference(path: str, attributes: dict[str, str], key: str) -> None:
    mapper, batch = seen(Span("POST", 0, 9, attributes=attributes), Span("GET", 0, 10, trace="probe", attributes={**attributes, key: path}))
    assert [duration_ms(batch, row) for row in range(len(batch))] == [9]
    assert mapper.spans_unmapped["no_rule"] == 1


@pytest.mark.parametrize(("attributes", "key"), HTTP)
@pytest.mark.parametrize("path", ["/healthcare/predict", "/livestream", "/v2/models/ready/infer", "/metrics-model", "/pingpong"])
def test_a_path_that_only_begins_like_a_probes_is_asked_for_inferences(path: str, attributes: dict[str, str], key: str) -> None:
    _, batch = seen(Span("POST", 0, 10, attributes={**attributes, key: path}))
    assert len(batch) == 1


@pytest.mark.parametrize(
    "name",
    [
        "grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ModelReady",
    ],
)
def test_a_call_that_asks_whether_a_server_lives_asks_for_no_inference(name: str) -> None:
    call = {"rpc.system": "grpc", "rpc.grpc.status_code": 0}
    _, batch = seen(Span("/p.S/Infer", 0, 9, attributes=call), Span(name, 0, 10, trace="probe", attributes=call))
    assert Counter(duration_ms(batch, row) for row in range(len(batch))) == {9: 1}


# --- patterns -----------------------------------------------------------------------------------------------------------------------
FOUND = list(operators(tuple(shipped_mappings().values())))
PATTERNS = {one.pattern for one in FOUND if isinstance(one, TextMatch | Label) and one.pattern is not None}


SENT = [
    "/" * 4096,
    "1" * 4096,
    "a/" * 2048,
    "/v2/models/" * 400,
    "POST /v2/models/" + "/infer " * 600,
    "x Req " * 700,
    "5" + "\n" * 4096,
    " " * 4096,
    "é" * 4096,
]


@pytest.mark.parametrize("pattern", sorted(PATTERNS, key=lambda pattern: pattern.pattern), ids=lambda pattern: pattern.pattern)
def test_no_text_of_a_sender_keeps_a_pattern_busy(pattern: re.Pattern[str]) -> None:
    """A pattern that tries all ways to divide a text would not end here."""
    assert [pattern.search(text + end) for text in SENT for end in ("", "\x00")] != []

"""Whose /metrics a page is, and what can't be read at all."""

from __future__ import annotations

import pytest

from infermeter.errors import ConfigError
from infermeter.mapping import load_mappings, shipped_mappings
from infermeter.model import Series
from infermeter.scrape import check_metrics_url
from infermeter.scrape.recognition import declared, recognised

URL = "http://127.0.0.1:8002/metrics"
OWN = """
schema: 1
server: own
title: a gateway of one's own
versions: "1"
role: gateway
rules: [{id: a, match: {span: s}, emit: {}}]
metrics: {counters: {inferences: {name: "vllm:request_success_total"}}}
"""


def page(present: set[str], **labels: str) -> list[Series]:
    return [Series(name, labels, 1.0) for name in sorted(present)]


@pytest.mark.parametrize(
    ("present", "server"),
    [
        ({"nv_inference_request_success"}, "triton"),
        ({"nv_inference_request_failure", "up"}, "triton"),
        ({"vllm:request_success_total", "vllm:num_requests_running"}, "vllm"),
        ({"nv_inference_request_success", "vllm:request_success_total"}, "triton"),
        ({"vllm:num_requests_running"}, "vllm"),
        ({"vllm:request_success_created"}, None),
        (set(), None),
    ],
)
def test_a_page_is_of_the_first_server_that_one_of_its_metrics_is_read_of(present: set[str], server: str | None) -> None:
    found = recognised(load_mappings("auto", {}), page(present))
    assert (found[0].server if found else None) == server


def test_an_engine_is_recognised_before_a_gateway_that_counts_by_the_same_name() -> None:
    found = recognised(load_mappings("auto", {"own": OWN}), page({"vllm:request_success_total"}))
    assert found is not None
    assert found[0].server == "vllm"
    assert found[1] is found[0].metrics


def test_a_server_that_can_be_read_is_no_problem() -> None:
    for kind in ("auto", "triton", "vllm"):
        check_metrics_url(URL, load_mappings(kind, {}))
    check_metrics_url(URL, load_mappings("infermeter", {"own": OWN}))


def test_a_server_of_whose_metrics_nothing_is_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        check_metrics_url(URL, load_mappings("generic_rpc", {}))
    able = ", ".join(sorted(server for server, mapping in shipped_mappings().items() if mapping.metrics))
    assert str(caught.value) == (
        f"server.metrics_url: nothing is known of generic_rpc's own metrics; server.kind is one of {able}, or a mapping has `metrics`"
    )
    assert {"lmdeploy", "triton", "vllm"} <= set(able.split(", "))


def test_a_url_that_nobody_can_ask_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^server\.metrics_url: is not an http or https URL"):
        check_metrics_url("127.0.0.1:8002/metrics", load_mappings("triton", {}))


# --- a server that hasn't served yet -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "server"),
    [
        (b"# HELP x\n# TYPE request_predict_seconds histogram\nup 1\n", "kserve"),
        (b"# TYPE nv_inference_request_success counter\n", "triton"),
        (b"# TYPE sglang:num_requests_total counter\n", "sglang"),
        (b"# TYPE vllm:prompt_tokens_total counter\n# TYPE tgi_queue_size gauge\n", "vllm"),
        (b"# HELP request_predict_seconds predict request latency\n", None),
        (b"# TYPE parallel_request_queue histogram\nparallel_request_queue_count 2.0\n", "mlserver"),
        (b"# TYPE dynamo_frontend_model_context_length gauge\n", "dynamo"),
        (b"parallel_request_queue_count 2.0\n", None),
        (b" # TYPE request_predict_seconds histogram\n", None),
        (b"# TYPE request_predict_seconds_total histogram\n", None),
        (b"", None),
    ],
)
def test_a_page_that_says_the_type_of_a_metric_without_any_series_yet_is_its_servers(body: bytes, server: str | None) -> None:
    found = declared(load_mappings("auto", {}), body)
    assert (found[0].server if found else None) == server


def test_a_metric_that_needs_labels_to_be_a_servers_is_nobodys_while_it_has_none() -> None:
    assert declared(load_mappings("auto", {}), b"# TYPE http_requests_total counter\n") is None
    assert declared(load_mappings("generic_rpc", {}), b"# TYPE http_requests_total counter\n") is None

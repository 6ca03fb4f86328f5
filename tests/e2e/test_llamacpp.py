"""The proof on a real llama.cpp, by two servers: its own, which has metrics but no spans, and llama-cpp-python's, which has neither."""

from __future__ import annotations

import json
import subprocess
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.clients import Answer, Question, ask
from e2e.exposition import total
from e2e.junction import junction
from e2e.llamacpp import MODEL, llama_cpp_python, llama_server
from e2e.processes import free_ports, text_at
from e2e.proxied import proxy
from e2e.sidecar import Ending, Scrape, sidecar

pytestmark = pytest.mark.e2e_servers

CLIENT_SECONDS = 0.03
"""What the client's own side of a request may take, on a machine that is busy with other things."""

CONFIGURATION = """
server: {kind: KIND, name: llama, gpu_count: 1, MORE}
sla: {default: {quantile: 0.99, duration_seconds: 5, ttft_seconds: 5}}
gpu: {source: none}
windows: [1m]
ledger: {span_delay: 2s}
"""


def completion(tokens: int, words: int, *, stream: bool = False) -> Question:
    body = {"prompt": " ".join(["the cost of an inference"] * words), "max_tokens": tokens, "stream": stream, "temperature": 0.8}
    return Question("/v1/completions", body)


PLAIN = [completion(tokens, words) for tokens in (1, 8, 32) for words in (1, 4, 8)] * 4
STREAMS = [completion(tokens, 2, stream=True) for tokens in (8, 16, 48)] * 8
AT_ONCE = [completion(24, 3)] * 40
FAILING = [Question("/v1/completions", b"{"), completion(1, 200)]
"""Not JSON; and more than the context holds."""


def configured(kind: str, more: str = "max_batch: 2") -> str:
    return CONFIGURATION.replace("KIND", kind).replace("MORE", more)


def seconds_of(answers: Sequence[Answer]) -> float:
    return sum(answer.seconds for answer in answers)


@dataclass(frozen=True)
class Proxied:
    """llama-cpp-python behind a proxy that lets it have one request at a time; `auto` is the page of a sidecar that isn't told the kind."""

    plain: Sequence[Answer]
    streams: Sequence[Answer]
    at_once: Sequence[Answer]
    failed: Sequence[Answer]
    own_metrics: int
    last: Scrape
    auto: Scrape
    ending: Ending


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Proxied:
    folder, other = tmp_path_factory.mktemp("python"), tmp_path_factory.mktemp("auto")
    with sidecar(configured("infermeter"), folder) as meter, sidecar(configured("auto"), other) as auto:
        with (
            junction(meter.otlp_http, auto.otlp_http, folder=folder / "spans") as endpoint,
            llama_cpp_python(folder / "llama.log") as server,
            proxy(server, endpoint, f"--model={MODEL}", "--in-flight=1", log=folder / "proxy.log", probe="/v1/models") as url,
        ):
            plain = ask(url, PLAIN, at_a_time=1)
            streams = ask(url, STREAMS, at_a_time=4)
            at_once = ask(url, AT_ONCE, at_a_time=8)
            failed = ask(url, FAILING, at_a_time=1)
            own = status_of(f"{server}/metrics")
        for each in (meter, auto):
            each.wait_until("inferences_observed_total", len(PLAIN + STREAMS + AT_ONCE + FAILING), seconds=20)
        return Proxied(plain, streams, at_once, failed, own, meter.scrape(), auto.scrape(), meter.stop())


def status_of(url: str) -> int:
    try:
        text_at(url)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_every_request_is_counted_once_as_its_client_saw_it_end(proxied: Proxied) -> None:
    good = [*proxied.plain, *proxied.streams, *proxied.at_once]
    assert all(answer.ok for answer in good)
    assert all(answer.status >= 400 for answer in proxied.failed)
    for page in (proxied.last, proxied.auto):
        for family in ("inferences_total", "inferences_observed_total"):
            assert page.total(family, model=MODEL, outcome="ok") == page.total(family, outcome="ok") == len(good)
            assert page.total(family, model=MODEL, outcome="error") == page.total(family, outcome="error") == len(FAILING)
        assert page.total("spans_dropped_total") == page.total("spans_unmapped_total") == page.total("exports_refused_total") == 0


def test_streams_that_wait_for_each_other_in_the_proxy_are_whole(proxied: Proxied) -> None:
    assert all(answer.body.rstrip().endswith(b"data: [DONE]") for answer in proxied.streams)


def test_time_is_a_little_less_than_clients_wait_and_all_of_it_is_told(proxied: Proxied) -> None:
    good = [*proxied.plain, *proxied.streams, *proxied.at_once]
    duration = proxied.last.total("inference_duration_seconds_sum", model=MODEL)
    told = {
        stage: proxied.last.total("stage_duration_seconds_sum", stage=stage)
        for stage in ("queue", "compute", "transfer", "serialisation", "other")
    }
    assert seconds_of(good) - len(good) * CLIENT_SECONDS < duration < seconds_of(good)
    assert sum(told.values()) == pytest.approx(duration)
    assert told["other"] < 0.01 * duration
    assert told["transfer"] == 0
    for stage, seconds in told.items():
        assert proxied.auto.total("stage_duration_seconds_sum", stage=stage) == pytest.approx(seconds)


def test_who_asks_at_the_same_time_waits_in_the_queue(proxied: Proxied) -> None:
    queue = proxied.last.total("stage_duration_seconds_sum", stage="queue")
    together = seconds_of([*proxied.streams, *proxied.at_once])
    assert 0.5 * together < queue < together


def test_the_first_byte_of_a_stream_comes_a_little_before_its_client_has_it(proxied: Proxied) -> None:
    good = [*proxied.plain, *proxied.streams, *proxied.at_once]
    seen = sum(answer.first_byte_seconds or 0 for answer in good)
    told = proxied.last.total("time_to_first_token_seconds_sum", model=MODEL)
    assert proxied.last.total("time_to_first_token_seconds_count", model=MODEL) == len(good)
    assert seen - len(good) * CLIENT_SECONDS < told < seen


def test_llama_cpp_python_has_no_metrics_of_its_own(proxied: Proxied) -> None:
    assert proxied.own_metrics == 404
    assert proxied.ending.exit_status == 0


@dataclass(frozen=True)
class Measured:
    """llama.cpp's own server: `spans` is the page of a sidecar that has its metrics and a proxy's spans, `alone` of one without spans."""

    good: Sequence[Answer]
    failed: Sequence[Answer]
    streams: Sequence[Answer]
    own: str
    spans: Scrape
    alone: Scrape

    def answered(self, *path: str) -> float:
        """The sum of a number that its answers carry."""
        return sum(_number(json.loads(answer.body), path) for answer in self.good)


def _number(answer: Any, path: Sequence[str]) -> float:
    for key in path:
        answer = answer[key]
    return float(answer)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder, other = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("alone")
    (port,) = free_ports(1)
    metrics = f'metrics_url: "http://127.0.0.1:{port}/metrics", metrics_interval: 500ms'
    with (
        sidecar(configured("auto", metrics), folder) as meter,
        sidecar(configured("llamacpp", metrics), other) as alone,
        llama_server(folder / "llama.log", port=port) as server,
    ):
        for each in (meter, alone):
            each.wait_until("server_scrape_up", 1, seconds=20)
        with proxy(server, meter.otlp_http, "--path=/v1/", "--in-flight=4", log=folder / "proxy.log", probe="/health") as url:
            good = [*ask(url, PLAIN, at_a_time=1), *ask(url, AT_ONCE, at_a_time=8)]
            failed = ask(url, FAILING, at_a_time=1)
            own = text_at(f"{server}/metrics")
            meter.wait_until("inferences_observed_total", len(PLAIN + AT_ONCE + FAILING), seconds=20)
            for each in (meter, alone):
                each.wait_until("tokens_total", total(own, "llamacpp:tokens_predicted_total"), seconds=20, direction="output")
            decoding = total(own, "llamacpp:tokens_predicted_seconds_total")
            alone.wait_until("stage_part_seconds_total", 0.999 * decoding, seconds=60, part="decode")
            pages = meter.scrape(), alone.scrape()
            streams = ask(url, STREAMS * 5, at_a_time=8)
        return Measured(good, failed, streams, own, *pages)


def test_streams_come_whole_from_a_server_that_hangs_up_after_each(measured: Measured) -> None:
    assert all(answer.ok and answer.body.rstrip().endswith(b"data: [DONE]") for answer in measured.streams)


def test_spans_of_the_proxy_count_what_llama_server_does_not(measured: Measured) -> None:
    assert all(answer.ok for answer in measured.good)
    assert [answer.status for answer in measured.failed] == [500, 400]
    assert measured.spans.total("inferences_observed_total", model=MODEL, outcome="ok") == len(measured.good)
    assert measured.spans.total("inferences_observed_total", model=MODEL, outcome="error") == len(FAILING)
    assert measured.spans.total("spans_dropped_total") == measured.spans.total("spans_unmapped_total") == 0
    assert measured.spans.total("inferences_total", model=MODEL, outcome="ok") == len(measured.good)
    assert "infermeter_inferences_total{" not in measured.alone.text


def test_tokens_are_those_that_its_answers_tell_but_for_cached_ones(measured: Measured) -> None:
    cached = measured.answered("usage", "prompt_tokens_details", "cached_tokens")
    for page in (measured.spans, measured.alone):
        assert page.total("tokens_total", model=MODEL, direction="output") == measured.answered("usage", "completion_tokens")
        assert page.total("tokens_total", model=MODEL, direction="input") == measured.answered("usage", "prompt_tokens") - cached
    assert cached == total(measured.own, "llamacpp:prompt_tokens_cached_total") > 0


def test_the_model_computes_for_a_part_of_what_the_proxy_sees(measured: Measured) -> None:
    model = (measured.answered("timings", "prompt_ms") + measured.answered("timings", "predicted_ms")) / 1000
    assert model < measured.spans.total("stage_duration_seconds_sum", model=MODEL, stage="compute")


def test_without_spans_its_own_seconds_tell_what_its_answers_tell(measured: Measured) -> None:
    prefill, decode = (measured.alone.total("stage_part_seconds_total", model=MODEL, part=part) for part in ("prefill", "decode"))
    assert decode == pytest.approx(measured.answered("timings", "predicted_ms") / 1000, rel=0.01)
    assert 0.5 < prefill / (measured.answered("timings", "prompt_ms") / 1000) < 1.1  # its counter leaves out a part that its answers tell
    assert measured.alone.total("stage_quality", stage="compute", quality="fallback") == 1


@pytest.mark.parametrize("which", ["spans", "alone"])
def test_what_is_exposed_passes_promtool(measured: Measured, which: str) -> None:
    text = getattr(measured, which).text
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")

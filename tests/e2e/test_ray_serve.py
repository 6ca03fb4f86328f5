"""The proof on a real Ray Serve, whose spans come from several processes: what the sidecar says, against Ray's counts and its clients."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from e2e.clients import Answer, Question, ask
from e2e.junction import junction
from e2e.processes import free_ports
from e2e.ray_serve import ITEM_SECONDS, ray_serve
from e2e.sidecar import Ending, Scrape, sidecar

pytestmark = pytest.mark.e2e_servers

CLIENTS = 8
"""Twice as many as the front takes at one time."""

CLIENT_SECONDS = 0.03
"""What the client's own side of a request may take, on a machine that is busy with other things."""

TAIL_SECONDS = 0.01
"""How much later than its client has the answer a proxy's span may end: Ray closes it with the answer on its way (measured: 2 to 5 ms)."""


def doubled(number: float) -> Question:
    return Question("/double", {"number": number})


WARM = [doubled(1)] * 4
ONE_BY_ONE = [doubled(number) for number in range(1, 11)] * 4
AT_ONCE = [doubled(3)] * 80
WRONG = [doubled(-1)] * 3
FAILING = [doubled(13)] * 2 + [doubled(14)]
SENT = len(WARM) + len(ONE_BY_ONE) + len(AT_ONCE) + len(WRONG) + len(FAILING)
COMPUTED = len(WARM) + len(ONE_BY_ONE) + len(AT_ONCE)
SPANS = 5 * (COMPUTED + 2) + 3 * (len(WRONG) + 1)
"""Those of the proxy, and two for each of the deployments that are reached."""

CONFIGURATION = """
server: {kind: KIND, name: ray, sampled: SAMPLED, gpu_count: 1, metrics_url: "METRICS_URL", metrics_interval: 500ms}
sla: {default: {quantile: 0.99, duration_seconds: 5}}
gpu: {source: none}
windows: [1m]
"""


def configured(metrics_port: int, kind: str, *, sampled: bool) -> str:
    """The configuration of a sidecar beside a Ray Serve whose own metrics are at this port."""
    text = CONFIGURATION.replace("KIND", kind).replace("SAMPLED", str(sampled).lower())
    return text.replace("METRICS_URL", f"http://127.0.0.1:{metrics_port}/metrics")


@dataclass(frozen=True)
class Evidence:
    """What everybody said; `auto` is another sidecar's page, that wasn't told the kind of server."""

    good: Sequence[Answer]
    failed: Sequence[Answer]
    by_status: dict[str, float]
    served: dict[str, float]
    alone: Scrape
    last: Scrape
    auto: Scrape
    ending: Ending
    proxied_seconds: Sequence[float]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder, other = tmp_path_factory.mktemp("ray"), tmp_path_factory.mktemp("auto")
    (port,) = free_ports(1)
    named, unnamed = (configured(port, kind, sampled=False) for kind in ("ray_serve", "auto"))
    with (
        sidecar(named, folder) as meter,
        sidecar(unnamed, other) as auto,
        junction(meter.otlp_http, auto.otlp_http, folder=folder / "spans") as endpoint,
        ray_serve(endpoint, metrics_port=port, sampling_ratio=1.0, log=folder / "ray.log") as server,
    ):
        for each in (meter, auto):
            each.wait_until("server_scrape_up", 1, seconds=20)
        warm = ask(server.url, WARM, at_a_time=1)
        good = [*warm, *ask(server.url, ONE_BY_ONE, at_a_time=1)]
        meter.wait_until("inferences_observed_total", len(good), seconds=40)
        alone = meter.scrape()
        good += ask(server.url, AT_ONCE, at_a_time=CLIENTS)
        failed = ask(server.url, WRONG + FAILING, at_a_time=1)
        server.wait_until_counted("num_http_requests_total", SENT)
        for each in (meter, auto):
            each.wait_until("inferences_observed_total", SENT, seconds=40)
            each.wait_until("inferences_total", SENT, seconds=40)
            each.wait_until("spans_received_total", SPANS, seconds=20)
        return Evidence(
            good,
            failed,
            {status: server.count("num_http_requests_total", status_code=status) for status in ("200", "422", "500")},
            {deployment: server.count("deployment_request_counter_total", deployment=deployment) for deployment in ("Front", "Model")},
            alone,
            meter.scrape(),
            auto.scrape(),
            meter.stop(),
            proxied_seconds(folder / "spans"),
        )


def proxied_seconds(folder: Path) -> list[float]:
    """How long the proxy took for each request that it didn't fail, as its own spans say, read by OpenTelemetry's own messages."""
    spans = [
        span
        for path in sorted(folder.glob("*.pb"))
        for of_resource in ExportTraceServiceRequest.FromString(path.read_bytes()).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
    proxied = [span for span in spans if span.name.startswith("proxy_http_request ")]
    failed = {
        span.span_id
        for span in proxied
        for attribute in span.attributes
        if attribute.key == "http.status_code" and attribute.value.int_value >= HTTPStatus.INTERNAL_SERVER_ERROR
    }
    return [(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 for span in proxied if span.span_id not in failed]


def test_every_request_is_counted_once_as_ray_and_its_clients_count_it(evidence: Evidence) -> None:
    assert all(answer.ok for answer in evidence.good)
    assert [answer.status for answer in evidence.failed] == [422] * len(WRONG) + [500] * len(FAILING)
    assert evidence.by_status == {"200": COMPUTED, "422": len(WRONG), "500": len(FAILING)}
    for page in (evidence.last, evidence.auto):
        for family in ("inferences_total", "inferences_observed_total"):
            assert page.total(family, model="Front", outcome="ok") == COMPUTED + len(WRONG) == evidence.served["Front"]
            assert page.total(family, model="Front", outcome="error") == len(FAILING)
            assert page.total(family) == SENT
        assert page.total("inferences_source", source="server") == 1


def test_no_span_is_lost_and_each_is_accounted_for(evidence: Evidence) -> None:
    for page in (evidence.last, evidence.auto):
        assert page.total("spans_received_total", protocol="http") == SPANS
        assert page.total("spans_dropped_total") == 0
        assert page.total("spans_unmapped_total") == 0
        assert page.total("exports_refused_total") == 0
        assert page.total("inferences_late_total") == 0


def test_stages_and_other_add_up_to_the_duration(evidence: Evidence) -> None:
    told = {
        stage: evidence.last.total("stage_duration_seconds_sum", model="Front", stage=stage)
        for stage in ("queue", "compute", "serialisation", "other")
    }
    assert sum(told.values()) == pytest.approx(evidence.last.total("inference_duration_seconds_sum", model="Front"))
    assert all(told[stage] > 0 for stage in ("queue", "compute", "serialisation"))
    assert told["other"] < 0.01 * sum(told.values())
    assert 'stage="transfer"' not in evidence.last.text


def test_a_request_takes_what_the_proxys_span_says_and_about_what_its_client_waits(evidence: Evidence) -> None:
    answers = [*evidence.good, *evidence.failed[: len(WRONG)]]
    waited = sum(answer.seconds for answer in answers)
    duration = evidence.last.total("inference_duration_seconds_sum", model="Front")
    assert len(evidence.proxied_seconds) == len(answers)
    assert duration == pytest.approx(sum(evidence.proxied_seconds), rel=1e-9)
    assert waited - len(answers) * CLIENT_SECONDS < duration < waited + len(answers) * TAIL_SECONDS


def test_more_clients_than_the_front_takes_wait_in_the_queue(evidence: Evidence) -> None:
    before, after = (
        {stage: page.total("stage_duration_seconds_sum", model="Front", stage=stage) for stage in ("queue", "compute")}
        for page in (evidence.alone, evidence.last)
    )
    grown = {stage: after[stage] - before[stage] for stage in after}
    assert before["queue"] / len(WARM + ONE_BY_ONE) < 0.5 * grown["queue"] / len(AT_ONCE)
    assert grown["queue"] > 0.5 * grown["compute"]
    assert after["compute"] > COMPUTED * ITEM_SECONDS


def test_a_sidecar_that_is_told_nothing_of_the_kind_says_the_same(evidence: Evidence) -> None:
    for family in ("inference_duration_seconds_sum", "inference_duration_seconds_count"):
        assert evidence.auto.total(family) == pytest.approx(evidence.last.total(family))
    for stage in ("queue", "compute", "serialisation", "other"):
        both = [page.total("stage_duration_seconds_sum", stage=stage) for page in (evidence.auto, evidence.last)]
        assert both[0] == pytest.approx(both[1])


def test_what_is_exposed_passes_promtool(evidence: Evidence) -> None:
    check = subprocess.run(["promtool", "check", "metrics"], input=evidence.last.text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_it_ends_with_0(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0


def test_all_requests_are_counted_where_ray_traces_one_in_a_hundred(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sampled")
    (port,) = free_ports(1)
    many = [doubled(1)] * 300
    with sidecar(configured(port, "ray_serve", sampled=True), folder) as meter:
        with ray_serve(meter.otlp_http, metrics_port=port, sampling_ratio=None, log=folder / "ray.log") as server:
            meter.wait_until("server_scrape_up", 1, seconds=20)
            assert all(answer.ok for answer in ask(server.url, many, at_a_time=4))
            meter.wait_until("inferences_total", len(many), seconds=40)
            last = meter.scrape()
        ending = meter.stop()
    assert last.total("inferences_total", model="Front", outcome="ok") == len(many)
    told = re.search(r"(\d+) inferences observed", ending.log)
    assert told is not None
    observed = int(told[1])
    assert observed < 20  # as good as certain where 3 are to be expected
    assert last.total("inference_duration_seconds_count", model="Front") <= observed

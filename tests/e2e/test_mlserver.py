"""The proof on a real MLServer: what the sidecar says of real requests, against what its clients saw and what MLServer counted."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from e2e.clients import Answer, Question, ask
from e2e.exposition import total
from e2e.grpc_junction import grpc_junction
from e2e.mlserver import FAILING, GOOD, REFUSED, GrpcAnswer, MLServer, mlserver, question
from e2e.processes import free_ports, wait_until
from e2e.sidecar import Ending, Scrape, Sidecar, sidecar

pytestmark = [pytest.mark.e2e, pytest.mark.e2e_servers]

CLIENT_SECONDS = 0.03
"""What the client's own side of a request may take, on a machine that is busy with other things."""

ONE_BY_ONE = [question("plain", GOOD)] * 30
AT_ONCE = [question("batched", GOOD)] * 60
CLIENTS = 12
FAILED = [*[question("plain", REFUSED)] * 3, *[question("plain", FAILING)] * 2, *[question("batched", FAILING)] * 2]
NO_MODEL = [question("absent", GOOD)] * 2
NO_REQUEST = [Question("/v2/models/plain/infer", {"inputs": "none"})] * 2
OVER_GRPC = [GOOD] * 20 + [REFUSED, FAILING]
COVERAGE = 0.05
"""A slot ends between two of the server's pages."""

MOST_ROUNDS = 30
CONFIGURATION = """
server: {kind: KIND, name: mlserver, gpu_count: 1, metrics_url: "METRICS_URL", metrics_interval: 500ms}
sla: {default: {quantile: 0.99, duration_seconds: 5}}
cost: {currency: USD, as_of: 2026-11-01, source: prices of this test, rent: {per_hour: 3.6, per: gpu}}
gpu: {source: none}
windows: [1m]
ledger: {span_delay: 3s}
"""


@dataclass
class Seen:
    """What the clients saw, over REST by what they asked for."""

    one_by_one: list[Answer] = field(default_factory=list)
    at_once: list[Answer] = field(default_factory=list)
    failed: list[Answer] = field(default_factory=list)
    no_model: list[Answer] = field(default_factory=list)
    no_request: list[Answer] = field(default_factory=list)
    over_grpc: list[GrpcAnswer] = field(default_factory=list)

    def round(self, server: MLServer) -> None:
        """Some of everything."""
        self.one_by_one += ask(server.url, ONE_BY_ONE, at_a_time=1)
        self.at_once += ask(server.url, AT_ONCE, at_a_time=CLIENTS)
        self.failed += ask(server.url, FAILED, at_a_time=2)
        self.no_model += ask(server.url, NO_MODEL, at_a_time=1)
        self.no_request += ask(server.url, NO_REQUEST, at_a_time=1)
        self.over_grpc += server.ask_over_grpc("plain", OVER_GRPC)

    @property
    def over_rest(self) -> list[Answer]:
        return [*self.one_by_one, *self.at_once, *self.failed, *self.no_model, *self.no_request]

    @property
    def inferences(self) -> int:
        """A request that is none (422) reached no model."""
        return len(self.over_rest) - len(self.no_request) + len(self.over_grpc)


@dataclass(frozen=True)
class Evidence:
    """What everybody said; `auto` is a sidecar that is told neither kind nor model."""

    seen: Seen
    own: str
    first: Scrape
    last: Scrape
    auto: Scrape
    ending: Ending


def configured(metrics_port: int, kind: str) -> str:
    text = CONFIGURATION.replace("METRICS_URL", f"http://127.0.0.1:{metrics_port}/metrics").replace("KIND", kind)
    return text.replace("name: mlserver", "name: mlserver, model: plain") if kind != "auto" else text


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder, other = tmp_path_factory.mktemp("mlserver"), tmp_path_factory.mktemp("auto")
    (metrics_port,) = free_ports(1)
    with sidecar(configured(metrics_port, "mlserver"), folder) as meter, sidecar(configured(metrics_port, "auto"), other) as auto:
        first = meter.scrape()
        sidecars = (meter, auto)
        exports = grpc_junction(meter.otlp_grpc, auto.otlp_grpc, folder=folder / "exports")
        with exports as endpoint, mlserver(endpoint, folder=folder, metrics_port=metrics_port) as server:
            for each in sidecars:
                each.wait_until("server_scrape_up", 1, seconds=20)  # though its page tells no counter before the first inference
            seen = until_coverage_is_told(server, sidecars)
            for each in sidecars:
                each.wait_until("inferences_observed_total", seen.inferences, seconds=20)
                each.wait_until("inferences_total", seen.inferences, seconds=20)
                wait_for_quiet(each)
                wait_for_coverage(each)
            return Evidence(seen, server.metrics(), first, meter.scrape(), auto.scrape(), meter.stop())


def wait_for_quiet(meter: Sidecar) -> None:
    """Waits until no trace is pending: those of probes and of what is no request end last."""
    ended = lambda: meter.scrape().total("traces_pending") == 0  # noqa: E731
    wait_until(ended, seconds=20, process=meter.process, log=meter.log, what="end of all traces")


def wait_for_coverage(meter: Sidecar) -> None:
    """Waits until slots tell as many spans as inferences: those between two of the server's pages may be another slot's."""

    def covered() -> bool:
        page = meter.scrape()
        return abs(page.total("span_coverage_ratio") - 1) <= COVERAGE and page.total("busy_seconds_total") > 0

    wait_until(covered, seconds=60, process=meter.process, log=meter.log, what="coverage")


def until_coverage_is_told(server: MLServer, sidecars: Sequence[Sidecar]) -> Seen:
    """Asks until slots are over that the server's pages tell whole."""
    seen = Seen()
    for _ in range(MOST_ROUNDS):
        seen.round(server)
        if all(each.scrape().total("span_coverage_ratio") > 0 for each in sidecars):
            return seen
    raise TimeoutError("coverage was never told")


def test_the_clients_got_what_they_asked_for(evidence: Evidence) -> None:
    seen = evidence.seen
    assert len(seen.over_rest) + len(seen.over_grpc) > 100
    rounds = len(seen.one_by_one) // len(ONE_BY_ONE)
    assert Counter(answer.status for answer in seen.over_rest) == {
        200: rounds * (len(ONE_BY_ONE) + len(AT_ONCE)),
        400: rounds * 3,
        500: rounds * 4,
        404: rounds * 2,
        422: rounds * 2,
    }
    assert Counter(answer.status for answer in seen.over_grpc) == {0: rounds * 20, 3: rounds, 13: rounds}


def test_every_request_is_counted_once_as_mlserver_counted_it(evidence: Evidence) -> None:
    for model in ("plain", "batched", "absent"):
        for outcome, own in (("ok", "success"), ("error", "failure")):
            counted = total(evidence.own, f"model_infer_request_{own}_total", model=model)
            assert evidence.last.total("inferences_total", model=model, outcome=outcome) == counted
    good = (len(evidence.seen.one_by_one), len(evidence.seen.at_once), sum(answer.status == 0 for answer in evidence.seen.over_grpc))
    assert evidence.last.total("inferences_total", outcome="ok") == sum(good)
    assert evidence.last.total("inferences_total") == evidence.seen.inferences
    assert evidence.last.total("inferences_source", source="server") == 1


def test_every_request_is_seen_once_as_mlserver_counted_it(evidence: Evidence) -> None:
    for model in ("plain", "batched", "absent"):
        for outcome, own in (("ok", "success"), ("error", "failure")):
            counted = total(evidence.own, f"model_infer_request_{own}_total", model=model)
            assert evidence.last.total("inferences_observed_total", model=model, outcome=outcome) == counted
    assert evidence.last.total("inferences_observed_total") == evidence.seen.inferences
    assert evidence.last.total("span_coverage_ratio") == pytest.approx(1, abs=COVERAGE)


def test_no_span_is_lost_and_each_is_accounted_for(evidence: Evidence) -> None:
    inferences_over_rest = len(evidence.seen.over_rest) - len(evidence.seen.no_request)
    mapped = 4 * inferences_over_rest + len(evidence.seen.over_grpc)  # a request over REST: itself, one receive, two sends
    for page in (evidence.last, evidence.auto):
        assert page.total("spans_dropped_total") == 0
        assert page.total("exports_refused_total") == 0
        assert page.total("traces_pending") == 0
        assert page.total("spans_unmapped_total") == page.total("spans_received_total", protocol="grpc") - mapped
    probes = evidence.last.total("spans_unmapped_total") - 4 * len(evidence.seen.no_request)  # for readiness: itself and two sends
    assert probes % 3 == 0 < probes


def test_an_inference_takes_a_little_less_than_its_client_waits(evidence: Evidence) -> None:
    good = [*evidence.seen.one_by_one, *[answer for answer in evidence.seen.over_grpc if answer.status == 0]]
    for model, answers in (("plain", good), ("batched", evidence.seen.at_once)):
        waited = sum(answer.seconds for answer in answers)
        duration = evidence.last.total("inference_duration_seconds_sum", model=model)
        assert evidence.last.total("inference_duration_seconds_count", model=model) == len(answers)
        assert waited - len(answers) * CLIENT_SECONDS < duration < waited


@pytest.mark.parametrize("model", ["plain", "batched"])
def test_mlservers_own_duration_lies_within_the_sidecars(evidence: Evidence, model: str) -> None:
    own = total(evidence.own, "model_infer_request_duration_sum", model=model)
    assert own * 0.9 < evidence.last.total("inference_duration_seconds_sum", model=model)


def test_no_stage_but_serialisation_is_told_and_all_adds_up_to_the_duration(evidence: Evidence) -> None:
    assert 'stage="compute"' not in "\n".join(line for line in evidence.last.text.splitlines() if "stage_duration" in line)
    assert evidence.last.total("stage_quality", stage="compute", quality="estimated") == 1
    for model in ("plain", "batched"):
        told = {stage: evidence.last.total("stage_duration_seconds_sum", model=model, stage=stage) for stage in ("serialisation", "other")}
        duration = evidence.last.total("inference_duration_seconds_sum", model=model)
        assert (
            evidence.last.total("stage_duration_seconds_sum", model=model) == pytest.approx(sum(told.values())) == pytest.approx(duration)
        )
        assert 0 < told["serialisation"] < 0.2 * duration
        for part in ("net_in", "net_out"):
            assert 0 < evidence.last.total("stage_part_seconds_total", model=model, part=part) < told["serialisation"]


def test_what_no_stage_tells_counts_as_computing(evidence: Evidence) -> None:
    busy = evidence.last.total("busy_seconds_total")
    asked = sum(answer.seconds for answer in [*evidence.seen.over_rest, *evidence.seen.over_grpc])
    assert 0 < busy < asked


def test_a_sidecar_that_is_told_nothing_of_the_kind_says_the_same(evidence: Evidence) -> None:
    for family in ("inferences_total", "inferences_observed_total", "inference_duration_seconds_sum", "stage_duration_seconds_sum"):
        assert evidence.auto.total(family) == pytest.approx(evidence.last.total(family)) != 0
        assert evidence.auto.total(family, model="batched") == pytest.approx(evidence.last.total(family, model="batched")) != 0


def test_over_grpc_spans_name_no_model(evidence: Evidence) -> None:
    assert evidence.auto.total("inferences_observed_total", model="unknown") == len(evidence.seen.over_grpc)
    assert evidence.auto.total("inferences_total", model="unknown") == 0
    assert evidence.auto.total("span_coverage_ratio") == pytest.approx(1, abs=COVERAGE)


def test_what_is_exposed_passes_promtool(evidence: Evidence) -> None:
    check = subprocess.run(["promtool", "check", "metrics"], input=evidence.last.text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_it_ends_with_0(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0

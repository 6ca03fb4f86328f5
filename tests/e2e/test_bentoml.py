"""The proof on a real BentoML: what the sidecar says of real requests, against what their clients saw and what BentoML counted."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.bentoml import BATCHED, FAILING, GOOD, REFUSED, BentoML, bentoml, question
from e2e.clients import Answer, Question, ask
from e2e.exposition import total
from e2e.junction import junction
from e2e.processes import answers, free_ports
from e2e.sidecar import Ending, Scrape, Sidecar, sidecar

pytestmark = pytest.mark.e2e_servers

CLIENT_SECONDS = 0.03
"""What the client's own side of a request may take, on a machine that is busy with other things."""

MODEL = "Doubling"
ONE_BY_ONE = [question(GOOD)] * 30
AT_ONCE = [BATCHED] * 60
CLIENTS = 8
FAILED = [*[question(REFUSED)] * 3, *[question(FAILING)] * 2, Question("/double", {"number": "none"})]
PAGES = ("/", "/docs.json", "/schema.json", "/static_content/swagger-ui.css", "/favicon.ico")
"""What a browser asks for that looks at the service: no inferences."""

MOST_ROUNDS = 300
CONFIGURATION = """
server: {kind: KIND, name: bento, gpu_count: 1, metrics_url: "METRICS_URL", metrics_interval: 500ms, sampled: SAMPLED}
sla: {default: {quantile: 0.99, duration_seconds: 5}}
cost: {currency: USD, as_of: 2026-11-01, source: prices of this test, rent: {per_hour: 3.6, per: gpu}}
gpu: {source: none}
windows: [1m]
ledger: {span_delay: 3s}
"""


@dataclass
class Seen:
    """What the clients saw, by what they asked for."""

    one_by_one: list[Answer] = field(default_factory=list)
    at_once: list[Answer] = field(default_factory=list)
    failed: list[Answer] = field(default_factory=list)

    def round(self, server: BentoML) -> None:
        """Some of everything."""
        self.one_by_one += ask(server.url, ONE_BY_ONE, at_a_time=1)
        self.at_once += ask(server.url, AT_ONCE, at_a_time=CLIENTS)
        self.failed += ask(server.url, FAILED, at_a_time=1)
        for page in PAGES:
            answers(f"{server.url}{page}")

    @property
    def answers(self) -> list[Answer]:
        return [*self.one_by_one, *self.at_once, *self.failed]

    @property
    def errors(self) -> int:
        return sum(answer.status == 500 for answer in self.answers)

    @property
    def well(self) -> list[Answer]:
        """What is no error: what a client got wrong isn't the server's."""
        return [answer for answer in self.answers if answer.status != 500]


@dataclass(frozen=True)
class Evidence:
    """What everybody said; `auto` is a sidecar that isn't told the kind."""

    seen: Seen
    own: str
    last: Scrape
    auto: Scrape
    ending: Ending


def configured(port: int, *, kind: str, sampled: str) -> str:
    text = CONFIGURATION.replace("METRICS_URL", f"http://127.0.0.1:{port}/metrics")
    return text.replace("KIND", kind).replace("SAMPLED", sampled)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder, other = tmp_path_factory.mktemp("bentoml"), tmp_path_factory.mktemp("auto")
    (port,) = free_ports(1)
    named, any_kind = (configured(port, kind=kind, sampled="false") for kind in ("bentoml", "auto"))
    with sidecar(named, folder) as meter, sidecar(any_kind, other) as auto:
        sidecars = (meter, auto)
        exports = junction(meter.otlp_http, auto.otlp_http, folder=folder / "exports")
        with exports as endpoint, bentoml(endpoint, folder=folder, port=port, sample_rate=1) as server:
            for each in sidecars:
                each.wait_until("server_scrape_up", 1, seconds=20)
            seen = until_coverage_is_told(server, sidecars)
            for each in sidecars:
                for family in ("inferences_observed_total", "inferences_total"):
                    each.wait_until(family, len(seen.answers), seconds=20)
            return Evidence(seen, server.metrics(), meter.scrape(), auto.scrape(), meter.stop())


def until_coverage_is_told(server: BentoML, sidecars: Sequence[Sidecar]) -> Seen:
    """Asks until slots are over that the server's pages tell whole."""
    seen = Seen()
    for _ in range(MOST_ROUNDS):
        seen.round(server)
        if all(each.scrape().total("span_coverage_ratio") > 0 for each in sidecars):
            return seen
    raise TimeoutError("coverage was never told")


def test_the_clients_got_what_they_asked_for(evidence: Evidence) -> None:
    rounds = len(evidence.seen.one_by_one) // len(ONE_BY_ONE)
    ok = rounds * (len(ONE_BY_ONE) + len(AT_ONCE))
    assert Counter(answer.status for answer in evidence.seen.answers) == {200: ok, 400: rounds * 4, 500: rounds * 2}
    assert ok >= 90


def test_every_request_is_counted_once_as_bentoml_counted_it(evidence: Evidence) -> None:
    own = {
        (path, status): total(evidence.own, "bentoml_service_request_total", endpoint=path, http_response_code=status)
        for path in ("/double", "/double_all")
        for status in ("200", "400", "500")
    }
    assert sum(own.values()) == len(evidence.seen.answers)
    assert all(total(evidence.own, "bentoml_service_request_total", endpoint=page) for page in PAGES)
    assert own["/double", "500"] == evidence.seen.errors
    for page in (evidence.last, evidence.auto):
        for family in ("inferences_total", "inferences_observed_total"):
            assert page.total(family, model=MODEL, outcome="error") == evidence.seen.errors
            assert page.total(family, model=MODEL, outcome="ok") == len(evidence.seen.well)
            assert page.total(family) == len(evidence.seen.answers)
        assert page.total("inferences_source", source="server") == 1
        assert page.total("span_coverage_ratio") == pytest.approx(1, abs=0.05)  # a slot ends between two scrapes


def test_no_span_is_lost_and_each_is_accounted_for(evidence: Evidence) -> None:
    for page in (evidence.last, evidence.auto):
        assert page.total("spans_dropped_total") == 0
        assert page.total("exports_refused_total") == 0
        assert page.total("spans_unmapped_total", reason="invalid") == 0
        assert page.total("spans_unmapped_total") > 0  # probes, scrapes and pages
    assert evidence.last.total("spans_unmapped_total", reason="suppressed") == 0


def test_an_inference_takes_a_little_less_than_its_client_waits(evidence: Evidence) -> None:
    waited = sum(answer.seconds for answer in evidence.seen.well)
    duration = evidence.last.total("inference_duration_seconds_sum", model=MODEL)
    assert evidence.last.total("inference_duration_seconds_count", model=MODEL) == len(evidence.seen.well)
    assert waited - len(evidence.seen.well) * CLIENT_SECONDS < duration < waited


def test_durations_agree_with_bentomls_own_to_five_per_cent(evidence: Evidence) -> None:
    own = sum(
        total(evidence.own, "bentoml_service_request_duration_seconds_sum", endpoint=path, http_response_code=status)
        for path in ("/double", "/double_all")
        for status in ("200", "400")
    )
    assert evidence.last.total("inference_duration_seconds_sum", model=MODEL) == pytest.approx(own, rel=0.05)


def test_no_stage_but_serialisation_is_told_and_all_adds_up_to_the_duration(evidence: Evidence) -> None:
    duration = evidence.last.total("inference_duration_seconds_sum")
    told = {stage: evidence.last.total("stage_duration_seconds_sum", stage=stage) for stage in ("serialisation", "other")}
    assert evidence.last.total("stage_duration_seconds_sum") == pytest.approx(sum(told.values())) == pytest.approx(duration)
    assert 0 < told["serialisation"] < 0.2 * duration
    parts = [evidence.last.total("stage_part_seconds_total", stage="serialisation", part=part) for part in ("net_in", "net_out")]
    assert sum(parts) == pytest.approx(told["serialisation"])
    assert min(parts) > 0
    assert evidence.last.total("stage_quality", stage="compute", quality="estimated") == 1


def test_batches_are_those_that_bentoml_made(evidence: Evidence) -> None:
    rows = total(evidence.own, "bentoml_service_adaptive_batch_size_sum", method_name="double_all")
    assert rows == len(evidence.seen.at_once)


def test_a_sidecar_that_is_told_nothing_of_the_kind_says_the_same(evidence: Evidence) -> None:
    for family in ("inference_duration_seconds_sum", "stage_duration_seconds_sum", "stage_part_seconds_total"):
        assert evidence.auto.total(family) == pytest.approx(evidence.last.total(family)) != 0


def test_what_is_exposed_passes_promtool(evidence: Evidence) -> None:
    check = subprocess.run(["promtool", "check", "metrics"], input=evidence.last.text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_it_ends_with_0(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0


def test_by_default_no_request_leaves_a_span_and_all_are_counted(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    seen = Seen()
    with (
        sidecar(configured(port, kind="bentoml", sampled="auto"), tmp_path) as meter,
        bentoml(meter.otlp_http, folder=tmp_path, port=port, sample_rate=None) as server,
    ):
        meter.wait_until("server_scrape_up", 1, seconds=20)
        seen.round(server)
        meter.wait_until("inferences_total", len(seen.answers), seconds=20)
        page = meter.scrape()
    assert page.total("inferences_total", model=MODEL, outcome="ok") == len(seen.well)
    assert page.total("inferences_total", model=MODEL, outcome="error") == seen.errors
    assert page.total("spans_received_total") == 0
    assert page.total("inferences_observed_total") == 0

"""The proof on a real PyTriton: what the sidecar says of real requests, against what their clients saw and what its Triton counted."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.clients import Answer
from e2e.exposition import total
from e2e.junction import junction
from e2e.processes import Crashed, free_ports
from e2e.pytriton import FAILING, GOOD, MODEL, WIDTH, PyTriton, pytriton, question
from e2e.sidecar import Ending, Scrape, Sidecar, sidecar

pytestmark = pytest.mark.e2e_servers

ATTEMPTS = 2
"""The Triton inside can crash while it traces: that is no fault of the sidecar."""

CLIENT_SECONDS = 0.03
"""What the client's own side of a request may take, on a machine that is busy with other things."""

ONE_BY_ONE = [question(GOOD)] * 20
AT_ONCE = [question(GOOD)] * 40
CLIENTS = 4
FAILED = [question(FAILING)] * 3
REFUSED = [question(GOOD, model="absent"), question(GOOD, width=WIDTH - 1)]
SPANS = 6
"""Of an inference: three of Triton's own, and three of PyTriton's that lie within its `compute`."""

MOST_ROUNDS = 40
CONFIGURATION = """
server: {kind: KIND, name: pytriton, gpu_count: 1, metrics_url: "METRICS_URL", metrics_interval: 500ms, sampled: SAMPLED}
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
    refused: list[Answer] = field(default_factory=list)

    def round(self, server: PyTriton) -> None:
        """Some of everything. Raises: Crashed."""
        self.one_by_one += server.ask(ONE_BY_ONE, at_a_time=1)
        self.at_once += server.ask(AT_ONCE, at_a_time=CLIENTS)
        self.failed += server.ask(FAILED, at_a_time=1)
        self.refused += server.ask(REFUSED, at_a_time=1)

    @property
    def inferences(self) -> list[Answer]:
        """What is refused before a model is asked is none: it is in no counter of Triton's, and leaves no span."""
        return [*self.one_by_one, *self.at_once, *self.failed]


@dataclass(frozen=True)
class Evidence:
    """What everybody said; `auto` is a sidecar that isn't told the kind."""

    seen: Seen
    own: str
    last: Scrape
    auto: Scrape
    ending: Ending

    def own_seconds(self, *stages: str) -> float:
        return sum(total(self.own, f"nv_inference_{stage}_duration_us", model=MODEL) for stage in stages) / 1e6


def configured(metrics_port: int, *, kind: str, sampled: str) -> str:
    text = CONFIGURATION.replace("METRICS_URL", f"http://127.0.0.1:{metrics_port}/metrics")
    return text.replace("KIND", kind).replace("SAMPLED", sampled)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _measured(tmp_path_factory.mktemp(f"named{attempt}"), tmp_path_factory.mktemp(f"auto{attempt}"))
        except Crashed:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _measured(folder: Path, other: Path) -> Evidence:
    (metrics_port,) = free_ports(1)
    named, any_kind = (configured(metrics_port, kind=kind, sampled="false") for kind in ("triton", "auto"))
    with sidecar(named, folder) as meter, sidecar(any_kind, other) as auto:
        sidecars = (meter, auto)
        exports = junction(meter.otlp_http, auto.otlp_http, folder=folder / "exports")
        with exports as endpoint, pytriton(endpoint, folder=folder, metrics_port=metrics_port) as server:
            for each in sidecars:
                each.wait_until("server_scrape_up", 1, seconds=20)
            seen = until_coverage_is_told(server, sidecars)
            for each in sidecars:
                for family in ("inferences_observed_total", "inferences_total"):
                    each.wait_until(family, len(seen.inferences), seconds=20)
                each.wait_until("spans_received_total", SPANS * len(seen.inferences), seconds=20)
            return Evidence(seen, server.metrics(), meter.scrape(), auto.scrape(), meter.stop())


def until_coverage_is_told(server: PyTriton, sidecars: Sequence[Sidecar]) -> Seen:
    """Asks until slots are over that the server's pages tell whole. Raises: Crashed."""
    seen = Seen()
    for _ in range(MOST_ROUNDS):
        seen.round(server)
        if all(each.scrape().total("span_coverage_ratio") > 0 for each in sidecars):
            return seen
    raise TimeoutError("coverage was never told")


def test_the_clients_got_what_they_asked_for(evidence: Evidence) -> None:
    rounds = len(evidence.seen.failed) // len(FAILED)
    good = [*evidence.seen.one_by_one, *evidence.seen.at_once]
    assert all(answer.ok for answer in good)
    assert len(good) == rounds * (len(ONE_BY_ONE) + len(AT_ONCE))
    assert Counter(answer.status for answer in evidence.seen.failed) == {500: rounds * len(FAILED)}
    assert Counter(answer.status for answer in evidence.seen.refused) == {404: rounds, 400: rounds}


def test_every_request_is_counted_once_as_its_triton_counted_it(evidence: Evidence) -> None:
    for page in (evidence.last, evidence.auto):
        for outcome, own, sent in (
            ("ok", "success", len(evidence.seen.inferences) - len(evidence.seen.failed)),
            ("error", "failure", len(evidence.seen.failed)),
        ):
            assert total(evidence.own, f"nv_inference_request_{own}", model=MODEL) == sent
            assert page.total("inferences_total", model=MODEL, outcome=outcome) == sent
        assert page.total("inferences_total") == len(evidence.seen.inferences)
        assert page.total("inferences_source", source="server") == 1


def test_every_request_is_seen_once_and_no_span_that_comes_in_time_tells_that_it_failed(evidence: Evidence) -> None:
    for page in (evidence.last, evidence.auto):
        assert page.total("inferences_observed_total", model=MODEL, outcome="ok") == len(evidence.seen.inferences)
        assert page.total("inferences_observed_total") == len(evidence.seen.inferences)
        assert page.total("span_coverage_ratio") == pytest.approx(1, abs=0.05)  # a slot ends between two scrapes


def test_no_span_is_lost_and_those_within_compute_have_no_rule(evidence: Evidence) -> None:
    for page in (evidence.last, evidence.auto):
        assert page.total("spans_received_total", protocol="http") == SPANS * len(evidence.seen.inferences)
        assert page.total("spans_unmapped_total", reason="no_rule") == SPANS / 2 * len(evidence.seen.inferences)
        assert page.total("spans_unmapped_total") == SPANS / 2 * len(evidence.seen.inferences)
        assert page.total("spans_dropped_total") == 0
        assert page.total("exports_refused_total") == 0


def test_an_inference_takes_a_little_less_than_its_client_waits(evidence: Evidence) -> None:
    waited = sum(answer.seconds for answer in evidence.seen.inferences)
    duration = evidence.last.total("inference_duration_seconds_sum", model=MODEL)
    assert waited - len(evidence.seen.inferences) * CLIENT_SECONDS < duration < waited


@pytest.mark.parametrize(
    ("stage", "own"), [("queue", ["queue"]), ("compute", ["compute_infer"]), ("transfer", ["compute_input", "compute_output"])]
)
def test_a_stage_is_a_little_longer_than_its_triton_counts_of_what_went_well(evidence: Evidence, stage: str, own: list[str]) -> None:
    """Triton counts no time of a failed request; its spans tell it."""
    failed = len(evidence.seen.failed) / (len(evidence.seen.inferences) - len(evidence.seen.failed))
    seconds = evidence.last.total("stage_duration_seconds_sum", model=MODEL, stage=stage)
    counted = evidence.own_seconds(*own)
    assert counted * 0.99 < seconds < counted * (1.05 + 2 * failed)


def test_stages_and_other_add_up_to_the_duration_and_less_than_one_per_cent_is_other(evidence: Evidence) -> None:
    duration = evidence.last.total("inference_duration_seconds_sum")
    assert evidence.last.total("stage_duration_seconds_sum") == pytest.approx(duration)
    assert 0 <= evidence.last.total("stage_duration_seconds_sum", stage="other") < 0.01 * duration


def test_a_sidecar_that_is_told_nothing_of_the_kind_says_the_same(evidence: Evidence) -> None:
    for family in ("inference_duration_seconds_sum", "stage_duration_seconds_sum", "stage_part_seconds_total"):
        assert evidence.auto.total(family) == pytest.approx(evidence.last.total(family)) != 0


def test_what_is_exposed_passes_promtool(evidence: Evidence) -> None:
    check = subprocess.run(["promtool", "check", "metrics"], input=evidence.last.text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_it_ends_with_0(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0

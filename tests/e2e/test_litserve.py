"""The proof on a real LitServe, which emits no spans: what a proxy tells of it, against what its clients saw and what it computed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from e2e.clients import Answer, Question, ask
from e2e.junction import junction
from e2e.litserve import BATCH_SECONDS, WIDTH, Step, litserve
from e2e.proxied import proxy
from e2e.sidecar import Ending, Scrape, sidecar

pytestmark = [pytest.mark.e2e, pytest.mark.e2e_servers]

IN_FLIGHT = 4
CLIENTS = 16
CLIENT_SECONDS = 0.03
"""What the client's own side of a request may take, on a machine that is busy with other things."""

VECTOR = [0.5] * WIDTH
ONE_BY_ONE = [Question("/predict", {"vector": VECTOR})] * 30
AT_ONCE = [Question("/predict", {"vector": VECTOR})] * 80
FAILING = [
    *[Question("/predict", {"vector": [-1.0]})] * 4,
    *[Question("/predict", {"vector": []})] * 2,
    Question("/predict", b"{"),
]
STREAMS = [Question("/write", {"vector": [lines]}) for lines in (4, 8, 12)] * 8
LEFT = [Question("/write", {"vector": [50]}, leave_after=8)] * 2
CONFIGURATION = """
server: {kind: KIND, name: litserve, gpu_count: 1}
sla: {default: {quantile: 0.99, duration_seconds: 5}, models: {writer: {ttft_seconds: 2}}}
cost: {currency: USD, as_of: 2026-11-01, source: prices of this test, rent: {per_hour: 3.6, per: gpu}}
gpu: {source: none}
windows: [1m]
"""


@dataclass(frozen=True)
class Evidence:
    """What everybody said.

    `alone` is the sidecar's page once the requests that came one by one were over, `auto` another one's that isn't told the kind.
    """

    one_by_one: Sequence[Answer]
    at_once: Sequence[Answer]
    failed: Sequence[Answer]
    streams: Sequence[Answer]
    steps_one_by_one: Sequence[Step]
    scored: Sequence[Step]
    written: Sequence[Step]
    alone: Scrape
    last: Scrape
    auto: Scrape
    ending: Ending
    proxies: tuple[str, str]

    @property
    def scores(self) -> Sequence[Answer]:
        return [*self.one_by_one, *self.at_once]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder, other = tmp_path_factory.mktemp("litserve"), tmp_path_factory.mktemp("auto")
    named, unnamed = (CONFIGURATION.replace("KIND", kind) for kind in ("infermeter", "auto"))
    with sidecar(named, folder) as meter, sidecar(unnamed, other) as auto, litserve(folder) as server:
        with junction(meter.otlp_http, auto.otlp_http, folder=folder / "spans") as endpoint:
            logs = folder / "scorer.log", folder / "writer.log"
            scorer = proxy(server.url, endpoint, "--model=scorer", f"--in-flight={IN_FLIGHT}", log=logs[0], probe="/health")
            writer = proxy(server.url, endpoint, "--model=writer", "--path=/write", log=logs[1], probe="/health")
            with scorer as scorer_url, writer as writer_url:
                one_by_one = ask(scorer_url, ONE_BY_ONE, at_a_time=1)
                meter.wait_until("inferences_observed_total", len(ONE_BY_ONE), seconds=20)
                alone, steps_one_by_one = meter.scrape(), server.steps("scorer")
                at_once = ask(scorer_url, AT_ONCE, at_a_time=CLIENTS)
                failed = ask(scorer_url, FAILING, at_a_time=1)
                streams = ask(writer_url, STREAMS, at_a_time=4)
                ask(writer_url, LEFT, at_a_time=1)
        sent = sum(map(len, (ONE_BY_ONE, AT_ONCE, FAILING, STREAMS, LEFT)))
        for each in (meter, auto):
            each.wait_until("inferences_observed_total", sent, seconds=20)
        return Evidence(
            one_by_one,
            at_once,
            failed,
            streams,
            steps_one_by_one,
            server.steps("scorer"),
            server.steps("writer"),
            alone,
            meter.scrape(),
            auto.scrape(),
            meter.stop(),
            (logs[0].read_text(), logs[1].read_text()),
        )


def seconds_of(answers: Sequence[Answer]) -> float:
    return sum(answer.seconds for answer in answers)


def test_every_request_is_counted_once_as_its_client_saw_it_end(evidence: Evidence) -> None:
    assert all(answer.ok for answer in [*evidence.scores, *evidence.streams])
    assert [answer.status for answer in evidence.failed] == [422] * 4 + [500] * 2 + [422]
    counted = {
        (model, outcome): evidence.last.total("inferences_observed_total", model=model, outcome=outcome)
        for model in ("scorer", "writer")
        for outcome in ("ok", "error")
    }
    assert counted == {
        ("scorer", "ok"): len(ONE_BY_ONE) + len(AT_ONCE),
        ("scorer", "error"): len(FAILING),
        ("writer", "ok"): len(STREAMS),
        ("writer", "error"): len(LEFT),
    }
    assert evidence.last.total("inferences_source", source="observed") == 1
    assert evidence.last.total("inferences_total") == sum(counted.values())
    assert "span_coverage_ratio{" not in evidence.last.text


def test_the_server_scored_and_wrote_what_was_counted(evidence: Evidence) -> None:
    assert sum(step.rows for step in evidence.scored) == evidence.last.total("inferences_observed_total", model="scorer", outcome="ok")
    lines = sum(len(answer.body.splitlines()) for answer in evidence.streams)
    assert len(evidence.written) >= lines == sum((4, 8, 12)) * 8


def test_no_span_is_lost_and_each_is_accounted_for(evidence: Evidence) -> None:
    for page in (evidence.last, evidence.auto):
        assert page.total("spans_dropped_total") == 0
        assert page.total("spans_unmapped_total") == 0
        assert page.total("exports_refused_total") == 0
        assert page.total("traces_pending") == 0
    told = [re.search(r"(\d+) of (\d+) spans delivered", log) for log in evidence.proxies]
    delivered, made = (sum(int(said[number]) for said in told if said) for number in (1, 2))
    assert delivered == made == evidence.last.total("spans_received_total") == evidence.auto.total("spans_received_total")


@pytest.mark.parametrize(("model", "stages"), [("scorer", {"queue", "compute", "serialisation"}), ("writer", {"compute", "serialisation"})])
def test_stages_add_up_to_the_duration_and_nothing_is_left_over(evidence: Evidence, model: str, stages: set[str]) -> None:
    duration = evidence.last.total("inference_duration_seconds_sum", model=model)
    told = {
        stage: evidence.last.total("stage_duration_seconds_sum", model=model, stage=stage)
        for stage in ("queue", "compute", "transfer", "serialisation", "other")
    }
    assert sum(told.values()) == pytest.approx(duration)
    assert {stage for stage, seconds in told.items() if seconds} - {"other"} == stages
    assert told["other"] < 0.01 * duration


def test_a_request_takes_a_little_less_than_its_client_waits(evidence: Evidence) -> None:
    for model, answers in (("scorer", evidence.scores), ("writer", evidence.streams)):
        waited = seconds_of(answers)
        assert waited - len(answers) * CLIENT_SECONDS < evidence.last.total("inference_duration_seconds_sum", model=model) < waited


def test_compute_of_one_by_one_is_the_batch_timeout_and_the_model(evidence: Evidence) -> None:
    model = sum(step.seconds for step in evidence.steps_one_by_one)
    compute = evidence.alone.total("stage_duration_seconds_sum", model="scorer", stage="compute")
    waited = (compute - model) / len(ONE_BY_ONE)
    assert 0.8 * BATCH_SECONDS < waited < BATCH_SECONDS + CLIENT_SECONDS
    assert evidence.alone.total("stage_duration_seconds_sum", model="scorer", stage="queue") < 0.05 * compute


def test_more_clients_than_turns_wait_in_the_queue_and_the_server_sees_no_more_than_the_turns(evidence: Evidence) -> None:
    together = evidence.scored[len(evidence.steps_one_by_one) :]
    assert 1 < max(step.rows for step in together) <= IN_FLIGHT
    grown = {
        stage: evidence.last.total("stage_duration_seconds_sum", model="scorer", stage=stage)
        - evidence.alone.total("stage_duration_seconds_sum", model="scorer", stage=stage)
        for stage in ("queue", "compute")
    }
    assert grown["queue"] > 1.5 * grown["compute"]  # of 16 clients 12 wait for the 4
    assert grown["compute"] > sum(step.rows * step.seconds for step in together)


def test_the_first_byte_of_a_stream_comes_a_little_before_its_client_has_it(evidence: Evidence) -> None:
    seen = sum(answer.first_byte_seconds or 0 for answer in evidence.streams)
    told = evidence.last.total("time_to_first_token_seconds_sum", model="writer")
    assert evidence.last.total("time_to_first_token_seconds_count", model="writer") == len(STREAMS)
    assert seen - len(STREAMS) * CLIENT_SECONDS < told < seen < 0.9 * seconds_of(evidence.streams)


def test_a_stream_computes_for_as_long_as_its_steps_take(evidence: Evidence) -> None:
    steps = sum(step.seconds for step in evidence.written[: sum((4, 8, 12)) * 8])
    assert evidence.last.total("stage_duration_seconds_sum", model="writer", stage="compute") > steps


def test_requests_within_the_targets_are_within_the_sla(evidence: Evidence) -> None:
    assert evidence.last.total("inferences_observed_within_sla_total", model="scorer") == len(evidence.scores)
    within = sum(answer.seconds < 5 and (answer.first_byte_seconds or 9) < 2 for answer in evidence.streams)
    assert evidence.last.total("inferences_observed_within_sla_total", model="writer") == within


FAMILIES = ("inferences_total", "inferences_observed_total", "inference_duration_seconds_sum", "stage_duration_seconds_sum")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("model", ["scorer", "writer"])
def test_a_sidecar_that_is_told_nothing_of_the_kind_says_the_same(evidence: Evidence, family: str, model: str) -> None:
    assert evidence.auto.total(family, model=model) == pytest.approx(evidence.last.total(family, model=model)) != 0


def test_what_is_exposed_passes_promtool(evidence: Evidence) -> None:
    check = subprocess.run(["promtool", "check", "metrics"], input=evidence.last.text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_it_ends_with_0(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0

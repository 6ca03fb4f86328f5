"""The proof on a real vLLM: what the sidecar says of real requests, against what vLLM itself says of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from e2e.exposition import total
from e2e.processes import free_ports
from e2e.sidecar import Ending, Scrape, sidecar
from e2e.vllm import MODEL, ROUNDS, vllm

pytestmark = pytest.mark.e2e_vllm

REQUESTS = sum(count for _, count in ROUNDS)
THREE_ANSWERS = 2 * 3
CONFIGURATION = f"""
server: {{kind: vllm, name: vllm-tiny, model: {MODEL}, gpu_count: 1, metrics_url: "METRICS_URL", metrics_interval: 500ms}}
sla: {{default: {{quantile: 0.99, duration_seconds: 30}}}}
cost:
  currency: USD
  as_of: 2026-11-01
  source: prices of this test
  rent: {{per_hour: 3.6, per: gpu}}
gpu: {{source: none}}
windows: [1m]
"""


@dataclass(frozen=True)
class Evidence:
    """What both sides said."""

    vllm: str
    sidecar: Scrape
    ending: Ending

    def own(self, name: str) -> float:
        """The sum of vLLM's samples of that name."""
        return total(self.vllm, f"vllm:{name}")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("vllm")
    (port,) = free_ports(1)
    configuration = CONFIGURATION.replace("METRICS_URL", f"http://127.0.0.1:{port}/metrics")
    with sidecar(configuration, folder) as meter:
        with vllm(meter.otlp_grpc, log=folder / "vllm.log", port=port) as server:
            meter.wait_until("server_scrape_up", 1, seconds=20)
            server.load()
            meter.wait_until("inferences_observed_total", REQUESTS + THREE_ANSWERS, seconds=20)
            meter.wait_until("inferences_total", REQUESTS + THREE_ANSWERS, seconds=20)
            own = server.metrics()
        return Evidence(own, meter.scrape(), meter.stop())


def test_every_sequence_is_counted_once(evidence: Evidence) -> None:
    assert evidence.own("request_success_total") == REQUESTS + THREE_ANSWERS
    assert evidence.sidecar.total("inferences_observed_total", model=MODEL, outcome="ok") == REQUESTS + THREE_ANSWERS
    assert evidence.sidecar.total("inferences_observed_total") == REQUESTS + THREE_ANSWERS
    assert evidence.sidecar.total("inferences_source", source="server") == 1
    assert evidence.sidecar.total("inferences_total", outcome="ok") == REQUESTS + THREE_ANSWERS


@pytest.mark.parametrize(
    ("family", "stage", "own"),
    [
        ("stage_duration_seconds_sum", "queue", "request_queue_time_seconds_sum"),
        ("stage_duration_seconds_sum", "compute", "request_inference_time_seconds_sum"),
        ("inference_duration_seconds_sum", None, "e2e_request_latency_seconds_sum"),
        ("time_to_first_token_seconds_sum", None, "time_to_first_token_seconds_sum"),
    ],
)
def test_seconds_agree_with_vllms_own_to_one_per_cent(evidence: Evidence, family: str, stage: str | None, own: str) -> None:
    seconds = evidence.sidecar.total(family, model=MODEL, **({"stage": stage} if stage else {}))
    assert seconds == pytest.approx(evidence.own(own), rel=0.01)


@pytest.mark.parametrize(("direction", "own"), [("input", "prompt_tokens_total"), ("output", "generation_tokens_total")])
def test_tokens_agree_with_vllms_own_exactly(evidence: Evidence, direction: str, own: str) -> None:
    assert evidence.sidecar.total("tokens_total", model=MODEL, direction=direction) == evidence.own(own)


def test_a_queue_forms_when_twice_as_many_ask_as_are_served(evidence: Evidence) -> None:
    queued = evidence.sidecar.total("stage_duration_seconds_sum", stage="queue")
    assert queued > 0.1 * evidence.sidecar.total("inference_duration_seconds_sum")


def test_stages_that_spans_cannot_tell_are_absent(evidence: Evidence) -> None:
    assert 'stage="transfer"' not in evidence.sidecar.text


def test_spans_of_starting_up_count_no_inference_and_nothing_is_dropped(evidence: Evidence) -> None:
    assert evidence.sidecar.total("spans_received_total", protocol="grpc") > REQUESTS + THREE_ANSWERS
    assert evidence.sidecar.total("spans_dropped_total") == 0


def test_it_ends_with_0(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0

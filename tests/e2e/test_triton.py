"""The proof on a real Triton: what the sidecar says of real requests, against what Triton itself says of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.processes import Crashed, free_ports
from e2e.sidecar import Ending, Scrape, sidecar
from e2e.triton import triton

pytestmark = pytest.mark.e2e

ATTEMPTS = 2
"""Triton 2.51 can crash while it traces: that is no fault of the sidecar."""

GPUS = 2
RENT_PER_HOUR = 3.6
HOST_PER_HOUR = 0.9
CONFIGURATION = f"""
server: {{kind: triton, name: triton-mlp, sampled: SAMPLED, gpu_count: {GPUS}, metrics_url: "METRICS_URL", metrics_interval: 500ms}}
sla: {{default: {{quantile: 0.99, duration_seconds: 5}}}}
cost:
  currency: USD
  as_of: 2026-11-01
  source: prices of this test
  rent: {{per_hour: {RENT_PER_HOUR}, per: gpu}}
  host: {{per_hour: {HOST_PER_HOUR}}}
gpu: {{source: none}}
windows: [1m]
ledger: {{span_delay: 2s}}
"""


@dataclass(frozen=True)
class Evidence:
    """What both sides said, and how the sidecar ended."""

    sent: int
    statistics: dict[str, Any]
    first: Scrape
    last: Scrape
    sent_at_the_end: int
    ending: Ending

    def triton_seconds(self, *stages: str) -> float:
        return float(sum(self.statistics["inference_stats"][stage]["ns"] for stage in stages) / 1e9)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _measured(tmp_path_factory.mktemp(f"attempt{attempt}"))
        except Crashed:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def configured(metrics_port: int, *, sampled: bool) -> str:
    """The configuration of the sidecar beside a Triton whose own metrics are at this port."""
    text = CONFIGURATION.replace("METRICS_URL", f"http://127.0.0.1:{metrics_port}/metrics")
    return text.replace("SAMPLED", str(sampled).lower())


def _measured(folder: Path) -> Evidence:
    (metrics_port,) = free_ports(1)
    with sidecar(configured(metrics_port, sampled=False), folder) as meter:
        first = meter.scrape()
        with triton(meter.otlp_http, log=folder / "triton.log", metrics_port=metrics_port) as server:
            meter.wait_until("server_scrape_up", 1, seconds=20)
            sent = server.load()
            statistics = server.statistics()
            meter.wait_until("inferences_observed_total", sent, seconds=20)
            meter.wait_until("inferences_total", sent, seconds=20)
            last = meter.scrape()
            sent_at_the_end = server.load()
        return Evidence(sent, statistics, first, last, sent_at_the_end, ending=meter.stop())


def test_every_request_is_counted_once(evidence: Evidence) -> None:
    assert evidence.sent >= 130
    assert evidence.statistics["inference_stats"]["success"]["count"] == evidence.sent
    assert evidence.last.total("inferences_observed_total", model="mlp", outcome="ok") == evidence.sent
    assert evidence.last.total("inferences_observed_total") == evidence.sent
    assert evidence.last.total("inferences_total", model="mlp", outcome="ok") == evidence.sent
    assert evidence.last.total("inferences_source", source="server") == 1
    assert evidence.last.total("server_scrape_up") == 1
    assert evidence.last.total("inference_duration_seconds_count", model="mlp") == evidence.sent


def test_no_span_is_lost_and_each_is_accounted_for(evidence: Evidence) -> None:
    assert evidence.last.total("spans_received_total", protocol="http") == 3 * evidence.sent
    assert evidence.last.total("spans_dropped_total") == 0
    assert evidence.last.total("spans_unmapped_total") == 0
    assert evidence.last.total("traces_pending") == 0
    assert evidence.last.total("exports_refused_total") == 0


@pytest.mark.parametrize(
    ("stage", "own"), [("queue", ["queue"]), ("compute", ["compute_infer"]), ("transfer", ["compute_input", "compute_output"])]
)
def test_a_stage_agrees_with_tritons_own_statistics_to_one_per_cent(evidence: Evidence, stage: str, own: list[str]) -> None:
    seconds = evidence.last.total("stage_duration_seconds_sum", model="mlp", stage=stage)
    assert seconds == pytest.approx(evidence.triton_seconds(*own), rel=0.01)


@pytest.mark.parametrize(("part", "own"), [("host_to_device", "compute_input"), ("device_to_host", "compute_output")])
def test_the_parts_of_transfer_agree_with_tritons_own_statistics_to_one_per_cent(evidence: Evidence, part: str, own: str) -> None:
    seconds = evidence.last.total("stage_part_seconds_total", model="mlp", stage="transfer", part=part)
    assert seconds == pytest.approx(evidence.triton_seconds(own), rel=0.01)


def test_less_than_one_per_cent_of_the_duration_is_claimed_by_no_stage(evidence: Evidence) -> None:
    other = evidence.last.total("stage_duration_seconds_sum", stage="other")
    assert 0 <= other < 0.01 * evidence.last.total("inference_duration_seconds_sum")


def test_stages_and_other_add_up_to_the_duration(evidence: Evidence) -> None:
    assert evidence.last.total("stage_duration_seconds_sum") == pytest.approx(evidence.last.total("inference_duration_seconds_sum"))


def test_tritons_own_duration_lies_within_the_sidecars(evidence: Evidence) -> None:
    own = evidence.triton_seconds("success")
    assert own <= evidence.last.total("inference_duration_seconds_sum") <= 1.2 * own


def test_money_is_price_times_time_to_one_per_cent(evidence: Evidence) -> None:
    least_hours = (evidence.last.begin_seconds - evidence.first.end_seconds) / 3600
    most_hours = (evidence.last.end_seconds - evidence.first.begin_seconds) / 3600
    per_hour = {"instance": GPUS * RENT_PER_HOUR, "host": HOST_PER_HOUR}
    for component, price in per_hour.items():
        accrued = evidence.last.total("cost_total", component=component) - evidence.first.total("cost_total", component=component)
        assert 0.99 * price * least_hours <= accrued <= 1.01 * price * most_hours
        assert evidence.last.total("cost_per_hour", component=component) == pytest.approx(price)


def test_every_inference_within_the_target_is_within_the_sla(evidence: Evidence) -> None:
    within = evidence.last.total("inference_duration_seconds_bucket", le="5.0")
    assert evidence.last.total("inferences_observed_within_sla_total", model="mlp") == within


def test_what_is_exposed_passes_promtool(evidence: Evidence) -> None:
    check = subprocess.run(["promtool", "check", "metrics"], input=evidence.last.text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_sigterm_ends_the_sidecar_with_0_within_two_seconds(evidence: Evidence) -> None:
    assert evidence.ending.exit_status == 0
    assert evidence.ending.seconds < 2


def test_the_spans_that_arrived_last_are_accounted_for_before_it_ends(evidence: Evidence) -> None:
    inferences = evidence.sent + evidence.sent_at_the_end
    assert f"stopped: {3 * inferences} spans received, {inferences} inferences observed" in evidence.ending.log


RATE = 10
LOADS = 9
"""So that enough of them end in slots that the server tells whole: what was served in the ten seconds of its first page is in none."""


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Scrape]:
    """What a Triton was sent that traces one request in ten, and what the sidecar says once a window has closed over it."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _sampled(tmp_path_factory.mktemp(f"sampled{attempt}"))
        except Crashed:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _sampled(folder: Path) -> tuple[int, Scrape]:
    (metrics_port,) = free_ports(1)
    patient = configured(metrics_port, sampled=True).replace("span_delay: 2s", "span_delay: 5s")  # a span that is late is in no slot
    with sidecar(patient, folder) as meter:
        with triton(meter.otlp_http, log=folder / "triton.log", metrics_port=metrics_port, trace_rate=RATE) as server:
            meter.wait_until("server_scrape_up", 1, seconds=20)
            sent = sum(server.load() for _ in range(LOADS))
            meter.wait_until("inferences_total", sent, seconds=20)
            meter.wait_until("span_coverage_ratio", 0.01, seconds=200)
            last = meter.scrape()
        meter.stop()
    return sent, last


def test_all_requests_are_counted_where_one_in_ten_leaves_a_span(sampled: tuple[int, Scrape]) -> None:
    sent, last = sampled
    assert last.total("inferences_total", model="mlp", outcome="ok") == sent
    assert last.total("inferences_observed_total") == pytest.approx(sent / RATE, abs=1)


def test_coverage_tells_how_many_leave_a_span(sampled: tuple[int, Scrape]) -> None:
    _, last = sampled
    assert last.total("span_coverage_ratio") == pytest.approx(1 / RATE, rel=0.1)
    assert last.total("finding", code="low_coverage") == 1

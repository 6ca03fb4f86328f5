"""`infermeter advise --prometheus` against a real Prometheus, which has scraped two replicas of one server and one of another."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infermeter import cli
from infermeter.commands.recorded_advice import questions
from infermeter.errors import Unavailable
from infermeter.metrics.exposition import Exposition
from infermeter.model import Advice, Finding, Histogram, SlaTarget, Snapshot
from infermeter.network.prometheus_api import Prometheus
from support.patience import SOON_SECONDS
from support.peer import Answer, Peer, answer
from support.snapshots import gpu, llm, rich_snapshot

EDGES = (0.0025, 0.01, 0.02, 0.04, 0.08, 0.1, 0.16)
SERVED = 2000
CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
- {{job_name: infermeter, honor_labels: true, static_configs: [{{targets: ["{chat}", "localhost:{port}", "{other}"]}}]}}
"""


def page(server: str, served: int) -> Answer:
    """Of a sidecar beside an A100 whose inferences all took 10 ms at most, of the 100 ms that they may."""
    within = Histogram(EDGES, (0, served, *([0] * (len(EDGES) - 1))), 0.009 * served, (None,) * (len(EDGES) + 1))
    none = Histogram(EDGES, (0,) * (len(EDGES) + 1), 0.0, (None,) * (len(EDGES) + 1))
    model = replace(
        llm("resnet50"),
        sla=SlaTarget(0.99, 0.1),
        duration=within if served else none,
        ttft=None,
        tpot=None,
        observed_ok=served,
        observed_error=0,
    )
    device = gpu(0, share=1.0)
    assert device.last is not None
    device = replace(
        device,
        identity=replace(device.identity, product="NVIDIA A100-SXM4-40GB"),
        last=replace(device.last, memory_used_bytes=8_000_000_000),
        throttled_seconds={"power": 0.0, "thermal": 0.0, "other": 0.0},
        state_seconds={"active": served / 100, "held_idle": served / 10, "idle": 0.0, "unknown": 0.0},
    )
    full = rich_snapshot()
    over = Finding("over_provisioned", "warning", None, {"peak_load_ratio": 0.01}, "Take less.", "A peak is to come.", 3.0)
    ledger = replace(
        full.ledger,
        models=(model,),
        gpus=(device,),
        gauges=None,
        totals=None,
        coverage_ratio=None,
        busy_seconds=served / 100,
        peak_load_ratio=0.01,
        cost_per_hour={"instance": 3.673},
    )
    snapshot: Snapshot = replace(
        full,
        server=server,
        ledger=ledger,
        totals_from="observed",
        price_as_of_ns=time.time_ns() - 86_400 * 10**9,
        advice=Advice(findings=(over,), bound="queue"),
    )
    return answer(Exposition().render(snapshot, "")[0], "Content-Type: text/plain; version=0.0.4")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has scraped them before and after they served."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is missing: install the Debian package `prometheus`"
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    with Peer(page("chat", 0)) as chat, Peer(page("other", 0)) as other:
        text = CONFIG.format(chat=chat.address, port=chat.address.rpartition(":")[2], other=other.address)
        (folder / "prometheus.yml").write_text(text)
        arguments = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}")
        with (folder / "log").open("wb") as log, subprocess.Popen([binary, *arguments], stdout=log, stderr=log) as process:
            try:
                told = Prometheus(f"http://{address}")
                until(told, "count(count_over_time(infermeter_build_info[1m]) > 2) == 3", process)
                chat.answers, other.answers = page("chat", SERVED), page("other", SERVED)
                until(told, f"count(min_over_time(infermeter_inferences_observed_total{{outcome='ok'}}[3s]) == {SERVED}) == 3", process)
                yield f"http://{address}"
            finally:
                process.terminate()


def until(told: Prometheus, promql: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + SOON_SECONDS
    while time.monotonic() < ends:
        assert process.poll() is None, "it ended"
        try:
            if told.query(promql):
                return
        except Unavailable:
            pass
        time.sleep(0.1)
    pytest.fail("Prometheus doesn't tell what it has scraped")


def advice(capsys: pytest.CaptureFixture[str], url: str, *options: str) -> dict[str, Any]:
    code = cli.main(["advise", "--prometheus", url, "--range", "1m", "--format", "json", *options])
    told = capsys.readouterr()
    assert code == 0, told.err
    document: dict[str, Any] = json.loads(told.out)
    return document


def test_the_evidence_is_of_one_replica_and_says_how_many_there_are(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = advice(capsys, prometheus, "--server", "chat", "--precision", "fp16")
    evidence = told["evidence"]
    assert told["server"] == "chat"
    assert told["source"]["replicas"] == 2
    assert evidence["products"] == ["NVIDIA A100-SXM4-40GB"]
    assert evidence["cost_per_hour"] == {"instance": 3.673}
    assert evidence["peak_load_ratio"] == 0.01
    assert evidence["memory_peak_bytes"] == 8_000_000_000
    assert not evidence["memory_is_reserved"]
    assert evidence["busy_ratio"] == pytest.approx(1 / 11)
    assert 86_000 < evidence["price_age_seconds"] < 2 * 86_400
    (model,) = evidence["models"]
    assert model["slowdown_at_sla_ratio"] == pytest.approx(10.0)
    assert model["inferences"] >= 2 * SERVED - 1
    assert told["bound"] == "queue"


def test_replicas_that_the_sum_of_peaks_does_not_need_are_named_first(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    (move, *_) = advice(capsys, prometheus, "--server", "chat")["moves"]
    assert move["kind"] == "fewer_replicas"
    assert move["evidence"]["replicas"] == 2
    assert move["evidence"]["replicas_needed"] == 1
    assert move["evidence"]["peak_load_sum_ratio"] == pytest.approx(0.02)
    assert move["saving_per_hour"] == pytest.approx(3.673)


def test_findings_come_with_the_share_of_the_range_in_which_they_held(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    (finding,) = advice(capsys, prometheus, "--server", "chat")["findings"]
    assert finding["code"] == "over_provisioned"
    assert finding["evidence"]["held_ratio"] == pytest.approx(1.0)
    assert finding["saving_per_hour"] == 3.0
    assert finding["what_to_do"] == "Fewer replicas, smaller hardware, or sharing: `infermeter advise`."


def test_a_device_that_is_supposed_is_judged_by_the_history(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = advice(capsys, prometheus, "--server", "chat", "--precision", "fp16", "--what-if", "gpu=l40s,price=1")
    (candidate,) = told["what_if"]
    assert candidate["verdict"] == "fits"
    assert candidate["saving_per_hour"] == pytest.approx(2.673)
    assert any("lower bound" in note for note in told["notes"])


def test_several_servers_are_named_and_one_must_be_chosen(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["advise", "--prometheus", prometheus, "--range", "1m"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "--prometheus: knows 2 servers (chat, other); --server chooses one\n"


@pytest.mark.parametrize("options", [("--server", "nobody"), ("--matchers", 'instance="nowhere"')])
def test_a_server_that_nobody_scrapes_is_told(prometheus: str, capsys: pytest.CaptureFixture[str], options: tuple[str, str]) -> None:
    assert cli.main(["advise", "--prometheus", prometheus, "--range", "1m", *options]) == 2
    assert "no series of a sidecar" in capsys.readouterr().err


def test_matchers_choose_a_replica(prometheus: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = advice(capsys, prometheus, "--server", "chat", "--matchers", 'instance=~"localhost:.*"')
    assert told["source"]["replicas"] == 1
    assert told["evidence"]["models"][0]["inferences"] < 2 * SERVED


def test_every_question_is_taken_by_the_real_parser(prometheus: str) -> None:
    told = Prometheus(prometheus)
    for promql in questions("chat", 'job="infermeter",', 7 * 86_400.0).values():
        told.query(promql)

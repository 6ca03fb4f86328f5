"""`infermeter compare` as it is typed: reports of replays, and the history of a real Prometheus."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest

from infermeter import cli
from infermeter.commands.report_file import saved_report
from infermeter.errors import ConfigError, Unavailable
from infermeter.network.prometheus_api import Prometheus
from support.compared import IDLE_WATTS, SLA, batching, life
from support.ledgers import config
from support.patience import SOON_SECONDS
from support.peer import Peer, answer

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "comparison.schema.json").read_text())
CAPTURES = ROOT / "tests" / "captures"
PRICED = """\
sla: {default: {quantile: 0.9, duration_seconds: 1}}
cost: {currency: USD, as_of: 2026-01-01, source: test, rent: {per_hour: 2, per: instance}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one.json`: one at a time; `many.json`: batches, under the same overload."""
    folder: Path = tmp_path_factory.mktemp("reports")
    settings = config(per_hour=3.6, sla=SLA, baseline_watts=IDLE_WATTS)
    for name, most in (("one", 1), ("many", 16)):
        report = life(batching(per_second=3.0, seconds=1900, seed=most, most=most), seconds=1900, config_=settings)
        (folder / f"{name}.json").write_bytes(orjson.dumps(report))
    return folder


def compared(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> Any:
    """What it prints as JSON."""
    assert cli.main(["compare", *map(str, argv), "--format", "json"]) == code
    out, err = capsys.readouterr()
    assert err == ""
    told = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    return told


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """What it says of wrong use, in one line, and nothing on standard output."""
    assert cli.main(["compare", *map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def verdict(told: Any, measure: str) -> str:
    (row,) = [row for row in told["measures"] if row["measure"] == measure and row["model"] == "m"]
    return str(row["verdict"])


def test_batching_is_shown_to_be_better_and_one_at_a_time_worse(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, many = folder / "one.json", folder / "many.json"
    assert verdict(compared(capsys, one, many), "cost_per_inference") == "better"
    assert verdict(compared(capsys, many, one), "cost_per_inference") == "worse"
    compared(capsys, one, many, "--fail-on", "regression")
    compared(capsys, many, one, "--fail-on", "regression", code=1)
    assert cli.main(["compare", str(one), str(many)]) == 0
    assert "Shown to be better: cost per inference at the SLA (m)" in capsys.readouterr().out


def test_a_report_may_be_packed_or_come_on_standard_input(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = compared(capsys, folder / "one.json", folder / "many.json")
    packed = tmp_path / "many.json.gz"
    packed.write_bytes(gzip.compress((folder / "many.json").read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "one.json").read_bytes())))
    assert compared(capsys, "-", packed) == plain


def test_reports_of_replays_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(PRICED)
    for name, spans in (("before", CAPTURES / "vllm" / "http"), ("after", CAPTURES / "vllm" / "grpc")):
        assert cli.main(["replay", "--spans", str(spans), "--config", str(tmp_path / "config.yaml"), "--format", "json"]) == 0
        (tmp_path / f"{name}.json").write_text(capsys.readouterr().out)
    told = compared(capsys, tmp_path / "before.json", tmp_path / "after.json")
    assert told["cost_per_hour"] == pytest.approx(2.0)
    assert {row["verdict"] for row in told["measures"]} <= {"not comparable", "not shown"}, "a minute of spans shows nothing"
    assert [row for row in told["measures"] if row["measure"] == "cost_per_inference" and row["before"] > 0]


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ([], "needs two saved reports"),
        (["one.json"], "needs two saved reports"),
        (["one.json", "one.json", "one.json"], "needs two saved reports"),
        (["-", "-"], "only one of"),
        (["one.json", "absent.json"], "absent.json: can't be read: No such file or directory"),
        (["one.json", "cut.gz"], "cut.gz: is gzip that was cut off"),
        (["one.json", "damaged.gz"], "damaged.gz: is damaged gzip"),
        (["one.json", "text.json"], "text.json: is not JSON"),
        (["one.json", "other.json"], "different SLAs for m (90 % duration 8 s; 95 % duration 8 s)"),
        (["one.json", "one.json", "--before", "2d/1d"], "go with --prometheus"),
        (["one.json", "one.json", "--server", "a"], "go with --prometheus"),
        (["one.json", "one.json", "--prometheus", "http://127.0.0.1:1"], "not both"),
        (["--prometheus", "http://127.0.0.1:1", "--before", "2d/1d"], "needs --before FROM/TO and --after FROM/TO"),
        (["--prometheus", "http://127.0.0.1:1", "--before", "2d/1d", "--after", "1d/now", "--matchers", "a=b"], "--matchers: is no list"),
        (["--prometheus", "http://127.0.0.1:1", "--before", "2d/1d", "--after", "36h/now"], "--before and --after: overlap"),
        (["--prometheus", "ftp://a", "--before", "2d/1d", "--after", "1d/now"], "--prometheus: is not an http or https URL"),
        (
            ["--prometheus", "http://127.0.0.1:1", "--before", "2d/1d", "--after", "1d/now"],
            "--before: http://127.0.0.1:1/api/v1/query_range: ",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_wrong_use(
    argv: list[str], problem: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = (folder / "one.json").read_bytes()
    other = json.loads(one)
    for sla in other["report"]["sla"]:
        sla["quantile_ratio"] = 0.95
    packed = gzip.compress(b"a report" * 100)
    files = {
        "one.json": one,
        "cut.gz": packed[:-4],
        "damaged.gz": packed[:12] + b"x" * 8,
        "text.json": b"text",
        "other.json": orjson.dumps(other),
    }
    for name, content in files.items():
        Path(name).write_bytes(content)
    assert problem in refused(capsys, *argv)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("length_bytes", [101, 10_000_000])
def test_a_report_that_is_too_long_is_not_taken(length_bytes: int, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "report"
    content = b"x" * length_bytes
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ConfigError, match="longer than 100 bytes"):
        saved_report(str(path), most_bytes=100)


@pytest.mark.parametrize(
    "written",
    [
        "1d",
        "1d/2d",
        "1d/1d",
        "a/b",
        "2026-01-01T00:00:00/1d",
        "nan/1d",
        "-5/1d",
        "1d/2999-01-01T00:00:00Z",
        "10s/now",
        "9999d/1d",
        "1e400/now",
    ],
)
def test_a_range_that_is_none_is_told(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--prometheus", "http://127.0.0.1:1", f"--before={written}", "--after", "1h/now").startswith("--before: ")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"status": "success", "warnings": ["store is gone"], "data": {"resultType": "matrix", "result": []}}', "may be partial"),
        (b'{"status": "error", "errorType": "timeout"}', "answers with an error"),
        (b'{"status": "success", "data": {"resultType": "matrix", "result": []}}', "has no infermeter_inferences_total"),
        (b"<html>", "none of Prometheus' HTTP API"),
    ],
)
def test_an_answer_that_tells_nothing_is_one_sentence(body: bytes, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Peer(answer(body)) as peer:
        told = refused(capsys, "--prometheus", f"http://{peer.address}", "--before", "2d/1d", "--after", "1d/now")
    assert problem in told
    assert "store is gone" not in told


# --- a real Prometheus -------------------------------------------------------------------------------------------------------------
HOUR = 3600
SCRAPE_SECONDS = 30


@pytest.fixture(scope="module")
def until() -> int:
    """The end of the history, in unix seconds."""
    return int(time.time()) // HOUR * HOUR - 3 * HOUR


def history(until: int) -> str:
    """Ten hours of counters as OpenMetrics: five with one inference at a time, five with batches; the server `other` beside it.

    Of all inferences of the first half, 3 in 5 are within the SLA, then all of them. At 2 h the process restarted. Joules are 300 an
    inference first and then 200; the hourly cost doubles, since another GPU is rented.
    """
    rng = np.random.default_rng(1)
    start, half, steps = until - 10 * HOUR, 5 * HOUR, 10 * HOUR // SCRAPE_SECONDS
    lines: dict[str, list[str]] = {}
    totals = dict.fromkeys(("ok", "within", "cost", "joules", "busy"), 0.0)
    for step in range(steps + 1):
        at, is_after = start + step * SCRAPE_SECONDS, step * SCRAPE_SECONDS >= half
        if step * SCRAPE_SECONDS == 2 * HOUR:
            totals = dict.fromkeys(totals, 0.0)
        ok = int(rng.poisson(1.0 * SCRAPE_SECONDS))
        totals["ok"] += ok
        totals["within"] += ok if is_after else int(rng.binomial(ok, 0.6))
        totals["cost"] += (7.2 if is_after else 3.6) / 3600 * SCRAPE_SECONDS
        totals["joules"] += ok * (200.0 if is_after else 300.0) * rng.normal(1, 0.05)
        totals["busy"] += 0.8 * SCRAPE_SECONDS
        rows = {
            'inferences_total{server="chat",model="m",outcome="ok"}': totals["ok"],
            'inferences_total{server="other",model="m",outcome="ok"}': 5.0 * step,
            'inferences_observed_total{server="chat",model="m",outcome="ok"}': totals["ok"],
            'inferences_observed_within_sla_total{server="chat",model="m"}': totals["within"],
            'cost_by_use_total{server="chat",model="m",use="active",currency="EUR"}': totals["cost"],
            'energy_joules_total{server="chat",model="m",use="active"}': totals["joules"],
            'busy_seconds_total{server="chat"}': totals["busy"],
            'sla_target_seconds{server="chat",model="m",signal="duration"}': 0.5 if step < steps else 0.6,
            'sla_quantile_ratio{server="chat",model="m"}': 0.99,
            'build_info{server="chat",version="0.1.0"}': 1.0,
        }
        for name, value in rows.items():
            lines.setdefault(name, []).append(f"infermeter_{name} {value} {at}")
    return "\n".join([line for of in lines.values() for line in of] + ["# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, until: int) -> Iterator[str]:
    """The URL of a Prometheus with that history."""
    binary, promtool = shutil.which("prometheus"), shutil.which("promtool")
    assert binary, "prometheus is missing: install the Debian package `prometheus`"
    assert promtool, "promtool is missing: install the Debian package `prometheus`"
    folder: Path = tmp_path_factory.mktemp("history")
    (folder / "history.txt").write_text(history(until))
    create = [promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", str(folder / "history.txt"), str(folder / "data")]
    subprocess.run(create, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 30s}\n")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    arguments = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
        "--storage.tsdb.retention.time=10y",
    )
    with (folder / "log").open("wb") as log, subprocess.Popen([binary, *arguments], stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://{address}", process)
            yield f"http://{address}"
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + SOON_SECONDS
    while time.monotonic() < ends:
        assert process.poll() is None, "it ended"
        try:
            Prometheus(url).query("vector(1)")
        except Unavailable:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Prometheus doesn't answer")


def ranges(until: int, before: tuple[float, float] = (10, 5), after: tuple[float, float] = (5, 0.1)) -> list[str]:
    """Options for two ranges, each in hours before the end of the history."""
    written = [f"{until - begin * HOUR}/{until - end * HOUR}" for begin, end in (before, after)]
    return ["--before", written[0], "--after", written[1]]


def test_the_history_of_prometheus_tells_what_is_known_of_it(prometheus: str, until: int, capsys: pytest.CaptureFixture[str]) -> None:
    told = compared(capsys, "--prometheus", prometheus, *ranges(until), "--server", "chat")
    rows = {row["measure"]: row for row in told["measures"]}
    truths = {"cost_per_inference_at_sla": 0.6, "joules_per_inference": 200 / 300, "share_within_sla": 1 / 0.6}
    for measure, truth in truths.items():
        assert rows[measure]["ratio"]["low"] <= truth <= rows[measure]["ratio"]["high"]
        assert rows[measure]["ratio"]["high"] - rows[measure]["ratio"]["low"] < 0.1
    assert {rows[measure]["verdict"] for measure in truths} == {"better"}
    assert rows["cost_per_inference"]["verdict"] in ("not shown", "not comparable")
    assert told["cost_per_hour"] == pytest.approx(3.6, rel=0.01)
    assert told["after"]["cost_per_hour"] == pytest.approx(7.2, rel=0.01)
    assert told["currency"] == "EUR"
    assert any("restart" in note for note in told["notes"])
    assert told["sla"] == [{"model": "m", "quantile_ratio": 0.99, "duration_seconds": 0.5, "ttft_seconds": None, "tpot_seconds": None}]


def test_two_hours_of_the_same_show_nothing(prometheus: str, until: int, capsys: pytest.CaptureFixture[str]) -> None:
    options = ranges(until, (5, 3), (3, 1))
    told = compared(capsys, "--prometheus", prometheus, *options, "--matchers", 'server=~"ch.t"', "--fail-on", "regression")
    assert {row["verdict"] for row in told["measures"]} <= {"not shown", "not comparable"}
    assert verdict(told, "joules_per_inference") == "not shown"


@pytest.mark.parametrize(
    ("hours", "more", "problem"),
    [
        (((10, 5), (5, 1)), [], "2 servers (chat, other)"),
        (((10, 5), (5, 1)), ["--server", "absent"], "has no infermeter_inferences_total"),
        (((10, 5), (5, 1)), ["--server", "chat", "--matchers", 'model="n"'], "has no infermeter_inferences_total"),
        (((30, 20), (5, 1)), ["--server", "chat"], "has no infermeter_inferences_total"),
        (((10, 5), (5, 0)), ["--server", "chat"], "more than one SLA"),
        (((10, 5), (5, 1)), ["--matchers", 'server=~"("'], "HTTP 400"),
    ],
)
def test_what_prometheus_cannot_tell_is_told(
    prometheus: str, until: int, hours: Any, more: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refused(capsys, "--prometheus", prometheus, *ranges(until, *hours), *more)

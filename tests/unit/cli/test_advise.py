"""What `infermeter advise` prints and refuses, typed as a person would."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from infermeter import cli
from infermeter.metrics.report import report
from infermeter.model import Advice, Snapshot
from support.peer import Peer, answer
from support.snapshots import empty_snapshot, rich_snapshot

PRICES = """
- {device: l4, provider: ACME, per_hour: 0.5, currency: USD, as_of: 2100-01-01, source: contract}
"""
VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[%s]}}'
SERVER = VECTOR % b'{"metric":{"server":"chat"},"value":[1784556000,"1"]}'


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFERMETER_CONFIG", raising=False)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path, rich_snapshot())


def save(folder: Path, snapshot: Snapshot, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    document: dict[str, Any] = orjson.loads(orjson.dumps(report(snapshot)))
    change(document)
    path = folder / "report.json"
    path.write_bytes(orjson.dumps(document))
    return path


def printed(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    code = cli.main(["advise", *map(str, argv)])
    told = capsys.readouterr()
    assert (code, told.err) == (0, "")
    return told.out


def document(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(printed(capsys, *argv, "--format", "json"))
    return told


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path, code: int = 2) -> str:
    assert cli.main(["advise", *map(str, argv)]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


def test_without_options_a_report_is_told_as_the_sidecar_judged_it(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "--report", saved)
    judged = json.loads(saved.read_text())["report"]["sizing"]
    assert told["candidates"] == judged["candidates"]
    assert told["moves"] == judged["moves"]
    assert told["evidence"] == judged["evidence"]
    assert told["headroom"] is None
    assert told["prices"] == "those that the sidecar was configured with"


def test_an_old_report_says_how_old_it_is(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "days old" in document(capsys, "--report", saved)["notes"][0]


def test_a_packed_report_and_standard_input_are_read(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = tmp_path / "report.json.gz"
    packed.write_bytes(gzip.compress(saved.read_bytes()))
    assert document(capsys, "--report", packed)["server"] == "chat"


def test_text_is_for_people_and_all_shows_every_device(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "v100-pcie-16gb" not in printed(capsys, "--report", saved)
    assert "v100-pcie-16gb" in printed(capsys, "--report", saved, "--all")


def test_a_sidecar_that_has_just_started_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--report", save(tmp_path, empty_snapshot()))
    assert "Nothing can be said of other hardware yet:" in text
    assert "no GPU was seen" in text
    assert "verdict" not in text


def test_advice_that_is_turned_off_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    off = replace(rich_snapshot(), advice=Advice())
    assert "nothing was judged: set advice.enabled" in printed(capsys, "--report", save(tmp_path, off))


def test_the_sidecar_is_asked_for_its_report_also_by_its_bare_address(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Peer(answer(saved.read_bytes(), "Content-Type: application/json")) as sidecar:
        told = document(capsys, "--url", f"http://{sidecar.address}")
        assert told["source"]["kind"] == "sidecar"
        assert sidecar.requests[0].startswith("GET /api/v1/report ")
        assert document(capsys, "--url", f"http://{sidecar.address}/elsewhere")["server"] == "chat"


def test_a_sidecar_that_does_not_answer_is_a_failure_at_run_time(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "--url", "http://127.0.0.1:1/api/v1/report", code=1)
    assert told.startswith("no sidecar answers: http://127.0.0.1:1/api/v1/report: ")
    assert "--report or --prometheus" in told


def test_another_headroom_judges_anew_by_the_prices_of_the_report(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "--report", saved, "--headroom", "2")
    assert told["headroom"] == 2
    assert len(told["candidates"]) > 20
    assert told["moves"][0]["evidence"]["headroom"] == 2


def test_a_price_without_a_date_keeps_the_age_that_the_report_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, rich_snapshot(), lambda document: document["report"]["cost"].update(as_of=None))
    assert document(capsys, "--report", path, "--headroom", "2")["evidence"]["price_age_seconds"] == 86_400


def test_prices_of_a_file_count_and_its_typos_are_told(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES.replace("per_hour", "per_our"))
    assert cli.main(["advise", "--report", str(saved), "--prices", str(prices)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "did you mean per_hour?" in told.err
    prices.write_text(PRICES.replace("USD", "EUR"))
    assert "is EUR" in refused(capsys, "--report", saved, "--prices", prices)
    prices.write_text(PRICES.replace("device: l4", "device: l44"))
    assert "`l44` isn't in the catalogue; did you mean l4?" in refused(capsys, "--report", saved, "--prices", prices)
    prices.write_text(PRICES)
    assert document(capsys, "--report", saved, "--prices", prices)["prices"] == str(prices)


def test_examples_are_used_only_by_name_and_called_examples(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "--report", saved, "--prices", "examples")
    assert told["prices"].startswith("EXAMPLES, list prices of AWS, ")
    assert {one["provider"] for one in document(capsys, "--report", saved, "--prices", "examples:AWS")["candidates"]} == {"AWS", None}
    assert "must be examples, or examples: and one of AWS" in refused(capsys, "--report", saved, "--prices", "examples:ACME")


def test_devices_of_a_file_are_considered_and_can_be_supposed(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devices = tmp_path / "devices.yaml"
    devices.write_text(
        "- {name: acme-1, source: a data sheet, memory_bytes: 96e9, memory_bandwidth_bytes_per_second: 3e12, dense_flops: {bf16: 900e12}, "
        "precisions: [bf16]}\n"
    )
    told = document(capsys, "--report", saved, "--devices", devices, "--what-if", "gpu=acme-1,price=1")
    assert "acme-1" in {one["product"] for one in told["candidates"]}
    assert told["what_if"][0]["product"] == "acme-1"


def test_a_configuration_tells_headroom_candidates_and_prices(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    config = tmp_path / "infermeter.yaml"
    config.write_text(f"advice: {{headroom: 1.5, candidates: [l4, t4], prices_file: {tmp_path / 'prices.yaml'}}}\n")
    told = document(capsys, "--report", saved, "--config", config)
    assert {one["product"] for one in told["candidates"]} == {"l4", "t4"}
    assert told["headroom"] == 1.5
    assert told["prices"] == str(tmp_path / "prices.yaml")


def test_the_precision_is_taken_where_the_report_tells_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def untold(document: dict[str, Any]) -> None:
        document["report"]["sizing"]["evidence"]["precision"] = None

    path = save(tmp_path, rich_snapshot(), untold)
    assert "the precision isn't known" in printed(capsys, "--report", path)
    assert document(capsys, "--report", path, "--precision", "fp16")["evidence"]["precision"] == "fp16"
    config = tmp_path / "infermeter.yaml"
    config.write_text("server: {precision: fp8}\n")
    assert document(capsys, "--report", path, "--config", config)["evidence"]["precision"] == "fp8"


def test_what_is_supposed_is_answered_beside_what_the_sidecar_judged(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, "--report", saved, "--what-if", "gpu=l4,price=0.76", "--what-if", "memory=1GB, gpu=NVIDIA A10")
    assert [(one["asked"], one["product"]) for one in told["what_if"]] == [
        ("gpu=l4,price=0.76", "l4"),
        ("gpu=NVIDIA A10,memory=1GB", "a10"),
    ]
    assert told["what_if"][0]["cost_per_hour"] == pytest.approx(0.76 + 0.25)
    assert told["what_if"][0]["provider"] == "what-if"
    assert len(told["candidates"]) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--what-if", "gpu=l40ss"], "--what-if gpu=l40ss: isn't in the catalogue; did you mean l40s?"),
        (["--what-if", "gpu=h100-pcie"], "did you mean h100-pcie-80gb"),
        (["--what-if", "gpu=zzz"], "`infermeter catalogue` lists what is"),
        (["--what-if", "gpu=h100-sxm5-80gb"], "is what the server runs on"),
        (["--what-if", "gpu=l4,precision=fp8"], "measured in bf16; only a test can tell what it does in fp8"),
        (["--precision", "int8"], "--precision: the server was measured in bf16"),
        (["--precision", "bf17"], "--precision: must be one of"),
        (["--headroom", "0.5"], "--headroom: must be a number from 1 to 10"),
        (["--headroom", "much"], "--headroom: must be a number from 1 to 10"),
        (["--range", "7d"], "--range: goes with --prometheus"),
        (["--server", "chat"], "--server: goes with --prometheus"),
        (["--matchers", 'a="b"'], "--matchers: goes with --prometheus"),
        (["--token-file", "token"], "--token-file: goes with --url or --prometheus"),
        (["--prices", "/nowhere/prices.yaml"], "/nowhere/prices.yaml: can't be read"),
        (["--devices", "/nowhere/devices.yaml"], "/nowhere/devices.yaml: can't be read"),
    ],
)
def test_wrong_use_is_told_in_one_line(saved: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert words in refused(capsys, "--report", saved, *options)


def test_nothing_is_supposed_of_a_server_of_which_nothing_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no GPU was seen" in refused(capsys, "--report", save(tmp_path, empty_snapshot()), "--what-if", "gpu=l4,price=1")


def test_a_report_of_another_version_and_a_url_that_is_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, rich_snapshot(), lambda document: document["report"].update(schema=7))
    assert "another schema than 1" in refused(capsys, "--report", path)
    assert refused(capsys, "--report", tmp_path / "none.json").endswith("can't be read: No such file or directory\n")
    assert refused(capsys, "--url", "localhost:10470").startswith("--url: ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "none of Prometheus' HTTP API"),
        (b'{"status":"error","error":"secret"}', "Prometheus answers with an error"),
        (SERVER[:-1] + b',"warnings":["remote read failed"]}', "may be partial"),
        (VECTOR % b"", "no series of a sidecar in the range"),
        (VECTOR % b'{"metric":{"server":"\\u001b[31m"},"value":[1784556000,"1"]}', "no series of a sidecar in the range"),
    ],
)
def test_a_prometheus_that_fails_or_tells_a_part_is_told(capsys: pytest.CaptureFixture[str], body: bytes, words: str) -> None:
    with Peer(answer(body, "Content-Type: application/json")) as prometheus:
        told = refused(capsys, "--prometheus", f"http://{prometheus.address}")
    assert words in told
    assert "secret" not in told


def test_a_prometheus_of_which_later_answers_fail_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with Peer(answer(SERVER, "Content-Type: application/json")) as prometheus:
        first, broken = prometheus.answers, answer(b"", status="503 Service Unavailable")

        def fail_later(connection: socket.socket) -> None:
            (first if len(prometheus.requests) == 1 else broken)(connection)

        prometheus.answers = fail_later
        assert "HTTP 503" in refused(capsys, "--prometheus", f"http://{prometheus.address}")


def test_a_prometheus_that_knows_many_servers_names_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    rows = b",".join(b'{"metric":{"server":"s%d"},"value":[1,"1"]}' % number for number in range(7))
    with Peer(answer(VECTOR % rows, "Content-Type: application/json")) as prometheus:
        told = refused(capsys, "--prometheus", f"http://{prometheus.address}")
    assert "knows 7 servers (s0, s1, s2, s3, s4 and 2 more); --server chooses one" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--range", "week"], "--range: must be a duration"),
        (["--range", "1s"], "--range: must be from 1m to 90d"),
        (["--range", "1y"], "--range: must be from 1m to 90d"),
        (["--matchers", "job=a"], "--matchers: is no list of label matchers"),
    ],
)
def test_what_is_asked_of_a_prometheus_is_checked_first(capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert words in refused(capsys, "--prometheus", "http://127.0.0.1:1", *options)

"""Prices that others tell, in the real program: from a file and from OpenCost, in /metrics, in findings, and in a replay."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from infermeter import cli
from support.patience import SOON_SECONDS
from support.peer import Peer, answer
from support.running import Clock, Running, metrics, running, until, value

START_NS = 1_795_401_860_000_000_000
CAPTURE = Path(__file__).parents[1] / "captures" / "vllm" / "grpc" / "005.pb"
STEP_SECONDS = 10.0


async def findings(sidecar: Running) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(await sidecar.text("/api/v1/findings"))["findings"]
    return told


async def pass_time(sidecar: Running, clock: Clock, seconds: float) -> str:
    for _ in range(round(seconds / STEP_SECONDS)):
        clock.turn(STEP_SECONDS)
        await metrics(sidecar)
    return await metrics(sidecar)


def entry(device: str, per_hour: float, **changes: object) -> dict[str, object]:
    common = {"provider": "AWS", "currency": "EUR", "as_of": "2026-11-01", "source": "on demand"}
    return {"device": device, "per_hour": per_hour, **common, **changes}


def priced_by(folder: Path, *entries: dict[str, object]) -> Path:
    path = folder / "prices.json"
    path.write_text(json.dumps(entries))
    return path


def test_a_file_prices_the_gpus_that_are_there(tmp_path: Path) -> None:
    async def told() -> None:
        path = priced_by(tmp_path, entry("simulated", 1.8), entry("l4", 0.8))
        clock = Clock(START_NS)
        config = f"cost: {{prices_file: {path}}}\ngpu: {{source: simulated, interval: 1s, simulated: {{gpus: 2}}}}\n"
        async with running(config, clock) as sidecar:
            await until(sidecar, lambda text: value(text, "cost_per_hour", component="instance", currency="EUR") == 3.6)
            text = await pass_time(sidecar, clock, 1000)
            about = (await sidecar.report())["report"]
        assert value(text, "cost_total", component="instance", currency="EUR") == pytest.approx(1.0)
        assert value(text, "price_timestamp_seconds") == 1_793_491_200
        assert isinstance(about, dict)
        assert about["cost"] == {"currency": "EUR", "as_of": "2026-11-01", "source": "AWS, on demand", "per_hour": 3.6}

    asyncio.run(told())


def test_a_gpu_that_the_file_does_not_know_is_a_finding_and_no_cost(tmp_path: Path) -> None:
    async def told() -> None:
        path = priced_by(tmp_path, entry("l4", 0.8))
        async with running(f"cost: {{prices_file: {path}}}\ngpu: {{source: simulated}}\n", Clock(START_NS)) as sidecar:
            text = await until(sidecar, lambda text: value(text, "gpu_info") == 1)
            (finding,) = await findings(sidecar)
        assert value(text, "cost_total") is None
        assert value(text, "price_timestamp_seconds") is None
        assert (finding["code"], finding["evidence"]["products"]) == ("price_missing", "simulated")

    asyncio.run(told())


def test_old_prices_are_a_finding(tmp_path: Path) -> None:
    async def told() -> None:
        path = priced_by(tmp_path, entry("simulated", 1.8, as_of="2026-01-01"))
        async with running(f"cost: {{prices_file: {path}}}\ngpu: {{source: simulated}}\n", Clock(START_NS)) as sidecar:
            text = await until(sidecar, lambda text: value(text, "finding", code="price_stale") == 1)
        assert value(text, "cost_per_hour") == 1.8

    asyncio.run(told())


def opencost(seconds: float, *prices: str) -> bytes:
    result = [{"metric": {"node": f"n{i}"}, "values": [[seconds, price]]} for i, price in enumerate(prices)]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def test_opencost_prices_what_follows_and_keeps_its_last_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def told() -> None:
        clock = Clock(START_NS)
        with Peer(answer(opencost(1_795_401_800, "1.8", "1.9"))) as prometheus:
            config = (
                "server: {gpu_count: 2}\ngpu: {source: none}\n"
                f'cost: {{currency: USD, opencost: {{prometheus_url: "http://{prometheus.address}", interval: 100ms}}}}\n'
            )
            async with running(config, clock) as sidecar:
                await until(sidecar, lambda _: len(prometheus.requests) >= 2)
                text = await pass_time(sidecar, clock, 100)
                (finding,) = await findings(sidecar)
                assert value(text, "cost_total") is None
                assert (finding["code"], "cost.opencost" in finding["what_to_do"]) == ("price_missing", True)

                prometheus.answers = answer(opencost(1_795_401_810, "1.8"))
                text = await until(sidecar, lambda text: value(text, "cost_per_hour", currency="USD") == 3.6)
                assert value(text, "price_timestamp_seconds") == 1_795_401_810
                assert await findings(sidecar) == []
                text = await pass_time(sidecar, clock, 1000)
                assert value(text, "cost_total", component="instance") == pytest.approx(1.0)

                prometheus.answers = answer(opencost(1_795_401_900, "3.6"))
                before, asked = value(text, "cost_total") or 0, len(prometheus.requests)
                clock.turn(9.0)
                async with asyncio.timeout(SOON_SECONDS):
                    while len(prometheus.requests) < asked + 1:  # noqa: ASYNC110 - another thread asks
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                text = await until(sidecar, lambda text: value(text, "cost_per_hour") == 7.2)
                before += 9 / 1000
                assert value(text, "cost_total") == pytest.approx(before), "what has passed is paid by the price before"
                text = await pass_time(sidecar, clock, 500)
                assert value(text, "cost_total") == pytest.approx(before + 1.0), "a new price holds from then on"

                asked = len(prometheus.requests)
                prometheus.answers = answer(b"", status="500 Internal Server Error")
                clock.turn(1.0)
                await until(sidecar, lambda _: len(prometheus.requests) >= asked + 3)
                text = await pass_time(sidecar, clock, 100)
                assert value(text, "cost_per_hour") == 7.2
                assert value(text, "price_timestamp_seconds") == 1_795_401_900

    asyncio.run(told())
    said = [record.getMessage() for record in caplog.records if "cost.opencost" in record.getMessage()]
    assert [line.partition(": ")[0] for line in said] == [
        "the Prometheus of cost.opencost doesn't answer",
        "the Prometheus of cost.opencost answers again",
        "the Prometheus of cost.opencost doesn't answer",
    ]


def recorded(folder: Path, *products: str) -> Path:
    """A minute of power, of one GPU for each product."""
    path = folder / "power.csv"
    header = [f"# gpu: GPU-{i},{i},{product},," for i, product in enumerate(products)]
    rows = [f"{1_795_402_000 + second},GPU-{i},100" for second in range(61) for i in range(len(products))]
    path.write_text("\n".join(("# infermeter capture: 1", *header, "time_unix_seconds,gpu,power_watts", *rows, "")))
    return path


def replayed(folder: Path, capsys: pytest.CaptureFixture[str], config: str, *products: str) -> dict[str, Any]:
    path = folder / "infermeter.yaml"
    path.write_text(f"server: {{kind: vllm}}\n{config}")
    power = recorded(folder, *products)
    assert cli.main(["replay", "--spans", str(CAPTURE), "--power", str(power), "--config", str(path), "--format", "json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_a_replay_prices_each_product_by_its_own_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = priced_by(tmp_path, entry("l4", 0.8), entry("NVIDIA A10", 0.6, provider="Lambda"), entry("t4", 9.0))
    report = replayed(tmp_path, capsys, f"cost: {{prices_file: {prices}}}", "NVIDIA L4", "NVIDIA A10")
    about = report["report"]
    hours = (about["end_unix_seconds"] - about["start_unix_seconds"]) / 3600
    assert hours > 0
    assert [point["value"] for point in report["cost_total"]] == [pytest.approx(1.4 * hours)]
    assert about["cost"]["source"] == "AWS, on demand; Lambda, on demand"


def test_one_product_without_a_price_leaves_the_component_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = priced_by(tmp_path, entry("l4", 0.8))
    report = replayed(tmp_path, capsys, f"cost: {{prices_file: {prices}}}", "NVIDIA L4", "NVIDIA A10")
    assert "cost_total" not in report
    (finding,) = report["report"]["findings"]
    assert finding["evidence"] == {"unpriced": "instance", "gpus_seen": 2, "products": "NVIDIA A10"}


def test_a_replay_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Peer(answer(opencost(1_795_401_800, "1.8"))) as prometheus:
        config = f'cost: {{currency: USD, opencost: {{prometheus_url: "http://{prometheus.address}"}}}}'
        report = replayed(tmp_path, capsys, config, "NVIDIA L4")
        assert prometheus.requests == []
    assert "cost_total" not in report


@pytest.mark.parametrize("command", ["check-config", "serve --config"])
@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("currency: USD, prices_file: {prices}", "{prices}[0].currency: is EUR, but cost.currency is USD (line 1)"),
        ("prices_file: /nowhere.json", "cost.prices_file: no such file: /nowhere.json (line 1)"),
        (
            "currency: USD, opencost: {{prometheus_url: 'ftp://p'}}",
            "cost.opencost.prometheus_url: is not an http or https URL such as http://127.0.0.1:9400/metrics (line 1)",
        ),
        (
            "currency: USD, opencost: {{prometheus_url: 'http://127.0.0.1:1', token_file: /nowhere}}",
            "cost.opencost.token_file: no such file: /nowhere (line 1)",
        ),
    ],
)
def test_prices_that_cannot_be_read_are_told_before_anything_runs(
    command: str, cost: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = priced_by(tmp_path, entry("l4", 0.8))
    path = tmp_path / "infermeter.yaml"
    path.write_text(f"cost: {{{cost.format(prices=prices)}}}")
    assert cli.main([*command.split(), str(path)]) == 2
    assert capsys.readouterr().err == expected.format(prices=prices) + "\n"

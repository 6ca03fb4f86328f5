"""New prices and SLAs in the running program: nothing that was counted is lost, and what can't be taken changes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from infermeter import app
from infermeter.mapping import load_mappings
from infermeter.parsing.structure import load_config
from infermeter.reloads import Reload
from integration.test_process import serving
from support.patience import SOON_SECONDS
from support.peer import Peer, answer
from support.running import LISTEN, PROTOBUF, Clock, Running, metrics, running, value
from unit.otlp.exports import END_NS, body, span

SECOND_NS = 1_000_000_000
START_NS = END_NS // (10 * SECOND_NS) * 10 * SECOND_NS
LIFECYCLE = "web: {lifecycle: true}\nserver: {kind: vllm, model: chat, gpu_count: 1}\ngpu: {source: none}\nwindows: [1m]\n"
PRICED = "cost: {currency: EUR, as_of: 2026-11-01, source: test, rent: {per_hour: %s}}\n"
OUTCOME = {"model": "chat", "outcome": "ok"}


async def until(sidecar: Running, per_hour: float) -> None:
    """Waits for this hourly cost."""
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            if value(await metrics(sidecar), "cost_per_hour", component="instance") == per_hour:
                return
            await asyncio.sleep(0.01)


async def pass_time(sidecar: Running, clock: Clock, seconds: int) -> str:
    for _ in range(seconds // 5):
        clock.turn(5)
        await metrics(sidecar)
    return await metrics(sidecar)


def inference(number: int, end_ns: int, *, seconds: float = 0.25) -> bytes:
    """An export of one request that took so long."""
    trace_id = number.to_bytes(16)
    return body(
        span(
            number,
            {"gen_ai.latency.e2e": seconds},
            trace_id=trace_id,
            start_time_unix_nano=end_ns - round(seconds * SECOND_NS),
            end_time_unix_nano=end_ns,
        ),
        scope="vllm.llm_engine",
    )


def against(config: str, file: Path, scenario: Callable[[Running, Clock], Awaitable[None]]) -> None:
    """Runs a scenario against the real program with this configuration in a file."""

    async def run() -> None:
        clock = Clock(START_NS)
        async with running(LISTEN + config, clock, file=file) as sidecar:
            await scenario(sidecar, clock)

    asyncio.run(run())


def offer(file: Path, config: str) -> None:
    file.write_text(LISTEN + config)


def test_money_costs_what_it_cost_then_and_what_it_costs_now(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"

    async def scenario(sidecar: Running, clock: Clock) -> None:
        before = await pass_time(sidecar, clock, 100)
        assert value(before, "cost_total", component="instance") == pytest.approx(100 * 3.6 / 3600)
        offer(file, LIFECYCLE + PRICED % 36)
        clock.turn(5)  # passes before the reload, and is paid by the old price
        assert await sidecar.reload() == (200, "reloaded: cost.rent.per_hour\n")
        after = await metrics(sidecar)
        assert value(after, "cost_total", component="instance") == pytest.approx(105 * 3.6 / 3600)
        assert value(after, "cost_per_hour", component="instance", currency="EUR") == 36
        assert value(after, "config_last_reload_success_timestamp_seconds") == START_NS // SECOND_NS + 105
        later = await pass_time(sidecar, clock, 50)
        assert value(later, "cost_total", component="instance") == pytest.approx((105 * 3.6 + 50 * 36) / 3600)

    against(LIFECYCLE + PRICED % 3.6, file, scenario)


def test_what_was_sent_before_during_and_after_is_all_there(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"

    async def scenario(sidecar: Running, clock: Clock) -> None:
        clock.turn(1)
        sent = 0
        for number in range(1, 20):
            offer(file, LIFECYCLE + PRICED % number)
            exports = [sidecar.send(inference(sent + i + 1, clock.unix_ns), PROTOBUF) for i in range(5)]
            sent += len(exports)
            *statuses, reloaded = await asyncio.gather(*exports, sidecar.reload())
            assert statuses == [200] * len(exports)
            assert reloaded[0] == 200
            text = await pass_time(sidecar, clock, 5)
        text = await pass_time(sidecar, clock, 120)
        assert value(text, "inferences_observed_total", **OUTCOME) == sent
        assert value(text, "inference_duration_seconds_count", model="chat") == sent
        assert value(text, "spans_received_total", protocol="http") == sent
        assert value(text, "inferences_late_total") == 0

    against(LIFECYCLE + PRICED % 1, file, scenario)


def test_a_new_sla_judges_from_the_next_slot_on_and_no_counter_falls(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"
    numbers = iter(range(1, 10_000))
    counted = ("inferences_observed_within_sla_total", "inferences_in_sla_state_total", "inferences_observed_total")

    async def serve(sidecar: Running, clock: Clock, seconds: int) -> str:
        for _ in range(seconds // 5):
            clock.turn(5)
            await sidecar.send(inference(next(numbers), clock.unix_ns, seconds=0.25), PROTOBUF)
        return await metrics(sidecar)

    def sla(seconds: str) -> str:
        return f"{LIFECYCLE}sla: {{default: {{quantile: 0.9, duration_seconds: {seconds}}}}}\n"

    async def scenario(sidecar: Running, clock: Clock) -> None:
        text = await serve(sidecar, clock, 100)
        assert [value(text, name) for name in counted] == [None, None, 20]
        seen = [0.0] * len(counted)
        for target, within in (("0.3", 20), ("0.2", 20), ("null, ttft_seconds: 5", 40), ("0.3", 60)):
            offer(file, sla(target))
            assert (await sidecar.reload())[0] == 200
            text = await serve(sidecar, clock, 100)
            assert value(text, counted[0], model="chat") == within
            assert value(text, "window_sla_state", window="1m") == 1
            now = [value(text, name) or 0.0 for name in counted]
            assert all(after >= before for before, after in zip(seen, now, strict=True))
            seen = now
        assert value(text, "sla_target_seconds", signal="duration") == 0.3
        offer(file, LIFECYCLE)
        assert (await sidecar.reload())[0] == 200
        text = await serve(sidecar, clock, 100)
        assert value(text, counted[0]) == 60
        assert [value(text, name) for name in ("sla_target_seconds", "sla_quantile_ratio", "window_sla_state")] == [None] * 3
        text = await pass_time(sidecar, clock, 200)
        assert value(text, "inference_duration_seconds_bucket", model="chat", le="0.32") == 120
        assert value(text, "inference_duration_seconds_bucket", model="chat", le="0.3") is None
        assert value(text, "inferences_late_total") == 0

    against(LIFECYCLE, file, scenario)


@pytest.mark.parametrize(
    ("offered", "key"),
    [
        ("cost: {currency: EUR, as_of: 2026-11-01, source: hush, rent: {per_hour: hush}}", "cost.rent.per_hour"),
        ("costs: {currency: EUR, source: hush}", "costs"),
        (
            "cost: {currency: EUR, as_of: 2026-11-01, source: hush, rent: {per_hour: 1}, power: {price_per_kwh: 0.3}}",
            "cost.power.price_per_kwh",
        ),
        ("cost: {currency: EUR, prices_file: /hush}", "cost.prices_file"),
        ("cost: [", "infermeter.yaml"),
        (None, "infermeter.yaml"),
    ],
)
def test_what_is_no_valid_configuration_leaves_everything_as_it_was(
    offered: str | None, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "infermeter.yaml"

    async def scenario(sidecar: Running, clock: Clock) -> None:
        await pass_time(sidecar, clock, 10)
        if offered is None:
            file.unlink()
        else:
            offer(file, LIFECYCLE + offered)
        status, said = await sidecar.reload()
        assert status == 500
        assert key in said
        assert "hush" not in said
        text = await metrics(sidecar)
        assert value(text, "config_last_reload_successful") == 0
        assert value(text, "config_last_reload_success_timestamp_seconds") == START_NS // SECOND_NS
        assert value(text, "cost_per_hour", component="instance") == 3.6
        offer(file, LIFECYCLE + PRICED % 3.6)
        assert await sidecar.reload() == (200, "reloaded: nothing has changed\n")
        text = await metrics(sidecar)
        assert value(text, "config_last_reload_successful") == 1
        assert value(text, "config_last_reload_success_timestamp_seconds") == START_NS // SECOND_NS + 10

    against(LIFECYCLE + PRICED % 3.6, file, scenario)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(key in line for line in told)


def test_a_key_that_needs_a_restart_is_named_and_nothing_of_its_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"

    async def scenario(sidecar: Running, _: Clock) -> None:
        file.write_text(LISTEN.replace("127.0.0.1:0", "127.0.0.2:0") + LIFECYCLE + PRICED % 36)
        status, said = await sidecar.reload()
        assert status == 500
        assert "listen.web: can't be changed without a restart, listen.otlp_grpc: " in said
        text = await metrics(sidecar)
        assert value(text, "cost_per_hour", component="instance") == 3.6
        assert value(text, "config_last_reload_successful") == 0

    against(LIFECYCLE + PRICED % 3.6, file, scenario)


def test_prices_can_come_later_but_never_in_another_currency(tmp_path: Path) -> None:
    file, prices = tmp_path / "infermeter.yaml", tmp_path / "prices.json"
    prices.write_text(
        json.dumps([{"device": "l4", "provider": "x", "per_hour": 1, "currency": "USD", "as_of": "2026-11-01", "source": "y"}])
    )

    async def scenario(sidecar: Running, clock: Clock) -> None:
        text = await pass_time(sidecar, clock, 50)
        assert value(text, "cost_total") is None
        offer(file, LIFECYCLE + PRICED % 36)
        assert (await sidecar.reload())[0] == 200
        text = await metrics(sidecar)
        assert value(text, "cost_total", component="instance", currency="EUR") == 0
        text = await pass_time(sidecar, clock, 50)
        assert value(text, "cost_total", component="instance", currency="EUR") == pytest.approx(50 * 36 / 3600)
        offer(file, LIFECYCLE + PRICED.replace("EUR", "USD") % 36)
        assert "cost.currency" in (await sidecar.reload())[1]
        offer(file, LIFECYCLE + PRICED % "null")
        assert (await sidecar.reload())[0] == 200
        text = await pass_time(sidecar, clock, 50)
        assert value(text, "cost_total", component="instance", currency="EUR") == pytest.approx(50 * 36 / 3600)
        assert value(text, "cost_per_hour") is None

    against(LIFECYCLE, file, scenario)


def test_a_list_of_prices_is_read_anew_and_keeps_its_currency(tmp_path: Path) -> None:
    file, prices = tmp_path / "infermeter.yaml", tmp_path / "prices.json"

    def listed(per_hour: float, currency: str = "USD") -> None:
        entry = {"device": "simulated", "provider": "x", "per_hour": per_hour, "currency": currency, "as_of": "2026-11-01", "source": "y"}
        prices.write_text(json.dumps([entry]))

    async def scenario(sidecar: Running, _: Clock) -> None:
        await until(sidecar, 2)
        listed(3)
        assert await sidecar.reload() == (200, "reloaded: cost.prices_file\n")
        assert value(await metrics(sidecar), "cost_per_hour", currency="USD") == 3
        listed(4, "EUR")
        status, said = await sidecar.reload()
        assert status == 500
        assert "cost.currency: is another one than that of the money that was counted" in said
        assert value(await metrics(sidecar), "cost_per_hour", currency="USD") == 3

    listed(2)
    config = f"web: {{lifecycle: true}}\ncost: {{prices_file: {prices}}}\ngpu: {{source: simulated}}\n"
    against(config, file, scenario)


def test_a_price_is_asked_of_whom_the_new_configuration_names(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"

    def quoted(per_hour: float) -> bytes:
        result = [{"metric": {"node": "a"}, "values": [[START_NS // SECOND_NS, str(per_hour)]]}]
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()

    def config(url: str) -> str:
        return f"{LIFECYCLE}cost: {{currency: USD, opencost: {{prometheus_url: '{url}'}}}}\n"

    with Peer(answer(quoted(1.5))) as first, Peer(answer(quoted(2.5))) as second:

        async def scenario(sidecar: Running, _: Clock) -> None:
            await until(sidecar, 1.5)
            offer(file, config(f"http://{second.address}"))
            assert (await sidecar.reload())[0] == 200
            await until(sidecar, 2.5)
            offer(file, LIFECYCLE + PRICED.replace("EUR", "USD") % 4)
            assert (await sidecar.reload())[0] == 200
            assert value(await metrics(sidecar), "cost_per_hour", component="instance") == 4

        against(config(f"http://{first.address}"), file, scenario)


def test_a_signal_reloads_where_http_must_not(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"
    config = LIFECYCLE.replace("true", "false")

    async def scenario(sidecar: Running, _: Clock) -> None:
        offer(file, config + PRICED % 36)
        assert (await sidecar.reload())[0] == 403
        assert value(await metrics(sidecar), "cost_per_hour", component="instance") == 3.6
        sidecar.hangup.set()
        await until(sidecar, 36)

    against(config + PRICED % 3.6, file, scenario)


def test_a_mistake_of_ours_while_reloading_ends_the_program() -> None:
    async def run() -> None:
        settings = load_config(LISTEN + "gpu: {source: none}", "test")
        asked = asyncio.Event()
        asked.set()
        await app.run(
            settings,
            load_mappings("auto", {}),
            gpus=lambda _: None,
            reload=Reload(lambda: 1 // 0, asked),  # type: ignore[arg-type,return-value]  # the mistake
            now=Clock(START_NS),
            stop=asyncio.Event(),
            on_listen=lambda _: None,
        )

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())


def test_a_process_takes_a_signal_as_a_reload_and_lives_on(tmp_path: Path) -> None:
    config = LISTEN + LIFECYCLE
    with serving(tmp_path, config + PRICED % 3.6) as (process, addresses):
        file = tmp_path / "infermeter.yaml"

        def page() -> str:
            request = Request(f"http://{addresses['web']}/metrics", headers={"Accept": "application/openmetrics-text"})
            with urlopen(request, timeout=SOON_SECONDS) as response:
                text: str = response.read().decode()
                return text

        def send(number: int) -> None:
            url = f"http://{addresses['otlp_http']}/v1/traces"
            export = Request(url, data=inference(number, time.time_ns()), headers={"Content-Type": PROTOBUF})
            with urlopen(export, timeout=SOON_SECONDS) as response:
                assert response.status == 200

        def until(name: str, expected: float, **labels: str) -> str:
            deadline = time.monotonic() + SOON_SECONDS
            while value(text := page(), name, **labels) != expected:
                assert time.monotonic() < deadline, (name, text)
            return text

        send(1)
        file.write_text(config + PRICED % 36)
        process.send_signal(signal.SIGHUP)
        send(2)
        until("cost_per_hour", 36, component="instance")
        send(3)
        file.write_text(config.replace("windows: [1m]", "windows: [5m]") + PRICED % 1)
        process.send_signal(signal.SIGHUP)
        until("config_last_reload_successful", 0)
        until("inferences_observed_total", 3, **OUTCOME)
        assert value(page(), "cost_per_hour", component="instance") == 36
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        log = process.stderr.read()

    assert process.wait() == 0
    assert "configuration reloaded: cost.rent.per_hour" in log
    assert "configuration not reloaded: windows: can't be changed without a restart" in log
    assert "3 inferences observed" in log

"""The real program, both transports, files beside sockets: what is sent is what is counted."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from infermeter.commands import replay
from infermeter.errors import InputError, ListenError
from infermeter.metrics.report import report
from support.running import JSON, PROTOBUF, Clock, Running, running

CAPTURES = Path(__file__).parents[1] / "captures"
RECORDING = Path(__file__).parents[1] / "recordings"
TRITON = sorted((CAPTURES / "triton").glob("00*.json"))
SECOND_NS = 1_000_000_000
TRITON_SPANS_END_NS = 1_795_401_868_922_697_610
FIRST_SAMPLE_NS = 1_795_401_850_000_000_000
LAST_SAMPLE_NS = 1_795_401_900_000_000_000
HOST_JOULES = 50 * 201 + 0.5  # the trapezoid over 201, 202, 200 and so on, up to 200 W

PRICED = """
server: {kind: triton, name: test, sampled: false, gpu_count: 1}
sla: {default: {quantile: 0.99, duration_seconds: 1}}
cost: {currency: EUR, as_of: 2026-11-01, source: test, rent: {per_hour: 3.6}}
gpu: {source: none}
windows: [1m]
ledger: {span_delay: 60s}
"""

POWERED = """
server: {{kind: triton, name: test, sampled: false}}
sla: {{default: {{quantile: 0.99, duration_seconds: 0.05}}}}
cost:
  currency: EUR
  as_of: 2026-11-01
  source: test
  purchase: {{price: 30000, lifetime_years: 3, per: gpu}}
  power: {{price_per_kwh: 0.3, pue: 1.2, host_watts: measured}}
gpu: {gpu}
windows: [1m]
ledger: {{span_delay: 60s}}
advice: {{hold: 0s}}
"""


def samples(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of this name that carry these labels."""
    return sum(
        sample.value
        for family in openmetrics_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def metrics(sidecar: Running) -> str:
    return await sidecar.text("/metrics", Accept="application/openmetrics-text; version=1.0.0")


def test_spans_over_http_become_inferences_stages_and_cost() -> None:
    async def scenario() -> str:
        clock = Clock(TRITON_SPANS_END_NS - 100_000_000_000)
        async with running(PRICED, clock) as sidecar:
            clock.turn_to(TRITON_SPANS_END_NS)
            for file in TRITON:
                assert await sidecar.send(file.read_bytes(), JSON) == 200
            clock.turn(20)
            return await metrics(sidecar)

    text = asyncio.run(scenario())

    assert samples(text, "infermeter_inferences_observed_total", model="mlp", outcome="ok") == 330
    assert samples(text, "infermeter_stage_duration_seconds_sum", stage="queue") == pytest.approx(2.741042, abs=1e-5)
    assert samples(text, "infermeter_stage_duration_seconds_sum", stage="compute") == pytest.approx(4.368978, abs=1e-5)
    assert samples(text, "infermeter_stage_duration_seconds_sum", stage="transfer") == pytest.approx(0.301773, abs=1e-5)
    assert samples(text, "infermeter_stage_duration_seconds_sum", stage="other") < 0.01 * samples(
        text, "infermeter_inference_duration_seconds_sum"
    )
    assert samples(text, "infermeter_cost_total", component="instance") > 0
    assert samples(text, "infermeter_spans_received_total", protocol="http") == 990


def test_spans_over_grpc_are_counted_alike() -> None:
    async def scenario() -> str:
        clock = Clock(1_795_000_000_000_000_000)
        async with running("server: {kind: vllm, model: tiny}\ngpu: {source: none}\nlimits: {age: 300d}\n", clock) as sidecar:
            clock.turn_to(newest_end_ns(CAPTURES / "vllm/grpc/005.pb"))
            async with grpc.aio.insecure_channel(sidecar.addresses["otlp_grpc"]) as channel:
                export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
                for file in sorted((CAPTURES / "vllm/grpc").glob("*.pb")):
                    await export(file.read_bytes())
            return await metrics(sidecar)

    text = asyncio.run(scenario())

    assert samples(text, "infermeter_inferences_observed_total", model="tiny", outcome="ok") == 218
    assert samples(text, "infermeter_tokens_total", direction="output") == 5201
    assert samples(text, "infermeter_spans_received_total", protocol="grpc") == 230


def newest_end_ns(file: Path) -> int:
    """The latest end of a span in a recorded export, by OpenTelemetry's own messages."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415 - slow to import

    request = ExportTraceServiceRequest.FromString(file.read_bytes())
    return max(s.end_time_unix_nano for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)


def test_a_taken_port_is_told_with_its_key() -> None:
    async def scenario() -> None:
        async with running("gpu: {source: none}", Clock(1)) as sidecar:
            taken = sidecar.addresses["web"]
            async with running(f'gpu: {{source: none}}\nlisten: {{web: "{taken}"}}', Clock(1)):
                pass

    with pytest.raises(ListenError, match=r"listen\.web: 127\.0\.0\.1:\d+: .*in use"):
        asyncio.run(scenario())


def test_a_replay_says_what_a_running_sidecar_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every family, of the same spans and the same recorded power; but for what only a socket or a thread knows."""
    power = tmp_path / "power.csv"
    power.write_text(power_file())
    config = tmp_path / "config.yaml"
    config.write_text(POWERED.format(gpu="{source: none}"))
    replayed = _replayed(["--spans", str(CAPTURES / "triton"), "--power", str(power), "--config", str(config), "--format", "json"], capsys)

    async def live() -> dict[str, object]:
        clock = Clock(FIRST_SAMPLE_NS)
        async with running(POWERED.format(gpu=f"{{source: replay, file: '{power}'}}"), clock) as sidecar:
            while value(await sidecar.report(), "gpu_source_up") != 1:
                pass  # the recording is played from the first reading on
            for second in range(FIRST_SAMPLE_NS, LAST_SAMPLE_NS + 1, SECOND_NS):
                clock.turn_to(second)
                await sidecar.report()
            for file in TRITON:
                await sidecar.send(file.read_bytes(), JSON)
            while value(await sidecar.report(), "gpu_last_sample_timestamp_seconds") != LAST_SAMPLE_NS / 1e9:
                pass  # the reading thread has its own cadence
            return report(await sidecar.stopped())

    served = asyncio.run(live())

    of_the_process = {"config_last_reload_successful", "config_last_reload_success_timestamp_seconds"}
    assert served.keys() - of_the_process == replayed.keys()
    for family in replayed.keys() - {"spans_received_total", "report"}:
        assert served[family] == replayed[family], family
    families = {"energy_joules_total", "host_energy_joules_total", "cost_by_use_total", "gpu_state_seconds_total", "busy_seconds_total"}
    assert families <= served.keys()
    assert value(served, "host_energy_joules_total") == pytest.approx(HOST_JOULES)


def value(answer: dict[str, object], family: str) -> object:
    """The value of a family's only row, None where it is absent."""
    rows = answer.get(family)
    return rows[0]["value"] if isinstance(rows, list) else None


def power_file() -> str:
    """A capture of one GPU and its host around the inferences, a row of each a second."""
    seconds = range(FIRST_SAMPLE_NS // SECOND_NS, LAST_SAMPLE_NS // SECOND_NS + 1)
    rows = [f"{second},GPU-1,{60 + second % 7},{0.5 if second % 2 else 0},{8 << 30}," for second in seconds]
    rows += [f"{second},,,,,{200 + second % 3}" for second in seconds]
    head = ["# infermeter capture: 1", "# source: synthetic", "# gpu: GPU-1,0,Test,300,24000000000"]
    columns = "time_unix_seconds,gpu,power_watts,utilisation_ratio,memory_used_bytes,host_power_watts"
    return "\n".join([*head, columns, *rows, f"# end: {len(rows)} rows", ""])


def _replay(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    return replay.run(parser.parse_args(argv))


def _replayed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert _replay(argv) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_protobuf_over_http_is_taken_too() -> None:
    async def scenario() -> str:
        body = CAPTURES / "vllm/http/007.pb"
        clock = Clock(newest_end_ns(body))
        async with running("server: {kind: auto}\ngpu: {source: none}\n", clock) as sidecar:
            assert await sidecar.send(body.read_bytes(), PROTOBUF) == 200
            return await metrics(sidecar)

    assert samples(asyncio.run(scenario()), "infermeter_inferences_observed_total", model="unknown") == 11


def test_a_recording_of_more_than_a_year_is_refused(tmp_path: Path) -> None:
    power = tmp_path / "power.csv"
    power.write_text("time_unix_seconds,gpu,power_watts\n1700000000,GPU-1,50\n1795401900,GPU-1,50\n")

    with pytest.raises(InputError, match="2023-11-14 to 2026-11-23: the recording lasts over a year"):
        _replay(["--spans", str(CAPTURES / "triton"), "--power", str(power)])

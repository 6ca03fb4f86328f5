"""Exports that are lost, sent again, delayed and out of order, over both transports, packed or not, beside a model that knows the truth.

Exact, whatever happens on the way: what was received, observed and within the SLA, durations, tokens, and what time costs. Estimated, and
bounded by the work that arrived and that which was done: busy time, active money and energy.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infermeter.metrics.report import report
from property.test_otlp_encodings import json_of
from support.running import JSON, PROTOBUF, Clock, Running, running
from unit.otlp.exports import key_value, request

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
BEGIN_NS = 1_795_000_000_000_000_000
MS, SECOND_NS = 1_000_000, 1_000_000_000
SECONDS, AFTER_SECONDS = 40, 90
INFERENCES_A_SECOND = 6
TARGET_SECONDS = 0.4
WATTS, BASELINE_WATTS = 200.0, 60.0
LOST, SENT_AGAIN, DELAYED, PACKED = 0.1, 0.2, 0.4, 0.3
DELAY_SECONDS = 8
"""Less than the grace that a trace's parts have, and than what is waited for before anything is settled."""

CONFIG = f"""
server: {{kind: auto, name: test, sampled: false}}
sla: {{default: {{quantile: 0.9, duration_seconds: {TARGET_SECONDS}}}}}
cost: {{currency: EUR, as_of: 2026-11-01, source: test, rent: {{per_hour: 3600, per: instance}}}}
gpu: {{source: replay, file: FILE, interval: 100ms, baseline_watts: {BASELINE_WATTS}}}
windows: [1m]
assembly: {{grace: 10s, idle: 20s}}
"""


@dataclass(frozen=True)
class Inference:
    """What happened, in ns since BEGIN_NS; `compute` from when to when. Tokens None: its server tells none."""

    server: str
    model: str
    number: int
    start_ns: int
    end_ns: int
    compute: tuple[int, int]
    tokens: tuple[int, int] | None = None
    failed: bool = False

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def spans(self) -> list[Span]:
        """As its server tells it."""
        return {"vllm": self._vllm, "triton": self._triton, "infermeter": self._native}[self.server]()

    def _span(self, part: int, name: str, start_ns: int, end_ns: int, attributes: dict[str, Any], **fields: Any) -> Span:
        return Span(
            trace_id=(self.number + 1).to_bytes(16, "big"),
            span_id=(self.number * 8 + part + 1).to_bytes(8, "big"),
            parent_span_id=b"" if part == 0 else (self.number * 8 + part).to_bytes(8, "big"),
            name=name,
            kind=Span.SPAN_KIND_SERVER if part == 0 else Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=BEGIN_NS + start_ns,
            end_time_unix_nano=BEGIN_NS + end_ns,
            attributes=[key_value(key, value) for key, value in attributes.items()],
            **fields,
        )

    def _vllm(self) -> list[Span]:
        begun, done = self.compute
        about = {
            "gen_ai.response.model": self.model,
            "gen_ai.latency.e2e": self.seconds,
            "gen_ai.latency.time_in_queue": (begun - self.start_ns) / 1e9,
            "gen_ai.latency.time_in_model_prefill": (done - begun) / 4e9,
            "gen_ai.latency.time_in_model_decode": (done - begun) * 3 / 4e9,
        }
        tokens = dict(zip(("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"), self.tokens or (), strict=False))
        return [self._span(0, "llm_request", self.start_ns, self.end_ns, about | tokens)]

    def _triton(self) -> list[Span]:
        begun, done = self.compute
        events = [
            {"COMPUTE_START": begun, "COMPUTE_INPUT_END": begun, "COMPUTE_OUTPUT_START": done, "COMPUTE_END": done},
            {"REQUEST_START": self.start_ns, "QUEUE_START": self.start_ns, "REQUEST_END": done},
            {"INFER_RESPONSE_COMPLETE": done, "HTTP_SEND_START": done, "HTTP_SEND_END": self.end_ns},
        ]
        compute, step, root = ([Span.Event(name=name, time_unix_nano=BEGIN_NS + at) for name, at in each.items()] for each in events)
        return [
            self._span(0, "InferRequest", self.start_ns, self.end_ns, {}, events=root),
            self._span(1, self.model, self.start_ns, done, {"triton.model_name": self.model}, events=step),
            self._span(2, "compute", begun, done, {}, events=compute),
        ]

    def _native(self) -> list[Span]:
        about = {"infermeter.model": self.model}
        status = {"status": {"code": 2}} if self.failed else {}
        return [
            self._span(0, "inference", self.start_ns, self.end_ns, about, **status),
            self._span(1, "compute", *self.compute, {}),
        ]


SCOPES = {"vllm": "vllm.llm_engine", "triton": "triton-server", "infermeter": "infermeter"}


@dataclass(frozen=True)
class Sending:
    """One export at the end of a second, by one of both transports, packed on its way or not; `content_type` as over HTTP."""

    second: int
    protocol: str
    content_type: str
    packed: bool
    sent: bytes
    spans: int


@dataclass
class Truth:
    """All that happened, what of it arrived, and the exports that bring it."""

    inferences: list[Inference]
    arrived: list[Inference]
    sendings: list[Sending]
    repeated_spans: int = 0


def chaos(chance: random.Random) -> Truth:
    """A life of three servers behind one sidecar, and what the network makes of it."""
    truth = Truth([], [], [])
    for number in range(SECONDS * INFERENCES_A_SECOND):
        truth.inferences.append(inference(chance, number))
    by_second: dict[tuple[int, str], list[Inference]] = {}
    for one in truth.inferences:
        by_second.setdefault((one.end_ns // SECOND_NS, one.server), []).append(one)
    for (second, server), ended in by_second.items():
        if chance.random() < LOST:
            continue
        truth.arrived += ended
        spans = [span for one in ended for span in one.spans()]
        chance.shuffle(spans)
        cut = chance.randrange(len(spans) + 1)
        for part in filter(None, (spans[:cut], spans[cut:])):
            again = 2 if chance.random() < SENT_AGAIN else 1  # the answer was lost: it was taken, and comes again
            truth.repeated_spans += (again - 1) * len(part)
            content_type = chance.choice((PROTOBUF, PROTOBUF, JSON))
            sent = encoded(request(*part, scope=SCOPES[server]), content_type)
            for _ in range(again):
                delay = chance.randrange(1, DELAY_SECONDS) if chance.random() < DELAYED else 1
                protocol = "http" if content_type == JSON else chance.choice(("http", "grpc"))
                truth.sendings.append(Sending(second + delay, protocol, content_type, chance.random() < PACKED, sent, len(part)))
    chance.shuffle(truth.sendings)
    return truth


def encoded(export: ExportTraceServiceRequest, content_type: str) -> bytes:
    """As it is sent."""
    return json_of(export, snake=False, upper=False, numbers=False) if content_type == JSON else export.SerializeToString()


def inference(chance: random.Random, number: int) -> Inference:
    server = chance.choice(("vllm", "triton", "infermeter"))
    start = chance.randrange(SECONDS * 1000) * MS
    lengths = [start, *(chance.randrange(1, 300) * MS for _ in range(3))]
    begun, done, end = (sum(lengths[:i]) for i in (2, 3, 4))
    tokens = (chance.randrange(1, 1000), chance.randrange(2, 100)) if server == "vllm" else None
    failed = server == "infermeter" and chance.random() < 0.3
    return Inference(server, f"{server}-{chance.choice('ab')}", number, start, end, (begun, done), tokens, failed)


async def lived(truth: Truth, config: str) -> dict[str, Any]:
    """What a sidecar has counted that went through this, when all is settled."""
    clock = Clock(BEGIN_NS)
    async with running(config, clock) as sidecar, grpc.aio.insecure_channel(sidecar.addresses["otlp_grpc"]) as channel:
        by_second: dict[int, list[Sending]] = {}
        for sending in truth.sendings:
            by_second.setdefault(sending.second, []).append(sending)
        while not (await sidecar.report()).get("gpu_energy_joules_total"):
            pass  # the recording is played from the first reading on
        for second in range(1, SECONDS + AFTER_SECONDS + 1):
            clock.turn_to(BEGIN_NS + second * SECOND_NS)
            for sending in by_second.get(second, ()):
                await deliver(sidecar, channel, sending)
            await sidecar.report()
        while gpu_told_ns(await sidecar.report()) < BEGIN_NS + (SECONDS + AFTER_SECONDS) * SECOND_NS:
            pass  # the reading thread has its own cadence
        return cast("dict[str, Any]", report(await sidecar.stopped()))


async def deliver(sidecar: Running, channel: grpc.aio.Channel, sending: Sending) -> None:
    if sending.protocol == "grpc":
        compression = grpc.Compression.Gzip if sending.packed else grpc.Compression.NoCompression
        assert await channel.unary_unary(EXPORT)(sending.sent, compression=compression) == b""
        return
    sent, headers = (gzip.compress(sending.sent, 1), {"Content-Encoding": "gzip"}) if sending.packed else (sending.sent, {})
    assert await sidecar.send(sent, sending.content_type, **headers) == 200


def gpu_told_ns(told: dict[str, Any]) -> int:
    return round(rows(told, "gpu_last_sample_timestamp_seconds")[0]["value"] * SECOND_NS)


def rows(told: dict[str, Any], family: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told.get(family, [])
    return found


def by(told: dict[str, Any], family: str, *labels: str, value: str = "value") -> dict[Any, float]:
    """A family by these labels, without what is 0."""
    sums: Counter[Any] = Counter()
    for row in rows(told, family):
        sums[tuple(row["labels"][label] for label in labels) if len(labels) > 1 else row["labels"].get(*labels, "")] += row[value]
    return {key: n for key, n in sums.items() if n}


def counted(values: Iterable[Any]) -> dict[Any, int]:
    return dict(Counter(values))


def covered_seconds(intervals: Iterable[tuple[int, int]]) -> float:
    """The length of their union."""
    covered, reached = 0, 0
    for start, end in sorted(intervals):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered / 1e9


def active_joules(inferences: Sequence[Inference]) -> float:
    """What is booked for this work: tick by tick all but the baseline of the time in which nothing computed; nothing where none did."""
    joules = 0.0
    for tick in range(SECONDS + AFTER_SECONDS):
        begin, end = tick * SECOND_NS, (tick + 1) * SECOND_NS
        busy = covered_seconds((max(one.compute[0], begin), min(one.compute[1], end)) for one in inferences if overlaps(one, begin, end))
        joules += WATTS - BASELINE_WATTS * (1 - busy) if busy else 0.0
    return joules


def overlaps(one: Inference, begin_ns: int, end_ns: int) -> bool:
    return one.compute[0] < end_ns and one.compute[1] > begin_ns


def recording(seconds: int) -> str:
    """A capture of one GPU at constant power, busy all the time."""
    lines = ["# infermeter capture: 1", "# source: synthetic", "# gpu: GPU-1,0,Test,300,24000000000", "time_unix_seconds,gpu,power_watts"]
    lines += [f"{BEGIN_NS // SECOND_NS + second},GPU-1,{WATTS}" for second in range(seconds + 1)]
    return "\n".join([*lines, f"# end: {seconds + 1} rows", ""])


def assert_exact(told: dict[str, Any], truth: Truth) -> None:
    arrived = truth.arrived
    ok = [one for one in arrived if not one.failed]
    received: Counter[str] = Counter()
    for sending in truth.sendings:
        received[sending.protocol] += sending.spans
    assert by(told, "spans_received_total", "protocol") == received
    assert by(told, "spans_dropped_total", "reason") == ({"duplicate": truth.repeated_spans} if truth.repeated_spans else {})
    assert by(told, "spans_unmapped_total", "reason") == {}
    assert by(told, "inferences_observed_total", "model", "outcome") == counted(
        (one.model, "error" if one.failed else "ok") for one in arrived
    )
    assert by(told, "inferences_observed_within_sla_total", "model") == counted(one.model for one in ok if one.seconds <= TARGET_SECONDS)
    assert by(told, "inference_duration_seconds", "model", value="count") == counted(one.model for one in ok)
    for model, seconds in by(told, "inference_duration_seconds", "model", value="sum").items():
        assert seconds == pytest.approx(sum(one.seconds for one in ok if one.model == model), rel=1e-9)
    assert by(told, "tokens_total", "direction") == {
        direction: sum(one.tokens[i] for one in ok if one.tokens) for i, direction in enumerate(("input", "output"))
    }
    assert sum(by(told, "cost_total", "component").values()) == pytest.approx(SECONDS + AFTER_SECONDS, rel=1e-9)  # a euro a second


def assert_bounded(told: dict[str, Any], truth: Truth) -> None:
    everything = covered_seconds(one.compute for one in truth.inferences)
    arrived = covered_seconds(one.compute for one in truth.arrived)
    busy = sum(row["value"] for row in rows(told, "busy_seconds_total"))
    assert busy == pytest.approx(arrived, abs=1e-3)
    assert arrived < everything
    money, joules = by(told, "cost_by_use_total", "use"), by(told, "energy_joules_total", "use")
    assert sum(money.values()) == pytest.approx(SECONDS + AFTER_SECONDS, rel=1e-6)
    assert money["active"] == pytest.approx(arrived, abs=1e-3)
    assert sum(joules.values()) == pytest.approx(WATTS * (SECONDS + AFTER_SECONDS), rel=1e-6)
    assert joules["active"] == pytest.approx(active_joules(truth.arrived), rel=1e-6)
    assert WATTS * arrived <= joules["active"] < active_joules(truth.inferences)


SEEDS: Sequence[int] = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_promised_exactly_is_exact_and_estimates_are_bounded_whatever_the_network_does(seed: int, tmp_path: Any) -> None:
    file = tmp_path / "power.csv"
    file.write_text(recording(SECONDS + AFTER_SECONDS))
    truth = chaos(random.Random(seed))
    assert truth.repeated_spans
    assert len({(each.protocol, each.content_type, each.packed) for each in truth.sendings}) == 6
    told = asyncio.run(lived(truth, CONFIG.replace("FILE", str(file))))
    assert_exact(told, truth)
    assert_bounded(told, truth)

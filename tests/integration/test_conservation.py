"""Whatever becomes of a span, it is counted once: what was received is mapped, unmapped, dropped or pending."""

from __future__ import annotations

import asyncio

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infermeter.model import Snapshot
from support.running import PROTOBUF, Clock, running
from unit.otlp.exports import END_NS, body, span


def fates(counted: Snapshot) -> dict[str, int]:
    """How many spans had which fate, without those that none had."""
    inferences = sum(model.observed_ok + model.observed_error for model in counted.ledger.models)
    every = {"inference": inferences, **counted.intake.spans_dropped, **counted.intake.spans_unmapped}
    return {fate: n for fate, n in every.items() if n}


def served(*bodies: bytes, config: str = "server: {kind: vllm}\ngpu: {source: none}\n") -> Snapshot:
    """What a sidecar that was sent these exports had counted in the end."""

    async def counted() -> Snapshot:
        async with running(config, Clock(END_NS)) as sidecar:
            for each in bodies:
                assert await sidecar.send(each, PROTOBUF) == 200
            return await sidecar.stopped()

    return asyncio.run(counted())


def of_vllm(*spans: Span) -> bytes:
    return body(*spans, scope="vllm.llm_engine")


def inference(number: int, **fields: object) -> Span:
    return span(number, {"gen_ai.latency.e2e": 0.25}, **fields)


def test_a_retried_export_is_counted_as_duplicate() -> None:
    export = of_vllm(inference(0), inference(1))

    counted = served(export, export)

    assert counted.intake.spans_received == {"grpc": 0, "http": 4}
    assert fates(counted) == {"inference": 2, "duplicate": 2}


def test_every_span_has_one_fate() -> None:
    hour_ns = 3_600_000_000_000

    counted = served(
        of_vllm(
            inference(0),
            inference(1, span_id=b""),
            inference(2, start_time_unix_nano=END_NS + 1),
            inference(3, end_time_unix_nano=END_NS + hour_ns),
            inference(4, start_time_unix_nano=1, end_time_unix_nano=END_NS - 2 * hour_ns),
            inference(5, name="something else"),
            span(6, {"gen_ai.latency.e2e": -1.0}),
            span(7, {"gen_ai.latency.e2e": float("nan")}),
        )
    )

    assert counted.intake.spans_received["http"] == 8
    assert fates(counted) == {"inference": 1, "malformed": 2, "future": 1, "ancient": 1, "no_rule": 1, "invalid": 2}

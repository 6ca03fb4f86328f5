"""The demo's server: what it answers, and that its spans tell all of its time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infermeter.config import Assembly, Limits
from infermeter.demo.batching import Batcher
from infermeter.demo.network import INPUTS, MODEL, OUTPUTS, Matrix
from infermeter.demo.server import InferenceServer
from infermeter.instrument import SCOPE, StageInterval, TimedInference, WallClock, emit
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import STAGES, InferenceBatch
from infermeter.otlp.protobuf import decode_protobuf

GOOD: Mapping[str, Any] = {"input": [0.5] * INPUTS}


class Busy:
    """A network that takes its time; not a number is more than it can take."""

    def forward(self, inputs: Matrix) -> Matrix:
        if np.isnan(inputs).any():
            raise ArithmeticError("not a number")
        weights = np.ones((INPUTS, INPUTS), dtype=np.float32) / INPUTS
        activations = inputs
        for _ in range(200):
            activations = activations @ weights
        return activations[:, :OUTPUTS]


class Spans:
    """A tracer, and what it has finished."""

    def __init__(self) -> None:
        self._finished = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._finished))
        self.tracer = provider.get_tracer(SCOPE)

    @property
    def finished(self) -> tuple[ReadableSpan, ...]:
        return self._finished.get_finished_spans()

    def mapped(self) -> InferenceBatch:
        """What the sidecar makes of them, from the bytes that the SDK's exporters send."""
        mapper = Mapper(load_mappings("infermeter", {}), assembly=Assembly(), limits=Limits(), bounded=False)
        export = decode_protobuf(encode_spans(self.finished).SerializeToString(), mapper.wanted)
        mapper.add(export.batches, 0)
        batch = mapper.finish()
        assert batch is not None
        assert (mapper.spans_dropped, mapper.spans_unmapped) == (Counter(), Counter())
        return batch


def served(bodies: list[bytes], spans: Spans) -> list[tuple[int, str]]:
    """Status and text of the answers to requests that come at the same time."""

    async def ask() -> list[tuple[int, str]]:
        now_ns = WallClock().steady()
        batcher = Batcher(Busy(), now_ns, max_batch=4, max_delay_seconds=0.002)  # type: ignore[arg-type]
        server = InferenceServer(batcher, spans.tracer, now_ns)
        async with TestClient(TestServer(server.application())) as client:
            assert (await client.get("/ready")).status == 200

            async def one(body: bytes) -> tuple[int, str]:
                async with client.post("/infer", data=body) as response:
                    return response.status, await response.text()

            return await asyncio.gather(*(one(body) for body in bodies))

    return asyncio.run(ask())


def test_an_answer_holds_the_outputs() -> None:
    ((status, text),) = served([json.dumps(GOOD).encode()], Spans())
    assert status == 200
    assert json.loads(text)["output"] == pytest.approx([0.5] * OUTPUTS, rel=1e-3)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"{}", b'{"input": [1, 2]}', b'{"input": {}}', b'{"input": "long"}'])
def test_what_is_no_input_is_refused_and_leaves_a_failed_inference(body: bytes) -> None:
    spans = Spans()
    ((status, _),) = served([body], spans)
    assert status == 400
    assert spans.mapped().error.tolist() == [True]


def test_a_failure_of_the_model_is_a_failed_inference() -> None:
    spans = Spans()
    ((status, _),) = served([json.dumps({"input": [float("nan")] * INPUTS}).encode()], spans)
    assert status == 500
    assert spans.mapped().error.tolist() == [True]


def test_the_spans_of_every_inference_map_with_all_stages_and_leave_no_time_over() -> None:
    spans = Spans()
    served([json.dumps(GOOD).encode()] * 12, spans)
    batch = spans.mapped()
    assert list(batch.model) == [MODEL] * 12
    assert not batch.error.any()
    assert (batch.stages_ns > 0).all()
    assert (batch.stages_ns.sum(axis=1) == batch.end_ns - batch.start_ns).all()
    assert batch.quality == dict.fromkeys(STAGES, "measured")


def test_a_batch_of_the_server_computes_once_for_all_of_its_inferences() -> None:
    spans = Spans()
    served([json.dumps(GOOD).encode()] * 12, spans)
    batch = spans.mapped()
    intervals = {*zip(batch.compute_start_ns.tolist(), batch.compute_end_ns.tolist(), strict=True)}
    sizes = [int(span.attributes["infermeter.batch.size"]) for span in spans.finished if span.name == "inference" and span.attributes]  # type: ignore[arg-type]
    assert sum(1 / size for size in sizes) == pytest.approx(len(intervals))


def test_a_known_split_arrives_to_the_nanosecond() -> None:
    spans = Spans()
    intervals = [
        StageInterval("serialisation", 1_000, 1_010, "decode"),
        StageInterval("queue", 1_010, 1_110),
        StageInterval("transfer", 1_110, 1_120, "gather"),
        StageInterval("compute", 1_120, 2_120, batch_id=7),
        StageInterval("transfer", 2_120, 2_150, "scatter"),
        StageInterval("serialisation", 2_160, 2_200, "encode"),
    ]
    emit(spans.tracer, TimedInference("m", 1_000, 2_200, intervals, batch_size=3))
    batch = spans.mapped()
    assert dict(zip(STAGES, batch.stages_ns[0].tolist(), strict=True)) == {
        "queue": 100,
        "compute": 1_000,
        "transfer": 40,
        "serialisation": 50,
    }
    assert (batch.start_ns[0], batch.end_ns[0]) == (1_000, 2_200)
    parts = {(column.stage, column.part): column.ns.tolist() for column in batch.parts}
    assert parts["transfer", "gather"] == [10]
    assert parts["serialisation", "encode"] == [40]

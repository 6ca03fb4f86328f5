"""The meter between its flushes, and a replay of what was rejected."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from infermeter.config import Config, Gpu, Server
from infermeter.mapping import load_mappings
from infermeter.meter import FLUSH_SPANS, Meter, RecordedPower, Replay, Surroundings
from infermeter.model import GpuIdentity, GpuSample, Snapshot
from infermeter.otlp.protobuf import decode_protobuf

CAPTURE = Path(__file__).parents[1] / "captures" / "vllm" / "grpc" / "005.pb"
CONFIG = Config(server=Server(kind="vllm"), gpu=Gpu(source="none"))
START_NS = 1_795_401_000_000_000_000
NOW_NS = 1_795_402_100_000_000_000


def observed(snapshot: Snapshot) -> int:
    return sum(model.observed_ok for model in snapshot.ledger.models)


def snapshot_of(meter: Meter) -> Snapshot:
    nothing: Counter[str] = Counter()
    return meter.snapshot(
        NOW_NS,
        spans_received=nothing,
        spans_dropped=nothing,
        exports_refused=nothing,
        connections_displaced=0,
        surroundings=Surroundings(),
    )


def test_spans_wait_for_company_until_there_are_many() -> None:
    meter = Meter(CONFIG, load_mappings("vllm", {}), start_ns=START_NS)
    export = decode_protobuf(CAPTURE.read_bytes(), meter.wanted)
    exports_to_flush = -(-FLUSH_SPANS // export.spans)

    for _ in range(exports_to_flush - 1):
        meter.consume(export, NOW_NS)
    before = observed(snapshot_of(meter))
    meter.consume(export, NOW_NS)

    assert (before, observed(snapshot_of(meter))) == (0, exports_to_flush * export.spans)


@pytest.mark.parametrize(("source", "busy"), [("simulated", True), ("none", False)])
def test_recent_compute_is_kept_for_a_simulated_gpu_alone(source: Literal["simulated", "none"], *, busy: bool) -> None:
    meter = Meter(replace(CONFIG, gpu=Gpu(source=source)), load_mappings("vllm", {}), start_ns=START_NS)
    export = decode_protobuf(CAPTURE.read_bytes(), meter.wanted)
    end_ns = max(int(batch.end_ns.max()) for batch in export.batches)
    meter.consume(export, end_ns)
    meter.flush(end_ns)

    assert (meter.recent_compute.share(end_ns - 1_000_000_000, end_ns) > 0) == busy


def test_readings_that_the_source_rejected_are_counted() -> None:
    meter = Meter(CONFIG, load_mappings("vllm", {}), start_ns=START_NS)
    meter.add_samples((), rejected={"read": 2})

    assert snapshot_of(meter).ledger.samples_rejected["read"] == 2


def test_rows_that_a_recording_had_to_reject_are_counted() -> None:
    power = RecordedPower(
        gpus=(GpuIdentity("GPU-1"),),
        samples=(GpuSample("GPU-1", START_NS, power_watts=50.0), GpuSample("GPU-1", START_NS + 1_000_000_000, power_watts=50.0)),
        rejected={"outlier": 3},
    )
    snapshot = Replay(CONFIG, load_mappings("vllm", {})).snapshot(spans_received={}, spans_dropped={}, power=power)

    assert snapshot.ledger.samples_rejected["outlier"] == 3

"""Batches, samples and ledgers for tests: columns from a few plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from infermeter.config import Config, Cost, Gpu, LedgerConfig, Rent, Sla, Slas
from infermeter.ledger import Ledger
from infermeter.model import GpuIdentity, GpuSample, InferenceBatch, LedgerSnapshot, ModelFacts, PartColumn, Quality, Stage, Window

S = 1_000_000_000
START_NS = 1_750_000_000 * S
GPU = "GPU-0"


def at(seconds: float) -> int:
    """An instant, in seconds since the start of the test."""
    return START_NS + round(seconds * S)


@dataclass(frozen=True, slots=True)
class Inference:
    """One inference, in seconds since the start; it computes all the time unless `compute` says when."""

    start: float
    end: float
    model: str | None = "chat"
    compute: tuple[tuple[float, float], ...] | None = None
    stages: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)
    ttft: float | None = None
    tpot: float | None = None
    tokens: tuple[int, int] = (-1, -1)
    error: bool = False
    trace_id: bytes = b"\x01" * 16


def batch(
    inferences: Iterable[Inference], *, parts: tuple[PartColumn, ...] = (), quality: Mapping[Stage, Quality] | None = None
) -> InferenceBatch:
    rows = list(inferences)
    compute = [
        (row, at(a), at(b)) for row, one in enumerate(rows) for a, b in (((one.start, one.end),) if one.compute is None else one.compute)
    ]
    return InferenceBatch(
        model=[one.model for one in rows],
        start_ns=np.array([at(one.start) for one in rows], np.int64),
        end_ns=np.array([at(one.end) for one in rows], np.int64),
        stages_ns=np.array([[-1 if s is None else round(s * S) for s in one.stages] for one in rows], np.int64).reshape(len(rows), 4),
        parts=parts,
        compute_rows=np.array([row for row, _, _ in compute], np.int64),
        compute_start_ns=np.array([a for _, a, _ in compute], np.int64),
        compute_end_ns=np.array([b for _, _, b in compute], np.int64),
        compute_estimated=np.zeros(len(rows), np.bool_),
        ttft_seconds=np.array([np.nan if one.ttft is None else one.ttft for one in rows], np.float64),
        tpot_seconds=np.array([np.nan if one.tpot is None else one.tpot for one in rows], np.float64),
        tokens_input=np.array([one.tokens[0] for one in rows], np.int64),
        tokens_output=np.array([one.tokens[1] for one in rows], np.int64),
        error=np.array([one.error for one in rows], np.bool_),
        trace_id=[one.trace_id for one in rows],
        quality=quality or {},
    )


def samples(
    until: float,
    *,
    watts: float = 100.0,
    utilisation: float | None = 0.0,
    uuid: str = GPU,
    interval: float = 1.0,
    start: float = 0.0,
    memory: int | None = 8 * 2**30,
    counter: bool = True,
) -> list[GpuSample]:
    """Readings of a device that draws the same power all the time."""
    count = round((until - start) / interval)
    return [
        GpuSample(
            uuid,
            at(start + i * interval),
            power_watts=watts,
            energy_joules=1e6 + watts * i * interval if counter else None,
            utilisation_ratio=utilisation,
            memory_used_bytes=memory,
            memory_total_bytes=80 * 2**30,
        )
        for i in range(count + 1)
    ]


def config(
    *,
    per_hour: float | None = 3600.0,
    sla: Slas | Sla | None = None,
    windows: Sequence[tuple[str, float]] = (("1h", 3600.0),),
    span_delay: float = 30.0,
    baseline_watts: float | None = None,
    **keys: object,
) -> Config:
    cost = None if per_hour is None else Cost(currency="USD", rent=Rent(per_hour=per_hour, per="instance"))
    return Config(
        cost=keys.pop("cost", cost),
        sla=Slas(default=sla) if isinstance(sla, Sla) else sla,
        windows=tuple(Window(*window) for window in windows),
        ledger=LedgerConfig(span_delay=span_delay),
        gpu=keys.pop("gpu", Gpu(baseline_watts=baseline_watts)),
        **keys,
    )


def ledger(config_: Config | None = None, *, gpus: Sequence[str] = (GPU,), sampled: bool = False, offline: bool = True) -> Ledger:
    return Ledger(config_ or config(), start_ns=START_NS, sampled=sampled, gpus=[GpuIdentity(uuid) for uuid in gpus], offline=offline)


def replayed(
    inferences: Iterable[Inference], gpu: Iterable[GpuSample] = (), *, end: float, config_: Config | None = None, **keys: object
) -> LedgerSnapshot:
    """The snapshot of a replay from the start to `end`."""
    book = ledger(config_, **keys)
    book.add(batch(inferences), at(end))
    book.add_samples(gpu)
    book.finish(at(end))
    return book.snapshot(at(end))


def of_model(snapshot: LedgerSnapshot, model: str = "chat") -> ModelFacts:
    return next(facts for facts in snapshot.models if facts.model == model)

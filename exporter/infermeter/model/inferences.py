"""Inferences, on their way from mapping to ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from infermeter.model.kinds import Bools, Floats, Ints, Quality, Stage


@dataclass(frozen=True, slots=True, eq=False)
class PartColumn:
    """Seconds of one named part of a stage: `ns[i]` belongs to inference `rows[i]`. Parts of a stage add up to at most the stage."""

    stage: Stage
    part: str
    rows: Ints
    ns: Ints


PartKey: TypeAlias = tuple[str | None, Stage, str]
"""A model (as `InferenceBatch.model`), and a named part of a stage."""


@dataclass(frozen=True, slots=True, eq=False)
class InferenceBatch:
    """Inferences as parallel columns of length n, in no particular order.

    `stages_ns` has shape (n, 4), columns as STAGES, -1 where the server doesn't tell the stage. The known stages of a row add up
    to at most `end_ns - start_ns`; the difference is `other`. `compute_rows`, `compute_start_ns`, `compute_end_ns` are the
    intervals in which a row was computing (any number a row, within the inference); where the server tells neither instants nor
    length of its compute, that is the time which no stage claims, and `compute_estimated` is set.
    `ttft_seconds` and `tpot_seconds` are NaN, token counts -1 where unknown. `model` is None where neither the span nor its resource
    told one; it costs least as `Names`. `trace_id` is raw bytes, for exemplars. `quality` tells for each stage that some row holds how it
    was obtained. `around_ns`: time in parts that lie outside of inferences, of these or of earlier ones (a router's way to the engine):
    part of no duration, and of no stage.
    """

    model: Sequence[str | None]
    start_ns: Ints
    end_ns: Ints
    stages_ns: Ints
    parts: tuple[PartColumn, ...]
    compute_rows: Ints
    compute_start_ns: Ints
    compute_end_ns: Ints
    compute_estimated: Bools
    ttft_seconds: Floats
    tpot_seconds: Floats
    tokens_input: Ints
    tokens_output: Ints
    error: Bools
    trace_id: Sequence[bytes]
    quality: Mapping[Stage, Quality]
    around_ns: Mapping[PartKey, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start_ns)

"""The columns of a batch of spans as plain rows and lists, which compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infermeter.model import Column, SpanBatch


def values(column: Column | None, count: int) -> list[object]:
    """The values of a column of an attribute, None for each where there is none."""
    return [None] * count if column is None else column.tolist()


def attributes(batch: SpanBatch) -> list[list[object]]:
    """The columns of all attributes."""
    return [values(column, len(batch)) for column in batch.attributes]


def ids(column: np.ndarray[tuple[int], np.dtype[np.void] | np.dtype[np.uint64]]) -> list[bytes]:
    """Raw bytes of ids; none for a parent that isn't."""
    return [b"" if raw == bytes(8) else raw for raw in (one.tobytes() for one in column)]


def events(batch: SpanBatch) -> list[list[tuple[str, int]]] | None:
    """Names and times of the events of each span, in order of time; None where nobody wants them."""
    if batch.events is None:
        return None
    told: list[list[tuple[str, int]]] = [[] for _ in range(len(batch))]
    for row, name, time_ns in zip(batch.events.row.tolist(), batch.events.name.tolist(), batch.events.time_ns.tolist(), strict=True):
        told[row].append((batch.events.names[name], time_ns))
    return [sorted(of_span, key=lambda event: (event[1], event[0])) for of_span in told]


def rows(batch: SpanBatch) -> list[tuple[object, ...]]:
    """Everything of each span, its attributes with their types."""
    typed: Sequence[list[object]] = [[(type(value), repr(value)) for value in column] for column in attributes(batch)]
    return [
        (batch.layout.keys, dict(batch.resource), batch.scope, *row)
        for row in zip(
            ids(batch.trace_id),
            ids(batch.span_id),
            ids(batch.parent_id),
            batch.kind.tolist(),
            batch.status.tolist(),
            batch.start_ns.tolist(),
            batch.end_ns.tolist(),
            events(batch) or [None] * len(batch),
            *typed,
            strict=True,
        )
    ]

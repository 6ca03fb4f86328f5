"""A server that counts what it serves, for tests: its readings, in seconds since the start, from the inferences that it served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from infermeter.ledger import Ledger
from infermeter.model import GpuSample, LedgerSnapshot, Outcome, ServerReading
from support.ledgers import Inference, S, at, batch


def reading(
    time: float,
    counts: dict[tuple[str | None, Outcome | None], float] | None = None,
    *,
    since: float | None = None,
    running: float | None = None,
    inner: bool = False,
    **told: Any,
) -> ServerReading:
    return ServerReading(at(time), None if since is None else at(since), counts or {}, inner_calls=inner, running=running, **told)


def readings(
    served: Sequence[Inference], *, until: float, interval: float = 5.0, start: float = 0.0, tells_running: bool = False
) -> list[ServerReading]:
    """What scrapes at this interval tell of all that was served, its outcomes and models apart."""
    keys = sorted({(one.model, outcome) for one in served for outcome in ("ok", "error")}, key=str)
    told = []
    for i in range(round((until - start) / interval) + 1):
        time, since = start + i * interval, start + (i - 1) * interval if i else None
        ended = [one for one in served if since is not None and since < one.end <= time]
        counts = {key: float(sum((one.model, "error" if one.error else "ok") == key for one in ended)) for key in keys}
        running = float(sum(one.start <= time < one.end for one in served)) if tells_running else None
        told.append(reading(time, counts, since=since, running=running))
    return told


def lived(
    book: Ledger, spans: Iterable[Inference], told: Iterable[ServerReading], gpu: Iterable[GpuSample] = (), *, until: int, start: int = 0
) -> LedgerSnapshot:
    """The snapshot after a life second by second: spans arrive as they end, samples and readings as they are taken."""
    spans, told, gpu = list(spans), list(told), list(gpu)
    for second in range(start + 1, until + 1):
        since_ns = at(second - 1) - (second == 1)
        book.add_samples([one for one in gpu if since_ns < one.time_ns <= at(second)])
        for one in told:
            if since_ns < one.time_ns <= at(second):
                book.add_server_reading(one)
        ended = [one for one in spans if second - 1 < one.end <= second]
        if ended:
            book.add(batch(ended), at(second))
        book.advance(at(second), S)
    return book.snapshot(at(until))

"""A snapshot says what the ledger knows, however often it was asked before: what is kept from one to the next changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from infermeter.config import Config, Cost, Gpu, Rent, Server, Sla, Slas
from infermeter.ledger import Ledger
from infermeter.model import GpuIdentity, GpuSample, LedgerSnapshot
from support.ledgers import GPU, Inference, S, at, batch, config, ledger
from support.server_readings import reading

SLAS: tuple[Slas, ...] = (
    Slas(default=Sla(0.9, 0.5, 0.2)),
    Slas(default=Sla(0.5, 1.0)),
    Slas(models={"chat": {"duration_seconds": 0.5, "quantile": 0.5}}),
)
MODELS = ("chat", "embed", None)


@dataclass(frozen=True)
class Step:
    """So many seconds pass; then requests to a model end, and are told by spans, by the server or by both; then a reload, if any."""

    seconds: int
    requests: int
    model: str | None
    duration: float
    spans: bool
    told: Literal["counts", "gauges"] | None
    inner: bool
    utilisation: float
    sla: int | None
    gpus: int | None


QUIET = Step(0, 0, None, 0.1, spans=False, told=None, inner=False, utilisation=0.0, sla=None, gpus=None)
BUSY = replace(QUIET, seconds=10, requests=40, model="chat", spans=True)
GAUGED = replace(BUSY, told="gauges")

steps = st.lists(
    st.builds(
        Step,
        seconds=st.sampled_from((1, 4, 10, 25)),
        requests=st.integers(0, 40),
        model=st.sampled_from(MODELS),
        duration=st.sampled_from((0.1, 0.5, 0.7, 2.0)),
        spans=st.booleans(),
        told=st.sampled_from((None, "gauges", "counts", "counts")),
        inner=st.booleans(),
        utilisation=st.sampled_from((0.0, 1.0)),
        sla=st.none() | st.integers(0, len(SLAS) - 1),
        gpus=st.none() | st.integers(0, 2),
    ),
    min_size=4,
    max_size=14,
)


def settings_of(sla: int, *, counted: bool) -> Config:
    return config(
        cost=Cost(currency="EUR", rent=Rent(per_hour=3.6, per="gpu")),
        sla=SLAS[sla],
        windows=(("1m", 60.0), ("2m", 120.0)),
        span_delay=2.0,
        gpu=Gpu(baseline_watts=60.0),
        server=Server(metrics_url="http://server/metrics" if counted else None),
    )


def life(book: Ledger, work: list[Step], *, counted: bool, quiet: int) -> Iterator[int]:
    """Lives through it, and through some quiet seconds more; stops at each second for whoever wants to ask."""
    now, read = 0, 0
    for step in (*work, replace(QUIET, seconds=quiet)):
        for _ in range(step.seconds):
            now += 1
            book.add_samples([GpuSample(GPU, at(now), 200.0, 200.0 * now, step.utilisation, 2**30, 2**36)])
            book.advance(at(now), S)
            yield now
        ends = [now - 0.9 + i * 0.8 / 40 for i in range(step.requests)]
        if step.spans:
            book.add(batch([Inference(end - step.duration, end, model=step.model, ttft=0.05, tokens=(3, 5)) for end in ends]), at(now))
        if counted and step.told:
            counts = {(step.model, "ok"): float(step.requests)} if step.told == "counts" else {}
            tokens = {"input": {step.model: 7.0 * step.requests} if step.told == "counts" else {}}
            book.add_server_reading(reading(now, counts, since=read or None, running=1.0, inner=step.inner, tokens=tokens))
            read = now
        if step.sla is not None:
            book.reconfigure(settings_of(step.sla, counted=counted))
        if step.gpus is not None:
            book.gpus_changed([GpuIdentity(GPU), GpuIdentity("GPU-1")][: step.gpus])
        yield now


def whole(snapshot: LedgerSnapshot) -> LedgerSnapshot:
    """With slots that can be compared."""
    return replace(snapshot, slots=tuple(snapshot.slots))


@settings(max_examples=40, deadline=None)
@given(work=steps, quiet=st.integers(0, 40), counted=st.booleans(), sampled=st.booleans(), ends=st.booleans())
@example(work=[BUSY, BUSY, BUSY], quiet=31, counted=False, sampled=False, ends=False)
@example(work=[GAUGED, GAUGED, GAUGED, replace(GAUGED, told="counts")], quiet=0, counted=True, sampled=False, ends=False)
@example(work=[BUSY, BUSY, BUSY, replace(BUSY, gpus=0)], quiet=0, counted=False, sampled=False, ends=False)
def test_whoever_is_asked_every_second_says_what_one_says_who_is_asked_once(
    work: list[Step], quiet: int, counted: bool, sampled: bool, ends: bool
) -> None:
    asked, unasked = (ledger(settings_of(0, counted=counted), offline=False, sampled=sampled) for _ in range(2))
    now = 0
    for now in life(asked, work, counted=counted, quiet=quiet):
        asked.snapshot(at(now))
    for _ in life(unasked, work, counted=counted, quiet=quiet):
        pass
    if ends:
        asked.finish(at(now))
        unasked.finish(at(now))
    assert whole(asked.snapshot(at(now))) == whole(unasked.snapshot(at(now)))


@settings(max_examples=25, deadline=None)
@given(work=steps, quiet=st.integers(0, 25), counted=st.booleans(), far=st.lists(st.integers(0, 6), min_size=1, max_size=8))
@example(work=[BUSY, BUSY, replace(BUSY, sla=1), BUSY, replace(GAUGED, told="counts")], quiet=11, counted=True, far=[1, 2, 0])
def test_what_is_read_ahead_in_steps_between_which_anything_happens_is_what_is_read_at_once(
    work: list[Step], quiet: int, counted: bool, far: list[int]
) -> None:
    ahead, at_once = (ledger(settings_of(0, counted=counted), offline=False) for _ in range(2))
    reading, steps_done = ahead.read_ahead(), cycle(far)
    for now, also in zip(life(ahead, work, counted=counted, quiet=quiet), life(at_once, work, counted=counted, quiet=quiet), strict=True):
        assert now == also
        wanted = next(steps_done)
        if sum(1 for _ in islice(reading, wanted)) < wanted:
            reading = ahead.read_ahead()
        if not wanted:
            assert whole(ahead.snapshot(at(now))) == whole(at_once.snapshot(at(now)))
    assert whole(ahead.snapshot(at(now))) == whole(at_once.snapshot(at(now)))


def test_what_is_read_ahead_is_what_the_snapshot_tells() -> None:
    book = ledger(settings_of(0, counted=False), offline=False)
    *_, now = life(book, [BUSY, BUSY, BUSY], counted=False, quiet=15)
    assert list(book.read_ahead())
    told = book.snapshot(at(now))
    assert not list(book.read_ahead())
    assert [model.windows for model in told.models] == [model.windows for model in book.snapshot(at(now)).models]

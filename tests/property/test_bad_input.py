"""Whatever comes, and whatever the clock does: every number of a snapshot and of the report is finite, and none is negative."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.config import Config, Cost, Limits, Power, Purchase, Server, Sla
from infermeter.ledger import Ledger
from infermeter.metrics.report import report
from infermeter.model import Advice, GpuSample, LedgerSnapshot, ServerReading
from support.ledgers import GPU, START_NS, Inference, S, at, batch, config, ledger, of_model, samples
from support.snapshots import rich_snapshot


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a value, however deep, with the way to it."""
    if isinstance(value, bool | str | bytes) or value is None:
        return
    if isinstance(value, int | float | np.number):
        yield path, float(value)
    elif is_dataclass(value):
        if isinstance(value, Sequence):
            for i, one in enumerate(value):
                yield from numbers(one, f"{path}[{i}]")
        else:
            for field in fields(value):
                yield from numbers(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from numbers(one, f"{path}[{key}]")
    elif isinstance(value, Sequence):
        for i, one in enumerate(value):
            yield from numbers(one, f"{path}[{i}]")
    else:
        pytest.fail(f"{path} is a {type(value)}")


def reported(snapshot: LedgerSnapshot, server: str = "chat") -> str:
    """The report as JSON; a NaN or an infinity is an error."""
    whole = replace(rich_snapshot(), server=server, ledger=snapshot, advice=Advice(), sampled=snapshot.thin)
    return json.dumps(report(whole), allow_nan=False)


def assert_sound(snapshot: LedgerSnapshot) -> None:
    for path, number in numbers(snapshot):
        assert math.isfinite(number), path
        assert number >= 0, path
    reported(snapshot)


def test_the_walk_finds_what_is_unsound_wherever_it_is() -> None:
    book = ledger()
    book.finish(at(60))
    sound = book.snapshot(at(60))
    assert_sound(sound)
    for broken in (
        replace(sound, cost={"instance": math.nan}),
        replace(sound, windows=(replace(sound.windows[0], busy_seconds=-1e-9),)),
        replace(sound, peak_load_ratio=math.inf),
    ):
        with pytest.raises(AssertionError):
            assert_sound(broken)


CONFIGS: tuple[Config, ...] = (
    config(sla=Sla(0.9, 0.5, 0.2, 0.05), baseline_watts=60.0),
    config(per_hour=0.0, sla=Sla(0.99, 1e-9)),
    config(per_hour=None, windows=(("10s", 10.0), ("1m", 60.0)), span_delay=1.0),
    config(
        cost=Cost(
            currency="EUR",
            purchase=Purchase(price=0.0, residual=0.0, lifetime_years=4, per="gpu"),
            power=Power(price_per_kwh=0.0, pue=1.0, host_watts=0.0),
        ),
        sla=Sla(1.0, 0.5),
        limits=Limits(models=2),
    ),
    config(sla=Sla(0.5, None, 1.0), span_delay=0.0, server=Server(metrics_url="http://127.0.0.1:8000/metrics")),
)
SENDERS = st.sampled_from(("chat", "embed", None, "", "other", "unknown", "x" * 300, "\ufffd"))
JUMPS = (1, 1, 1, 1, 5, 10, 61, 700, 1800, -1, -9, -60, -1800, 4000, -4000)
"""Seconds by which the wall clock moves while a second passes."""


@st.composite
def inferences(draw: st.DrawFn) -> Inference:
    """One that ended up to an hour ago or ends up to a minute ahead, of any length, 0 among them."""
    end = draw(st.floats(-3600, 60))
    length = draw(st.sampled_from((0.0, 1e-9, 0.01, 1.0, 45.0, 7200.0)))
    return Inference(
        end - length,
        end,
        model=draw(SENDERS),
        compute=draw(st.sampled_from((None, (), ((end, end),), ((end - length, end - length / 2), (end - length / 2, end))))),
        stages=(None, None, None, None) if draw(st.booleans()) else (0.0, length, None, None),
        ttft=draw(st.sampled_from((None, 0.0, length, 1e6))),
        tpot=draw(st.sampled_from((None, 0.0, 1e-12, 1e6))),
        tokens=draw(st.sampled_from(((-1, -1), (0, 0), (1, 1), (2**40, 2**40)))),
        error=draw(st.booleans()),
    )


READINGS = st.builds(
    GpuSample,
    uuid=st.sampled_from((GPU, GPU, GPU, "GPU-of-somebody-else")),
    time_ns=st.integers(-5, 5),
    power_watts=st.sampled_from((None, 0.0, 100.0, 1e9, -1.0, math.nan, math.inf)),
    energy_joules=st.sampled_from((None, 0.0, 1e6, 2e6, -1.0, math.nan, math.inf)),
    utilisation_ratio=st.sampled_from((None, 0.0, 0.5, 1.0, 7.0, math.nan)),
    memory_used_bytes=st.sampled_from((None, 0, 2**35)),
    share_ratio=st.sampled_from((None, None, 0.5, 0.0)),
)
COUNTS = st.dictionaries(
    st.tuples(SENDERS, st.sampled_from(("ok", "error", None))), st.sampled_from((0.0, 0.3, 1.0, 500.0, 1e12)), max_size=4
)


@dataclass(frozen=True)
class Moment:
    """What comes after a second in which the wall clock moved by `jump`."""

    jump: int
    work: list[Inference]
    gpu: list[GpuSample]
    counts: Mapping[object, float] | None
    running: float | None
    twice: bool


MOMENTS = st.builds(
    Moment,
    jump=st.sampled_from(JUMPS),
    work=st.lists(inferences(), max_size=4),
    gpu=st.lists(READINGS, max_size=2),
    counts=st.none() | COUNTS,
    running=st.sampled_from((None, 0.0, 3.0, 1e9)),
    twice=st.booleans(),
)


def shifted(one: Inference, now: float) -> Inference:
    compute = None if one.compute is None else tuple((a + now, b + now) for a, b in one.compute)
    return replace(one, start=one.start + now, end=one.end + now, compute=compute)


def live(book: Ledger, moments: Sequence[Moment]) -> Iterator[LedgerSnapshot]:
    """The life, with what it says after each moment and once it has ended."""
    now, told_ns = 0.0, None
    for moment in moments:
        now += moment.jump
        work = batch([shifted(one, now) for one in moment.work])
        for _ in range(1 + moment.twice):
            book.add(work, at(now))
        book.add_samples([replace(sample, time_ns=at(now + sample.time_ns)) for sample in moment.gpu])
        if moment.counts is not None and (told_ns is None or at(now) > told_ns):
            book.add_server_reading(ServerReading(at(now), told_ns, moment.counts, running=moment.running))
            told_ns = at(now)
        book.advance(at(now), S)
        yield book.snapshot(at(now))
    book.finish(at(now))
    yield book.snapshot(at(now))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONFIGS), st.booleans(), st.lists(MOMENTS, min_size=1, max_size=12))
def test_nothing_is_nan_endless_or_negative_in_any_life(config_: Config, sampled: bool, moments: list[Moment]) -> None:
    counted = [0.0]
    for snapshot in live(ledger(config_, offline=False, sampled=sampled), moments):
        assert_sound(snapshot)
        counted.append(sum(facts.observed_ok + facts.observed_error for facts in snapshot.models))
    assert all(after >= before for before, after in pairwise(counted))
    assert counted[-1] == sum(len(moment.work) * (1 + moment.twice) for moment in moments), "nothing is lost"


def test_windows_of_which_nothing_is_left_and_inferences_without_length_divide_by_nothing() -> None:
    book = ledger(config(sla=Sla(0.9, 1e-9)), offline=True)
    book.add(batch([Inference(5, 5, compute=((5, 5),), ttft=0.0, tpot=0.0, tokens=(0, 0))] * 40), at(10))
    book.finish(START_NS)
    assert_sound(book.snapshot(START_NS))
    book.finish(at(60))
    snapshot = book.snapshot(at(60))
    assert_sound(snapshot)
    assert of_model(snapshot).observed_ok == of_model(snapshot).within_sla == 40


def test_ten_thousand_names_of_models_are_the_limit_and_other_in_spans_and_counters_alike() -> None:
    scraped = Server(metrics_url="http://127.0.0.1:8000/metrics")
    book = ledger(config(sla=Sla(0.9, 1.0), server=scraped, limits=Limits(models=20)), offline=False)
    for second in range(1, 11):
        names = [f"model-{second * 1000 + i}" for i in range(1000)]
        book.add(batch([Inference(second - 0.5, second, model=name) for name in names]), at(second))
        counts = {(f"counted-{second * 1000 + i}", "ok"): 1.0 for i in range(1000)}
        book.add_server_reading(ServerReading(at(second), at(second - 1) if second > 1 else None, counts))
        book.advance(at(second), S)
    book.finish(at(10))
    snapshot = book.snapshot(at(10))
    assert_sound(snapshot)
    assert len(snapshot.models) <= 22
    assert sum(facts.observed_ok for facts in snapshot.models) == 10_000
    assert snapshot.totals is not None
    assert sum(counts["ok"] for counts in snapshot.totals.values()) == 9_000
    assert len(reported(snapshot)) < 1_000_000


def test_models_of_one_name_on_two_servers_are_told_apart_by_the_server() -> None:
    book = ledger()
    book.add(batch([Inference(1, 2)]), at(2))
    book.finish(at(60))
    entries = [
        {json.dumps([name, entry["labels"]]) for name, found in json.loads(reported(book.snapshot(at(60)), server)).items()
         if isinstance(found, list) for entry in found if "model" in entry["labels"]}
        for server in ("a", "b")
    ]  # fmt: skip
    assert entries[0]
    assert not entries[0] & entries[1]


def test_a_clock_set_ahead_and_back_again_loses_nothing_though_windows_wait_until_it_has_caught_up() -> None:
    """For as long as the step was, no slot closes; every joule, cent and inference is there in the end."""
    seconds, step, since = 2000, 900, 300
    book, gpu = ledger(config(baseline_watts=60.0), offline=False), samples(seconds, watts=200.0, utilisation=1.0)
    said: dict[int, int | None] = {}
    for second in range(1, seconds + 1):
        now = second + (step if since <= second < since + 5 else 0)
        book.add_samples([replace(gpu[second], time_ns=at(now))])
        book.add(batch([Inference(now - 0.9, now - 0.1)]), at(now))
        book.advance(at(now), S)
        if second in (299, 400, 1150, 1500, seconds):
            snapshot = book.snapshot(at(now))
            assert_sound(snapshot)
            said[second] = snapshot.settled_ns
    assert said[400] == said[1150]
    assert said[299] < said[400] < said[1500] < said[seconds]
    book.finish(at(seconds))
    snapshot = book.snapshot(at(seconds))
    assert of_model(snapshot).observed_ok == seconds
    assert of_model(snapshot).late == pytest.approx(step, abs=150)
    assert snapshot.cost["instance"] == pytest.approx(seconds)
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(seconds)
    booked = sum(sum(facts.energy_joules.values()) for facts in snapshot.models)
    assert booked == pytest.approx(snapshot.gpus[0].energy_joules, rel=1e-6)
    assert booked == pytest.approx(seconds * 200.0, rel=0.01)

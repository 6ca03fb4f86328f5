"""Laws of what devices tell: joules between two servers, over restarts, over anything that a state file or a driver may hold."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.config import Gpu
from infermeter.ledger import Ledger
from infermeter.model import GpuIdentity, GpuSample, LedgerSnapshot
from support.ledgers import GPU, START_NS, Inference, S, at, batch, config, ledger, samples

PERIOD = 30
LAWS = settings(max_examples=60, deadline=None)

shares = st.floats(0.01, 0.99)
counters = st.none() | st.floats(0, 1e7)


@st.composite
def readings(draw: st.DrawFn) -> list[GpuSample]:
    """A device with a counter that is right, now and then reset or silent, and whose samples are sometimes lost."""
    counted, joules, rows = draw(st.booleans()), 0.0, []
    for i in range(PERIOD + 1):
        watts = draw(st.floats(0, 700))
        joules = 0.0 if draw(st.integers(0, 20)) == 0 else joules + watts
        if draw(st.integers(0, 5)):
            rows.append(
                GpuSample(
                    GPU,
                    at(i),
                    watts if draw(st.integers(0, 8)) else None,
                    joules if counted and draw(st.integers(0, 8)) else None,
                    utilisation_ratio=draw(st.sampled_from((0.0, 0.5, 1.0, None))),
                    memory_used_bytes=2**34,
                )
            )
    return rows


def booked(book: Ledger) -> float:
    book.finish(at(PERIOD))
    return sum(sum(facts.energy_joules.values()) for facts in book.snapshot(at(PERIOD)).models)


@LAWS
@given(readings(), st.lists(shares, min_size=PERIOD + 1, max_size=PERIOD + 1), st.booleans())
def test_two_servers_with_complementary_shares_book_the_joules_of_their_device_once(
    rows: list[GpuSample], parts: list[float], busy: bool
) -> None:
    mine, theirs = ledger(config(baseline_watts=60.0)), ledger(config(baseline_watts=60.0))
    for book, of in ((mine, lambda part: part), (theirs, lambda part: 1 - part)):
        book.add(batch([Inference(3.5, 17.25)] if busy else []), at(PERIOD))
        book.gpus_changed([GpuIdentity(GPU, share_ratio=of(parts[0]))])
        book.add_samples([replace(row, share_ratio=of(part)) for row, part in zip(rows, parts[1:], strict=False)])
    whole = mine.snapshot(at(PERIOD)).gpus[0].energy_joules or 0.0
    assert booked(mine) + booked(theirs) == pytest.approx(whole, rel=1e-9, abs=1e-6)


def test_joules_that_were_booked_keep_the_share_of_their_time() -> None:
    book = ledger()
    rows = samples(20, watts=100.0)
    book.add_samples([replace(row, share_ratio=1.0 if i < 10 else 0.25) for i, row in enumerate(rows)])
    assert booked(book) == pytest.approx(1000 + 250)


@LAWS
@given(st.lists(st.tuples(st.integers(1, 40), st.none() | st.floats(0, 2000), counters), min_size=1, max_size=80))
def test_whatever_a_counter_does_steps_never_overlap_and_energy_never_falls(rows: list[tuple[int, float | None, float | None]]) -> None:
    book, now, before = ledger(offline=False), 0.0, 0.0
    for tenths, watts, joules in rows:
        now += tenths / 10
        book.add_samples([GpuSample(GPU, at(now), watts, joules, power_limit_watts=700.0)])
        after = book.snapshot(at(now)).gpus[0].energy_joules or 0.0
        assert before <= after <= 1.5 * 2000 * (now + 1)
        before = after


@LAWS
@given(st.lists(st.tuples(*[st.booleans()] * 3, st.sampled_from((0.0, 0.4, None))), min_size=5, max_size=200))
def test_the_seconds_of_a_devices_states_are_the_time_that_has_accrued_in_its_presence(
    steps: list[tuple[bool, bool, bool, float | None]],
) -> None:
    book, seconds = ledger(config(span_delay=5.0), offline=False, gpus=("other",)), 0
    for now, (told, computing, there, utilisation) in enumerate(steps):
        book.gpus_changed([GpuIdentity("other"), *([GpuIdentity(GPU)] if there else [])])
        if told:
            book.add_samples([GpuSample(GPU, at(now), 100.0, utilisation_ratio=utilisation, memory_used_bytes=2**34)])
        if computing and now:
            book.add(batch([Inference(now - 0.5, now)]), at(now))
        book.advance(at(now + 1), S)
        seconds += there
    book.finish(at(len(steps)))
    sums = {facts.identity.uuid: sum(facts.state_seconds.values()) for facts in book.snapshot(at(len(steps))).gpus}
    assert sums["other"] == pytest.approx(len(steps))
    assert sums.get(GPU, 0.0) == pytest.approx(seconds)


def learning(rows: list[int], *, start: int = 0) -> list[GpuSample]:
    """Idle seconds of these watts, with a model resident."""
    return [
        GpuSample(GPU, at(start + i), energy_joules=float(sum(rows[:i])), utilisation_ratio=0.0, memory_used_bytes=2**34)
        for i in range(len(rows) + 1)
    ]


def baseline(snapshot: LedgerSnapshot) -> float | None:
    return snapshot.gpus[0].baseline_watts


@LAWS
@given(st.lists(st.integers(20, 200), min_size=1, max_size=150), st.lists(st.integers(20, 200), min_size=1, max_size=150))
def test_what_is_remembered_and_recalled_is_as_if_the_ledger_had_gone_on(first: list[int], second: list[int]) -> None:
    straight, before = ledger(), ledger()
    before.add_samples(learning(first))
    before.finish(at(len(first)))
    pause = len(first) + 100
    straight.add_samples(learning(first))
    straight.add_samples(learning(second, start=pause))
    straight.finish(at(pause + len(second)))
    after = Ledger(config(), start_ns=at(pause - 20), sampled=False, gpus=[GpuIdentity(GPU)], offline=True)
    assert after.recall(json.loads(json.dumps(before.remember()))) == ()
    assert baseline(after.snapshot(at(pause))) == baseline(before.snapshot(at(pause)))
    after.add_samples(learning(second, start=pause))
    after.finish(at(pause + len(second)))
    assert after.remember()["baseline"] == straight.remember()["baseline"]
    assert baseline(after.snapshot(at(0))) == baseline(straight.snapshot(at(0)))


names = st.sampled_from(("version", "gpus", GPU, str(START_NS // S // 3600), "800", "-1", "9" * 40)) | st.text(max_size=4)
scalars = st.none() | st.booleans() | st.integers(-2, 10**12) | st.floats() | st.text(max_size=4)
garbage = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.integers(), inner, max_size=4), max_leaves=20
)


@settings(max_examples=300, deadline=None)
@given(garbage | st.fixed_dictionaries({"version": st.just(1), "gpus": garbage}))
def test_no_state_raises_and_what_is_refused_changes_nothing(section: object) -> None:
    book = ledger()
    before = book.remember()
    refused = book.recall({"baseline": section})
    assert refused in ((), ("baseline",))
    if refused:
        assert book.remember() == before
    watts = baseline(book.snapshot(at(0)))
    assert watts is None or (math.isfinite(watts) and watts >= 0)


@LAWS
@given(
    st.lists(
        st.tuples(
            st.sampled_from((1, 5, 100, -3, -5000)), st.none() | st.floats(), st.none() | st.integers(-(10**15), 10**15), st.floats()
        ),
        max_size=40,
    )
)
def test_counters_of_a_device_never_fall_and_are_finite_whatever_it_tells(rows: list[tuple[int, float | None, int | None, float]]) -> None:
    book, now, before = ledger(config(gpu=Gpu(interval=1.0)), offline=False), 0, (0.0, 0)
    for jump, seconds, sent, share in rows:
        now += jump
        book.add_samples([GpuSample(GPU, at(now), 100.0, throttled_power_seconds=seconds, pcie_transmitted_bytes=sent, share_ratio=share)])
        facts = book.snapshot(at(now)).gpus[0]
        after = (facts.throttled_seconds.get("power", 0.0), facts.pcie_transmitted_bytes or 0)
        assert all(math.isfinite(new) and new >= old for new, old in zip(after, before, strict=True))
        assert 0 < facts.identity.share_ratio <= 1
        before = after

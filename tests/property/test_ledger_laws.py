"""The laws of the contract, each with a planted split: a remainder alone satisfies any sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, cycle, islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.config import Cooling, Cost, Host, Power, Purchase, Rent, Server, Sla
from infermeter.ledger import Ledger
from infermeter.model import GpuIdentity, GpuSample, LedgerSnapshot, ServerReading
from support.ledger_oracle import attributed, attributed_in_blocks
from support.ledgers import GPU, START_NS, Inference, S, at, batch, config, ledger, of_model, replayed, samples

PERIOD = 20
LAWS = settings(max_examples=40, deadline=None)
SLA = Sla(0.9, 0.5, 0.2, None)
OWNED = Cost(
    currency="EUR",
    purchase=Purchase(price=30_000, residual=3_000, lifetime_years=4, per="gpu"),
    power=Power(price_per_kwh=0.3, pue=1.3, host_watts=200.0),
    host=Host(per_hour=0.2),
)

milliseconds = st.integers(0, PERIOD * 1000)


@st.composite
def inferences(draw: st.DrawFn) -> Inference:
    start, end = sorted((draw(milliseconds), draw(milliseconds)))
    cut = sorted(draw(st.lists(st.integers(start, end), min_size=2, max_size=4)))
    compute = tuple((a / 1000, b / 1000) for a, b in list(pairwise(cut))[::2])
    return Inference(
        start / 1000,
        end / 1000,
        model=draw(st.sampled_from(("chat", "embed", None))),
        compute=compute,
        ttft=draw(st.none() | st.floats(0.01, 1)),
        tokens=draw(st.sampled_from(((-1, -1), (3, 5)))),
        error=draw(st.sampled_from((False, False, False, True))),
        trace_id=draw(st.integers(0, 2**63)).to_bytes(16, "big"),
    )


@st.composite
def gpu_readings(draw: st.DrawFn, *, uuid: str = GPU) -> list[GpuSample]:
    watts = draw(st.lists(st.floats(0, 700), min_size=PERIOD + 1, max_size=PERIOD + 1))
    busy = draw(st.lists(st.sampled_from((0.0, 0.0, 0.4, 1.0, None)), min_size=PERIOD + 1, max_size=PERIOD + 1))
    counted = draw(st.booleans())
    lost = draw(st.sets(st.integers(1, PERIOD), max_size=8))
    joules, readings = 0.0, []
    for i, (power, utilisation) in enumerate(zip(watts, busy, strict=True)):
        joules += power
        if i not in lost:
            readings.append(
                GpuSample(uuid, at(i), power, joules if counted else None, utilisation_ratio=utilisation, memory_used_bytes=2**34)
            )
    return readings


@LAWS
@given(st.lists(inferences(), max_size=12), gpu_readings(), gpu_readings(uuid="GPU-1"), st.booleans())
def test_energy_by_use_is_the_servers_share_of_what_the_devices_used(
    work: list[Inference], first: list[GpuSample], second: list[GpuSample], sampled: bool
) -> None:
    book = Ledger(
        config(cost=OWNED, baseline_watts=60.0),
        start_ns=START_NS,
        sampled=sampled,
        gpus=[GpuIdentity(GPU), GpuIdentity("GPU-1", share_ratio=0.25)],
        offline=True,
    )
    book.add(batch(work), at(PERIOD))
    book.add_samples([*first, *second])
    book.finish(at(PERIOD))
    snapshot = book.snapshot(at(PERIOD))
    measured = sum((gpu.energy_joules or 0.0) * gpu.identity.share_ratio for gpu in snapshot.gpus)
    booked = sum(sum(facts.energy_joules.values()) for facts in snapshot.models)
    assert booked == pytest.approx(measured, rel=1e-6, abs=1e-3)
    assert all(joules >= 0 for facts in snapshot.models for joules in facts.energy_joules.values())


@LAWS
@given(st.lists(inferences(), max_size=12), gpu_readings(), st.booleans())
def test_money_by_use_is_money_by_component_once_settled(work: list[Inference], readings: list[GpuSample], sampled: bool) -> None:
    snapshot = replayed(work, readings, end=PERIOD, config_=config(cost=OWNED, baseline_watts=60.0, sla=SLA), sampled=sampled)
    by_use = sum(sum(facts.cost.values()) for facts in snapshot.models)
    assert by_use == pytest.approx(sum(snapshot.cost.values()), rel=1e-9)
    assert snapshot.windows[0].cost == pytest.approx(by_use, rel=1e-9)
    assert sum(slot.cost or 0.0 for slot in snapshot.slots) == pytest.approx(by_use, rel=1e-9)


def test_half_a_tick_of_compute_takes_half_the_fixed_money_and_all_joules_above_the_baseline() -> None:
    snapshot = replayed([Inference(3.25, 3.75)], samples(10, watts=100.0, utilisation=0.5), end=10, config_=config(baseline_watts=60.0))
    facts = of_model(snapshot)
    assert facts.cost["active"] == pytest.approx(0.5)
    assert facts.cost["idle"] == pytest.approx(0.5)
    assert facts.energy_joules["active"] == pytest.approx(70.0)
    assert facts.energy_joules["idle"] == pytest.approx(30.0)
    assert facts.energy_joules["unattributed"] == pytest.approx(600.0)
    assert of_model(snapshot, "unknown").energy_joules == {"active": 0.0, "idle": 0.0, "unattributed": pytest.approx(300.0)}


@LAWS
@given(
    st.lists(inferences(), max_size=10),
    st.lists(st.floats(1, 700), min_size=PERIOD, max_size=PERIOD),
    st.lists(st.sampled_from((0.0, 0.3, None)), min_size=PERIOD, max_size=PERIOD),
)
def test_the_split_is_that_of_a_slow_reading_of_the_contract(
    work: list[Inference], watts: list[float], utilisation: list[float | None]
) -> None:
    counter = [sum(watts[:i]) for i in range(PERIOD + 1)]
    readings = [GpuSample(GPU, at(0), energy_joules=0.0)]
    readings += [GpuSample(GPU, at(i + 1), energy_joules=counter[i + 1], utilisation_ratio=utilisation[i]) for i in range(PERIOD)]
    snapshot = replayed(work, readings, end=PERIOD, config_=config(baseline_watts=60.0))
    expected = attributed(work, watts=watts, utilisation=utilisation, baseline_watts=60.0, cost_per_second=1.0)
    assert snapshot.busy_seconds == pytest.approx(expected.busy_seconds, abs=1e-6)
    for facts in snapshot.models:
        for use, cost in facts.cost.items():
            assert cost == pytest.approx(expected.cost[facts.model, use], abs=1e-6), (facts.model, use)
            assert facts.energy_joules[use] == pytest.approx(expected.joules[facts.model, use], abs=1e-4), (facts.model, use)


def served(
    work: Sequence[Inference], readings: Sequence[GpuSample], *, order: Sequence[int], cuts: Sequence[int], cadence: int
) -> LedgerSnapshot:
    """A sidecar that gets the work in this order, cut into exports here, while it looks at itself at this cadence."""
    book = ledger(config(cost=OWNED, sla=SLA, baseline_watts=60.0, windows=(("1m", 60.0),)), offline=False)
    for second in range(1, PERIOD + 1):
        book.add_samples([reading for reading in readings if at(second - 1) < reading.time_ns <= at(second)])
        book.advance(at(second), S)
        if second % cadence == 0:
            book.snapshot(at(second))
    shuffled = [work[i] for i in order]
    for a, b in pairwise((0, *cuts, len(shuffled))):
        book.add(batch(shuffled[a:b]), at(PERIOD))
    for second in range(PERIOD + 1, PERIOD + 120):
        book.advance(at(second), S)
    return book.snapshot(at(PERIOD + 120))


def comparable(snapshot: LedgerSnapshot) -> dict[str, object]:
    """Everything that order must not change; of exemplars, only that they are there."""
    facts = {
        one.model: replace(
            one, duration=one.duration._replace(exemplars=()), ttft=None if one.ttft is None else one.ttft._replace(exemplars=())
        )
        for one in snapshot.models
    }
    return {
        "models": facts,
        "windows": snapshot.windows,
        "slots": tuple(snapshot.slots),
        "busy": snapshot.busy_seconds,
        "cost": snapshot.cost,
    }


@settings(max_examples=12, deadline=None)
@given(st.data(), st.lists(inferences(), min_size=1, max_size=10), gpu_readings())
def test_order_and_splitting_of_exports_and_looking_change_nothing(
    data: st.DataObject, work: list[Inference], readings: list[GpuSample]
) -> None:
    named = [replace(one, model=one.model or "chat") for one in work]
    order = data.draw(st.permutations(range(len(named))))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(named) - 1)), max_size=3)) if len(named) > 1 else [])
    straight = served(named, readings, order=range(len(named)), cuts=(), cadence=1)
    shuffled = served(named, readings, order=order, cuts=cuts, cadence=7)
    assert_close(comparable(straight), comparable(shuffled))
    booked = sum(sum(facts.energy_joules.values()) for facts in straight.models)
    assert booked == pytest.approx(straight.gpus[0].energy_joules or 0.0, rel=1e-6, abs=1e-3)


def assert_close(a: object, b: object) -> None:
    """Equal, floats to rounding."""
    if isinstance(a, float) and isinstance(b, float):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-9)
    elif isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key])
    elif isinstance(a, tuple) and isinstance(b, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_close(x, y)
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            assert_close(getattr(a, name), getattr(b, name))
    else:
        assert a == b


def counters(snapshot: LedgerSnapshot) -> dict[object, float]:
    """Every counter of a snapshot, flat."""
    flat: dict[object, float] = {
        "busy": snapshot.busy_seconds,
        "unknown": snapshot.unknown_seconds,
        **snapshot.cost,
        **snapshot.samples_rejected,
    }
    for facts in snapshot.models:
        model = facts.model
        flat |= {(model, "ok"): facts.observed_ok, (model, "error"): facts.observed_error, (model, "late"): facts.late}
        flat |= {
            (model, "within"): facts.within_sla or 0,
            (model, "sum"): facts.duration.sum_seconds,
            (model, "tokens"): facts.tokens_input or 0,
        }
        flat |= {(model, "state", state): n for state, n in facts.in_sla_state.items()}
        flat |= {(model, "state cost", state): cost for state, cost in facts.cost_in_sla_state.items()}
        flat |= {(model, "bucket", i): n for i, n in enumerate(facts.duration.counts)}
        flat |= {(model, "cost", use): cost for use, cost in facts.cost.items()}
        flat |= {(model, "joules", use): joules for use, joules in facts.energy_joules.items()}
    for gpu in snapshot.gpus:
        flat[gpu.identity.uuid] = gpu.energy_joules or 0.0
        flat |= {(gpu.identity.uuid, state): seconds for state, seconds in gpu.state_seconds.items()}
    return flat


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((1, 1, 1, 5, 60, 4000, -1, -50, -4000, 10**8)), inferences()), min_size=5, max_size=40),
    st.booleans(),
)
def test_counters_never_fall_and_within_never_exceeds_ok_whatever_the_clock_does(steps: list[tuple[int, Inference]], sampled: bool) -> None:
    book = ledger(config(cost=OWNED, sla=SLA), offline=False, sampled=sampled)
    now, before = 0.0, counters(book.snapshot(START_NS))
    for monotonic, (jump, one) in enumerate(steps, start=1):
        now += jump
        book.add(batch([replace(one, start=now - (one.end - one.start), end=now, compute=((now - (one.end - one.start), now),))]), at(now))
        book.add_samples([GpuSample(GPU, at(now), 100.0, 100.0 * monotonic, utilisation_ratio=0.0, memory_used_bytes=2**34)])
        book.advance(at(now), S)
        snapshot = book.snapshot(at(now))
        after = counters(snapshot)
        assert all(after[key] >= value for key, value in before.items())
        assert all((facts.within_sla or 0) <= facts.observed_ok for facts in snapshot.models)
        assert all(math.isfinite(value) for value in after.values())
        before = after
    assert sum(snapshot.cost[component] for component in ("amortisation", "host")) == pytest.approx(
        (27000 / 4 / 8760 + 0.2) / 3600 * len(steps)
    )


@LAWS
@given(st.lists(inferences(), min_size=30, max_size=33))
def test_goodput_costs_at_least_an_inference_and_the_same_only_if_all_were_within(work: list[Inference]) -> None:
    named = config(sla=SLA, server=Server(model="chat"))
    facts = of_model(replayed([replace(one, model="chat") for one in work], end=2 * PERIOD, config_=named, gpus=()))
    window = facts.windows[0]
    if window.cost_per_inference is None:
        assert facts.observed_ok < 30
        return
    goodput = window.cost_per_inference_at_sla.get("goodput")
    assert (goodput is None) == (facts.within_sla == 0)
    if goodput is not None:
        assert goodput >= window.cost_per_inference
        assert (goodput == window.cost_per_inference) == (facts.within_sla == facts.observed_ok)


@LAWS
@given(st.lists(inferences(), max_size=20), gpu_readings())
def test_windows_that_meet_add_up(work: list[Inference], readings: list[GpuSample]) -> None:
    snapshot = replayed(work, readings, end=PERIOD, config_=config(cost=OWNED, sla=SLA))
    edge = at(10)
    whole, rows = snapshot.windows[0], list(snapshot.slots)
    for part in ("cost", "joules", "ok"):
        early = sum(getattr(row, part) for row in rows if row.start_ns < edge)
        late = sum(getattr(row, part) for row in rows if row.start_ns >= edge)
        assert early + late == pytest.approx({"cost": whole.cost, "joules": whole.joules, "ok": whole.inferences_ok}[part])


@LAWS
@given(st.lists(inferences(), max_size=20), gpu_readings(), st.booleans(), st.booleans())
def test_each_step_of_the_waterfall_is_at_least_0_and_together_they_are_the_cost(
    work: list[Inference], readings: list[GpuSample], with_sla: bool, sampled: bool
) -> None:
    window = replayed(work, readings, end=2 * PERIOD, config_=config(cost=OWNED, sla=SLA if with_sla else None), sampled=sampled).windows[0]
    assert all(step >= 0 for step in window.waterfall_cost.values())
    assert sum(window.waterfall_cost.values()) == pytest.approx(window.cost)


@LAWS
@given(st.lists(inferences(), max_size=10))
def test_nothing_is_idle_on_stale_data_nor_on_a_sample_of_spans_without_a_busy_signal(work: list[Inference]) -> None:
    no_readings = replayed(work, end=2 * PERIOD, config_=config(sla=SLA))
    blind_sample = replayed(work, samples(PERIOD, utilisation=None), end=2 * PERIOD, sampled=True)
    no_gpu = replayed(work, end=2 * PERIOD, sampled=True, gpus=())
    for snapshot in (no_readings, blind_sample, no_gpu):
        assert sum(facts.cost["idle"] for facts in snapshot.models) == 0
        assert snapshot.windows[0].waterfall_cost["idle"] == 0
        assert all(gpu.state_seconds["idle"] + gpu.state_seconds["held_idle"] == 0 for gpu in snapshot.gpus)


@st.composite
def server_readings(draw: st.DrawFn, *, until: int = PERIOD, told: bool = True) -> list[ServerReading]:
    """What some server says: any counts, models that spans never name, missed scrapes, a running gauge that comes and goes."""
    times = sorted(draw(st.sets(st.integers(0, until), min_size=2, max_size=12)))
    inner = draw(st.booleans())
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(("chat", "embed", "else", None)), st.sampled_from(("ok", "error", None))), unique=True, max_size=6
        )
    )
    return [
        ServerReading(
            at(time),
            None if since is None else at(since),
            {key: float(draw(st.integers(0, 50))) for key in keys} if told else {},
            inner_calls=inner,
            running=draw(st.none() | st.integers(0, 5)),
        )
        for since, time in pairwise([None, *times])
    ]


def met(
    work: Sequence[Inference], readings: Sequence[GpuSample], told: Sequence[ServerReading], *, sampled: bool, until: int = PERIOD
) -> tuple[LedgerSnapshot, list[LedgerSnapshot]]:
    """The last snapshot of a life in which all of this came in time, and those on the way."""
    book = ledger(config(cost=OWNED, sla=SLA, baseline_watts=60.0, span_delay=1.0), offline=False, sampled=sampled)
    on_the_way = []
    for second in range(1, until + 1):
        since_ns = at(second - 1) - (second == 1)
        book.add_samples([one for one in readings if since_ns < one.time_ns <= at(second)])
        for one in told:
            if since_ns < one.time_ns <= at(second):
                book.add_server_reading(one)
        ended = [one for one in work if second - 1 < one.end <= second or (second == 1 and one.end == 0)]
        if ended:
            book.add(batch(ended), at(second))
        book.advance(at(second), S)
        on_the_way.append(book.snapshot(at(second)))
    book.finish(at(until))
    return book.snapshot(at(until)), on_the_way


@LAWS
@given(st.lists(inferences(), max_size=12), gpu_readings(), server_readings(), st.booleans())
def test_whatever_the_server_says_energy_and_money_are_conserved_and_no_counter_falls(
    work: list[Inference], readings: list[GpuSample], told: list[ServerReading], sampled: bool
) -> None:
    snapshot, on_the_way = met(work, readings, told, sampled=sampled)
    booked = sum(sum(facts.energy_joules.values()) for facts in snapshot.models)
    assert booked == pytest.approx(snapshot.gpus[0].energy_joules or 0.0, rel=1e-6, abs=1e-3)
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(sum(snapshot.cost.values()), rel=1e-9)
    assert sum(slot.cost or 0.0 for slot in snapshot.slots) == pytest.approx(sum(snapshot.cost.values()), rel=1e-9)
    assert all(joules >= 0 for facts in snapshot.models for joules in facts.energy_joules.values())
    for earlier, later in pairwise([*on_the_way, snapshot]):
        before, after = counters(earlier), counters(later)
        assert all(after[key] >= value - 1e-9 for key, value in before.items())


@LAWS
@given(st.lists(inferences(), max_size=12), server_readings(), st.booleans())
def test_totals_are_the_servers_and_every_one_of_them_is_in_a_slot(work: list[Inference], told: list[ServerReading], sampled: bool) -> None:
    snapshot, on_the_way = met(work, [], told, sampled=sampled)
    counted = sum(sum(one.inferences.values()) for one in told if one.since_ns is not None)
    if not told[0].inferences:
        assert snapshot.totals is None
        return
    totals = snapshot.totals
    assert totals is not None
    served = sum(sum(counts.values()) for counts in totals.values())
    assert served == counted if not told[0].inner_calls else served <= counted
    if told[0].inner_calls:
        assert all(of_model(snapshot, model).observed_ok + of_model(snapshot, model).observed_error for model in totals)
    assert sum(slot.served_ok or 0 for slot in snapshot.slots) == sum(counts["ok"] for counts in totals.values())
    window = snapshot.windows[0]
    assert window.inferences_ok <= sum(counts["ok"] for counts in totals.values())
    for facts in snapshot.models:
        reading = facts.windows[0]
        assert (reading.inferences_within_sla or 0) <= reading.inferences_ok
        goodput = reading.cost_per_inference_at_sla.get("goodput")
        assert goodput is None or goodput >= (reading.cost_per_inference or 0)
    assert all(step >= 0 for step in window.waterfall_cost.values())
    assert sum(window.waterfall_cost.values()) == pytest.approx(window.cost if window.waterfall_cost else 0)
    known = [one.totals for one in on_the_way if one.totals is not None]
    assert all(later[model][outcome] >= n for a, later in pairwise(known) for model, by in a.items() for outcome, n in by.items())


@LAWS
@given(st.lists(inferences(), max_size=10), server_readings(told=False))
def test_nothing_is_idle_on_a_sample_of_spans_where_the_server_says_that_something_ran_at_every_scrape(
    work: list[Inference], told: list[ServerReading]
) -> None:
    running = [replace(one, running=max(one.running or 0, 1.0)) for one in told]
    snapshot, _ = met(work, samples(PERIOD, utilisation=None), running, sampled=True)
    assert sum(facts.cost["idle"] for facts in snapshot.models) == 0
    assert all(gpu.state_seconds["idle"] + gpu.state_seconds["held_idle"] == 0 for gpu in snapshot.gpus)


@LAWS
@given(st.lists(inferences(), max_size=12), gpu_readings())
def test_a_server_that_counts_just_what_the_spans_say_changes_neither_energy_nor_money(
    work: list[Inference], readings: list[GpuSample]
) -> None:
    many = [*work, *(Inference(i / 4, i / 4 + 0.1, model="chat") for i in range(4 * PERIOD))]
    named = [replace(one, model=one.model or "chat") for one in many]
    told = [
        ServerReading(
            at(time),
            at(time - 1) if time else None,
            {
                (model, outcome): float(
                    sum(time - 1 < one.end <= time and one.model == model and one.error == (outcome == "error") for one in named)
                )
                for model in ("chat", "embed")
                for outcome in ("ok", "error")
            },
        )
        for time in range(PERIOD + 1)
    ]
    alone, _ = met(named, readings, [], sampled=False)
    counted, _ = met(named, readings, told, sampled=False)
    assert not counted.thin
    by_model = {facts.model: (facts.cost, facts.energy_joules) for facts in alone.models}
    assert_close(by_model, {facts.model: (facts.cost, facts.energy_joules) for facts in counted.models if facts.model in by_model})


LONG = 480
SHORT_OF_SPANS = settings(max_examples=8, deadline=None)


@SHORT_OF_SPANS
@given(
    st.lists(st.tuples(st.integers(1, LONG * 1000), st.integers(1, 20_000), st.sampled_from(("chat", "embed"))), min_size=10, max_size=120),
    st.lists(st.tuples(st.floats(1, 700), st.sampled_from((0.0, 0.3, 1.0, None))), min_size=1, max_size=40),
)
def test_the_split_of_a_sample_of_spans_is_that_of_a_slow_reading_of_the_contract(
    work: list[tuple[int, int, str]], ticks: list[tuple[float, float | None]]
) -> None:
    seen = [Inference(max(0, end - length) / 1000, end / 1000, model=model) for end, length, model in work]
    ticks = list(islice(cycle(ticks), LONG))
    watts, utilisation = [joules for joules, _ in ticks], [told for _, told in ticks]
    counter = [0.0, *accumulate(watts)]
    readings = [GpuSample(GPU, at(0), energy_joules=0.0)]
    readings += [GpuSample(GPU, at(i + 1), energy_joules=counter[i + 1], utilisation_ratio=utilisation[i]) for i in range(LONG)]
    book = ledger(config(baseline_watts=60.0), offline=False)
    for second in range(1, LONG + 1):
        book.add_samples(readings[second : second + 1] if second > 1 else readings[:2])
        book.add_server_reading(ServerReading(at(second), at(second - 1), {("chat", "ok"): 20.0}))
        ended = [one for one in seen if second - 1 < one.end <= second]
        if ended:
            book.add(batch(ended), at(second))
        book.advance(at(second), S)
        if second % 50 == 0:
            settled = book.snapshot(at(second))
            seconds = ((settled.settled_ns or START_NS) - START_NS) / S
            assert sum(sum(facts.cost.values()) for facts in settled.models) == pytest.approx(seconds, rel=1e-9)
            joules = sum(sum(facts.energy_joules.values()) for facts in settled.models)
            assert joules == pytest.approx(counter[round(seconds)], rel=1e-6)
    book.finish(at(LONG))
    expected = attributed_in_blocks(seen, watts=watts, utilisation=utilisation, baseline_watts=60.0, default_model="unknown")
    for facts in book.snapshot(at(LONG)).models:
        for use, cost in facts.cost.items():
            assert cost == pytest.approx(expected.cost[facts.model, use], abs=1e-5), (facts.model, use)
            assert facts.energy_joules[use] == pytest.approx(expected.joules[facts.model, use], abs=1e-3), (facts.model, use)


def test_a_cooling_sum_is_a_component_of_its_own() -> None:
    cost = Cost(currency="EUR", rent=Rent(per_hour=3600.0, per="instance", rent_includes_power=False), cooling=Cooling(per_hour=360.0))
    assert replayed([], end=PERIOD, config_=config(cost=cost)).cost == {"instance": pytest.approx(20.0), "cooling": pytest.approx(2.0)}

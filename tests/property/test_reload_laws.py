"""The laws of the contract while prices and SLAs change: counters never fall, within <= ok, sums hold, order changes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.config import Config, Cost, Host, Power, Rent, Sla, Slas
from infermeter.ledger import Ledger
from infermeter.ledger.sla import sla_of
from infermeter.ledger.tariff import Prices
from infermeter.model import GpuSample, LedgerSnapshot
from property.test_ledger_laws import assert_close, comparable, counters
from support.ledgers import GPU, START_NS, Inference, S, at, batch, config, ledger, of_model

SLAS: tuple[Slas | None, ...] = (
    None,
    Slas(default=Sla(0.9, 0.5)),
    Slas(default=Sla(0.9, 1.0)),
    Slas(models={"chat": {"duration_seconds": 0.5, "quantile": 0.5}}),
    Slas(default=Sla(0.5, 0.5), models={"embed": {"duration_seconds": None}, "late": {"duration_seconds": 1.0}}),
)
COSTS: tuple[Cost | None, ...] = (
    Cost(currency="EUR"),
    Cost(currency="EUR", rent=Rent(per_hour=3.6, per="instance")),
    Cost(currency="EUR", rent=Rent(per_hour=7.2, per="instance"), host=Host(per_hour=1.0)),
    Cost(currency="EUR", power=Power(price_per_kwh=0.3, pue=1.5)),
)
MODELS = ("chat", "embed")


@dataclass(frozen=True)
class Step:
    """So many seconds pass; then this many requests to a model, each as long, arrive so long after they ended; then a reload, if any."""

    seconds: int
    requests: int = 0
    model: str = "chat"
    duration: float = 0.4
    delay: int = 0
    sla: int | None = None
    cost: int | None = None


steps = st.lists(
    st.builds(
        Step,
        seconds=st.integers(1, 30),
        requests=st.integers(0, 60),
        model=st.sampled_from(MODELS),
        duration=st.sampled_from((0.4, 0.5, 0.7, 1.0, 2.0)),
        delay=st.integers(0, 20),
        sla=st.none() | st.integers(0, len(SLAS) - 1),
        cost=st.none() | st.integers(0, len(COSTS) - 1),
    ),
    min_size=3,
    max_size=25,
)


def settings_of(sla: int, cost: int) -> Config:
    return config(sla=SLAS[sla], cost=COSTS[cost], windows=(("1m", 60.0), ("5m", 300.0)))


def fixed_per_second(cost: Cost) -> float:
    return ((cost.rent.per_hour or 0.0) + cost.host.per_hour) / 3600


class Oracle:
    """A slow reading of what a reload means."""

    def __init__(self, sla: int) -> None:
        self._since = [(-math.inf, SLAS[sla])]
        self.within = dict.fromkeys(MODELS, 0)
        self.observed = dict.fromkeys(MODELS, 0)
        self.fixed_cost = 0.0

    def reload(self, sla: int, now: int) -> None:
        """Holds for what ends after the slot of ten seconds in which it happens."""
        self._since.append((math.ceil(now / 10) * 10, SLAS[sla]))

    def add(self, model: str, *, end: float, duration: float, requests: int) -> None:
        (*_, slas) = (slas for since, slas in self._since if end > since)
        target = sla_of(model, slas)
        self.observed[model] += requests
        if target is not None and target.duration_seconds is not None and duration <= target.duration_seconds:
            self.within[model] += requests


def checked(snapshot: LedgerSnapshot) -> None:
    """What holds of any snapshot, whatever came before."""
    for facts in snapshot.models:
        assert (facts.within_sla or 0) <= facts.observed_ok
        assert sum(facts.in_sla_state.values()) <= facts.observed_ok
        for window in facts.windows:
            assert (window.inferences_within_sla or 0) <= window.inferences_ok
            assert (window.sla_state is None) == (facts.sla is None)
            goodput = window.cost_per_inference_at_sla.get("goodput")
            if goodput is not None:
                assert window.cost_per_inference is not None
                assert goodput >= window.cost_per_inference * (1 - 1e-12)
    for whole in snapshot.windows:
        assert all(step >= -1e-12 for step in whole.waterfall_cost.values())
        if whole.waterfall_cost:
            assert sum(whole.waterfall_cost.values()) == pytest.approx(whole.cost)
    assert all((slot.within_sla or 0) <= slot.ok for slot in snapshot.slots)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, len(SLAS) - 1), st.integers(0, len(COSTS) - 1))
def test_counters_never_fall_and_sums_hold_whatever_is_reloaded(work: list[Step], sla: int, cost: int) -> None:
    book, oracle = ledger(settings_of(sla, cost), offline=False), Oracle(sla)
    now, before = 0, counters(book.snapshot(START_NS))
    for step in work:
        for _ in range(step.seconds):
            now += 1
            book.add_samples([GpuSample(GPU, at(now), 100.0, 100.0 * now, utilisation_ratio=0.5, memory_used_bytes=2**34)])
            book.advance(at(now), S)
            oracle.fixed_cost += fixed_per_second(COSTS[cost] or Cost())
        end = max(now - step.delay, 0) + 0.0
        requests = [Inference(end - step.duration, end, model=step.model)] * step.requests
        book.add(batch(requests), at(now))
        oracle.add(step.model, end=end, duration=step.duration, requests=step.requests)
        if step.sla is not None or step.cost is not None:
            sla, cost = sla if step.sla is None else step.sla, cost if step.cost is None else step.cost
            reload(book, sla, cost)
            oracle.reload(sla, now)
        snapshot = book.snapshot(at(now))
        checked(snapshot)
        after = counters(snapshot)
        assert all(after.get(key, -1) >= value for key, value in before.items())
        assert all(math.isfinite(value) for value in after.values())
        before = after
    for _ in range(200):
        now += 1
        book.add_samples([GpuSample(GPU, at(now), 100.0, 100.0 * now, utilisation_ratio=0.5, memory_used_bytes=2**34)])
        book.advance(at(now), S)
        oracle.fixed_cost += fixed_per_second(COSTS[cost] or Cost())
    book.finish(at(now))
    snapshot = book.snapshot(at(now))
    checked(snapshot)
    for facts in snapshot.models:
        assert facts.observed_ok == oracle.observed.get(facts.model, 0)
        assert facts.within_sla in (None, oracle.within.get(facts.model, 0))
    fixed = sum(snapshot.cost.get(component, 0.0) for component in ("instance", "host"))
    assert fixed == pytest.approx(oracle.fixed_cost)
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(sum(snapshot.cost.values()), abs=1e-9)


def reload(book: Ledger, sla: int, cost: int) -> None:
    new = settings_of(sla, cost)
    book.reconfigure(new)
    book.reprice(Prices.configured(new.cost))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 25), st.sampled_from((0.4, 0.7))), min_size=1, max_size=40),
    st.integers(5, 95),
    st.sampled_from((1, 3, 4)),
    st.sampled_from((0, 2)),
)
def test_when_an_inference_arrives_changes_nothing_about_its_sla(
    ends: list[tuple[int, int, float]], second: int, first: int, then: int
) -> None:
    """Those that arrive at once, and those that arrive late but in time, on both sides of the change."""

    def served(*, late: bool) -> LedgerSnapshot:
        book = ledger(settings_of(first, 1), offline=False)
        for now in range(1, 300):
            book.advance(at(now), S)
            due = [Inference(end - long, float(end), model="chat") for end, delay, long in ends if end + delay * late == now]
            book.add(batch(due), at(now))
            if now == second:
                reload(book, then, 1)
        return book.snapshot(at(300))

    at_once, late = comparable(served(late=False)), comparable(served(late=True))
    assert_close(at_once, late)


def test_a_planted_change_is_seen_in_every_reading() -> None:
    book = ledger(settings_of(1, 1), offline=False)
    for now in range(1, 121):
        book.advance(at(now), S)
        book.add(batch([Inference(now - 0.7, now, model="chat")] * 10), at(now))  # misses 0.5 s, meets 1 s
        if now == 55:
            reload(book, 2, 1)
    before = of_model(book.snapshot(at(120)))
    assert (before.observed_ok, before.within_sla) == (1200, 600)  # from the slot after second 60 on
    for now in range(121, 400):
        book.advance(at(now), S)
    facts = of_model(book.snapshot(at(400)))
    assert facts.in_sla_state["missed"] >= 580
    assert facts.in_sla_state["met"] >= 580
    slots = [slot for slot in book.snapshot(at(400)).slots if slot.ok]
    assert [slot.within_sla for slot in slots] == [None] * 6 + [100] * 6


def windows_after(second: int, *, then: int = 2, requests: int = 10) -> list[object]:
    """State, goodput over cost per inference, and compliance of the five-minute window, this long after a change at second 300."""
    book = ledger(settings_of(1, 1), offline=False)
    for now in range(1, 301 + second):
        book.advance(at(now), S)
        book.add(batch([Inference(now - (0.7 if now % 20 else 5), now, model="chat")] * requests), at(now))
        if now == 300:
            reload(book, then, 1)
    window = of_model(book.snapshot(at(300 + second))).windows[1]
    ratio = window.cost_per_inference_at_sla.get("goodput")
    assert window.cost_per_inference is not None
    return [window.sla_state, None if ratio is None else round(window.cost_per_inference / ratio, 3)]


def test_a_verdict_waits_for_what_the_new_sla_has_judged() -> None:
    settle = 90  # span delay, and twice as much again
    assert windows_after(settle) == ["insufficient", None]
    assert windows_after(settle + 20, requests=1) == ["insufficient", None]
    assert windows_after(settle + 20) == ["insufficient", 0.95]
    assert windows_after(settle + 40) == ["met", 0.95]
    assert windows_after(settle + 300) == ["met", 0.95]
    assert windows_after(settle + 40, then=0) == [None, None]


def test_an_sla_that_comes_is_born_0_and_one_that_goes_keeps_its_counters() -> None:
    book = ledger(settings_of(0, 1), offline=False)

    def serve(first: int, last: int) -> LedgerSnapshot:
        for now in range(first, last):
            book.advance(at(now), S)
            book.add(batch([Inference(now - 0.4, now, model="chat")]), at(now))
        return book.snapshot(at(last))

    without = of_model(serve(1, 96))
    assert (without.within_sla, without.sla, without.in_sla_state) == (None, None, {})
    reload(book, 1, 1)
    born = of_model(book.snapshot(at(96)))
    assert (born.within_sla, born.in_sla_state) == (0, {"met": 0, "missed": 0, "insufficient": 0})
    assert born.sla is not None
    kept = of_model(serve(96, 296))
    assert kept.within_sla == 295 - 100  # the rest of the slot of the change isn't judged
    reload(book, 0, 1)
    gone = of_model(serve(296, 601))
    assert (gone.within_sla, gone.sla) == (300 - 100, None)
    assert sum(gone.in_sla_state.values()) == 200
    assert all(window.sla_state is None for window in gone.windows)
    assert all("goodput" not in window.cost_per_inference_at_sla for window in gone.windows)


def test_a_model_that_a_reload_names_is_there_at_once_and_a_reload_of_prices_alone_leaves_verdicts() -> None:
    book = ledger(replace(settings_of(1, 1)), offline=False)
    for now in range(1, 200):
        book.advance(at(now), S)
        book.add(batch([Inference(now - 0.4, now, model="chat")] * 10), at(now))
    assert of_model(book.snapshot(at(200))).windows[1].sla_state == "met"
    reload(book, 1, 2)
    assert of_model(book.snapshot(at(200))).windows[1].sla_state == "met"
    reload(book, 4, 2)
    late = of_model(book.snapshot(at(200)), "late")
    assert (late.observed_ok, late.within_sla) == (0, 0)
    assert of_model(book.snapshot(at(200))).windows[1].sla_state == "insufficient"


def test_compliant_money_is_that_of_blocks_in_which_the_sla_in_force_held() -> None:
    book = ledger(settings_of(2, 1), offline=False)

    def compliant(second: int) -> float | None:
        return of_model(book.snapshot(at(second))).windows[1].cost_per_inference_at_sla.get("compliant")

    readings = {}
    for now in range(1, 600):
        book.advance(at(now), S)
        book.add(batch([Inference(now - 0.7, now, model="chat")] * 10), at(now))  # misses 0.5 s, meets 1 s
        readings[now] = compliant(now)
        if now == 300:
            reload(book, 1, 1)
    assert readings[300] == pytest.approx(0.001 / 10)
    assert readings[301] is None
    assert readings[599] is None


def test_prices_that_come_later_price_no_inference_that_was_served_before() -> None:
    book = ledger(config(cost=Cost(), windows=(("1m", 60.0), ("5m", 300.0))), offline=False)
    told = {}
    for now in range(1, 800):
        book.advance(at(now), S)
        book.add(batch([Inference(now - 0.4, now, model="chat")] * 4), at(now))
        if now == 300:
            reload(book, 0, 1)
        chat = of_model(book.snapshot(at(now)))
        told[now] = [window.cost_per_inference for window in chat.windows]
    assert told[299] == told[300 + 90 + 40] == [None, None]
    assert told[300 + 90 + 70] == [pytest.approx(0.001 / 4), None]
    assert told[300 + 90 + 250][1] is None
    assert told[300 + 90 + 310] == [pytest.approx(0.001 / 4), pytest.approx(0.001 / 4)]
    assert of_model(book.snapshot(at(799))).windows[1].cost == pytest.approx(0.3)

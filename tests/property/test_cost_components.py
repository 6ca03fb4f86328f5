"""The components of the cost: whatever is configured, nothing is paid twice, and all that is paid is the sum of its parts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from infermeter.config import Config, Cooling, Cost, Host, Licence, OpenCost, Other, Power, Purchase, Rent
from infermeter.ledger import Ledger
from infermeter.ledger.tariff import Prices, Tariff, tariff
from infermeter.model import LedgerSnapshot
from infermeter.parsing.rules import contradictions
from support.ledgers import GPU, Inference, at, batch, config, ledger, samples

LAWS = settings(max_examples=200, deadline=None)

prices = st.sampled_from((0.0, 0.25, 3.43, 98.32))
optional = st.none() | prices


@st.composite
def costs(draw: st.DrawFn) -> Cost:
    """Any combination of keys, each within its own range."""
    rented_by = draw(st.sampled_from(("nobody", "rent", "rent", "file", "opencost", "both")))
    upfront = draw(st.sampled_from((0.0, 0.0, 5000.0)))
    per = draw(st.sampled_from(("gpu", "instance")))
    bought = draw(optional)
    return Cost(
        currency="EUR",
        as_of=date(2026, 7, 20),
        source="test",
        rent=Rent(
            per_hour=draw(prices) if rented_by in ("rent", "both") else None,
            per=per,
            instance_gpus=draw(st.none() | st.integers(1, 8)) if per == "instance" else None,
            upfront=upfront,
            term=365 * 86_400.0 if upfront else None,
            rent_includes_power=draw(st.booleans()),
        ),
        prices_file="f" if rented_by in ("file", "both") else None,
        opencost=OpenCost("http://p:9090" if rented_by == "opencost" else None),
        purchase=Purchase(
            price=bought,
            per=draw(st.sampled_from(("server", "gpu"))),
            residual=0.0 if bought is None else bought * draw(st.sampled_from((0.0, 0.1, 1.0))),
            lifetime_years=None if bought is None else draw(st.sampled_from((1.0, 4.0))),
            finance_rate_per_year=0.0 if bought is None else draw(st.sampled_from((0.0, 0.08))),
        ),
        power=Power(
            price_per_kwh=draw(optional), pue=draw(st.sampled_from((None, 1.0, 1.3))), host_watts=draw(st.sampled_from((0.0, 180.0)))
        ),
        cooling=Cooling(draw(optional)),
        host=Host(draw(prices)),
        licence=Licence(draw(prices), draw(st.sampled_from(("server", "gpu")))),
        other=Other(draw(prices)),
    )


def paid(cost: Cost) -> Counter[str]:
    """What is paid for, as often as something pays it: rent of a cloud holds the hardware, its power and its cooling."""
    holds = ("rent", "hardware", "electricity", "cooling") if cost.rent.rent_includes_power else ("rent",)
    things: list[str] = []
    for rents in (cost.rent.per_hour is not None, cost.prices_file is not None, cost.opencost.prometheus_url is not None):
        things += holds if rents else ()
    things += ["hardware"] if cost.purchase.price is not None else []
    things += ["electricity"] if cost.power.price_per_kwh is not None else []
    things += ["cooling"] if cost.power.pue is not None else []
    things += ["cooling"] if cost.cooling.per_hour is not None else []
    return Counter(things)


@LAWS
@given(costs())
def test_what_would_be_paid_twice_is_refused_and_nothing_else_is(cost: Cost) -> None:
    told = {path for path, problem in contradictions(Config(cost=cost)) if "counted twice" in problem}
    twice = max(paid(cost).values(), default=0) > 1
    event(f"twice: {twice}")
    assert bool(told) == twice, told


@st.composite
def sound(draw: st.DrawFn) -> Cost:
    cost = draw(costs())
    assume(not list(contradictions(Config(cost=cost))))
    return cost


def told(cost: Cost, price: float | None) -> Prices:
    """With what others tell, where others are asked."""
    asked = cost.prices_file is not None or cost.opencost.prometheus_url is not None
    return replace(Prices.configured(cost), gpu_per_hour=price if asked else None)


@LAWS
@given(sound(), st.none() | st.integers(0, 8).map(float), st.booleans(), optional)
def test_components_are_disjoint_whole_and_never_negative(cost: Cost, gpus: float | None, powered: bool, price: float | None) -> None:
    of: Tariff = tariff(told(cost, price), gpus=gpus, powered=powered)
    every = (*of.per_hour, *of.per_joule, *of.unpriced)
    assert len(set(every)) == len(every), "each component once: by the hour, by the joule, or not priced"
    for money in (*of.per_hour.values(), *of.per_joule.values()):
        assert math.isfinite(money)
        assert money >= 0
    assert of.per_second * 3600 == pytest.approx(sum(of.per_hour.values()))
    assert of.currency == ("EUR" if of.per_hour or of.per_joule else None)


def lived(cost: Cost, steps: list[tuple[float | None, float]]) -> Iterator[LedgerSnapshot]:
    """A server that computes half of each second; for each price that others tell, and for how long, the ledger at its end."""
    book: Ledger = ledger(config(cost=cost), offline=False)
    end = 0.0
    for price, seconds in steps:
        book.reprice(told(cost, price))
        for _ in range(int(seconds)):
            book.add_samples(samples(end + 1, start=end, watts=300.0, utilisation=0.5))
            end += 1
            book.advance(at(end), 10**9)
            book.add(batch([Inference(end - 1, end - 0.5)]), at(end))
        yield book.snapshot(at(end))
    book.finish(at(end))
    yield book.snapshot(at(end))


@settings(max_examples=60, deadline=None)
@given(sound(), st.lists(st.tuples(optional, st.integers(1, 8).map(float)), min_size=1, max_size=4))
def test_money_is_the_sum_of_its_components_and_uses_under_changing_prices(cost: Cost, steps: list[tuple[float | None, float]]) -> None:
    ends = list(lived(cost, steps))
    for before, after in pairwise(ends):
        assert all(after.cost[component] >= money for component, money in before.cost.items()), "counters never fall"
    by_component, by_use = sum(ends[-1].cost.values()), sum(sum(model.cost.values()) for model in ends[-1].models)
    assert by_use == pytest.approx(by_component, rel=1e-9, abs=1e-12)
    assert sum(slot.cost or 0.0 for slot in ends[-1].slots) == pytest.approx(by_component, rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(optional, st.integers(1, 8).map(float)), min_size=1, max_size=5))
def test_each_second_is_paid_by_the_price_of_its_own_time(steps: list[tuple[float | None, float]]) -> None:
    cost = Cost(currency="EUR", opencost=OpenCost("http://p:9090"), other=Other(0.36))
    *_, last = lived(cost, steps)
    instance = sum(price / 3600 * seconds for price, seconds in steps if price is not None)
    expected = {"other": 0.36 / 3600 * sum(seconds for _, seconds in steps)}
    if any(price is not None for price, _ in steps):
        expected["instance"] = instance
    assert last.cost == pytest.approx(expected)
    assert last.unpriced == (("instance",) if steps[-1][0] is None else ())
    assert GPU not in last.unpriced_gpus

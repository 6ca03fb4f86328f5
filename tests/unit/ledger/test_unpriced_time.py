"""Windows that reach over time without a price: money of a part of the time is never divided by the inferences of all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infermeter.config import Cost, Licence, OpenCost, Power, Rent, Server, Sla
from infermeter.ledger import Ledger
from infermeter.ledger.tariff import COMPONENTS, Prices, Tariff
from infermeter.model import LedgerSnapshot, ModelWindow, ServerWindow
from support.ledgers import Inference, S, at, batch, config, ledger, of_model

OPENCOST = Cost(currency="EUR", opencost=OpenCost("http://p:9090"))
WITH_LICENCE = replace(OPENCOST, licence=Licence(per_hour=360.0))
UNTOLD, TOLD = Prices.configured(OPENCOST), replace(Prices.configured(OPENCOST), gpu_per_hour=3600.0)
MINUTE = 60
SLA = Sla(duration_seconds=4.0, quantile=0.5)


def serve(book: Ledger, *, until: int, since: int = 0, each: int = 5) -> None:
    """An inference of a second every five, each told as it ends."""
    for second in range(since + each, until + each, each):
        book.add(batch([Inference(second - 1, second)]), at(second))
        book.advance(at(second), each * S)


def settled(book: Ledger, *, end: int) -> LedgerSnapshot:
    book.finish(at(end))
    return book.snapshot(at(end))


def live(cost: Cost | None = OPENCOST, *, window: float = 3600.0) -> Ledger:
    return ledger(config(cost=cost, sla=SLA, windows=(("w", window),), server=Server(model="chat")), offline=False)


def windows(snapshot: LedgerSnapshot) -> tuple[ModelWindow, ServerWindow]:
    return of_model(snapshot).windows[0], snapshot.windows[0]


def test_a_price_that_is_told_late_tells_no_cost_per_inference_until_nine_tenths_of_the_window_have_one() -> None:
    book = live()
    serve(book, until=5 * MINUTE)
    book.reprice(TOLD)
    serve(book, since=5 * MINUTE, until=40 * MINUTE)
    model, server = windows(settled(book, end=40 * MINUTE))
    assert (model.cost_per_inference, model.cost_per_inference_at_sla, server.waterfall_cost) == (None, {}, {})
    assert (model.cost, server.cost) == (pytest.approx(35 * MINUTE), pytest.approx(35 * MINUTE))
    assert server.unpriced_seconds == 5 * MINUTE


def test_a_tenth_of_the_window_without_a_price_is_let_pass_and_told() -> None:
    book = live()
    serve(book, until=4 * MINUTE)
    book.reprice(TOLD)
    serve(book, since=4 * MINUTE, until=40 * MINUTE)
    model, server = windows(settled(book, end=40 * MINUTE))
    assert model.cost_per_inference == pytest.approx(0.9 * 5.0)
    assert server.unpriced_seconds == 4 * MINUTE
    assert sum(server.waterfall_cost.values()) == pytest.approx(36 * MINUTE)


def test_time_without_a_price_leaves_the_window_as_it_passes() -> None:
    book = live(window=600.0)
    serve(book, until=10 * MINUTE)
    book.reprice(TOLD)
    serve(book, since=10 * MINUTE, until=30 * MINUTE)
    model, server = windows(settled(book, end=30 * MINUTE))
    assert (model.cost_per_inference, server.unpriced_seconds) == (pytest.approx(5.0), 0.0)


def test_a_reload_that_brings_the_first_prices_is_no_cheap_hour() -> None:
    book = live(cost=None)
    serve(book, until=20 * MINUTE)
    assert windows(book.snapshot(at(20 * MINUTE)))[1].unpriced_seconds is None
    book.reprice(Prices.configured(Cost(currency="EUR", rent=Rent(3600.0, "instance"))))
    serve(book, since=20 * MINUTE, until=40 * MINUTE)
    model, server = windows(settled(book, end=40 * MINUTE))
    assert (model.cost_per_inference, server.unpriced_seconds) == (None, 20 * MINUTE)


def test_one_component_that_is_told_late_is_missed_though_others_are_priced() -> None:
    book = live(WITH_LICENCE)
    serve(book, until=20 * MINUTE)
    late = replace(Prices.configured(WITH_LICENCE), gpu_per_hour=3600.0)
    book.reprice(late)
    serve(book, since=20 * MINUTE, until=40 * MINUTE)
    model, server = windows(settled(book, end=40 * MINUTE))
    assert (model.cost_per_inference, server.unpriced_seconds) == (None, 20 * MINUTE)


def test_a_price_that_is_lost_is_missed_from_then_on() -> None:
    book = live(WITH_LICENCE)
    book.reprice(replace(Prices.configured(WITH_LICENCE), gpu_per_hour=3600.0))
    serve(book, until=20 * MINUTE)
    book.reprice(Prices.configured(WITH_LICENCE))
    serve(book, since=20 * MINUTE, until=40 * MINUTE)
    model, server = windows(settled(book, end=40 * MINUTE))
    assert (model.cost_per_inference, server.unpriced_seconds) == (None, 20 * MINUTE)


def test_a_component_that_nobody_ever_priced_is_a_findings_matter_and_the_rest_is_told() -> None:
    book = live(WITH_LICENCE)
    serve(book, until=40 * MINUTE)
    snapshot = settled(book, end=40 * MINUTE)
    model, server = windows(snapshot)
    assert (model.cost_per_inference, server.unpriced_seconds) == (pytest.approx(0.5), 0.0)
    assert (snapshot.unpriced, set(snapshot.cost)) == (("instance",), {"licence"})


def test_a_component_that_a_reload_adds_is_a_new_price_and_the_past_was_paid_in_full() -> None:
    book = live(Cost(currency="EUR", rent=Rent(3600.0, "instance")))
    serve(book, until=20 * MINUTE)
    book.reprice(Prices.configured(Cost(currency="EUR", rent=Rent(3600.0, "instance"), licence=Licence(per_hour=360.0))))
    serve(book, since=20 * MINUTE, until=40 * MINUTE)
    model, server = windows(settled(book, end=40 * MINUTE))
    assert (model.cost_per_inference, server.unpriced_seconds) == (pytest.approx(5.25), 0.0)


def test_slots_without_a_price_have_no_cost_rather_than_none_to_pay() -> None:
    book = live()
    serve(book, until=2 * MINUTE)
    book.reprice(TOLD)
    serve(book, since=2 * MINUTE, until=4 * MINUTE)
    slots = settled(book, end=4 * MINUTE).slots
    assert [slot.cost for slot in slots] == [None] * 12 + [pytest.approx(10.0)] * 12
    assert [slot.unpriced_seconds for slot in slots] == [10.0] * 12 + [0.0] * 12


def test_slots_keep_the_money_of_the_components_that_were_priced_so_that_they_add_up() -> None:
    book = live(WITH_LICENCE)
    serve(book, until=MINUTE)
    book.reprice(replace(Prices.configured(WITH_LICENCE), gpu_per_hour=3600.0))
    serve(book, since=MINUTE, until=2 * MINUTE)
    snapshot = settled(book, end=2 * MINUTE)
    assert [slot.cost for slot in snapshot.slots] == [pytest.approx(1.0)] * 6 + [pytest.approx(11.0)] * 6
    assert [slot.unpriced_seconds for slot in snapshot.slots] == [10.0] * 6 + [0.0] * 6
    assert sum(slot.cost or 0.0 for slot in snapshot.slots) == pytest.approx(sum(snapshot.cost.values()))


def test_the_mask_names_what_is_unpriced_and_everything_where_nothing_is_priced() -> None:
    assert Tariff().unpriced_mask == 2 ** len(COMPONENTS) - 1
    assert Tariff(per_hour={"host": 1.0}).unpriced_mask == 0
    assert Tariff(per_hour={"host": 1.0}, unpriced=("instance", "power")).unpriced_mask == 0b101


@given(switches=st.lists(st.integers(0, 60), min_size=1, max_size=6), power=st.booleans())
@settings(max_examples=15, deadline=None)
def test_whatever_comes_and_goes_a_cost_per_inference_is_never_more_than_a_tenth_too_low(switches: list[int], power: bool) -> None:
    cost = replace(OPENCOST, power=Power(price_per_kwh=3600.0, host_watts=1.0)) if power else OPENCOST
    book, told = live(cost), replace(Prices.configured(cost), gpu_per_hour=3600.0)
    minutes_told, is_told = 0, False
    for minute in range(60):
        if switches.count(minute) % 2:
            is_told = not is_told
            book.reprice(told if is_told else Prices.configured(cost))
        minutes_told += is_told
        serve(book, since=minute * MINUTE, until=(minute + 1) * MINUTE, each=10)
    snapshot = settled(book, end=60 * MINUTE)
    model, server = windows(snapshot)
    per_hour = 3600.0 + (3.6 if power else 0.0)
    if minutes_told >= 54:
        assert 0.9 * per_hour - 1e-6 <= model.cost_per_inference * 360 <= per_hour + 1e-6
    elif minutes_told or not power:
        assert (model.cost_per_inference, model.cost_per_inference_at_sla, server.waterfall_cost) == (None, {}, {})
    else:
        assert model.cost_per_inference == pytest.approx(3.6 / 360)

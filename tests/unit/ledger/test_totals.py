"""Totals are the server's own, from one source, and only ever grow; spans say when and of what outcome."""

from dataclasses import replace

import pytest

from infermeter.config import Limits, Server, Sla
from infermeter.ledger import Ledger
from infermeter.model import ServerReading
from support.ledgers import Inference, S, at, batch, config, ledger, of_model
from support.server_readings import lived, reading, readings

SCRAPED = Server(metrics_url="http://127.0.0.1:8000/metrics")
SLA = Sla(0.9, 0.5)


def book_of(**keys: object) -> Ledger:
    return ledger(config(sla=SLA, server=SCRAPED, **keys), gpus=(), offline=False)


def every_second(count: int, *, model: str | None = "chat", seconds: float = 0.5, start: float = 0.0, **keys: object) -> list[Inference]:
    return [Inference(start + i + 0.25, start + i + 0.25 + seconds, model=model, **keys) for i in range(count)]


# --- since the start ---------------------------------------------------------------------------------------------------------------
def test_without_a_reading_there_are_no_totals() -> None:
    book = book_of()
    book.add(batch(every_second(5)), at(6))
    assert book.snapshot(at(6)).totals is None
    assert book.snapshot(at(6)).coverage_ratio is None


def test_a_first_reading_is_a_baseline_and_makes_its_models_known_with_0() -> None:
    book = book_of()
    book.add_server_reading(reading(1, {("chat", "ok"): 0.0, ("chat", "error"): 0.0}))
    snapshot = book.snapshot(at(1))
    assert snapshot.totals == {"chat": {"ok": 0.0, "error": 0.0}}
    assert of_model(snapshot).observed_ok == 0


def test_increases_add_up_whether_spans_come_or_not() -> None:
    book = book_of()
    book.add(batch(every_second(3)), at(4))
    for i in range(4):
        book.add_server_reading(reading(5.0 * i, {("chat", "ok"): 10.0, ("chat", "error"): 1.0}, since=5.0 * (i - 1) if i else None))
    assert book.snapshot(at(20)).totals == {"chat": {"ok": 30.0, "error": 3.0}}


def test_a_reading_that_tells_of_no_counter_makes_no_totals() -> None:
    book = book_of()
    book.add_server_reading(reading(1, running=2.0))
    assert book.snapshot(at(1)).totals is None


def test_a_server_that_names_no_model_serves_the_configured_one() -> None:
    named = ledger(config(server=Server(model="mine", metrics_url="http://x/")), gpus=())
    unnamed = ledger(config(), gpus=())
    for book in (named, unnamed):
        book.add_server_reading(reading(5, {(None, "ok"): 7.0}, since=0))
    assert named.snapshot(at(5)).totals == {"mine": {"ok": 7.0, "error": 0.0}}
    assert unnamed.snapshot(at(5)).totals == {"unknown": {"ok": 7.0, "error": 0.0}}


@pytest.mark.parametrize("inner", [False, True])
def test_a_thousand_models_are_twenty_and_other(inner: bool) -> None:
    book = ledger(config(limits=Limits(models=20)), gpus=())
    names = [f"made-up-{i:03}" for i in range(1000)]
    book.add(batch([Inference(1, 2, model=name) for name in names]), at(3))
    book.add_server_reading(reading(5, {(name, "ok"): 2.0 for name in names}, since=0, inner=inner))
    totals = book.snapshot(at(5)).totals
    assert totals is not None
    assert len(totals) == 21
    assert totals["other"] == {"ok": 2.0 * 980, "error": 0.0}


def test_fractions_of_an_inference_wait_for_the_rest() -> None:
    book = book_of()
    seen = []
    for i in range(1, 11):
        book.add_server_reading(reading(i, {("chat", "ok"): 0.3}, since=i - 1))
        seen.append(book.snapshot(at(i)).totals["chat"]["ok"])
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


# --- outcomes that the server doesn't tell apart -------------------------------------------------------------------------------------
def test_outcomes_that_are_not_told_are_those_of_the_spans() -> None:
    book = book_of()
    work = [Inference(i, i + 0.5, error=i % 4 == 0) for i in range(40)]
    for second in range(1, 41):
        book.add(batch([one for one in work if second - 1 < one.end <= second]), at(second))
        book.add_server_reading(reading(second, {("chat", None): 1.0}, since=second - 1))
    counts = book.snapshot(at(40)).totals["chat"]
    assert counts["ok"] + counts["error"] == 40
    assert counts["error"] == pytest.approx(10, abs=3)


def test_without_spans_of_late_the_shares_are_those_of_all() -> None:
    book = book_of()
    book.add(batch([Inference(i, i + 0.5, error=i < 2) for i in range(8)]), at(9))
    book.add_server_reading(reading(500, {("chat", None): 8.0}, since=495))
    assert book.snapshot(at(500)).totals["chat"] == {"ok": 6.0, "error": 2.0}


def test_a_model_that_waits_for_a_span_has_no_errors_before_it() -> None:
    book = book_of()
    book.add_server_reading(reading(5, {("chat", None): 8.0}, since=0, inner=True))
    book.add(batch([Inference(4, 5, error=True)]), at(6))
    book.add_server_reading(reading(10, {("chat", None): 8.0}, since=5, inner=True))
    assert book.snapshot(at(10)).totals["chat"] == {"ok": 8.0, "error": 8.0}


def test_without_any_span_what_is_not_told_to_have_failed_is_ok() -> None:
    book = book_of()
    book.add_server_reading(reading(5, {("chat", None): 8.0, ("chat", "error"): 2.0}, since=0))
    assert book.snapshot(at(5)).totals["chat"] == {"ok": 8.0, "error": 2.0}


# --- the model that is served --------------------------------------------------------------------------------------------------------
def test_spans_without_a_model_are_of_the_only_one_that_the_server_names_so_that_its_inferences_have_a_price() -> None:
    served = every_second(300)
    unnamed = every_second(300, model=None)
    told = [replace(one, model="chat") for one in readings(served, until=300)]
    snapshot = lived(book_of(), unnamed, told, until=300)
    assert [model.model for model in snapshot.models] == ["chat"]
    assert of_model(snapshot).windows[0].cost_per_inference == pytest.approx(1.0, rel=0.02)


def test_a_server_without_spans_has_a_price_if_it_serves_one_model_and_misses_nothing() -> None:
    served = every_second(700)
    told = [
        replace(one, model="chat", tokens={"output": {"chat": 20 * sum(one.inferences.values())}}) for one in readings(served, until=700)
    ]
    snapshot = lived(book_of(), [], told, until=700)
    window = of_model(snapshot).windows[0]
    assert [model.model for model in snapshot.models] == ["chat"]
    assert window.cost_per_inference == pytest.approx(1.0, rel=0.02)
    assert window.tokens == pytest.approx(20 * window.inferences_ok, rel=0.02)
    assert (window.cost_per_inference_at_sla, window.inferences_within_sla, window.sla_state) == ({}, None, "insufficient")
    assert snapshot.windows[0].waterfall_cost["idle"] == 0


@pytest.mark.parametrize("model", ["chat", None])
def test_without_spans_nobody_says_what_each_of_two_models_costs_or_who_has_it_that_none_is_named(model: str | None) -> None:
    served = every_second(700) + (every_second(700, model="else") if model else [])
    snapshot = lived(book_of(), [], [replace(one, model=model) for one in readings(served, until=700)], until=700)
    assert of_model(snapshot, "chat").windows[0].inferences_ok > 150
    assert all(of_model.windows[0].cost_per_inference is None for of_model in snapshot.models)


def test_without_a_word_of_the_server_they_are_of_an_unknown_one() -> None:
    snapshot = lived(book_of(), every_second(60, model=None), readings(every_second(60), until=60), until=60)
    assert {model.model for model in snapshot.models} == {"chat", "unknown"}


def test_spans_without_a_name_are_no_sign_of_a_sample_where_the_server_names_several() -> None:
    """All is traced, of one protocol without the model."""
    named = every_second(240) + every_second(240, model="embed")
    unnamed = [replace(one, start=one.start + 0.1) for one in every_second(240, model="embed")]
    spans = named + [replace(one, model=None) for one in unnamed]
    book = book_of()
    snapshot = lived(book, spans, readings(named + unnamed, until=240), until=240)
    assert of_model(snapshot, "unknown").observed_ok > 150
    assert snapshot.coverage_ratio == pytest.approx(1, abs=0.02)
    assert snapshot.thin is False
    sampled = lived(book_of(), spans[::2], readings(named + unnamed, until=240), until=240)
    assert sampled.coverage_ratio == pytest.approx(0.5, abs=0.02)
    assert sampled.thin is True


@pytest.mark.parametrize(("unnamed", "price"), [(0, 1 / 3), (11, 1 / 3), (6, None)])
def test_a_model_whose_spans_are_in_part_without_its_name_has_no_price(unnamed: int, price: float | None) -> None:
    """Every so many of them; money follows spans, and the server counts all of them."""
    embed = [replace(one, start=i / 2, end=i / 2 + 0.5) for i, one in enumerate(every_second(480, model="embed"))]
    spans = [replace(one, model=None) if unnamed and i % unnamed == 0 else one for i, one in enumerate(embed)]
    served = [*every_second(240), *embed]
    snapshot = lived(book_of(), every_second(240) + spans, readings(served, until=240), until=240)
    window = of_model(snapshot, "embed").windows[0]
    embedding = window.cost_per_inference
    assert window.divisible == (price is not None), "nor joules for an inference, also where nothing has a price"
    assert embedding is price is None or embedding == pytest.approx(price, rel=0.12)
    assert of_model(snapshot, "chat").windows[0].cost_per_inference == pytest.approx(1 / 3, rel=0.12)
    assert snapshot.windows[0].cost == pytest.approx(sum(model.windows[0].cost for model in snapshot.models))


# --- ensembles -----------------------------------------------------------------------------------------------------------------------
def test_calls_by_other_models_count_only_once_a_span_shows_the_model_itself_and_then_from_the_start_on() -> None:
    book = book_of()
    for i in range(1, 4):
        book.add_server_reading(reading(5 * i, {("ensemble", "ok"): 10.0, ("step", "ok"): 20.0}, since=5 * i - 5, inner=True))
    assert book.snapshot(at(15)).totals == {}
    assert book.snapshot(at(15)).models == ()
    book.add(batch([Inference(14, 15, model="ensemble")]), at(16))
    assert book.snapshot(at(16)).totals == {"ensemble": {"ok": 30.0, "error": 0.0}}
    book.add_server_reading(reading(20, {("ensemble", "ok"): 10.0, ("step", "ok"): 20.0}, since=15, inner=True))
    assert book.snapshot(at(20)).totals == {"ensemble": {"ok": 40.0, "error": 0.0}}


def test_held_models_are_bounded() -> None:
    book = ledger(config(limits=Limits(models=3)), gpus=())
    book.add_server_reading(reading(5, {(f"step-{i}", "ok"): 1.0 for i in range(10)}, since=0, inner=True))
    book.add(batch([Inference(1, 2, model=f"step-{i}") for i in range(10)]), at(6))
    totals = book.snapshot(at(6)).totals
    assert totals == {**{f"step-{i}": {"ok": 1.0, "error": 0.0} for i in range(3)}, "other": {"ok": 7.0, "error": 0.0}}


def test_a_model_that_a_span_shows_late_has_its_past_in_the_window_and_in_its_block() -> None:
    book = book_of()
    told = [reading(5 * i, {("chat", "ok"): 50.0}, since=5 * i - 5 if i else None, inner=True) for i in range(100)]
    before = lived(book, [], told, until=250)
    assert before.models == () or of_model(before, "unknown").windows[0].inferences_ok == 0
    snapshot = lived(book, [Inference(299, 300)], told, until=495, start=250)
    window = snapshot.windows[0]
    assert window.inferences_ok == pytest.approx(10 * window.accrued_seconds, rel=0.05)
    book.finish(at(495))
    states = of_model(book.snapshot(at(495))).in_sla_state
    assert sum(states.values()) == pytest.approx(4950, rel=0.03)


# --- windows -------------------------------------------------------------------------------------------------------------------------
def test_one_span_in_twenty_prices_inferences_as_all_of_them_do() -> None:
    served = [Inference(i / 4, i / 4 + (0.2 if i % 5 else 0.9), tokens=(30, 10)) for i in range(1200)]
    whole = lived(book_of(), served, readings(served, until=300), until=300)
    sampled = lived(book_of(), served[::20], readings(served, until=300), until=300)
    all_of, part_of = of_model(whole).windows[0], of_model(sampled).windows[0]
    assert part_of.inferences_observed < 60
    assert part_of.inferences_ok == pytest.approx(4 * sampled.windows[0].accrued_seconds, abs=5)
    assert part_of.cost_per_inference == pytest.approx(1 / 4, rel=0.02)
    assert part_of.tokens == 40 * part_of.inferences_ok
    assert part_of.cost_per_inference_at_sla == {}  # every 20th is one of the slow ones
    assert all_of.cost_per_inference_at_sla["goodput"] == pytest.approx(1 / 4 / 0.8, rel=0.02)
    assert sampled.coverage_ratio == pytest.approx(1 / 20, rel=0.1)
    assert whole.coverage_ratio == pytest.approx(1, abs=0.02)


def test_goodput_is_the_share_of_the_observed_within_on_all_that_was_served() -> None:
    served = [Inference(i / 4, i / 4 + (0.2 if i % 3 else 0.9)) for i in range(1200)]
    window = of_model(lived(book_of(), served[::10], readings(served, until=300), until=300)).windows[0]
    assert window.cost_per_inference_at_sla["goodput"] == pytest.approx(3 / 2 * window.cost_per_inference, rel=0.05)
    assert window.inferences_within_sla == pytest.approx(2 / 3 * window.inferences_ok, rel=0.05)


def test_a_model_of_which_no_span_came_has_no_price_and_misses_nothing() -> None:
    served = every_second(300) + every_second(300, model="silent")
    snapshot = lived(book_of(), served[:300], readings(served, until=300), until=300)
    silent = of_model(snapshot, "silent").windows[0]
    assert silent.inferences_ok > 150
    assert (silent.cost_per_inference, silent.inferences_within_sla, silent.tokens) == (None, None, None)
    assert snapshot.windows[0].waterfall_cost["sla_missed"] == 0
    assert snapshot.windows[0].inferences_within_sla == snapshot.windows[0].inferences_ok


def test_a_model_that_the_server_does_not_count_was_not_served() -> None:
    snapshot = lived(book_of(), every_second(300), [reading(5 * i, {("x", "ok"): 5.0}, since=5 * i - 5) for i in range(1, 60)], until=300)
    window = of_model(snapshot).windows[0]
    assert (window.inferences_ok, window.inferences_within_sla, window.cost_per_inference) == (0, 0, None)
    assert "chat" not in snapshot.totals


def test_a_window_never_reaches_back_before_the_first_reading() -> None:
    served = every_second(400)
    snapshot = lived(book_of(), served, readings(served, until=400, start=103), until=400)
    window = snapshot.windows[0]
    assert window.accrued_seconds == (snapshot.settled_ns - at(110)) // (10 * S) * 10
    assert of_model(snapshot).windows[0].cost_per_inference == pytest.approx(1.0, rel=0.02)


def test_before_anything_closed_since_the_first_reading_a_window_is_empty() -> None:
    served = every_second(400)
    snapshot = lived(book_of(), served, readings(served, until=400, start=395), until=400)
    assert snapshot.windows[0].accrued_seconds == 0
    assert of_model(snapshot).windows[0].cost_per_inference is None


def test_while_the_server_does_not_tell_there_is_no_price_of_an_inference_and_afterwards_all_of_them_are_there() -> None:
    """Totals that stand still while money accrues: the cost of an inference would have grown without bound."""
    served, book = every_second(1200), book_of()
    told = [one for one in readings(served, until=1200) if not at(300) < one.time_ns <= at(705)]
    told += [ServerReading(at(702), at(300), {("chat", "ok"): 402.0}), ServerReading(at(705), at(702), {("chat", "ok"): 3.0})]
    assert of_model(lived(book, served, told, until=300)).windows[0].cost_per_inference == pytest.approx(1, rel=0.02)
    during = lived(book, served, told, until=650, start=300)
    assert during.settled_ns > at(500)
    assert of_model(during).windows[0].cost_per_inference is None
    just_after = of_model(lived(book, served, told, until=705, start=650)).windows[0]
    assert just_after.cost_per_inference is None
    after = lived(book, served, told, until=900, start=705)
    assert of_model(after).windows[0].cost_per_inference == pytest.approx(1, rel=0.02)
    assert after.coverage_ratio == pytest.approx(1, abs=0.02)
    assert not after.thin


@pytest.mark.parametrize(("told_late", "priced"), [(1, True), (2, False)])
def test_what_was_told_late_is_owed_until_its_slot_has_closed_however_often(told_late: int, priced: bool) -> None:
    served, book = every_second(300), book_of(span_delay=1.0)
    lived(book, served, readings(served, until=200), until=200)
    for i in range(told_late):
        book.add_server_reading(reading(135 + 15 * i, {("chat", "ok"): 15.0}, since=120 + 15 * i))
    book.add_server_reading(reading(201, {("chat", "ok"): 1.0}, since=200))
    assert (of_model(book.snapshot(at(201))).windows[0].cost_per_inference is not None) == priced
    told = [one for one in readings(served, until=300, start=201) if one.since_ns is not None]
    assert of_model(lived(book, served, told, until=300, start=201)).windows[0].cost_per_inference is not None


def test_a_window_has_no_price_while_it_holds_what_was_served_before_it() -> None:
    """Ten minutes told in one slot: a window of five of them would have found twice as many inferences as it paid for."""
    served, book = every_second(1600), book_of(windows=(("5m", 300.0), ("1h", 3600.0)))
    told = [one for one in readings(served, until=1600) if not at(300) < one.time_ns <= at(905)]
    told += [ServerReading(at(905), at(300), {("chat", "ok"): 605.0})]
    prices = []
    for until in range(40, 1601, 40):
        short, long = of_model(lived(book, served, told, until=until, start=until - 40)).windows
        prices.append(short.cost_per_inference)
        assert long.cost_per_inference in (None, pytest.approx(1, rel=0.15))
    assert all(price in (None, pytest.approx(1, rel=0.15)) for price in prices)
    assert prices[-1] == pytest.approx(1, rel=0.02)
    assert long.cost_per_inference == pytest.approx(1, rel=0.02)


# --- slots -----------------------------------------------------------------------------------------------------------------------------
def test_increases_lie_in_the_slots_as_the_spans_of_that_time_do() -> None:
    bursts = [Inference(20 * k + i / 10, 20 * k + i / 10 + 0.05) for k in range(30) for i in range(40)]
    book = book_of(windows=(("10s", 10.0), ("20s", 20.0)), span_delay=1.0)
    snapshot = lived(book, bursts, readings(bursts, until=610, interval=10.0, start=5.0), until=610)
    short, long = of_model(snapshot).windows
    assert (short.inferences_ok, long.inferences_ok) in {(0, 40), (40, 40)}


def test_where_no_span_was_seen_increases_lie_evenly() -> None:
    book = book_of(windows=(("10s", 10.0), ("30s", 30.0)))
    told = [reading(20 * i, {("chat", "ok"): 200.0}, since=20 * i - 20 if i else None) for i in range(30)]
    windows = of_model(lived(book, [], told, until=560)).windows
    assert [window.inferences_ok for window in windows] == [100, 300]


def test_a_slot_of_the_report_tells_what_was_served_in_it_though_no_span_came_and_nothing_is_priced() -> None:
    told = [reading(5 * i, {("chat", "ok"): 5.0}, since=5 * i - 5 if i else None) for i in range(80)]
    book = ledger(config(per_hour=None, server=SCRAPED), gpus=(), offline=False)
    assert [slot.served_ok for slot in book.snapshot(at(0)).slots] == []
    slots = lived(book, [], told, until=400).slots
    assert len(slots) == 30
    assert {(slot.model, slot.served_ok, slot.ok) for slot in slots} == {("chat", 10, 0)}


def test_a_slot_waits_for_the_scrape_after_its_end_but_not_for_long() -> None:
    served, book = every_second(400), book_of(span_delay=1.0)
    snapshot = lived(book, served, readings(served, until=105), until=130)
    assert snapshot.settled_ns == at(105)
    assert lived(book, served, [], until=165, start=130).settled_ns == at(105)
    assert lived(book, served, [], until=166, start=165).settled_ns >= at(160)


def test_a_scrape_that_never_worked_holds_nothing_back_after_a_minute() -> None:
    book = book_of(span_delay=1.0)
    assert lived(book, [], [], until=60).settled_ns is None
    assert lived(book, [], [], until=61, start=60).settled_ns is not None


def test_scrapes_further_apart_than_a_minute_are_waited_for() -> None:
    patient = config(server=Server(metrics_url="http://x/", metrics_interval=120.0), span_delay=1.0)
    book, served = ledger(patient, gpus=(), offline=False), every_second(710)
    snapshot = lived(book, served, readings(served, until=720, interval=120.0), until=700)
    assert (snapshot.settled_ns, snapshot.thin) == (at(600), False)


def test_a_clock_that_was_set_back_loses_no_inference() -> None:
    book = book_of(span_delay=1.0)
    lived(book, [], [reading(5 * i, {("chat", "ok"): 5.0}, since=5 * i - 5 if i else None) for i in range(60)], until=299)
    for time, since in ((100, 295), (105, 100), (-(10**7), 105), (-(10**7) + 5, -(10**7))):
        book.add_server_reading(reading(time, {("chat", "ok"): 5.0}, since=since))
    snapshot = lived(book, [], [reading(305, {("chat", "ok"): 5.0}, since=300)], until=400, start=299)
    assert snapshot.totals["chat"]["ok"] == 59 * 5 + 25
    assert of_model(snapshot).windows[0].inferences_ok == 59 * 5 + 25


def test_a_clock_that_was_set_ahead_by_decades_keeps_memory_and_counts() -> None:
    book = book_of()
    leap = 40 * 365 * 86_400
    book.add_server_reading(reading(5, {("chat", "ok"): 5.0}, since=0))
    book.add_server_reading(reading(leap, {("chat", "ok"): 5.0}, since=5))
    snapshot = lived(book, [], [], until=leap + 200, start=leap)
    assert snapshot.totals == {"chat": {"ok": 10.0, "error": 0.0}}


def test_a_replay_ends_with_everything_in_its_window() -> None:
    book = ledger(config(sla=SLA), gpus=())
    served = every_second(60)
    book.add(batch(served), at(60))
    for one in readings(served, until=60):
        book.add_server_reading(one)
    book.finish(at(60))
    assert of_model(book.snapshot(at(60))).windows[0].cost_per_inference == pytest.approx(1.0)

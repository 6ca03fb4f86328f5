"""Times that the server itself tells: booked where no span has come, never beside one, and said to be a fallback."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate, pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from infermeter.config import Server, Sla
from infermeter.ledger import Ledger
from infermeter.model import Histogram, LedgerSnapshot, ServerReading, ServerTime, Stage, TimeOf
from support.ledgers import Inference, at, batch, config, ledger, of_model, samples
from support.server_readings import lived, reading

SERVER = Server(metrics_url="http://127.0.0.1:8000/metrics")
Times = dict[TimeOf, ServerTime]
EACH: Times = {
    "duration": ServerTime(5.0, {0.5: 4.0, 1.0: 8.0, math.inf: 10.0}),
    "ttft": ServerTime(1.0, {0.08: 3.0, math.inf: 10.0}),
    "queue": ServerTime(1.5, {0.01: 5.0, 1.0: 10.0, math.inf: 10.0}),
    "compute": ServerTime(3.0, {math.inf: 10.0}),
    ("compute", "prefill"): ServerTime(0.75, {math.inf: 10.0}),
}
"""Of ten inferences every five seconds."""

USED = (lambda model: model.energy_joules, lambda model: model.cost)


def book_of(**other: object) -> Ledger:
    return ledger(config(server=SERVER, **other), gpus=(), offline=False)


def readings(
    until: int, times: Times | None = None, *, model: str | None = "chat", first: int = 0, every: int = 5, inner: bool = False
) -> list[ServerReading]:
    """A baseline, and then the same at every reading."""
    told = EACH if times is None else times
    zeros: Times = {of: ServerTime(0.0, dict.fromkeys(time.at_most, 0.0)) for of, time in told.items()}
    return [
        reading(
            time,
            {(model, "ok"): 0.0 if time == first else 10.0},
            since=None if time == first else time - every,
            inner=inner,
            times={model: zeros if time == first else told},
        )
        for time in range(first, until + 1, every)
    ]


def lives(until: int, told: list[ServerReading], spans: list[Inference] | None = None, **other: object) -> LedgerSnapshot:
    return lived(book_of(**other), spans or [], told, until=until)


def counted(histogram: Histogram | None) -> int:
    return 0 if histogram is None else sum(histogram.counts)


# --- without spans -----------------------------------------------------------------------------------------------------------------
def test_a_server_without_spans_tells_durations_stages_and_parts_with_quality_fallback() -> None:
    snapshot = lives(300, readings(300))
    chat = of_model(snapshot)
    readings_booked, rest = divmod(counted(chat.duration), 10)
    assert rest == 0
    assert 40 <= readings_booked <= 54  # all but those whose spans could still come
    assert chat.duration.sum_seconds == pytest.approx(5.0 * readings_booked)
    at_most = dict(zip((*chat.duration.edges_seconds, math.inf), accumulate(chat.duration.counts), strict=True))
    assert (at_most[0.32], at_most[0.64], at_most[1.28]) == (0, 4 * readings_booked, 8 * readings_booked)
    assert counted(chat.ttft) == counted(chat.duration)
    assert chat.tpot is None
    assert set(chat.stages) == {"queue", "compute", "other"}
    assert chat.stages["compute"].counts[-1] == counted(chat.stages["compute"]) == 10 * readings_booked  # a sum has no buckets
    assert chat.stages["other"].sum_seconds == pytest.approx(0.5 * readings_booked)
    assert chat.part_seconds == {("compute", "prefill"): pytest.approx(0.75 * readings_booked)}
    assert snapshot.stage_quality == {"queue": "fallback", "compute": "fallback", "other": "fallback"}


def test_nothing_of_it_is_observed_and_no_verdict_comes_of_it() -> None:
    snapshot = lives(400, readings(400), sla=Sla(0.5, 1.0))
    chat = of_model(snapshot)
    assert counted(chat.duration) > 300
    assert (chat.observed_ok, chat.observed_error, chat.within_sla) == (0, 0, 0)
    assert sum(chat.in_sla_state.values()) == 0 or chat.in_sla_state["met"] == chat.in_sla_state["missed"] == 0
    (window,) = chat.windows
    assert (window.inferences_observed, window.inferences_within_sla or 0) == (0, 0)
    assert window.latency_at_sla_quantile_seconds == {}
    assert window.sla_state == "insufficient"


def test_a_model_that_the_server_told_nothing_of_yet_has_its_histograms_born_at_0() -> None:
    chat = of_model(lives(100, readings(0)))
    assert counted(chat.stages["queue"]) == 0
    assert chat.ttft is not None
    assert "other" not in chat.stages


def test_stages_without_a_whole_have_no_rest_and_are_in_no_window() -> None:
    chat = of_model(lives(300, readings(300, {"compute": EACH["compute"]})))
    assert set(chat.stages) == {"compute"}
    assert chat.windows[0].stage_seconds == {}


def test_a_time_of_an_unknown_number_of_inferences_is_in_parts_and_in_no_histogram() -> None:
    times: Times = {("compute", "prefill"): ServerTime(1.0), "compute": ServerTime(1.0)}
    chat = of_model(lives(300, readings(300, times)))
    assert chat.stages == {}
    assert chat.part_seconds["compute", "prefill"] > 30


def test_stages_that_are_ahead_of_their_durations_leave_no_rest_and_the_rest_never_falls() -> None:
    ahead: Times = {"duration": ServerTime(1.0, {math.inf: 1.0}), "queue": ServerTime(2.0, {math.inf: 1.0})}
    behind: Times = {"duration": ServerTime(3.0, {math.inf: 1.0}), "queue": ServerTime(0.5, {math.inf: 1.0})}
    told = [*readings(0, ahead), *(one for start, times in ((5, ahead), (10, behind), (15, ahead)) for one in readings(start, times)[-1:])]
    book = book_of()
    rests = []
    for second in range(1, 101):
        for one in told:
            if at(second - 1) - (second == 1) < one.time_ns <= at(second):
                book.add_server_reading(one)
        book.advance(at(second), 10**9)
        other = of_model(book.snapshot(at(second))).stages.get("other")
        rests.append(None if other is None else other.sum_seconds)
    assert [rest for rest, after in pairwise(rests) if rest != after] == [None]
    assert rests[-1] == pytest.approx(1.5)  # 1 - 2 + 3 - 0.5, and what came after was ahead again


@pytest.mark.parametrize("label", ["1m", "5m"])
def test_a_window_holds_the_seconds_of_its_own_slots(label: str) -> None:
    length = {"1m": 60, "5m": 300}[label]
    snapshot = lives(600, readings(600), windows=((label, float(length)),))
    stages = of_model(snapshot).windows[0].stage_seconds
    assert stages == {"queue": pytest.approx(0.3 * length), "compute": pytest.approx(0.6 * length), "other": pytest.approx(0.1 * length)}


def test_a_server_that_is_down_leaves_its_counters_where_they_are_and_windows_without_stages() -> None:
    minute = (("1m", 60.0),)
    before, after = (lives(until, readings(600), windows=minute) for until in (600, 1300))
    assert of_model(before).windows[0].stage_seconds
    assert of_model(after).windows[0].stage_seconds == {}
    assert counted(of_model(after).duration) == 1200 > counted(of_model(before).duration)


def test_what_an_outage_made_late_is_counted_and_in_no_window_of_its_slots() -> None:
    told = [*readings(100), reading(400, {("chat", "ok"): 600.0}, since=100, times={"chat": EACH}), *readings(700, first=400)[1:]]
    snapshots = [lives(until, told, windows=(("1m", 60.0),)) for until in (520, 800)]
    assert [bool(of_model(snapshot).windows[0].stage_seconds) for snapshot in snapshots] == [False, True]
    assert counted(of_model(snapshots[-1]).duration) == 20 * 10 + 10 + 60 * 10


def test_more_seconds_than_there_can_be_are_counted_and_in_no_window() -> None:
    told = readings(600)
    told[40] = replace(told[40], times={"chat": EACH | {"queue": ServerTime(2.0**53, {math.inf: 10.0})}})
    chat = of_model(lives(600, told, windows=(("5m", 300.0),)))
    assert chat.windows[0].stage_seconds["queue"] == pytest.approx(59 * 1.5)
    assert chat.stages["queue"].sum_seconds > 2.0**53


def test_energy_and_money_of_a_server_without_spans_are_all_there_and_idle_only_while_its_gauge_says_that_nothing_runs() -> None:
    told = [replace(one, running=2.0 if one.time_ns < at(600) else 0.0, model="chat") for one in readings(1200)]
    book = ledger(config(server=SERVER, baseline_watts=60.0), offline=False)
    snapshot = lived(book, [], told, samples(1200, utilisation=None), until=1200)
    (window,) = snapshot.windows
    (gpu,) = snapshot.gpus
    settled = snapshot.settled_ns - at(0)
    joules, cost = (
        {use: sum(of(model).get(use, 0.0) for model in snapshot.models) for use in ("active", "idle", "unattributed")} for of in USED
    )
    assert sum(joules.values()) == pytest.approx(100.0 * settled / 1e9)
    assert sum(cost.values()) == pytest.approx(settled / 1e9)
    assert joules["active"] == 0
    assert joules["idle"] == pytest.approx(100.0 * (settled / 1e9 - 600), rel=0.02)
    assert gpu.state_seconds["held_idle"] > 0
    assert window.inferences_ok == of_model(snapshot).windows[0].inferences_ok > 0
    assert of_model(snapshot).windows[0].cost_per_inference == pytest.approx(0.5, rel=0.02)


# --- beside spans ------------------------------------------------------------------------------------------------------------------
def test_where_the_server_leaves_spans_from_the_start_nothing_is_booked() -> None:
    spans = [Inference(second + 0.25, second + 0.75) for second in range(300)]
    snapshot = lives(310, readings(300), spans)
    chat = of_model(snapshot)
    assert counted(chat.duration) == chat.observed_ok == 300
    assert set(chat.stages) == set(of_model(lives(310, [], spans)).stages)
    assert "fallback" not in snapshot.stage_quality.values()


def test_what_the_server_told_while_the_first_spans_were_under_way_is_booked_once() -> None:
    """Spans that come twenty seconds after their inferences, as a batch processor's may."""
    book = book_of()
    told = readings(300, {"duration": ServerTime(2.5, {1.0: 5.0, math.inf: 5.0})})
    for second in range(1, 331):
        for one in told:
            if at(second - 1) - (second == 1) < one.time_ns <= at(second):
                book.add_server_reading(one)
        if 20 < second <= 320:
            book.add(batch([Inference(second - 20.75, second - 20.25)]), at(second))
        book.advance(at(second), 10**9)
    assert counted(of_model(book.snapshot(at(330))).duration) == 300


def test_from_the_first_span_on_nothing_more_is_booked_and_nothing_falls() -> None:
    spans = [Inference(second + 0.25, second + 0.75) for second in range(400, 500)]
    told = readings(600)
    before, after, later = (lives(until, told, spans) for until in (399, 520, 620))
    own = counted(of_model(before).duration)
    assert own > 600
    assert counted(of_model(after).duration) - 100 >= own
    assert counted(of_model(later).duration) == counted(of_model(after).duration)
    assert of_model(later).stages["queue"].sum_seconds == of_model(after).stages["queue"].sum_seconds
    assert later.stage_quality["queue"] == "fallback"  # a part of what is told is


def test_the_stages_of_a_window_with_spans_are_those_of_the_spans() -> None:
    spans = [Inference(second + 0.25, second + 0.75) for second in range(400, 500)]
    window = of_model(lives(560, readings(560), spans)).windows[0]
    assert window.inferences_observed > 0
    assert sum(window.stage_seconds.values()) == pytest.approx(0.5 * window.inferences_observed)


def test_of_several_models_only_those_without_spans_are_booked() -> None:
    told = [
        reading(one.time_ns / 1e9 - at(0) / 1e9, {**one.inferences, ("quiet", "ok"): 1.0}, since=since, times={**one.times, "quiet": EACH})
        for one, since in zip(readings(300), [None, *range(0, 300, 5)], strict=True)
    ]
    snapshot = lives(320, told, [Inference(second + 0.25, second + 0.75) for second in range(300)])
    assert counted(of_model(snapshot).duration) == 300
    assert counted(of_model(snapshot, "quiet").duration) > 300


@pytest.mark.parametrize(("of_spans", "of_server"), [("else", "chat"), ("else", None), (None, None)])
def test_spans_by_a_name_that_the_server_does_not_tell_may_be_of_any_model(of_spans: str | None, of_server: str | None) -> None:
    spans = [Inference(second + 0.25, second + 0.75, model=of_spans) for second in range(300)]
    snapshot = lives(320, readings(300, model=of_server), spans)
    assert sum(counted(model.duration) for model in snapshot.models) == 300


def test_calls_by_other_models_are_no_inferences() -> None:
    snapshot = lives(300, readings(300, inner=True))
    assert [counted(model.duration) for model in snapshot.models] in ([], [0])
    assert snapshot.stage_quality == {}


# --- laws --------------------------------------------------------------------------------------------------------------------------
SECONDS = st.integers(0, 40).map(lambda quarters: quarters / 4)


@st.composite
def server_times(draw: st.DrawFn) -> Times:
    """What one reading tells, in no order that a server would keep."""
    told: Times = {}
    for of in draw(st.sets(st.sampled_from(["duration", "ttft", "queue", "compute"]), max_size=4)):
        edges = draw(st.dictionaries(st.sampled_from([0.02, 0.3, 1.0, 50.0]), st.integers(0, 9).map(float), max_size=3))
        told[of] = ServerTime(draw(SECONDS), {**edges, math.inf: float(draw(st.integers(0, 9)))})
    return told


@settings(max_examples=15)
@given(st.lists(server_times(), min_size=1, max_size=10), st.none() | st.integers(5, 120))
def test_counters_never_fall_and_what_is_booked_is_what_was_told_before_the_first_span(told: list[Times], first_span: int | None) -> None:
    book = book_of()
    book.add_server_reading(reading(0.0, {("chat", "ok"): 0.0}))
    booked: list[float] = []
    before: dict[Stage | str, tuple[list[int], float]] = {}
    for second in range(1, 160):
        if second % 5 == 0 and second // 5 <= len(told):
            times = told[second // 5 - 1]
            book.add_server_reading(reading(second, {("chat", "ok"): 1.0}, since=second - 5, times={"chat": times}))
            booked.append(times["duration"].at_most[math.inf] if "duration" in times else 0.0)
        if second == first_span:
            book.add(batch([Inference(second - 0.5, second - 0.25)]), at(second))
        book.advance(at(second), 10**9)
        if second % 30 == 9:
            now: dict[Stage | str, tuple[list[int], float]] = {}
            for model in (one for one in book.snapshot(at(second)).models if one.model == "chat"):
                for of, histogram in {**model.stages, "duration": model.duration, "ttft": model.ttft}.items():
                    if histogram is not None:
                        now[of] = list(accumulate(histogram.counts)), histogram.sum_seconds
            for of, (counts, seconds) in before.items():
                if counts[-1] or seconds:
                    assert all(a <= b for a, b in zip(counts, now[of][0], strict=True))
                    assert seconds <= now[of][1]
            before = now
    total = before["duration"][0][-1] if "duration" in before else 0
    if first_span is None:
        assert total == sum(booked)
    else:
        assert total - 1 in {sum(booked[:n]) for n in range(len(booked) + 1) if n * 5 <= max(first_span - 30, 0)}

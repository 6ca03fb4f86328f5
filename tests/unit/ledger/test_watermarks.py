import numpy as np

from infermeter.ledger.watermarks import Recent, Watermarks

S = 1_000_000_000


def ns(*seconds: float) -> np.ndarray:
    return np.array([round(one * S) for one in seconds])


def test_without_spans_the_delay_is_the_configured_one_and_the_longest_twice_that() -> None:
    marks = Watermarks(0, span_delay_seconds=30, sampling_seconds=1)
    marks.move(200 * S)
    assert (marks.counting_slot, marks.energy_tick) == (17, 110)


def test_long_inferences_hold_the_energy_watermark_back_up_to_15_minutes() -> None:
    marks = Watermarks(0, span_delay_seconds=30, sampling_seconds=1)
    marks.observe(ns(0.1), ns(300))
    marks.move(1000 * S)
    assert 1000 - 30 - 304 <= marks.energy_tick <= 1000 - 30 - 300
    marks.observe(ns(0.1), ns(5000))
    marks.move(3000 * S)
    assert marks.energy_tick == 3000 - 30 - 900


def test_slow_senders_let_the_delay_grow_to_2_minutes() -> None:
    marks = Watermarks(0, span_delay_seconds=30, sampling_seconds=1)
    marks.observe(ns(60), ns(1))
    marks.move(1000 * S)
    assert marks.counting_slot == 93
    marks.observe(ns(600), ns(1))
    marks.move(2000 * S)
    assert marks.counting_slot == 188


def test_neither_ever_moves_back() -> None:
    marks = Watermarks(0, span_delay_seconds=30, sampling_seconds=1)
    marks.move(1000 * S)
    before = marks.counting_slot, marks.energy_tick
    marks.observe(ns(600), ns(900))
    for now in (500, 1000, 1001):
        marks.move(now * S)
        assert (marks.counting_slot, marks.energy_tick) == before


def test_what_was_seen_two_hours_ago_is_forgotten() -> None:
    recent = Recent()
    assert recent.high_ns(0) == 0
    recent.add(ns(100))
    assert recent.high_ns(1) >= 100 * S
    assert recent.high_ns(3600 * S) >= 100 * S
    assert recent.high_ns(2 * 3600 * S) == 0


def test_at_the_end_everything_has_arrived() -> None:
    marks = Watermarks(0, span_delay_seconds=30, sampling_seconds=1)
    marks.finish(95 * S + 1)
    assert (marks.counting_slot, marks.energy_tick) == (10, 96)


def test_a_tick_waits_for_its_samples() -> None:
    marks = Watermarks(0, span_delay_seconds=1, sampling_seconds=10)
    marks.move(100 * S)
    assert marks.energy_tick == 69

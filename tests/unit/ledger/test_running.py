"""The server's own count of running inferences, between two scrapes that are near each other."""

from infermeter.ledger.running import Running, RunningGauge

T = 1_000_000_000


def gauge(*readings: tuple[float, float | None], interval: float = 5.0) -> RunningGauge:
    told = RunningGauge(0, interval_seconds=interval)
    for time, running in readings:
        told.read(round(time * T), running)
    return told


def test_before_two_readings_nothing_is_told() -> None:
    assert gauge((0, 1)).tick(0, T) is None
    assert gauge((0, None), (5, 1)).tick(2, T) is None
    assert gauge((0, 1), (5, None)).tick(2, T) is None
    assert gauge((0, 1), (5, 1), (120, 1), (125, 1)).tick(60, T) is None


def test_what_ran_at_both_scrapes_ran_between_them() -> None:
    assert gauge((0, 3), (5, 2)).tick(2, T) == Running(1.0, 1.0, 2.0)
    assert gauge((0, 0), (5, 0)).tick(2, T) == Running(1.0, 0.0, 0.0)


def test_of_two_scrapes_that_differ_each_speaks_for_its_half() -> None:
    told = gauge((0, 0), (5, 4))
    assert [told.tick(tick, T) for tick in (1, 2, 3)] == [Running(1.0, 0.0, 0.0), Running(1.0, 0.5, 0.0), Running(1.0, 1.0, 0.0)]


def test_scrapes_that_are_far_apart_tell_nothing() -> None:
    assert gauge((0, 1), (15, 1)).tick(7, T) is not None
    assert gauge((0, 1), (15.1, 1)).tick(7, T) is None


def test_a_clock_that_goes_back_tells_nothing() -> None:
    told = gauge((5, 1), (5, 1), (3, 1))
    assert told.tick(4, T) is None
    told.read(6 * T, 1)
    assert told.tick(4, T) == Running(1.0, 1.0, 1.0)


def test_a_tick_that_is_told_in_part_is_told_in_part() -> None:
    assert gauge((0.75, 2), (3, 2)).tick(0, T) == Running(0.25, 0.25, 2.0)
    assert gauge((0.5, 2), (3, 2)).tick(0, T // 2) == Running(1.0, 1.0, 2.0)


def test_settled_ticks_are_forgotten() -> None:
    told = gauge((0, 1), (5, 1))
    told.forget(3)
    told.read(10 * T, 1)
    assert told.tick(3, T) == Running(1.0, 1.0, 1.0)
    assert told.tick(50, T) is None
    told.forget(90)
    told.read(12 * T, 1)
    assert told.tick(90, T) is None


def test_what_ran_for_sure_ran_at_every_scrape_of_a_minute_before_or_after() -> None:
    told = gauge(*((second, 4 if second % 40 == 20 else 9) for second in range(0, 181, 5)))
    assert [told.tick(tick, T) for tick in (70, 82, 99)] == [Running(1.0, 1.0, 4.0)] * 3
    begun = gauge(*((second, 9 if second >= 70 else 4) for second in range(0, 181, 5)))
    assert [begun.tick(tick, T) for tick in (64, 70, 134)] == [Running(1.0, 1.0, least) for least in (4.0, 9.0, 9.0)]
    begun.forget(100)
    assert begun.tick(100, T) == Running(1.0, 1.0, 9.0)

import numpy as np

from infermeter.ledger.timeline import Timeline


def timeline(first: int = 100) -> Timeline[np.int64]:
    return Timeline(first, (2,), np.int64)


def test_rows_are_zero_until_written_and_only_those_that_exist_are_read() -> None:
    line = timeline()
    line.row(103)[1] = 7
    assert line.rows(0, 200).tolist() == [[0, 0], [0, 0], [0, 0], [0, 7]]
    assert line.rows(104, 200).tolist() == []
    assert line.rows(50, 60).tolist() == []


def test_positions_may_repeat_in_one_booking() -> None:
    line = timeline()
    line.book(np.array([101, 101, 102]), np.array([0, 0, 1]), np.array([1, 2, 3]))
    line.book(np.array([], np.int64), np.array([], np.int64), 1)
    assert line.rows(100, 103).tolist() == [[0, 0], [3, 0], [0, 3]]


def test_what_was_written_survives_growth_in_both_directions() -> None:
    line = timeline()
    for index in range(100, 1000):
        line.row(index)[0] = index
    line.widen(5)
    line.widen(3)
    assert line.width >= 5
    assert line.rows(100, 1000)[:, 0].tolist() == list(range(100, 1000))


def test_dropped_rows_are_gone_and_never_come_back() -> None:
    line = timeline()
    line.row(150)[0] = 1
    line.drop(140)
    line.drop(120)
    assert (line.first, line.stop) == (140, 151)
    assert line.rows(0, 200)[:, 0].tolist() == [0] * 10 + [1]
    line.drop(10**12)
    assert (line.first, line.stop) == (10**12, 10**12)
    assert line.row(10**12).tolist() == [0, 0]


def test_memory_follows_what_is_kept_not_how_far_time_went() -> None:
    line = timeline(0)
    for index in range(0, 100_000, 10):
        line.row(index)[0] = 1
        line.drop(index - 50)
    assert line.rows(0, 10**6).base.nbytes < 10_000


def test_rows_are_as_wide_as_they_must_be_and_seldom_moved_once_they_are_wide() -> None:
    line = Timeline(0, (1,), np.int64)
    widths = []
    for width in range(1, 1001):
        line.widen(width)
        widths.append(line.width)
    assert widths[:5] == [1, 2, 3, 4, 5]
    assert len(set(widths)) < 32
    assert all(line <= 1.25 * width for width, line in enumerate(widths, start=1))


def test_what_has_room_for_so_many_rows_stays_where_it_is_until_there_are_more() -> None:
    line = Timeline(0, (1,), np.int64, least_rows=500)
    place = line.row(0).base
    for index in range(500):
        line.row(index)[0] = index
    assert line.row(499).base is place
    assert line.row(500).base is not place
    line.drop(490)
    line.row(10_000)
    line.drop(9_990)
    line.row(30_000)
    line.drop(29_990)
    line.row(30_600)
    assert len(line.rows(0, 30_600).base) >= 500

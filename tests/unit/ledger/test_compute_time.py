import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.ledger import compute
from infermeter.ledger.compute import ComputeTime

T = 1_000_000_000
intervals = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20 * T), st.integers(0, 20 * T)), min_size=1, max_size=15)


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.array(column, np.int64) for column in zip(*rows, strict=True))


def slow_union(rows: list[tuple[int, int, int]], tick: int) -> int:
    covered, reached = 0, 0
    for start, end in sorted((max(a, tick * T), min(b, (tick + 1) * T)) for _, a, b in rows):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered


@given(intervals, st.integers(1, 19), st.integers(1, 15))
def test_every_tick_has_the_overlap_of_each_model_and_of_their_union_however_they_came(
    rows: list[tuple[int, int, int]], settled_first: int, cut: int
) -> None:
    book = ComputeTime(0, bounded=True)
    for part in (rows[:cut], rows[cut:]):
        if part:
            book.add(*columns(part))
    parts = [book.settle(settled_first), book.settle(20)]
    by_model, union = (np.concatenate(column) for column in zip(*parts, strict=True))
    for tick in range(20):
        for model in range(3):
            expected = sum(max(0, min(b, (tick + 1) * T) - max(a, tick * T)) for m, a, b in rows if m == model)
            assert (by_model[tick, model] if model < by_model.shape[1] else 0) == expected
        assert union[tick] == slow_union(rows, tick)


def test_what_lies_before_the_first_tick_takes_no_part() -> None:
    book = ComputeTime(10, bounded=True)
    book.add(*columns([(0, 5 * T, 7 * T), (0, 9 * T, 10 * T + 5)]))
    by_model, union = book.settle(11)
    assert by_model[0, 0] == union[0] == 5
    assert book.stop_tick == 11


def test_nothing_is_booked_from_empty_intervals() -> None:
    book = ComputeTime(0, bounded=True)
    book.add(*columns([(0, 5, 5)]))
    assert book.stop_tick == 0


def test_ticks_that_are_skipped_are_gone() -> None:
    book = ComputeTime(0, bounded=True)
    book.skip(10**9)
    assert book.first_tick == 10**9


def test_too_many_pauses_lose_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_MOST_INTERVALS", 8)
    monkeypatch.setattr(compute, "_COMPACT_AT", 4)
    rows = [(0, i * 1000, i * 1000 + (999 if i % 2 else 500)) for i in range(10)]
    bounded, whole = ComputeTime(0, bounded=True), ComputeTime(0, bounded=False)
    for book in (bounded, whole):
        book.add(*columns(rows))
    assert whole.settle(1)[1].tolist() == [5 * 999 + 5 * 500]
    assert 5 * 999 + 5 * 500 < bounded.settle(1)[1][0] <= 10 * 1000

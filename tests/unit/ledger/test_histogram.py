import numpy as np
import pytest

from infermeter.ledger.histogram import BASE_EDGES_SECONDS, FAMILIES, Histograms
from infermeter.model import Histogram, Signal, SlaTarget, Stage

MINE, THEIRS = SlaTarget(0.99, 0.3, 0.01, None), SlaTarget(0.99, 0.5, None, 0.03)


def histograms() -> Histograms:
    book = Histograms([MINE, THEIRS, None])
    book.know([MINE, THEIRS])
    return book


def add(book: Histograms, *values: tuple[int, float], code: int = 0, signal: int = 0, slot: int = 0) -> None:
    values_ns = np.full((8, len(values)), -1)
    values_ns[signal] = [round(seconds * 1e9) for _, seconds in values]
    ids = [bytes([trace]) * 16 for trace, _ in values]
    ends = np.array([trace for trace, _ in values])
    book.add(np.full(len(values), code), values_ns, ends, np.full(len(values), slot), ids.__getitem__)
    sums_ns = np.zeros((1, 8), np.int64)
    sums_ns[0, signal] = values_ns[signal].sum()
    book.add_sums(np.array([code]), sums_ns)


def of(book: Histograms, code: int, family: Signal | Stage = "duration") -> Histogram:
    return book.of(code).histograms[FAMILIES.index(family)]


def traces(book: Histograms, code: int = 0) -> list[tuple[str, float, int]]:
    """The exemplars that there are of durations."""
    return [tuple(one) for one in of(book, code).exemplars if one is not None]


def test_a_models_own_target_is_an_edge_of_its_own_and_nobody_elses() -> None:
    book = histograms()
    book.know([None])
    assert of(book, 0).edges_seconds == tuple(sorted((*BASE_EDGES_SECONDS["duration"], 0.3)))
    assert of(book, 1).edges_seconds == tuple(sorted((*BASE_EDGES_SECONDS["duration"], 0.5)))
    assert of(book, 0, "ttft").edges_seconds == BASE_EDGES_SECONDS["ttft"]
    assert of(book, 2, "tpot").edges_seconds == BASE_EDGES_SECONDS["tpot"]


def test_a_value_equal_to_an_edge_is_at_or_below_it() -> None:
    book = histograms()
    add(book, (1, 0.3), (2, 0.300000001), (3, 0.0025), (4, 1000.0))
    histogram = of(book, 0)
    counted = dict(zip((*histogram.edges_seconds, None), histogram.counts, strict=True))
    assert {edge: n for edge, n in counted.items() if n} == {0.0025: 1, 0.3: 1, 0.32: 1, None: 1}
    assert histogram.sum_seconds == pytest.approx(1000.602500001)


def test_the_same_counts_read_without_anothers_target_lose_nothing() -> None:
    book = histograms()
    add(book, (1, 0.31), (2, 0.4), (3, 0.6), code=1)
    histogram = of(book, 1)
    counted = dict(zip((*histogram.edges_seconds, None), histogram.counts, strict=True))
    assert {edge: n for edge, n in counted.items() if n} == {0.32: 1, 0.5: 1, 0.64: 1}


def test_each_bucket_keeps_the_first_to_come_until_one_comes_of_a_later_slot() -> None:
    book = histograms()
    add(book, (9, 0.5), (7, 0.45))
    add(book, (8, 0.46), (3, 2.0))
    assert traces(book) == [("09" * 16, 0.5, 9), ("03" * 16, 2.0, 3)]
    add(book, (12, 0.47), (11, 0.48), slot=1)
    add(book, (13, 0.49), (10, 30.0))
    assert traces(book) == [("0c" * 16, 0.47, 12), ("03" * 16, 2.0, 3), ("0a" * 16, 30.0, 10)]


def test_of_a_batch_that_spans_slots_the_first_of_the_last_one_is_kept() -> None:
    book = histograms()
    values_ns = np.full((8, 4), -1)
    values_ns[0] = 500_000_000
    book.add(
        np.zeros(4, np.int64), values_ns, np.array([5, 6, 7, 4]), np.array([1, 2, 2, 0]), [bytes([i]) * 16 for i in range(4)].__getitem__
    )
    assert traces(book) == [("01" * 16, 0.5, 6)]


def test_what_came_too_late_for_a_slot_is_an_exemplar_only_where_there_is_none() -> None:
    book = histograms()
    add(book, (1, 0.5), slot=-1)
    assert traces(book) == [("01" * 16, 0.5, 1)]
    add(book, (2, 0.5), slot=0)
    add(book, (3, 0.5), slot=-1)
    assert traces(book) == [("02" * 16, 0.5, 2)]


def test_where_anothers_target_splits_a_bucket_its_exemplar_is_the_one_that_ended_last() -> None:
    book = histograms()
    add(book, (9, 0.29), (7, 0.31), code=1)
    assert of(book, 1).counts[BASE_EDGES_SECONDS["duration"].index(0.32)] == 2
    assert traces(book, 1) == [("09" * 16, 0.29, 9)]


def test_what_has_not_changed_is_the_same_object() -> None:
    book = histograms()
    add(book, (1, 0.5))
    before = book.of(0)
    add(book, (2, 0.5), code=1)
    assert book.of(0) is before
    add(book, (3, 0.05), signal=1)
    assert of(book, 0) is before.histograms[0]
    assert of(book, 0, "ttft") is not before.histograms[1]
    assert of(book, 0).exemplars is before.histograms[0].exemplars


def test_a_stage_that_is_not_told_is_not_counted() -> None:
    book = histograms()
    values_ns = np.array([[10**9], [-1], [-1], [1_000_000], [2_000_000_000], [-1], [-1], [0]])
    book.add(np.array([0]), values_ns, np.array([1]), np.array([0]), [b"\x01" * 16].__getitem__)
    book.add_sums(np.array([0]), np.maximum(values_ns, 0).T)
    assert book.of(0).inferences == [1, 0, 0, 1, 1, 0, 0, 1]
    assert of(book, 0, "compute").counts == (0, 0, 0, 0, 0, 1, 0)
    assert of(book, 0, "compute").sum_seconds == 2.0
    assert of(book, 0, "compute").exemplars == ()
    assert book.of(1).inferences == [0] * 8


def test_what_is_counted_after_a_reading_is_in_the_next() -> None:
    book = histograms()
    assert sum(of(book, 0).counts) == 0
    add(book, (1, 0.31))
    assert sum(of(book, 0).counts) == 1
    add(book, (2, 0.31))
    book.know([None])
    add(book, (3, 0.31), code=2)
    assert [sum(of(book, code).counts) for code in (0, 1, 2)] == [2, 0, 1]

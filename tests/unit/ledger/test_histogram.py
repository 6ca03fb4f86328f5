import numpy as np
import pytest

from infermeter.ledger.histogram import BASE_EDGES_SECONDS, Histograms
from infermeter.model import SlaTarget

MINE, THEIRS = SlaTarget(0.99, 0.3, 0.01, None), SlaTarget(0.99, 0.5, None, 0.03)


def histograms() -> Histograms:
    book = Histograms([MINE, THEIRS, None])
    book.widen(2)
    return book


def add(book: Histograms, *values: tuple[int, float], code: int = 0, signal: int = 0) -> None:
    values_ns = np.full((8, len(values)), -1)
    values_ns[signal] = [round(seconds * 1e9) for _, seconds in values]
    ids = [bytes([trace]) * 16 for trace, _ in values]
    ends = np.array([trace for trace, _ in values])
    book.add(np.full(len(values), code), values_ns, ends, ids.__getitem__)
    sums_ns = np.zeros((1, 8), np.int64)
    sums_ns[0, signal] = values_ns[signal].sum()
    book.add_sums(np.array([code]), sums_ns)


def test_a_models_own_target_is_an_edge_of_its_own_and_nobody_elses() -> None:
    book = histograms()
    assert book.signal(0, "duration", MINE).edges_seconds == tuple(sorted((*BASE_EDGES_SECONDS["duration"], 0.3)))
    assert book.signal(1, "duration", THEIRS).edges_seconds == tuple(sorted((*BASE_EDGES_SECONDS["duration"], 0.5)))
    assert book.signal(0, "ttft", MINE).edges_seconds == BASE_EDGES_SECONDS["ttft"]
    assert book.signal(0, "tpot", None).edges_seconds == BASE_EDGES_SECONDS["tpot"]


def test_a_value_equal_to_an_edge_is_at_or_below_it() -> None:
    book = histograms()
    add(book, (1, 0.3), (2, 0.300000001), (3, 0.0025), (4, 1000.0))
    histogram = book.signal(0, "duration", MINE)
    counted = dict(zip((*histogram.edges_seconds, None), histogram.counts, strict=True))
    assert {edge: n for edge, n in counted.items() if n} == {0.0025: 1, 0.3: 1, 0.32: 1, None: 1}
    assert histogram.sum_seconds == pytest.approx(1000.602500001)


def test_the_same_counts_read_without_anothers_target_lose_nothing() -> None:
    book = histograms()
    add(book, (1, 0.31), (2, 0.4), (3, 0.6), code=1)
    histogram = book.signal(1, "duration", THEIRS)
    counted = dict(zip((*histogram.edges_seconds, None), histogram.counts, strict=True))
    assert {edge: n for edge, n in counted.items() if n} == {0.32: 1, 0.5: 1, 0.64: 1}


def test_each_bucket_keeps_the_inference_that_ended_last() -> None:
    book = histograms()
    add(book, (9, 0.5), (7, 0.45))
    add(book, (8, 0.46), (3, 2.0))
    exemplars = [one for one in book.signal(0, "duration", MINE).exemplars if one is not None]
    assert [(one.trace_id, one.value_seconds, one.time_ns) for one in exemplars] == [("09" * 16, 0.5, 9), ("03" * 16, 2.0, 3)]


def test_a_stage_that_is_not_told_is_not_counted() -> None:
    book = histograms()
    values_ns = np.array([[10**9], [-1], [-1], [1_000_000], [2_000_000_000], [-1], [-1], [0]])
    book.add(np.array([0]), values_ns, np.array([1]), [b"\x01" * 16].__getitem__)
    book.add_sums(np.array([0]), np.maximum(values_ns, 0).T)
    assert [book.has(0, stage) for stage in ("queue", "compute", "transfer", "serialisation", "other")] == [True, True, False, False, True]
    assert book.stage(0, "compute").counts == (0, 0, 0, 0, 0, 1, 0)
    assert book.stage(0, "compute").sum_seconds == 2.0
    assert book.has(0, "duration")
    assert not book.has(0, "ttft")
    assert not book.has(1, "duration")


def test_what_is_counted_after_a_reading_is_in_the_next() -> None:
    book = histograms()
    assert not book.has(0, "duration")
    add(book, (1, 0.31))
    assert (book.has(0, "duration"), sum(book.signal(0, "duration", MINE).counts)) == (True, 1)
    add(book, (2, 0.31))
    book.widen(3)
    add(book, (3, 0.31), code=2)
    assert [sum(book.signal(code, "duration", MINE).counts) for code in (0, 1, 2)] == [2, 0, 1]

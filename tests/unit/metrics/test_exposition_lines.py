"""What the writer writes is what prometheus_client writes of the same points, byte for byte."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from math import inf, isfinite, nan
from sys import float_info
from types import FunctionType, ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import floatToGoString

from infermeter.metrics.exposition import Exposition
from infermeter.metrics.exposition_layout import Header, Name, Sheet, Sheets, number
from infermeter.metrics.exposition_lines import LINES_A_PIECE, OPENMETRICS, TEXT, Writer
from infermeter.metrics.families import Point
from infermeter.metrics.rows import Row
from infermeter.metrics.steps import at_once
from infermeter.model import Exemplar, Histogram
from support.library_pages import FORMATS, Page, by_the_library
from support.snapshots import llm, rich_snapshot

HOSTILE = 'a"b\\c\nd\re\x00f{}=,# %s %(x)s %% {0} \u2028\u00e9\U0001f600'
texts = st.one_of(st.just(HOSTILE), st.text(st.characters(exclude_categories=("Cs",)), max_size=8))
names = st.sampled_from(("a", "b_0", "le_", "model", "server", "stage", "z9"))
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63),
    st.integers(0, 2**44).map(lambda eighths: eighths / 8),
    st.sampled_from((0.0, -0.0, 999_999.9999999999, 1e6, 1_000_000, 123_456_789.125, 1e15, 1e16, 1.5e16, 1e22, 1e-5, 5e-324, 10**300)),
    st.sampled_from((1e-4, 9.999999999999999e-05, -5e-5, 2.0**53, 2.0**53 - 1, -1e16, -1e15, 600_000.00048828125, 9_007_199_254_740_993)),
)
exemplars = st.builds(Exemplar, trace_id=texts, value_seconds=st.floats(0, 1e9), time_ns=st.integers(0, 2**63))


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    edges = tuple(sorted(draw(st.sets(st.floats(1e-9, 1e12), max_size=3))))
    buckets = len(edges) + 1
    counts = draw(st.lists(st.integers(0, 2**40) | st.just(0), min_size=buckets, max_size=buckets))
    traced = draw(st.just(()) | st.lists(st.none() | exemplars, min_size=buckets, max_size=buckets))
    return Histogram(edges, tuple(counts), draw(numbers), tuple(traced))


@st.composite
def families(draw: st.DrawFn) -> tuple[Header, list[Point]]:
    kind = draw(st.sampled_from(("counter", "gauge", "histogram")))
    name = f"x_{draw(names)}{'_total' if kind == 'counter' else ''}"
    header = Header(name, kind, draw(texts), draw(st.sampled_from(("", "seconds"))))
    labels = st.dictionaries(names.map(lambda text: f"l{text}"), texts, max_size=3)
    values = histograms() if kind == "histogram" else numbers
    return header, draw(st.lists(st.builds(Point, labels, values), min_size=1, max_size=3))


pages = st.lists(families(), max_size=3, unique_by=lambda family: family[0].name)


class Pages:
    """Pages of one writer, each of families that stand in the order of `headers`."""

    def __init__(self, *pages: Page) -> None:
        self.headers = list(dict.fromkeys(header for page in pages for header, _ in page))
        self._sheets = Sheets(self.headers, lambda points, excess: {})  # noqa: ARG005 - nothing is given up
        self._writer = Writer()

    def page(self, page: Page, content_type: str, *, across: bool = False) -> bytes:
        return b"".join(self.pieces(page, content_type, across=across))

    def pieces(self, page: Page, content_type: str, *, across: bool = False) -> Iterable[bytes]:
        """`across`: a row has a point of each family, and not all points of one."""
        told = [[(header, point)] for header, points in page for point in points] if not across else across_rows(page)
        return self._writer.pieces(self.sheet([row(number, points) for number, points in enumerate(told)]), content_type)

    def sheet(self, rows: Sequence[Row[Name]]) -> Sheet:
        return at_once(self._sheets.sheet(rows, lines_most=1_000_000))

    def in_order(self, page: Page) -> Page:
        return sorted(page, key=lambda family: self.headers.index(family[0]))


def across_rows(page: Page) -> list[list[tuple[Header, Point]]]:
    longest = max((len(points) for _, points in page), default=0)
    return [[(header, points[i]) for header, points in page if i < len(points)] for i in range(longest)]


def row(key: object, told: Sequence[tuple[Header, Point]]) -> Row[Name]:
    told = sorted(told, key=lambda one: isinstance(one[1].value, Histogram))
    histograms = [point.value for _, point in told if isinstance(point.value, Histogram)]
    numbers = [point.value for _, point in told if not isinstance(point.value, Histogram)]
    shape = [(header, point.labels) for header, point in told], [histogram.edges_seconds for histogram in histograms]
    return Row(key, shape, numbers, histograms, lambda: [Name(header, point.labels) for header, point in told])


def test_content_types_are_the_librarys() -> None:
    assert (TEXT, OPENMETRICS) == (CONTENT_TYPE_PLAIN_0_0_4, openmetrics.CONTENT_TYPE_LATEST)


@settings(max_examples=300, deadline=None)
@given(numbers)
@example(inf)
@example(-inf)
@example(nan)
@example(float_info.max)
@example(-1e7)
@example(True)  # noqa: FBT003 - a truth value is a number, too
def test_a_number_is_written_as_the_library_writes_it(value: float) -> None:
    assert number(value) == floatToGoString(value)


@pytest.mark.parametrize("content_type", FORMATS)
@settings(max_examples=40, deadline=None)
@given(page=pages)
def test_a_page_is_the_librarys_byte_for_byte(content_type: str, page: Page) -> None:
    assert Pages(page).page(page, content_type) == by_the_library(page, content_type)


@settings(max_examples=40, deadline=None)
@given(page=pages)
def test_families_stand_together_whichever_rows_their_points_are_in(page: Page) -> None:
    assert Pages(page).page(page, OPENMETRICS, across=True) == by_the_library(page, OPENMETRICS)


@settings(max_examples=25, deadline=None)
@given(first=pages, second=pages, across=st.booleans())
def test_what_was_written_before_changes_no_page(first: Page, second: Page, across: bool) -> None:
    writer = Pages(first, second)
    for page, content_type in ((first, TEXT), (second, TEXT), (second, OPENMETRICS), (first, OPENMETRICS), (first, TEXT)):
        assert writer.page(page, content_type, across=across) == by_the_library(writer.in_order(page), content_type)


@settings(max_examples=25, deadline=None)
@given(page=pages, data=st.data())
def test_of_the_same_lines_other_values_are_written_as_they_are_now(page: Page, data: st.DataObject) -> None:
    writer = Pages(page)
    writer.page(page, OPENMETRICS)
    for _ in range(2):
        later = [(header, [Point(labels, data.draw(like(value))) for labels, value in points]) for header, points in page]
        assert writer.page(later, OPENMETRICS) == by_the_library(later, OPENMETRICS)


def like(value: float | Histogram) -> st.SearchStrategy[float | Histogram]:
    """Another value on the same line, or lines."""
    if not isinstance(value, Histogram):
        return numbers
    buckets = len(value.counts)
    counts = st.lists(st.integers(0, 2**40), min_size=buckets, max_size=buckets).map(tuple)
    traced = st.lists(
        st.none() | st.sampled_from([*filter(None, value.exemplars)] or [None]) | exemplars, min_size=buckets, max_size=buckets
    )
    return st.builds(Histogram, st.just(value.edges_seconds), counts, numbers, st.just(()) | traced.map(tuple))


COUNTER = Header("x_total", "counter", "Counts.")
DURATION = Header("x_seconds", "histogram", "Takes.", "seconds")


def one(labels: dict[str, str], value: float | Histogram) -> list[Point]:
    return [Point(labels, value)]


@pytest.mark.parametrize("content_type", FORMATS)
@pytest.mark.parametrize(
    "later",
    [
        [(COUNTER, one({"model": "a"}, 2))],
        [(COUNTER, one({"model": "b"}, 2))],
        [(COUNTER, one({"name": "a"}, 2))],
        [(COUNTER, [*one({"model": "a"}, 2), *one({"model": "b"}, 3)])],
        [(COUNTER._replace(help="Counts more."), one({"model": "a"}, 2))],
        [(DURATION, one({"model": "a"}, Histogram((1.0,), (1, 2), 3.0)))],
        [(DURATION, one({"model": "a"}, Histogram((1.0, 4.0), (0, 0, 2), 9.0)))],
        [(DURATION, one({"model": "a"}, Histogram((2.0,), (0, 2), 9.0)))],
        [(DURATION, one({"model": "b"}, Histogram((1.0,), (0, 2), 9.0, (None, Exemplar("ab", 5.0, 7)))))],
        [],
    ],
    ids=["value", "label's value", "label's name", "a point more", "help", "counts", "an edge more", "another edge", "exemplar", "nothing"],
)
def test_what_has_changed_since_the_page_before_is_written_as_it_is_now(content_type: str, later: Page) -> None:
    before = [(COUNTER, one({"model": "a"}, 1)), (DURATION, one({"model": "a"}, Histogram((1.0,), (0, 2), 9.0)))]
    writer = Pages(before, later)
    writer.page(before, content_type)
    assert writer.page(later, content_type) == by_the_library(later, content_type)


def long_page(first: int, counts: int) -> Page:
    """Families of which one alone is a piece, each."""
    models = [f"m{i}" for i in range(first, first + LINES_A_PIECE)]
    edges, traced = (1.0,), (None, Exemplar("ab", 5.0, 7_000_000_000))
    return [
        (COUNTER, [Point({"model": model}, counts) for model in models]),
        (DURATION, [Point({"model": model}, Histogram(edges, (0, counts), 9.0, traced)) for model in models[: LINES_A_PIECE // 4]]),
        (COUNTER._replace(name="y_total"), [Point({"model": model}, counts) for model in models]),
    ]


def test_a_long_page_comes_in_pieces_and_other_pages_are_written_between_them() -> None:
    first, second = long_page(0, 1), long_page(7, 2)
    writer = Pages(first, second)
    writer.page(second, TEXT)
    pieces: dict[str, list[bytes]] = {"first": [], "second": []}
    for told in zip(writer.pieces(first, TEXT), writer.pieces(second, OPENMETRICS), strict=True):
        for kept, piece in zip(pieces.values(), told, strict=True):
            kept.append(piece)
    assert len(pieces["first"]) == len(first)
    assert b"".join(pieces["first"]) == by_the_library(first, TEXT)
    assert b"".join(pieces["second"]) == by_the_library(second, OPENMETRICS)
    assert writer.page(first, TEXT) == by_the_library(first, TEXT)


def test_of_a_histogram_that_goes_on_what_changes_is_written_anew() -> None:
    traced = [Exemplar(name, 1.0, 7_000_000_000) for name in ("aa", "bb", "cc")]
    before = Histogram((1.0, 2.0), (1, 2, 3), 9.0, (traced[0], None, traced[1]))
    after = Histogram((1.0, 2.0), (1, 3, 999_999), 12.0, (traced[0], traced[2], traced[1]))
    writer = Pages()
    for histograms in ((before, before), (before, after), (after, before), (after,), (before, after, after)):
        page = [(DURATION, [Point({"model": str(i)}, one) for i, one in enumerate(histograms)])]
        assert writer.page(page, OPENMETRICS) == by_the_library(page, OPENMETRICS)


def test_exemplars_of_the_one_format_are_not_in_the_other() -> None:
    writer = Pages()
    page = [(DURATION, one({}, Histogram((1.0,), (0, 2), 9.0, (None, Exemplar("ab", 5.0, 7_000_000_000)))))]
    lines = [b'x_seconds_bucket{le="+Inf"} 2.0 # {trace_id="ab"} 5.0 7.0' in writer.page(page, kind) for kind in (OPENMETRICS, TEXT) * 2]
    assert lines == [True, False, True, False]


def test_buckets_without_counts_for_each_edge_are_a_mistake_and_no_page() -> None:
    for counts in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="a count for each of its edges"):
            Pages().page([(DURATION, one({}, Histogram((1.0,), counts, 1.0)))], TEXT)


def test_exemplars_without_one_for_each_bucket_are_a_mistake_and_no_page() -> None:
    with pytest.raises(ValueError, match="one for each of its buckets"):
        Pages().page([(DURATION, one({}, Histogram((1.0,), (1, 2), 1.0, (None,))))], OPENMETRICS)


def test_what_no_format_can_hold_is_a_mistake_and_no_page() -> None:
    with pytest.raises(UnicodeEncodeError):
        Pages().page([(COUNTER, one({"model": "\udc80"}, 1))], TEXT)
    with pytest.raises(OverflowError):
        Pages().page([(COUNTER, one({}, 10**400))], TEXT)


@pytest.mark.parametrize("absent", [nan, inf, -inf])
def test_what_is_not_finite_is_absent_and_comes_back_when_it_is(absent: float) -> None:
    writer, there = Pages(), Histogram((1.0,), (0, 2), 9.0)
    for value in (1.0, absent, 2.0):
        histogram = Histogram((1.0,), (0, 2), value)
        points = [Point({"model": "a"}, histogram), Point({"model": "b"}, there)]
        told = points if isfinite(value) else points[1:]
        assert writer.page([(DURATION, points)], OPENMETRICS) == by_the_library([(DURATION, told)], OPENMETRICS)
        assert writer.page([(COUNTER, one({}, value))], TEXT) == by_the_library(
            [(COUNTER, one({}, value))] if isfinite(value) else [], TEXT
        )


def test_a_histogram_without_edges_tells_its_last_bucket_sum_and_count() -> None:
    told = Histogram((1.0, 2.0), (1, 2, 3), 9.0, (Exemplar("ab", 0.5, 7), None, None))
    bare = Row("key", (), (), (told,), lambda: [Name(DURATION, {"model": "a"}, edged=False)])
    page = b"".join(Writer().pieces(Pages().sheet([bare]), OPENMETRICS))
    assert page == by_the_library([(DURATION, one({"model": "a"}, Histogram((), (6,), 9.0)))], OPENMETRICS)


def test_what_a_vanished_model_has_taken_is_given_back() -> None:
    def held(exposition: Exposition) -> int:
        gc.collect()
        return sum(name in referred for referred in strings_of(exposition))

    name = "a-model-that-nobody-asks-for-any-more"
    exposition = Exposition()
    exposition.render(rich_snapshot(models=(llm(name), llm("b"))), TEXT)
    assert held(exposition) > 0
    exposition.render(rich_snapshot(models=(llm("b"),)), TEXT)
    assert held(exposition) == 0


def strings_of(thing: object) -> list[str]:
    """Every text that is reachable from it, apart from what modules and classes hold."""
    seen: dict[int, object] = {}
    left = [thing]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen[id(one)] = one
            left += gc.get_referents(one)
    return [one for one in seen.values() if isinstance(one, str)]

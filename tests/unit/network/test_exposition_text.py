"""Prometheus' text format, read: the wanted samples, exactly as they stand there, and nothing of what is no exposition."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics

from infermeter.errors import Unavailable
from infermeter.model import Series
from infermeter.network.exposition_text import LINE_BYTES_MOST, LINES_MOST, series_of, timed_series_of


def values(page: bytes, *names: str) -> list[tuple[str, dict[str, str], float]]:
    return [(series.name, dict(series.labels), series.value) for series in series_of(page, names)]


def test_wanted_samples_come_in_the_pages_order_with_their_labels() -> None:
    page = b'# HELP a A.\n# TYPE a counter\na{m="x"} 1\nb 2\n\na{m="y",n=""} 3.5\nc 4\n# EOF'
    assert values(page, "c", "a") == [("a", {"m": "x"}, 1.0), ("a", {"m": "y", "n": ""}, 3.5), ("c", {}, 4.0)]


def test_a_name_matches_whole_and_as_exposed() -> None:
    page = b'a 1\na_total 2\na_sum{x="1"} 3\naa 4\na-b 5\n a 6\n\ta\t7\na{} 8\nA 9\n{"a"} 10\n'
    assert [value for _, _, value in values(page, "a")] == [1, 6, 7, 8]
    assert values(page, "a_total") == [("a_total", {}, 2.0)]
    assert values(page) == []


def test_label_values_are_unescaped_and_may_hold_anything() -> None:
    page = 'a{m="q\\"b\\\\n\\nl",n="} # {x=\\"",o="ü\u2028"} 1\n'.encode()
    assert values(page, "a") == [("a", {"m": 'q"b\\n\nl', "n": '} # {x="', "o": "ü\u2028"}, 1.0)]


@pytest.mark.parametrize("text", ["NaN", "nan", "+Inf", "-Inf", "1e400"])
def test_a_value_that_is_no_finite_number_is_left_out(text: str) -> None:
    assert values(f"a {text}\na 1\n".encode(), "a") == [("a", {}, 1.0)]


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("-2.5e-3", -0.0025), ("9223372036854775794", 2.0**63), ("+7", 7.0), ("0", 0.0)])
def test_a_value_is_a_number_as_go_writes_it(text: str, value: float) -> None:
    assert values(f"a {text}\n".encode(), "a") == [("a", {}, value)]


def test_times_on_the_lines_are_milliseconds_and_those_of_open_metrics_seconds() -> None:
    assert timed_series_of(b"a 1 1795401850123\na 2\n", ["a"]) == [
        (Series("a", {}, 1.0), 1_795_401_850_123_000_000),
        (Series("a", {}, 2.0), None),
    ]
    assert timed_series_of(b"a 1 1795401850.123\n# EOF\n", ["a"]) == [(Series("a", {}, 1.0), 1_795_401_850_123_000_000)]


@pytest.mark.parametrize("time", ["-1", "9223372036855", "1e300", "NaN", "+Inf"])
def test_a_time_outside_of_this_world_is_no_exposition(time: str) -> None:
    with pytest.raises(Unavailable, match="not in Prometheus' text format"):
        series_of(f"a 1 {time}\n".encode(), ["a"])


@pytest.mark.parametrize(
    "line",
    [
        b'a{m="x"} 1 # {trace_id="t"} 0.5 1795401850.1',
        b'a{m="x"} 1 1795401850.1 # {trace_id="t} # {"} 0.5',
        b'a{m="x"} 1 # {}',
        b'a {m="x"} 1\t# {broken',
    ],
)
def test_an_exemplar_doesnt_break_its_sample(line: bytes) -> None:
    assert values(line + b"\n# EOF\n", "a") == [("a", {"m": "x"}, 1.0)]


def test_what_the_library_exposes_is_read_back_in_both_formats() -> None:
    registry = CollectorRegistry()
    counter = Counter("served", "x", ["model"], registry=registry)
    counter.labels('m"\\\n').inc(3, exemplar={"trace_id": "t"})
    Gauge("running", "x", registry=registry).set(2.25)
    Histogram("seconds", "x", buckets=(1.0,), registry=registry).observe(0.5, exemplar={"trace_id": "# {"})
    wanted = ("served_total", "running", "seconds_bucket", "seconds_sum")
    told = [
        ("served_total", {"model": 'm"\\\n'}, 3.0),
        ("running", {}, 2.25),
        ("seconds_bucket", {"le": "1.0"}, 1.0),
        ("seconds_bucket", {"le": "+Inf"}, 1.0),
        ("seconds_sum", {}, 0.5),
    ]
    assert values(generate_latest(registry), *wanted) == told
    assert values(generate_open_metrics(registry), *wanted) == told


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a ",
        "a{",
        "a{}",
        'a{m="x"}',
        'a{m="x} 1',
        "a{m=x} 1",
        'a{m="x"',
        'a{ ="x"} 1',
        'a{m="x",m="y"} 1',
        'a{__name__="b"} 1',
        "a one",
        "a 1 one",
        "a 1_0",
        "a 0x10",
        "a 1#2",
        'a b{m="x"} 1',
        'a{m="x"} {n="y"} 1',
        "a # {} 1",
        "a ERROR - FAILED TO CONVERT TO STRING",
        "a 1" + "0" * 400,
    ],
)
def test_a_wanted_line_that_is_no_sample_is_no_exposition_and_is_never_quoted(line: str) -> None:
    with pytest.raises(Unavailable) as caught:
        series_of(f"b 1\n{line}\n".encode(), ["a"])
    assert str(caught.value) == "a sample on the page is not in Prometheus' text format"


def test_lines_that_nobody_wants_may_hold_anything() -> None:
    assert values(b'b{ \xff"\n\xfe 1\na 1\n' + b"c" * (2 * LINE_BYTES_MOST) + b"\n", "a") == [("a", {}, 1.0)]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (b"<html><body>a 1\n</body></html>\n", "HTML or XML"),
        (b'a{m="\xff"} 1\n', "not UTF-8"),
        (b"a 1\na 12", "it was cut off"),
        (b'a 1\nb{m="x', "it was cut off"),
        (b"a 1\n# HELP b", "it was cut off"),
        (b'a{m="' + b"x" * LINE_BYTES_MOST + b'"} 1\n', f"longer than {LINE_BYTES_MOST} bytes"),
        (b"a 1\n" * (LINES_MOST + 1), f"more than {LINES_MOST} samples"),
    ],
    ids=["html", "utf-8", "cut within a number", "cut within a label", "cut within a comment", "long", "many"],
)
def test_what_is_no_whole_exposition_or_too_much_of_it_is_told(page: bytes, text: str) -> None:
    with pytest.raises(Unavailable, match=text):
        series_of(page, ["a"])


@pytest.mark.parametrize("page", [b"", b"\n", b"# EOF", b"b 1\n", b'{"a": 1}\n'])
def test_a_page_without_the_wanted_names_holds_nothing(page: bytes) -> None:
    assert values(page, "a") == []


def test_bounds_are_of_wanted_lines_alone() -> None:
    page = b"b 1\n" * (LINES_MOST + 1) + b"a 1\n" * 10
    assert len(values(page, "a")) == 10


@given(st.binary())
@example(b'a{ ="x"} 1\n')
@example(b'a{="x"} 1\n')
@example(b' b{m="x"} 1\n')
def test_no_bytes_whatever_raise_anything_else(garbage: bytes) -> None:
    for page in (garbage, b"a" + garbage + b"\n", b"a{" + garbage + b"} 1\n", b'a{m="' + garbage + b'"} 1\n', b"a 1 " + garbage + b"\n"):
        with suppress(Unavailable):
            assert all(series.name == "a" and math.isfinite(series.value) for series in series_of(page, ["a"]))


LABELS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not name.startswith("__")), st.text())


@given(LABELS, st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_whatever_stands_in_labels_and_exemplars_the_sample_is_read_back(labels: dict[str, str], value: float, exemplar: str) -> None:
    def quoted(text: str) -> str:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    told: list[Any] = [f'{name}="{quoted(text)}"' for name, text in labels.items()]
    with suppress(UnicodeEncodeError):
        page = f'a{{{",".join(told)}}} {value!r} # {{t="{quoted(exemplar)}"}} 1\n'.encode()
        assert values(page, "a") == [("a", labels, value)]

"""Answers of Prometheus: what is whole is read, and anything else is told in a sentence that holds nothing of the peer's."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from infermeter.errors import ConfigError, Unavailable
from infermeter.network.prometheus_api import POINTS_MOST, SERIES_MOST, Prometheus, matcher_problem, selector, series_of
from support.peer import Peer, answer

SECRET = "s3cret"


def told(rows: object, kind: str = "matrix", **more: object) -> bytes:
    return orjson.dumps({"status": "success", "data": {"resultType": kind, "result": rows}} | more)


def test_a_matrix_and_a_vector_are_read() -> None:
    (series,) = series_of(told([{"metric": {"a": "b"}, "values": [[1.5, "2"], [3, "4e2"]]}]))
    assert series.labels == {"a": "b"}
    assert (series.unix_seconds.tolist(), series.values.tolist()) == ([1.5, 3.0], [2.0, 400.0])
    (instant,) = series_of(told([{"metric": {}, "value": [7, "8"]}], "vector"))
    assert (instant.unix_seconds.tolist(), instant.values.tolist()) == ([7.0], [8.0])
    assert series_of(told([])) == []


def test_what_is_no_finite_number_is_absent() -> None:
    rows = [
        {"metric": {}, "values": [[1, "NaN"], [2, "5"], [3, "+Inf"]]},
        {"metric": {}, "values": [[1, "NaN"]]},
        {"metric": {}, "values": []},
    ]
    assert [series.values.tolist() for series in series_of(told(rows))] == [[5.0]]


def test_information_beside_an_answer_leaves_it_whole() -> None:
    assert series_of(told([], infos=["a hint"], warnings=[])) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>", "none of Prometheus' HTTP API"),
        (b"[]", "none of Prometheus' HTTP API"),
        (orjson.dumps({"status": "error", "errorType": "bad_data", "error": SECRET}), "answers with an error"),
        (told([], warnings=[SECRET]), "partial"),
        (orjson.dumps({"status": "success", "data": SECRET}), "none of Prometheus' HTTP API"),
        (told([1, SECRET], "scalar"), "none of Prometheus' HTTP API"),
        (told({}), "none of Prometheus' HTTP API"),
        (told([{}] * (SERIES_MOST + 1)), f"more than {SERIES_MOST} series"),
        *(
            (told([row]), "can't be read")
            for row in (
                {},
                SECRET,
                {"metric": {"a": 1}, "values": [[1, "2"]]},
                {"metric": [], "values": [[1, "2"]]},
                {"metric": {}, "values": [[1, SECRET]]},
                {"metric": {}, "values": [[1]]},
                {"metric": {}, "values": 3},
                {"metric": {}, "values": [[2, "1"], [2, "1"]]},
                {"metric": {}, "values": [[-1, "1"]]},
                {"metric": {}, "values": [[1e12, "1"]]},
                {"metric": {}, "values": [["NaN", "1"]]},
            )
        ),
    ],
)
def test_anything_else_is_told_without_a_word_of_the_peer(body: bytes, problem: str) -> None:
    with pytest.raises(Unavailable, match=problem) as caught:
        series_of(body)
    assert SECRET not in str(caught.value)


def asked(peer: Peer) -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(peer.requests[-1].split()[1])
    return parts.path, parse_qs(parts.query)


def test_a_question_names_instant_or_range() -> None:
    with Peer(answer(told([{"metric": {}, "value": [7, "8"]}], "vector"))) as peer:
        prometheus = Prometheus(f"http://{peer.address}/below/")
        assert [series.values.tolist() for series in prometheus.query('a{b="c d"}', at_unix_seconds=12.5)] == [[8.0]]
        assert asked(peer) == ("/below/api/v1/query", {"query": ['a{b="c d"}'], "time": ["12.500"]})
        prometheus.query("a")
        assert asked(peer) == ("/below/api/v1/query", {"query": ["a"]})
        prometheus.query_range("a", start_unix_seconds=10, end_unix_seconds=70, step_seconds=30)
        assert asked(peer) == ("/below/api/v1/query_range", {"query": ["a"], "start": ["10.000"], "end": ["70.000"], "step": ["30.000"]})


def test_an_error_names_the_address_and_not_the_query() -> None:
    with Peer(answer(b"{}")) as peer, pytest.raises(Unavailable) as caught:
        Prometheus(f"http://{peer.address}").query(SECRET)
    assert str(caught.value) == f"http://{peer.address}/api/v1/query: Prometheus answers with an error"


@pytest.mark.parametrize("end", [9.0, 10.0 + POINTS_MOST])
def test_more_steps_than_it_answers_are_not_asked_for(end: float) -> None:
    with pytest.raises(ValueError, match="steps"):
        Prometheus("http://127.0.0.1:1").query_range("a", start_unix_seconds=10, end_unix_seconds=end, step_seconds=1)


@pytest.mark.parametrize("url", ["ftp://a", "http://a?b=c", "http://a#b", "a"])
def test_a_url_that_nobody_can_ask_is_wrong_use(url: str) -> None:
    with pytest.raises(ConfigError, match="--prometheus"):
        Prometheus(url)


def test_a_selector_holds_any_value() -> None:
    assert selector("a") == "a{}"
    assert selector("a", {"b": 'c"\\\n'}) == 'a{b="c\\"\\\\\\n"}'
    assert selector("a", {"b": "c"}, ' d=~"e", ') == 'a{b="c",d=~"e"}'


@pytest.mark.parametrize("text", ["", 'a="b"', ' a="b" , c!~"d\\"e}" ,', 'a=""'])
def test_label_matchers_are_taken(text: str) -> None:
    assert matcher_problem(text) is None


@pytest.mark.parametrize("text", ["a", "a=b", 'a="b"}', 'a="b" c="d"', '{a="b"}', 'a="b"} or up{x="y"', 'a="b'])
def test_what_is_no_label_matcher_is_refused(text: str) -> None:
    assert "label matchers" in (matcher_problem(text) or "")

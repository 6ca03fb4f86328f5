"""OpenCost's price, over real sockets: what is asked, which answers are a price, and what is said of those that aren't."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.config import OpenCost
from infermeter.errors import ConfigError, Unavailable
from infermeter.prices.in_force import Quote
from infermeter.prices.opencost import BYTES_MOST, OpenCostPrices, check_prometheus_url, quote_of
from support.peer import Peer, answer

SECOND_NS = 10**9
REFRESH_SECONDS = 300
NOW_NS = 1_795_401_860 * SECOND_NS


def matrix(*values: list[list[Any]], kind: str = "matrix", **labels: str) -> bytes:
    """What Prometheus answers, one series for each list of [seconds, text]."""
    result = [{"metric": {"__name__": "node_gpu_hourly_cost", "node": f"n{i}", **labels}, "values": v} for i, v in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(answer(matrix([[1_795_401_800.5, "2.5"]]))) as other:
        yield other


def prices_of(peer: Peer, *, path: str = "", selector: str | None = None, token_file: str | None = None) -> OpenCostPrices:
    return OpenCostPrices(OpenCost(selector=selector, token_file=token_file), f"http://{peer.address}{path}", timeout_seconds=5)


def test_the_price_is_the_latest_sample_s_and_so_is_its_time() -> None:
    quote = quote_of(matrix([[1_795_401_700, "9"], [1_795_401_800.5, "2.5"]]))
    assert quote == Quote(2.5, 1_795_401_800_500_000_000, "OpenCost node_gpu_hourly_cost")


@pytest.mark.parametrize("path", ["", "/", "/prometheus", "/prometheus/"])
def test_samples_of_the_node_are_asked_for_with_their_own_times(peer: Peer, path: str) -> None:
    prices = prices_of(peer, path=path, selector='node="gpu-1", cluster=~"a|b"')
    assert prices.quote(NOW_NS).per_hour == 2.5
    (request,) = peer.requests
    target = urlsplit(request.split(" ")[1])
    assert target.path == f"{path.rstrip('/')}/api/v1/query"
    assert parse_qs(target.query) == {"query": ['node_gpu_hourly_cost{node="gpu-1", cluster=~"a|b"}[5m]']}


def test_without_a_selector_every_node_is_asked_for(peer: Peer) -> None:
    prices_of(peer).quote(NOW_NS)
    assert "node_gpu_hourly_cost%7B%7D%5B5m%5D" in peer.requests[0]


def test_a_token_is_sent(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    prices_of(peer, token_file=str(tmp_path / "token")).quote(NOW_NS)
    assert "Authorization: Bearer s3cret" in peer.requests[0]


def test_a_price_is_asked_anew_once_it_is_five_minutes_old(peer: Peer) -> None:
    prices = prices_of(peer)
    first = prices.quote(NOW_NS)
    peer.answers = answer(matrix([[1_795_402_100, "3"]]))
    assert prices.quote(NOW_NS + (REFRESH_SECONDS - 1) * SECOND_NS) == first
    assert len(peer.requests) == 1
    assert prices.quote(NOW_NS + REFRESH_SECONDS * SECOND_NS).per_hour == 3
    assert prices.quote(NOW_NS).per_hour == 3, "a clock that was set back"
    assert len(peer.requests) == 3


def test_a_failure_is_asked_again_at_once_and_never_answered_from_memory(peer: Peer) -> None:
    prices = prices_of(peer)
    prices.quote(NOW_NS)
    peer.answers = answer(b"no", status="503 Service Unavailable")
    for seconds in (REFRESH_SECONDS, REFRESH_SECONDS + 30):
        with pytest.raises(Unavailable, match="HTTP 503"):
            prices.quote(NOW_NS + seconds * SECOND_NS)
    assert len(peer.requests) == 3


def test_nodes_that_tell_the_same_price_are_one() -> None:
    assert quote_of(matrix([[10, "2.5"]], [[20, "1"], [30, "2.50"]])) == Quote(2.5, 30 * SECOND_NS, "OpenCost node_gpu_hourly_cost")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (matrix(), "no node_gpu_hourly_cost of the last 5m that cost.opencost.selector fits"),
        (matrix([[10, "2.5"]], [[10, "2"]], [[10, "1"]]), "3 different prices"),
        (matrix([[10, "0"]]), "is 0, which is what OpenCost tells of a node without a GPU"),
        (matrix([[10, "-0"]]), "is 0"),
        (matrix([[10, "-1"]]), "negative or no finite number"),
        (matrix([[10, "NaN"]]), "negative or no finite number"),
        (matrix([[10, "+Inf"]]), "negative or no finite number"),
        (matrix([[10, "2"]], [[10, "NaN"]]), "negative or no finite number"),
        (matrix([[10, "secret"]]), "no sample that can be read"),
        (matrix([[10, None]]), "no sample that can be read"),
        (matrix([["x", "2"]]), "no sample that can be read"),
        (matrix([[10]]), "no sample that can be read"),
        (matrix([]), "no sample that can be read"),
        (matrix([[-1, "2"]]), "the time"),
        (matrix([[1e300, "2"]]), "the time"),
        (matrix([["nan", "2"]]), "the time"),
        (matrix(kind="vector"), "none of Prometheus' HTTP API"),
        (b'{"status": "success", "data": {"resultType": "matrix", "result": {}}}', "none of Prometheus' HTTP API"),
        (b'{"status": "success", "data": {"resultType": "matrix", "result": [3]}}', "no sample that can be read"),
        (b'{"status": "error"}', "none of Prometheus' HTTP API"),
        (b"[]", "none of Prometheus' HTTP API"),
        (b"null", "none of Prometheus' HTTP API"),
        (b"<html>", "none of Prometheus' HTTP API"),
        (b"[" * 100_000, "none of Prometheus' HTTP API"),
        (b"\xff", "none of Prometheus' HTTP API"),
        (b"", "none of Prometheus' HTTP API"),
    ],
)
def test_what_is_not_exactly_one_price_is_told(body: bytes, expected: str) -> None:
    with pytest.raises(Unavailable) as raised:
        quote_of(body)
    assert expected in str(raised.value)
    assert "secret" not in str(raised.value), "nothing that a peer sent"


def test_an_answer_without_end_is_cut(peer: Peer) -> None:
    peer.answers = answer(b" " * (BYTES_MOST + 1))
    with pytest.raises(Unavailable, match="larger than"):
        prices_of(peer).quote(NOW_NS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["values", "metric", "x"]), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_whatever_a_series_holds_is_a_price_or_unavailable(series: object) -> None:
    try:
        quote = quote_of(json.dumps({"data": {"resultType": "matrix", "result": [series]}}).encode())
    except Unavailable:
        return
    assert quote.per_hour > 0


def test_whoever_tells_no_price_is_asked_again_soon() -> None:
    assert OpenCostPrices(OpenCost(), "http://p").retry_seconds == 30
    assert OpenCostPrices(OpenCost(interval=5.0), "http://p").retry_seconds == 5


def test_nobody_is_asked_unless_it_is_configured() -> None:
    assert OpenCostPrices.configured(OpenCost()) is None
    assert OpenCostPrices.configured(OpenCost("http://127.0.0.1:9090")) is not None


@pytest.mark.parametrize("url", ["ftp://p", "http://u:p@h", "http://h/?a=b", "http://h/#x", "p:9090", "http://"])
def test_a_url_that_nobody_can_ask_is_told_at_the_start(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_prometheus_url(url)
    assert raised.value.where == "cost.opencost.prometheus_url"
    assert "u:p" not in str(raised.value)


def test_a_url_with_a_path_is_one() -> None:
    check_prometheus_url("https://prometheus.example:9090/a/b/")

"""What of a message is handed on."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from infermeter.proxy.headers import HOP_BY_HOP, end_to_end, framing_is_known, target_of, upstream_headers


def fields(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_what_speaks_of_one_connection_stays_there(name: str) -> None:
    assert list(end_to_end(fields((name.lower(), "x"), ("Host", "h")))) == ["Host"]


def test_a_connection_names_more_fields_of_its_own() -> None:
    kept = end_to_end(fields(("Connection", "close, x-one"), ("X-One", "1"), ("connection", "X-TWO,,"), ("X-Two", "2"), ("X-Three", "3")))
    assert list(kept.items()) == [("X-Three", "3")]


def test_fields_keep_their_order_and_their_repetitions() -> None:
    sent = fields(("Set-Cookie", "a=1"), ("B", "2"), ("set-cookie", "c=3"))
    assert list(end_to_end(sent).items()) == list(sent.items())


def test_the_proxy_says_that_it_was_there_and_for_whom() -> None:
    kept = upstream_headers(fields(("Host", "h")), client="10.0.0.1")
    assert dict(kept) == {"Host": "h", "Via": "1.1 infermeter", "X-Forwarded-For": "10.0.0.1"}


def test_those_who_were_there_before_stay_named() -> None:
    kept = upstream_headers(fields(("Via", "1.0 a"), ("via", "1.1 b"), ("X-Forwarded-For", "10.0.0.2")), client="10.0.0.1")
    assert (kept["Via"], kept["X-Forwarded-For"]) == ("1.0 a, 1.1 b, 1.1 infermeter", "10.0.0.2, 10.0.0.1")


def test_a_client_without_an_address_isn_t_named() -> None:
    assert "X-Forwarded-For" not in upstream_headers(fields(), client=None)


def test_the_body_is_no_longer_expected_to_be_asked_for() -> None:
    assert "Expect" not in upstream_headers(fields(("Expect", "100-continue")), client=None)


@pytest.mark.parametrize(
    ("coding", "known"), [(None, True), ("chunked", True), (" Chunked", True), ("gzip, chunked", False), ("gzip", False)]
)
def test_a_body_is_whole_or_in_chunks(coding: str | None, *, known: bool) -> None:
    assert framing_is_known({} if coding is None else {"Transfer-Encoding": coding}) is known


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/a%2Fb/../c?q=%20#x", "/v1/a%2Fb/../c?q=%20#x"),
        ("//elsewhere/x", "//elsewhere/x"),
        ("http://elsewhere:1/x?y", "/x?y"),
        ("http://elsewhere", "/"),
        ("*", None),
        ("@elsewhere/", None),
        (":80@elsewhere/", None),
    ],
)
def test_a_target_is_a_path_of_the_upstream_server(path: str, target: str | None) -> None:
    assert target_of(path) == target

"""A page over real sockets: what comes whole and in time is there, and everything else is Unavailable, with a text that tells why."""

from __future__ import annotations

import gzip
import os
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from infermeter.errors import Unavailable
from infermeter.network.fetching import TOKEN_BYTES_MOST, fetch, url_problem
from support.patience import SOON_SECONDS
from support.peer import HOST, Answer, Peer, answer, dripping, written

PAGE = b"# TYPE a counter\na 1\n"
GZIP = "Content-Encoding: gzip"
SECRET = "s3cret"


def fetched(answers: Answer, *, timeout_seconds: float = SOON_SECONDS, most_bytes: int = 10_000) -> bytes:
    with Peer(answers) as peer:
        return fetch(peer.url, timeout_seconds=timeout_seconds, most_bytes=most_bytes)


def problem(answers: Answer, *, timeout_seconds: float = SOON_SECONDS, most_bytes: int = 10_000) -> str:
    """Why there is no page, without the address."""
    with Peer(answers) as peer:
        with pytest.raises(Unavailable) as caught:
            fetch(peer.url, timeout_seconds=timeout_seconds, most_bytes=most_bytes)
        text = str(caught.value)
        assert text.startswith(f"{peer.url}: ")
        return text.removeprefix(f"{peer.url}: ")


@pytest.mark.parametrize(
    "answers",
    [
        answer(PAGE),
        answer(gzip.compress(PAGE), GZIP),
        answer(PAGE, "Content-Encoding: identity"),
        written(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE),
        written(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + PAGE),
        written(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + PAGE[:5] + b"\r\n10\r\n" + PAGE[5:] + b"\r\n0\r\n\r\n"),
    ],
    ids=["length", "gzip", "identity", "until the end", "continue", "chunked"],
)
def test_a_page_comes_whole_however_it_is_sent(answers: Answer) -> None:
    assert fetched(answers) == PAGE


def test_an_empty_page_is_a_page() -> None:
    assert fetched(answer(b"")) == b""


def test_the_request_asks_for_the_text_format_at_the_path_and_query_of_the_url() -> None:
    with Peer(answer(PAGE)) as peer:
        fetch(f"http://{peer.address}/a/b?match[]=x&y=1#z", timeout_seconds=SOON_SECONDS)
        fetch(f"http://{peer.address}", timeout_seconds=SOON_SECONDS)
    first, second = peer.requests
    lines = first.split("\r\n")
    assert lines[0] == "GET /a/b?match[]=x&y=1 HTTP/1.1"
    assert f"Host: {peer.address}" in lines
    assert "Accept: text/plain;version=0.0.4" in lines
    assert lines.count("Accept-Encoding: gzip") == 1
    assert not any(line.startswith("Authorization") for line in lines)
    assert second.startswith("GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (answer(PAGE, status="503 Service Unavailable"), "HTTP 503"),
        (answer(PAGE, status="204 No Content"), "HTTP 204"),
        (answer(b"", "Location: http://127.0.0.1:1/", status="302 Found"), "redirects (HTTP 302), which is not followed"),
        (answer(PAGE, "Content-Encoding: br"), "is in a Content-Encoding that was not asked for"),
        (answer(PAGE, told_bytes=99), "the answer was cut off"),
        (answer(gzip.compress(PAGE)[:-9], GZIP), "the answer was cut off"),
        (answer(b"", GZIP), "the answer was cut off"),
        (written(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n# TY"), "the answer was cut off"),
        (answer(PAGE, GZIP), "damaged gzip"),
        (answer(gzip.compress(PAGE) + gzip.compress(PAGE), GZIP), "gzip with something after its end"),
        (answer(b"a" * 10_001), "is larger than 10000 bytes"),
        (answer(gzip.compress(b"a" * 10_001), GZIP), "is larger than 10000 bytes"),
        (written(b"garbage\r\n\r\n"), "the answer is not HTTP"),
        (written(b"HTTP/1.1 what\r\n\r\n"), "the answer is not HTTP"),
        (written(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"), "the answer is not HTTP"),
        (written(b""), "the connection failed"),
    ],
)
def test_what_is_no_whole_page_is_told_in_words(answers: Answer, text: str) -> None:
    assert problem(answers) == text


def test_a_page_of_just_the_bound_is_taken() -> None:
    assert len(fetched(answer(b"a" * 10_000))) == 10_000
    assert len(fetched(answer(gzip.compress(b"a" * 10_000), GZIP))) == 10_000


def test_many_gzip_bytes_that_unpack_to_nothing_are_bounded_too() -> None:
    empty_blocks = b"\x1f\x8b\x08" + bytes(7) + b"\x00\x00\x00\xff\xff" * 4_000
    assert problem(answer(empty_blocks, GZIP)) == "is larger than 10000 bytes"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nA: b",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0",
        b"H",
    ],
    ids=["body", "headers", "chunk size", "status"],
)
def test_however_slowly_it_drips_the_whole_takes_no_longer_than_the_time_out(data: bytes) -> None:
    ended = threading.Event()
    began = time.monotonic()
    try:
        assert problem(dripping(data, until=ended), timeout_seconds=0.2) == "no whole answer within 0.2 s"
    finally:
        ended.set()
    assert 0.2 <= time.monotonic() - began < 2


def test_a_peer_that_takes_the_connection_and_says_nothing_is_left() -> None:
    ended = threading.Event()
    with Peer(lambda _: ended.wait() and None) as peer:
        with pytest.raises(Unavailable, match=r"no whole answer within 0\.1 s$"):
            fetch(peer.url, timeout_seconds=0.1)
        ended.set()


def test_no_time_at_all_is_no_answer() -> None:
    with Peer(answer(PAGE)) as peer, pytest.raises(Unavailable, match="no whole answer within 0 s"):
        fetch(peer.url, timeout_seconds=0)


def test_nobody_there_is_told_with_the_address_and_without_the_query() -> None:
    with pytest.raises(Unavailable) as caught:
        fetch(f"http://{HOST}:1/metrics?token={SECRET}", timeout_seconds=SOON_SECONDS)
    assert str(caught.value) == f"http://{HOST}:1/metrics: Connection refused"


def test_a_host_that_has_no_address_is_told() -> None:
    with pytest.raises(Unavailable, match=r"^http://nobody\.invalid/: \w"):
        fetch("http://nobody.invalid/", timeout_seconds=SOON_SECONDS)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://host/", "is not an http or https URL"),
        ("host:9400/metrics", "is not an http or https URL"),
        ("http:///metrics", "is not an http or https URL"),
        ("http://host:0/", "is not an http or https URL"),
        ("http://host:99999/", "can't be read"),
        ("http://[::1/", "can't be read"),
        (f"http://{'a' * 64}/", "can't be read"),
        (f"http://user:{SECRET}@host/", "holds a user or password"),
        (f"http://{SECRET}@host/", "holds a user or password"),
        ("http://host/mét", "percent-encoded"),
        ("http://host/a b", "percent-encoded"),
        ("http://host/a\x7fb", "percent-encoded"),
    ],
)
def test_a_url_that_cant_be_asked_is_refused_and_shows_no_secret(url: str, text: str) -> None:
    assert text in (url_problem(url) or "")
    with pytest.raises(Unavailable) as caught:
        fetch(url, timeout_seconds=SOON_SECONDS)
    assert text in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9400/metrics", "https://host", "http://[::1]:80/a?b=c", "HTTP://Host/"])
def test_a_url_that_can_be_asked_has_no_problem(url: str) -> None:
    assert url_problem(url) is None


def test_a_token_is_read_each_time_so_that_it_can_rotate(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with Peer(answer(PAGE)) as peer:
        for text in ("first", " second\n"):
            token.write_text(text)
            fetch(peer.url, timeout_seconds=SOON_SECONDS, token_file=str(token))
    assert ["Bearer first" in peer.requests[0], "Bearer second\r\n" in peer.requests[1]] == [True, True]


@pytest.mark.parametrize("content", ["", "  \n", "two words", "line\nline", "ünicode", "a" * (TOKEN_BYTES_MOST + 1)])
def test_a_file_without_a_token_is_told_without_its_content_and_nobody_is_asked(tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with Peer(answer(PAGE)) as peer, pytest.raises(Unavailable) as caught:
        fetch(peer.url, timeout_seconds=SOON_SECONDS, token_file=str(token))
    assert str(caught.value) == f"token_file {token}: holds no token of printable ASCII"
    assert peer.requests == []


def test_a_token_file_that_isnt_there_is_told_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^token_file .*/token: No such file or directory$"):
        fetch("http://127.0.0.1:1/", timeout_seconds=SOON_SECONDS, token_file=str(tmp_path / "token"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=test", "-addext", f"subjectAltName=IP:{HOST}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", str(key), "-out", str(chain), *subject]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


def of_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    with Peer(answer(PAGE), tls=of_tls(certificate)) as peer, pytest.raises(Unavailable, match="TLS: self-signed certificate"):
        fetch(peer.url, timeout_seconds=SOON_SECONDS)
    assert peer.requests == []


def test_https_is_read_where_the_system_trusts_the_certificate(certificate: tuple[Path, Path]) -> None:
    program = f"from infermeter.network.fetching import fetch; import sys; print(fetch(sys.argv[1], timeout_seconds={SOON_SECONDS}))"
    with Peer(answer(PAGE), tls=of_tls(certificate)) as peer:
        trusting = os.environ | {"SSL_CERT_FILE": str(certificate[0])}
        done = subprocess.run([sys.executable, "-c", program, peer.url], env=trusting, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == str(PAGE)


def test_what_speaks_no_tls_is_told() -> None:
    with Peer(answer(PAGE)) as peer, pytest.raises(Unavailable, match=r"^https://.*: TLS: \w"):
        fetch(f"https://{peer.address}/metrics", timeout_seconds=SOON_SECONDS)

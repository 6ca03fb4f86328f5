"""Requests out of bytes: read as h11 reads them, in whatever pieces they come, and refused wherever two readers could differ."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.errors import DecodeError
from infermeter.otlp.http_requests import (
    FIELDS_MOST,
    FRAMING_BYTES_FREE,
    HEAD_BYTES_MOST,
    KNOWN_BYTES_MOST,
    LINE_BYTES_MOST,
    Head,
    Mark,
    Requests,
)

POST = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Request(NamedTuple):
    """What any reader must find in the same bytes; of the fields h11 rewrites those that say where the body ends."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


def beside_length(fields: Mapping[str, str]) -> dict[str, str]:
    """Those that h11 leaves as they are."""
    return {name: value for name, value in fields.items() if name not in {"content-length", "transfer-encoding"}}


def parts(requests: Requests) -> Iterator[Head | bytes | Mark]:
    """All that can be told by now."""
    while (part := requests.next_part()) is not Mark.NEED_DATA:
        yield part


def read(pieces: Sequence[bytes]) -> tuple[list[Request], bool]:
    """The requests that are whole, and whether what follows them was refused."""
    requests, whole = Requests(), list[Request]()
    head: Head | None = None
    body = b""
    try:
        for piece in pieces:
            requests.feed(piece)
            for part in parts(requests):
                if isinstance(part, Head):
                    head, body = part, b""
                elif isinstance(part, bytes):
                    assert part
                    body += part
                else:
                    assert head is not None
                    whole.append(Request(head.method, head.path, beside_length(head.fields), body))
    except DecodeError:
        return whole, True
    return whole, False


def read_by_h11(data: bytes) -> list[Request]:
    """The requests that h11 finds whole, before what it refuses."""
    whole: list[Request] = []
    while data:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        try:
            head = connection.next_event()
            if not isinstance(head, h11.Request):
                break
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                break
        except h11.RemoteProtocolError:
            break
        fields: dict[str, str] = {}
        for name, value in head.headers:
            key, told = name.decode(), value.decode("latin-1")
            fields[key] = f"{fields[key]}, {told}" if key in fields else told
        target = re.sub(r"(?i)^https?://[^/?]*", "", head.target.decode())
        whole.append(Request(head.method.decode(), target.partition("?")[0], beside_length(fields), body))
        data = connection.trailing_data[0]
    return whole


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The bytes in pieces."""
    ends = sorted(place % (len(data) + 1) for place in at)
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


TOKENS = st.text("abcXYZ019-!#$%&'*+.^_`|~", min_size=1, max_size=8)
VALUES = st.text([chr(code) for code in (9, *range(32, 127), *range(128, 256))], max_size=12).map(str.strip)
FRAMING = frozenset({"host", "content-length", "transfer-encoding", "expect", "connection", "upgrade"})


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """One request."""
    method = draw(st.sampled_from(["POST", "GET", "PUT", "pOST"]))
    target = draw(st.sampled_from(["/v1/traces", "/", "*", "/v1/traces?a=b?c", "http://x:1/v1/logs?q", "/%41"]))
    named = draw(st.lists(st.tuples(TOKENS, VALUES).filter(lambda field: field[0].lower() not in FRAMING), max_size=4))
    lines = [f"{method} {target} HTTP/1.{draw(st.sampled_from('011'))}", "hOst: x", *(f"{name}:{value}" for name, value in named)]
    body = draw(st.binary(max_size=40))
    if lines[0].endswith("1") and draw(st.booleans()):
        lines.append("Transfer-Encoding: Chunked")
        extended = draw(st.sampled_from([b"", b";a=b", b';a="b c"']))
        sent = b"".join(
            b"%X%b\r\n%b\r\n" % (len(piece), extended, piece) for piece in cut(body, draw(st.lists(st.integers(0, 99)))) if piece
        )
        body = sent + draw(st.sampled_from([b"0\r\n\r\n", b"000;last\r\n\r\n", b"0\r\nTrailer: told\r\n\r\n"]))
    elif body or draw(st.booleans()):
        lines.append(f"Content-Length:  {len(body)}\t")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@given(st.lists(well_formed(), min_size=1, max_size=3), st.lists(st.integers(0), max_size=12))
def test_requests_are_read_as_h11_reads_them_in_whatever_pieces_they_come(sent: list[bytes], at: list[int]) -> None:
    data = b"".join(sent)
    expected = read_by_h11(data)
    assert len(expected) == len(sent)
    assert read(cut(data, at)) == (expected, False)
    assert read([bytes([byte]) for byte in data]) == (expected, False)


@given(
    st.lists(well_formed(), min_size=1, max_size=3).map(b"".join),
    st.lists(
        st.tuples(
            st.integers(0),
            st.integers(0, 3),
            st.sampled_from(
                [b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"7", b"\x7f", b"\xff", b"Content-Length: 1\r\n"]
            ),
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.integers(0), max_size=4),
)
def test_of_damaged_bytes_no_request_is_read_that_h11_refuses_or_ends_elsewhere(
    data: bytes, damage: list[tuple[int, int, bytes]], at: list[int]
) -> None:
    for place, lost, put in damage:
        begin = place % (len(data) + 1)
        data = data[:begin] + put + data[begin + lost :]
    whole, _ = read(cut(data, at))
    assert whole == read_by_h11(data)[: len(whole)]


@given(st.binary(max_size=60), st.lists(st.integers(0), max_size=4))
def test_whatever_comes_is_refused_or_awaited_and_told_alike_in_any_pieces(data: bytes, at: list[int]) -> None:
    for begun in (data, CHUNKED + data):
        requests = Requests()
        requests.feed(begun)
        try:
            list(parts(requests))
        except DecodeError:
            refused = True
        else:
            refused = False
        assert read(cut(begun, at))[1] == refused


@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n",
        POST + b"Content-Length: 5, 5\r\n",
        POST + b"Content-Length: +5\r\n",
        POST + b"Content-Length: 0x5\r\n",
        POST + b"Content-Length: 5 5\r\n",
        POST + b"Content-Length: \r\n",
        POST + b"Content-Length: \xb2\r\n",
        POST + b"Content-Length: 1" + b"0" * 18 + b"\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        POST + b"Transfer-Encoding: \r\n",
        POST + b"Transfer-Encoding : chunked\r\n",
        POST + b"X: a\r\n folded\r\n",
        POST + b" X: a\r\n",
        POST + b"X: a\rb\r\n",
        POST + b"X: a\nY: b\r\n",
        POST + b"X: \x00\r\n",
        POST + b"X: \x7f\r\n",
        POST + b"no field\r\n",
        POST + b": no name\r\n",
        POST + b"\xe4: no token\r\n",
        POST + b"Host: y\r\n",
        b"POST /v1/traces HTTP/1.1\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: a b\r\n",
        b"POST /v1/traces HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
        b"POST /v1/traces HTTP/1.2\r\nHost: x\r\n",
        b"POST /v1/traces HTTP/2.0\r\nHost: x\r\n",
        b"POST /v1/traces http/1.1\r\nHost: x\r\n",
        b"POST /v1/traces\r\nHost: x\r\n",
        b"POST  /v1/traces HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1 /traces HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/tr\xe4ces HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/traces HTTP/1.1 \r\nHost: x\r\n",
        b"\r\nPOST /v1/traces HTTP/1.1\r\nHost: x\r\n",
        b"PRI * HTTP/2.0\r\n",
    ],
)
def test_a_head_that_others_could_understand_in_another_way_is_refused(head: bytes) -> None:
    assert read([head + b"\r\n" + b"0\r\n\r\n" + POST]) == ([], True)


@pytest.mark.parametrize(
    "begun", [b"\r", b"\n", b" ", b"\x16\x03", b"\0", b"POST / HTTP/1.1\n", b"POST / HTTP/1.1\r\nX: \x01", b"POST\rX", POST + b"a\nb"]
)
def test_what_can_not_become_a_head_is_not_waited_for(begun: bytes) -> None:
    assert read([begun]) == ([], True)
    assert read([bytes([byte]) for byte in begun])[1]


@pytest.mark.parametrize(
    ("most", "more"),
    [
        (POST + b"X: " + b"a" * (LINE_BYTES_MOST - 1) + b"\r\n", POST + b"X: " + b"a" * LINE_BYTES_MOST + b"\r\n"),
        (POST + b"X: 1\r\n" * (FIELDS_MOST - 1), POST + b"X: 1\r\n" * FIELDS_MOST),
        (b"GET /" + b"a" * (LINE_BYTES_MOST - 1) + POST[15:], b"GET /" + b"a" * LINE_BYTES_MOST + POST[15:]),
        (b"GETT" * 8 + POST[4:], b"GETT" * 8 + b"G" + POST[4:]),
        (POST + b"X" * 256 + b": 1\r\n", POST + b"X" * 257 + b": 1\r\n"),
    ],
    ids=["value", "fields", "target", "method", "name"],
)
def test_each_part_of_a_head_has_a_bound(most: bytes, more: bytes) -> None:
    assert len(read([most + b"\r\n"])[0]) == 1
    assert read([more + b"\r\n"]) == ([], True)


def test_a_head_has_a_bound_in_all_whether_it_ends_or_not() -> None:
    def head(size: int) -> bytes:
        line = b"X: " + b"a" * 1019 + b"\r\n"
        lines = POST + line * ((size - len(POST)) // len(line) - 1)
        return lines + b"Y: " + b"a" * (size - len(lines) - 7) + b"\r\n\r\n"

    assert len(head(HEAD_BYTES_MOST)) == HEAD_BYTES_MOST
    assert len(read([head(HEAD_BYTES_MOST)])[0]) == 1
    assert read([head(HEAD_BYTES_MOST + 1)]) == ([], True)
    assert read([head(2 * HEAD_BYTES_MOST)[:HEAD_BYTES_MOST]]) == ([], False)
    assert read([head(2 * HEAD_BYTES_MOST)[: HEAD_BYTES_MOST + 1]]) == ([], True)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b" 5\r\nabcde\r\n0\r\n\r\n",
        b"5 \r\nabcde\r\n0\r\n\r\n",
        b"5\nabcde\r\n0\r\n\r\n",
        b"123456789\r\n",
        b"000000005\r\nabcde\r\n0\r\n\r\n",
        b"5;\x00\r\nabcde\r\n0\r\n\r\n",
        b"5;" + b"a" * 257 + b"\r\nabcde\r\n0\r\n\r\n",
        b"5;" + b"a" * 300,
        b"5\r\nabcdef\r\n0\r\n\r\n",
        b"5\r\nabcde\n0\r\n\r\n",
        b"5\r\nabcde0\r\n\r\n",
        b"0\r\nno field\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\n" + b"X: 1\r\n" * (FIELDS_MOST + 1) + b"\r\n",
        b"0\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 5 + b"\r\n",
        b"0\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 5,
    ],
)
def test_chunks_that_others_could_understand_in_another_way_are_refused(chunks: bytes) -> None:
    assert read([CHUNKED + chunks]) == ([], True)


def test_what_frames_chunks_may_outweigh_them_only_at_first() -> None:
    small = b"1\r\na\r\n"
    few = FRAMING_BYTES_FREE // len(small)
    assert read([CHUNKED + small * few])[1] is False
    assert read([CHUNKED + small * 2 * few])[1] is True
    large = b"40\r\n" + b"a" * 64 + b"\r\n"
    (request,), refused = read([CHUNKED + large * 10_000 + b"0\r\n\r\n"])
    assert (len(request.body), refused) == (640_000, False)


@pytest.mark.parametrize(
    "field", [b"Connection: close", b"Connection: keep-alive,  Close", b"Connection: a\r\nConnection: close", b"Upgrade: h2c"]
)
def test_a_head_tells_that_no_other_request_follows(field: bytes) -> None:
    def head(raw: bytes) -> Head:
        requests = Requests()
        requests.feed(raw)
        (first, *_) = parts(requests)
        assert isinstance(first, Head)
        return first

    assert head(POST + field + b"\r\n\r\n").is_last
    assert not head(POST + b"Connection: keep-alive\r\n\r\n").is_last
    assert head(POST.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n").is_last
    assert head(POST + b"Expect: 100-Continue\r\n\r\n").awaits_leave
    assert not head(POST + b"Expect: something\r\n\r\n").awaits_leave
    assert not head(POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\n\r\n").awaits_leave


def test_only_what_was_not_told_is_held() -> None:
    requests = Requests()
    assert not requests.has_begun
    requests.feed(POST + b"Content-Length: 3\r\n\r\nab")
    assert list(parts(requests))[1:] == [b"ab"]
    assert not requests.has_begun
    requests.feed(b"cPO")
    assert list(parts(requests)) == [b"c", Mark.END]
    assert requests.has_begun


def after(raw: bytes) -> Requests:
    """A connection on which this request was read."""
    requests = Requests()
    requests.feed(raw)
    assert list(parts(requests))[-1] is Mark.END
    return requests


def in_turn(raw: bytes) -> tuple[Head, bytes] | None:
    """What is told of these bytes alone, if they are one whole request."""
    requests = Requests()
    requests.feed(raw)
    try:
        head, *body, end = parts(requests)
    except (DecodeError, ValueError):
        return None
    if not isinstance(head, Head) or end is not Mark.END or requests.has_begun or any(isinstance(piece, Mark) for piece in body):
        return None
    return head, b"".join(piece for piece in body if isinstance(piece, bytes))


USUAL = POST + b"cOntent-Length: %d\r\nX: Content-Length: 1\r\n\r\n%b"


@given(st.binary(max_size=12), st.lists(st.binary(max_size=120), max_size=3))
def test_a_request_like_the_last_one_is_told_at_once_as_it_is_in_turn(first: bytes, bodies: list[bytes]) -> None:
    requests = after(USUAL % (len(first), first))
    for body in bodies:
        raw = USUAL % (len(body), body)
        assert requests.whole(raw) == in_turn(raw)
        requests.feed(raw)
        assert list(parts(requests))[-1] is Mark.END


@given(
    well_formed(),
    st.lists(
        st.tuples(st.integers(0), st.integers(0, 3), st.sampled_from([b"", b"\r", b"\r\n", b" ", b"0", b"7", b"-1", b"+"])), max_size=2
    ),
)
def test_what_is_told_at_once_is_never_another_request_than_in_turn(raw: bytes, damage: list[tuple[int, int, bytes]]) -> None:
    requests, changed = after(raw), raw
    for place, lost, put in damage:
        begin = place % (len(changed) + 1)
        changed = changed[:begin] + put + changed[begin + lost :]
    assert requests.whole(changed) in (None, in_turn(changed))


def test_nothing_is_told_at_once_amid_another_request_or_before_one_was_known() -> None:
    raw = USUAL % (3, b"abc")
    assert Requests().whole(raw) is None
    requests = after(raw)
    assert requests.whole(raw) is not None
    assert requests.whole(raw + raw) is None
    assert requests.whole(raw.replace(b"/v1/traces", b"/v1/logs")) is None
    for begun in (raw[:1], raw[:-3], raw[:-1]):
        requests = after(raw)
        requests.feed(begun)
        list(parts(requests))
        assert requests.whole(raw) is None


@pytest.mark.parametrize("field", [b"Expect: 100-continue", b"X: %b" % (b"x" * KNOWN_BYTES_MOST), b"Transfer-Encoding: chunked"])
def test_a_head_that_asks_for_leave_is_long_or_has_no_length_is_always_read_in_turn(field: bytes) -> None:
    body = b"0\r\n\r\n" if b"chunked" in field else b"abc"
    raw = POST + field + (b"" if b"chunked" in field else b"\r\nContent-Length: 3") + b"\r\n\r\n" + body
    assert after(raw).whole(raw) is None


def test_a_connection_that_rests_holds_nothing_of_what_came() -> None:
    requests, length = Requests(), 200_000
    tracemalloc.start()
    requests.feed(POST + b"Content-Length: %d\r\n\r\n" % length + bytes(length))
    for _ in parts(requests):
        pass
    held_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < length // 10 < length < peak_bytes

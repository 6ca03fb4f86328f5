"""HTTP/2 on one connection: what the library h2 says is understood, what is answered it understands, and whoever breaks a rule goes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc_answers import Answer
from infermeter.otlp.grpc_events import Begun, BrokenOff, Ended, Event, Mark, Piece
from infermeter.otlp.grpc_frames import SETTINGS_MOST, Code, Http2Error, frame
from infermeter.otlp.grpc_heads import BLOCK_BYTES_MOST, BLOCK_FRAMES_MOST
from infermeter.otlp.grpc_hpack import LIST_BYTES_MOST
from infermeter.otlp.grpc_session import CONTENT_BYTES_MOST, CRUMB_BYTES, IDLE_FRAMES_MOST, Session
from infermeter.otlp.grpc_streams import STREAMS_MOST
from unit.otlp.calls import GREETING, TRACES, Client, Oracle, head

MESSAGE_BYTES = 200_000
OK = Answer(0, b"fine")
REQUEST = b"\x83\x86\x44\x01/\x5f\x10application/grpc"
"""POST, http, the path /, and the content type, as fields are packed."""


def events(session: Session, data: bytes = b"") -> list[Event]:
    """All that can be told by now of what concerns requests."""
    session.feed(data)
    return [event for event in until_more(session) if event is not Mark.NOTHING]


def until_more(session: Session) -> Iterator[Event]:
    while (event := session.next_event()) is not Mark.NEED_DATA:
        yield event


def written(session: Session) -> bytes:
    """What is to be written since it was asked last."""
    data = b"".join(session.unwritten)
    session.unwritten.clear()
    return data


def greeted() -> Session:
    """After the first words of both sides."""
    session = Session(MESSAGE_BYTES)
    assert events(session, GREETING) == []
    written(session)
    return session


def begun(streams: Iterable[int] = (1,), session: Session | None = None) -> Session:
    """With requests of which the content is to come."""
    session = session or greeted()
    for stream in streams:
        assert isinstance(events(session, frame(h2.HEADERS, h2.END_HEADERS, stream, REQUEST))[0], Begun)
    return session


def code(session: Session, data: bytes) -> Code:
    """Why the connection ends over these bytes."""
    with pytest.raises(Http2Error) as caught:
        events(session, data)
    return caught.value.code


def in_pieces(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        yield data[start:end]


CALLS = st.lists(
    st.tuples(
        st.integers(0, 40_000),  # bytes of content
        st.integers(CRUMB_BYTES, 20_000),  # in frames of so many
        st.one_of(st.none(), st.integers(0, 255)),  # padding
        st.sampled_from(["", "gzip"]),
        st.booleans(),  # ends with trailers
    ),
    max_size=4,
)


@given(CALLS, st.lists(st.integers(0, 200_000), max_size=12))
def test_requests_of_the_library_are_understood_in_whatever_pieces_they_come_and_it_understands_the_answers(
    calls: list[tuple[int, int, int | None, str, bool]], cuts: list[int]
) -> None:
    session, client = Session(MESSAGE_BYTES), Client()
    client.hear(written(session))
    for size, pieces, padding, packing, has_trailers in calls:
        more = (("grpc-encoding", packing),) if packing else ()
        stream = client.call(bytes(size), head(TRACES, *more), ends=not has_trailers, pieces=pieces, padding=padding)
        if has_trailers:
            client.h2.send_headers(stream, [("x", "y")], end_stream=True)
        got: list[Event] = [event for piece in in_pieces(client.unsent(), cuts) for event in events(session, piece)]
        first, *contents, last = got
        assert isinstance(first, Begun)
        assert (first.stream, first.head.path, first.head.packing) == (stream, TRACES, packing or "identity")
        assert b"".join(piece.content for piece in contents if isinstance(piece, Piece)) == bytes(size)
        assert last == Ended(stream)
        session.answer(stream, OK)
        client.hear(written(session))
        assert client.told[stream].status == 0
        assert client.told[stream].data == b"\0\0\0\0\4fine"
        assert client.told[stream].is_whole
    assert session.streams == 0


def test_a_refusal_is_understood_and_what_still_comes_is_dropped() -> None:
    session, client = Session(MESSAGE_BYTES), Client()
    stream = client.call(b"some", ends=False)
    events(session, client.unsent())
    session.answer(stream, Answer(8, text="too much: 100 % ä", metadata=(("x-bin", b"\0\1"),)))
    late = frame(h2.DATA, 0, stream, bytes(300)) + frame(h2.WINDOW_UPDATE, 0, stream, b"\0\0\0\1")
    assert events(session, late + frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, b"\x40\x01x\x01y")) == []
    client.hear(written(session))
    told = client.told[stream]
    assert told.fields["grpc-message"] == "too much: 100 %25 %C3%A4"
    assert (told.status, told.fields["x-bin"], told.reset) == (8, "AAE", Code.NO_ERROR)


def test_fields_that_were_told_before_say_the_same_until_others_are_added() -> None:
    session = greeted()
    known = b"\x83\x86\x84"
    path = frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, b"\x83\x86\x44\x02/a")
    again = [frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, b"\x83\x86\xbe") for stream in (3, 5, 9)]
    other = frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 7, b"\x83\x86\x44\x02/b")
    got = events(session, path + again[0] + again[1] + other + again[2] + frame(h2.HEADERS, 0x5, 11, known))
    assert [event.head.path for event in got if isinstance(event, Begun)] == ["/a", "/a", "/a", "/b", "/b", "/"]


def test_content_comes_as_it_comes_and_its_frames_may_be_long() -> None:
    session = begun()
    data = frame(h2.DATA, h2.END_STREAM, 1, bytes(150_000))
    assert events(session, data[:100_009]) == [Piece(1, bytes(100_000))]
    assert session.is_in_content
    assert events(session, data[100_009:]) == [Piece(1, bytes(50_000)), Ended(1)]
    assert not session.has_begun


def test_the_length_of_padding_may_come_after_the_head_of_its_frame() -> None:
    session = begun()
    padded = frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\2some\0\0")
    assert events(session, padded[: h2.HEAD_BYTES]) == []
    assert session.has_begun
    assert events(session, padded[h2.HEAD_BYTES :]) == [Piece(1, b"some"), Ended(1)]


def test_a_connection_that_rests_holds_nothing_of_what_came() -> None:
    session = begun()
    tracemalloc.start()
    session.feed(frame(h2.DATA, h2.END_STREAM, 1, bytes(MESSAGE_BYTES)))
    for _ in until_more(session):
        pass
    held_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < MESSAGE_BYTES // 10 < MESSAGE_BYTES < peak_bytes


def test_who_breaks_a_stream_off_is_answered_nothing() -> None:
    session = begun((1, 3))
    assert events(session, h2.reset(1, Code.NO_ERROR) * 2) == [BrokenOff(1)]
    assert session.streams == 1
    assert written(session) == b""


def request(stream: int, *, ends: bool = False, more: bytes = b"") -> bytes:
    """A head as frames of it, with the authority that the library h2 asks for."""
    return frame(h2.HEADERS, h2.END_HEADERS | ends, stream, b"\x41\x04here" + REQUEST + more)


TRAILERS = b"\x40\x01x\x01y"
ENDS = {"ended": request(1, ends=True), "broken off": request(1) + h2.reset(1, Code.NO_ERROR), "passed over": request(5)}
AFTER = {
    "content": lambda stream: frame(h2.DATA, 0, stream, b"a"),
    "an end": lambda stream: frame(h2.DATA, h2.END_STREAM, stream),
    "a head": request,
    "trailers": lambda stream: frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, TRAILERS),
    "a reset": lambda stream: h2.reset(stream, Code.NO_ERROR),
    "room": lambda stream: h2.window_update(stream, 1),
    "priority": lambda stream: frame(h2.PRIORITY, 0, stream, bytes(5)),
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_what_comes_after_a_streams_end_breaks_the_rule_that_the_library_says_or_none(end: str, is_answered: bool, after: str) -> None:
    session, oracle = greeted(), Oracle()
    begins, then = ENDS[end], AFTER[after](3 if end == "passed over" else 1)
    events(session, begins)
    assert oracle.code(begins) is None
    if is_answered and end == "ended":
        session.answer(1, OK)
        oracle.answer(1)
    if (why := oracle.code(then)) is None:
        assert [event for event in events(session, then) if not isinstance(event, BrokenOff)] == []
    else:
        assert code(session, then) is why


@pytest.mark.parametrize(
    "lengths",
    [
        (),
        ("4",),
        ("004",),
        ("4", "4"),
        ("3",),
        ("5",),
        ("0",),
        ("4", "5"),
        ("+4",),
        ("4, 4",),
        ("-4",),
        ("",),
        ("4a",),
        ("0x4",),
        ("9" * 5000,),
    ],
    ids=lambda lengths: "and".join(lengths)[:9] or "none",
)
@pytest.mark.parametrize("padding", [b"", b"\3"])
@pytest.mark.parametrize("ends", ["with the last", "with nothing", "with trailers"])
def test_as_much_content_comes_as_its_head_says_where_it_says_so(lengths: tuple[str, ...], padding: bytes, ends: str) -> None:
    named = b"".join(b"\x0f\x0d" + packed_text(length) for length in lengths)
    flags = h2.PADDED if padding else 0
    contents = [frame(h2.DATA, flags, 1, padding + b"ab" + bytes(3 if padding else 0)) for _ in range(2)]
    if ends == "with the last":
        contents[1] = frame(h2.DATA, flags | h2.END_STREAM, 1, contents[1][h2.HEAD_BYTES :])
    elif ends == "with nothing":
        contents.append(frame(h2.DATA, h2.END_STREAM, 1))
    else:
        contents.append(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, TRAILERS))
    data = request(1, more=named) + b"".join(contents)
    if lengths in {(), ("4",), ("004",), ("4", "4")}:
        assert events(greeted(), data)[1:] == [Piece(1, b"ab"), Piece(1, b"ab"), Ended(1)]
    else:
        assert code(greeted(), data) is Code.PROTOCOL_ERROR
    if ends != "with trailers" and len(lengths) < 2:  # which the library doesn't count, and of several the last is good enough for it
        assert Oracle().code(data) == (None if lengths in {(), ("4",), ("004",)} else Code.PROTOCOL_ERROR)


def packed_text(text: str) -> bytes:
    """As fields are packed, plainly."""
    length = len(text)
    head = bytes((length,)) if length < 0x7F else bytes((0x7F, length - 0x7F & 0x7F | 0x80, length - 0x7F >> 7))
    return head + text.encode()


def test_content_beyond_what_was_said_is_not_handed_on_and_a_head_that_ends_all_says_none() -> None:
    session = greeted()
    session.feed(request(1, more=b"\x0f\x0d\x013") + frame(h2.DATA, 0, 1, b"ab") + frame(h2.DATA, 0, 1, b"cd"))
    got: list[Event] = []
    with pytest.raises(Http2Error):
        got += iter(session.next_event, Mark.NEED_DATA)
    assert b"cd" not in [event.content for event in got if isinstance(event, Piece)]
    assert code(greeted(), request(1, ends=True, more=b"\x0f\x0d\x013")) is Code.PROTOCOL_ERROR
    assert events(greeted(), request(1, ends=True, more=b"\x0f\x0d\x010"))[1:] == [Ended(1)]


@pytest.mark.parametrize(
    "fields",
    [
        frame(h2.HEADERS, h2.END_HEADERS, 5, b"\xfe"),
        frame(h2.HEADERS, h2.END_HEADERS, 5, b"\x83\x86"),
        frame(h2.HEADERS, h2.END_HEADERS | h2.PADDED, 5),
        frame(h2.HEADERS, 0, 5, REQUEST) + frame(h2.PING, 0, 0, bytes(8)),
        frame(h2.HEADERS, 0, 5, REQUEST) + frame(h2.CONTINUATION, 0, 5) * BLOCK_FRAMES_MOST,
        frame(h2.HEADERS, 0, 5, b"\x83" * BLOCK_BYTES_MOST) + frame(h2.CONTINUATION, h2.END_HEADERS, 5, b"\x83"),
    ],
    ids=["no fields", "no head", "no padding", "broken into", "many frames", "long"],
)
def test_the_goodbye_names_a_stream_over_whose_fields_it_is_said_so_that_nobody_sends_it_again(fields: bytes) -> None:
    session = begun((1, 3))
    written(session)
    session.leave(why := code(session, fields))
    assert written(session) == h2.goaway(5, why)


@pytest.mark.parametrize(
    ("sent", "last"),
    [
        (request(5, more=b"\0\1X\1y"), 5),
        (frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, b"\xfe"), 3),
        (frame(h2.DATA, 0, 5, b"a"), 3),
    ],
)
def test_the_goodbye_names_the_stream_that_the_library_names(sent: bytes, last: int) -> None:
    session, oracle = greeted(), Oracle()
    calls = request(1) + request(3)
    events(session, calls)
    assert oracle.code(calls) is None
    why = code(session, sent)
    session.leave(why)
    assert oracle.code(sent) is not None
    assert oracle.last == last
    assert written(session) == h2.goaway(last, why)


def test_the_goodbye_of_who_leaves_names_no_stream_of_which_the_fields_are_still_coming_and_that_is_not_looked_at() -> None:
    session = begun()
    assert events(session, frame(h2.HEADERS, 0, 3, REQUEST)) == []
    session.leave(Code.NO_ERROR)
    assert written(session) == h2.goaway(1, Code.NO_ERROR)
    assert events(session, frame(h2.CONTINUATION, h2.END_HEADERS, 3)) == []


def test_what_still_comes_in_streams_that_were_answered_early_is_dropped_until_their_ends_and_no_longer() -> None:
    session = begun()
    session.answer(1, Answer(12))
    fields = frame(h2.HEADERS, h2.END_HEADERS, 1, TRAILERS)  # it doesn't end it
    content = frame(h2.DATA, 0, 1, bytes(CRUMB_BYTES))
    assert events(session, content + fields + content + frame(h2.DATA, h2.END_STREAM, 1)) == []
    assert code(session, content) is Code.STREAM_CLOSED


PAST = frame(h2.HEADERS, h2.END_HEADERS, 5, REQUEST)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (frame(h2.DATA, 0, 0, b"a"), Code.PROTOCOL_ERROR),
        (frame(h2.DATA, 0, 3, b"a"), Code.PROTOCOL_ERROR),
        (frame(h2.DATA, 0, 2, b"a"), Code.PROTOCOL_ERROR),
        (frame(h2.DATA, h2.PADDED, 1), Code.FRAME_SIZE_ERROR),
        (frame(h2.DATA, h2.PADDED, 1, b"\x02a"), Code.PROTOCOL_ERROR),
        (h2.HEAD.pack(CONTENT_BYTES_MOST + 1 >> 8, 1, h2.DATA, 0, 1), Code.FRAME_SIZE_ERROR),
        (frame(h2.DATA, h2.END_STREAM, 1) + frame(h2.DATA, 0, 1, b"a"), Code.STREAM_CLOSED),
        (frame(h2.HEADERS, h2.END_HEADERS, 0, REQUEST), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 2, REQUEST), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 1, REQUEST), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 1, b"\x40\x01x\x01y"), Code.PROTOCOL_ERROR),
        (frame(h2.DATA, 1, 1) + frame(h2.HEADERS, 0x5, 1, b"\x40\x01x\x01y"), Code.STREAM_CLOSED),
        (frame(h2.DATA, 1, 1) + frame(h2.HEADERS, h2.END_HEADERS, 1, REQUEST), Code.STREAM_CLOSED),
        (frame(h2.HEADERS, 0x5, 1, b"\0\1X\1y"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0x5, 1, b"\0\1x\1\n"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0x5, 1, b"\0\2te\4gzip"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0x5, 1, b"\0\7upgrade\1y"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, b"\x83\x86"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST + b"\x83"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST + b"\0\1X\1y"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST + b"\0\1x\1\n"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST + b"\0\x07upgrade\1y"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, b"\x88" + REQUEST), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS, 3, b"\xfe"), Code.COMPRESSION_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS | h2.PADDED, 3), Code.FRAME_SIZE_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS | h2.PADDED, 3, b"\x05" + REQUEST[:4]), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, h2.END_HEADERS | h2.PRIORITISED, 3, b"\0\0\0\0"), Code.FRAME_SIZE_ERROR),
        (frame(h2.HEADERS, 0, 3, REQUEST) + frame(h2.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0, 3, REQUEST) + frame(h2.DATA, 0, 1, b"a"), Code.PROTOCOL_ERROR),
        (frame(h2.HEADERS, 0, 3, REQUEST) + frame(h2.CONTINUATION, 0, 1), Code.PROTOCOL_ERROR),
        (frame(h2.CONTINUATION, h2.END_HEADERS, 1), Code.PROTOCOL_ERROR),
        (frame(h2.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
        (frame(h2.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
        (frame(h2.RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(h2.RST_STREAM, 0, 3, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(h2.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
        (frame(h2.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (frame(h2.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
        (frame(h2.SETTINGS, h2.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
        (h2.settings({h2.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
        (h2.settings({h2.INITIAL_WINDOW_SIZE: 1 << 31}), Code.FLOW_CONTROL_ERROR),
        (h2.settings({h2.MAX_FRAME_SIZE: 16_383}), Code.PROTOCOL_ERROR),
        (h2.settings({h2.MAX_FRAME_SIZE: 1 << 24}), Code.PROTOCOL_ERROR),
        (frame(h2.PUSH_PROMISE, h2.END_HEADERS, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(h2.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(h2.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (frame(h2.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(h2.GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (frame(h2.WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(h2.WINDOW_UPDATE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (frame(h2.WINDOW_UPDATE, 0, 3, b"\0\0\0\1"), Code.PROTOCOL_ERROR),
        (frame(h2.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
        (h2.window_update(0, h2.WINDOW_BYTES_MOST), Code.FLOW_CONTROL_ERROR),
        (h2.window_update(1, h2.WINDOW_BYTES_MOST), Code.FLOW_CONTROL_ERROR),
        (h2.window_update(1, 1 << 30) + h2.settings({h2.INITIAL_WINDOW_SIZE: 1 << 30}), Code.FLOW_CONTROL_ERROR),
        (h2.HEAD.pack(16_385 >> 8, 1, h2.HEADERS, 0, 3), Code.FRAME_SIZE_ERROR),
        (h2.HEAD.pack(16_385 >> 8, 1, 0xFF, 0, 3), Code.FRAME_SIZE_ERROR),
    ],
)
def test_whoever_breaks_a_rule_loses_the_connection(sent: bytes, why: Code) -> None:
    assert code(begun(), sent) is why


def test_a_head_may_ask_for_trailers_and_for_no_other_transfer_encoding() -> None:
    assert code(greeted(), frame(h2.HEADERS, h2.END_HEADERS, 1, REQUEST + b"\0\x02te\x04gzip")) is Code.PROTOCOL_ERROR
    assert isinstance(events(greeted(), frame(h2.HEADERS, h2.END_HEADERS, 1, REQUEST + b"\0\x02te\x08trailers"))[0], Begun)


def test_streams_may_be_skipped_but_not_gone_back_to() -> None:
    session = begun((1, 5))
    assert code(session, frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST)) is Code.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r ",
        h2.PREFACE + frame(h2.PING, 0, 0, bytes(8)),
        h2.PREFACE + frame(h2.SETTINGS, h2.ACK, 0),
        b"\x16\x03\x01",
    ],
    ids=["HTTP/1.1", "nearly", "no settings", "settings of mine", "TLS"],
)
def test_a_client_that_begins_otherwise_is_none(said: bytes) -> None:
    assert code(Session(MESSAGE_BYTES), said) is Code.PROTOCOL_ERROR


def test_a_client_is_greeted_once_it_has_said_all_that_it_must() -> None:
    session = Session(MESSAGE_BYTES)
    for number in range(len(GREETING)):
        assert not session.is_greeted
        assert session.has_begun == bool(number)
        assert events(session, GREETING[number : number + 1]) == []
    assert session.is_greeted
    assert not session.has_begun


def test_settings_and_pings_are_acknowledged_and_what_nobody_knows_is_passed_over() -> None:
    session = greeted()
    told = h2.settings({0x77: 1, h2.ENABLE_PUSH: 0, h2.MAX_FRAME_SIZE: 16_384}) + frame(h2.PING, 0, 0, b"12345678")
    own = frame(h2.PING, h2.ACK, 0, bytes(8)) + frame(h2.SETTINGS, h2.ACK, 0) + frame(h2.GOAWAY, 0, 0, bytes(8))
    assert events(session, told + own + frame(0x77, 0xFF, 9, b"whatever") + frame(h2.PRIORITY, 0, 7, bytes(5))) == []
    assert written(session) == frame(h2.SETTINGS, h2.ACK, 0) + frame(h2.PING, h2.ACK, 0, b"12345678")


def test_priority_and_padding_of_a_head_are_passed_over() -> None:
    session = greeted()
    head_frame = frame(h2.HEADERS, h2.END_HEADERS | h2.PADDED | h2.PRIORITISED, 1, b"\3" + bytes(5) + REQUEST + bytes(3))
    assert isinstance(events(session, head_frame)[0], Begun)


def test_a_stream_takes_no_more_than_it_has_room_for_and_the_connection_is_given_new_room() -> None:
    session = begun()
    block = frame(h2.DATA, 0, 1, bytes(16_384))
    room = MESSAGE_BYTES + 16_384
    events(session, block * (room // 16_384))
    assert written(session).startswith(h2.HEAD.pack(0, 4, h2.WINDOW_UPDATE, 0, 0))
    assert code(session, block) is Code.FLOW_CONTROL_ERROR


def test_dropped_content_takes_room_and_gives_it_back() -> None:
    session = begun()
    session.answer(1, OK)
    for _ in range(100):
        assert events(session, frame(h2.DATA, 0, 1, bytes(16_384))) == []
    assert written(session).count(h2.HEAD.pack(0, 4, h2.WINDOW_UPDATE, 0, 0)) > 10


def test_more_than_the_whole_connection_has_room_for_ends_it_also_where_it_would_be_dropped() -> None:
    session = Session(0)
    events(session, GREETING)
    begun((1,), session)
    session.answer(1, OK)
    assert code(session, frame(h2.DATA, 0, 1, bytes(h2.WINDOW_BYTES + 1))) is Code.FLOW_CONTROL_ERROR


def test_an_answer_waits_for_room_in_its_stream_and_in_the_connection() -> None:
    session = begun((1, 3))
    events(session, h2.settings({h2.INITIAL_WINDOW_SIZE: 0}))
    written(session)
    session.answer(1, OK)
    session.answer(3, Answer(13))
    assert session.has_unsent
    assert session.streams == 1  # a refusal needs none
    written(session)
    events(session, h2.window_update(0, 1000) + h2.window_update(1, 8))
    assert (session.has_unsent, written(session)) == (True, b"")
    events(session, h2.window_update(1, 1))
    assert (session.has_unsent, session.streams) == (False, 0)
    assert b"fine" in written(session)


def test_an_answer_waits_until_settings_make_room_and_may_be_given_up() -> None:
    session = begun((1, 3))
    events(session, h2.settings({h2.INITIAL_WINDOW_SIZE: 0}))
    session.answer(1, OK)
    session.answer(3, OK)
    assert events(session, h2.reset(3, Code.NO_ERROR)) == []
    written(session)
    events(session, h2.settings({h2.INITIAL_WINDOW_SIZE: 9}))
    assert session.streams == 0
    assert written(session).count(b"fine") == 1


def test_all_answers_share_the_room_of_the_connection() -> None:
    session = greeted()
    size = len(OK.message) + 5
    for number in range(h2.WINDOW_BYTES // size + 1):
        stream = 2 * number + 1
        begun((stream,), session)
        events(session, frame(h2.DATA, h2.END_STREAM, stream))
        session.answer(stream, OK)
    assert session.has_unsent
    events(session, h2.window_update(0, size))
    assert not session.has_unsent


def test_after_goodbye_no_stream_is_looked_at_and_those_under_way_end() -> None:
    session = begun()
    session.leave(Code.NO_ERROR)
    session.leave(Code.PROTOCOL_ERROR)
    assert written(session) == h2.goaway(1, Code.NO_ERROR)
    late = frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST) + frame(h2.DATA, 0, 3, bytes(100_000))
    ends = frame(h2.DATA, h2.END_STREAM, 3, bytes(20_000)) + frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 3, TRAILERS)
    assert events(session, late + ends + frame(h2.DATA, h2.END_STREAM, 1)) == [Ended(1)]
    assert written(session) == h2.window_update(0, 120_000)
    assert code(session, frame(h2.DATA, 0, 1, b"a")) is Code.STREAM_CLOSED


IDLE = {
    "pings": frame(h2.PING, 0, 0, bytes(8)),
    "settings": frame(h2.SETTINGS, 0, 0),
    "acknowledged": frame(h2.SETTINGS, h2.ACK, 0),
    "priority": frame(h2.PRIORITY, 0, 1, bytes(5)),
    "windows": h2.window_update(1, 1),
    "resets": h2.reset(1, Code.NO_ERROR),
    "unknown": frame(0x99, 0, 0),
    "goodbyes": frame(h2.GOAWAY, 0, 0, bytes(8)),
    "empty content": frame(h2.DATA, 0, 1),
    "crumbs": frame(h2.DATA, 0, 1, bytes(1)),
    "late fields": frame(h2.HEADERS, h2.END_HEADERS, 1, b""),
}


@pytest.mark.parametrize("kind", IDLE)
def test_frames_that_bring_no_request_on_are_bounded_between_two_that_come_whole(kind: str) -> None:
    session = begun()
    session.answer(1, OK)
    for stream in (3, 5):
        begun((stream,), session)
        events(session, IDLE[kind] * (IDLE_FRAMES_MOST - 3))
        assert events(session, frame(h2.DATA, h2.END_STREAM, stream)) == [Ended(stream)]
    assert code(session, IDLE[kind] * (IDLE_FRAMES_MOST + 1)) is Code.ENHANCE_YOUR_CALM


def test_requests_that_are_broken_off_at_once_are_bounded() -> None:
    session = greeted()
    pairs = (frame(h2.HEADERS, h2.END_HEADERS, stream, REQUEST) + h2.reset(stream, Code.NO_ERROR) for stream in count(1, 2))
    within = (IDLE_FRAMES_MOST - 1) // 2  # the settings were one
    assert len(events(session, b"".join(islice(pairs, within)))) == 2 * within
    assert session.streams == 0
    assert code(session, next(pairs) + next(pairs)) is Code.ENHANCE_YOUR_CALM


def call_refused_at_its_head(session: Session, stream: int, end: bytes) -> None:
    """The answer is there before the content is."""
    assert isinstance(events(session, frame(h2.HEADERS, h2.END_HEADERS, stream, REQUEST))[0], Begun)
    session.answer(stream, Answer(12))
    assert events(session, frame(h2.DATA, 0, stream, bytes(CRUMB_BYTES)) + end) == []


@pytest.mark.parametrize("ends", ["content", "trailers"])
def test_requests_that_are_refused_at_their_heads_and_come_whole_are_not_bounded(ends: str) -> None:
    session = greeted()
    for stream in range(1, 4 * IDLE_FRAMES_MOST, 2):
        is_content = ends == "content"
        end = frame(h2.DATA, h2.END_STREAM, stream) if is_content else frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream)
        call_refused_at_its_head(session, stream, end)


@pytest.mark.parametrize("is_all", [False, True])
def test_who_is_answered_at_the_head_is_asked_to_stop_unless_that_was_all(is_all: bool) -> None:
    session = greeted()
    flags = h2.END_HEADERS | (h2.END_STREAM if is_all else 0)
    session.feed(frame(h2.HEADERS, flags, 1, REQUEST))
    for event in until_more(session):
        if isinstance(event, Begun):
            session.answer(1, Answer(12))
    assert written(session).endswith(h2.reset(1, Code.NO_ERROR)) is not is_all
    assert session.streams == 0


@pytest.mark.parametrize("is_broken_off", [False, True])
def test_requests_that_are_refused_at_their_heads_and_left_or_broken_off_are_bounded(is_broken_off: bool) -> None:
    session = greeted()
    frames_each = 1 + is_broken_off
    for stream in islice(count(1, 2), (IDLE_FRAMES_MOST - 1) // frames_each):  # the settings were one
        call_refused_at_its_head(session, stream, h2.reset(stream, Code.NO_ERROR) if is_broken_off else b"")
    more = [frame(h2.HEADERS, h2.END_HEADERS, 2**31 - 1, REQUEST), h2.reset(1, Code.NO_ERROR)]
    assert code(session, b"".join(more)) is Code.ENHANCE_YOUR_CALM


def test_of_those_that_were_left_the_last_may_still_come() -> None:
    session = greeted()
    streams = range(1, 4 * STREAMS_MOST, 2)
    for stream in streams:
        call_refused_at_its_head(session, stream, b"")
    events(session, IDLE["pings"] * (IDLE_FRAMES_MOST - 1 - len(streams)))
    assert events(session, frame(h2.DATA, h2.END_STREAM, streams[-STREAMS_MOST])) == []
    ends = frame(h2.DATA, h2.END_STREAM, streams[0]) + frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, streams[1])
    assert events(session, ends * (IDLE_FRAMES_MOST // 3)) == []  # forgotten, and to no use; trailers are two of what is counted
    assert code(session, ends * 2) is Code.ENHANCE_YOUR_CALM


def test_settings_are_bounded_in_number_since_each_may_concern_every_stream() -> None:
    setting = b"\0\4\0\0\0\1"
    assert events(greeted(), frame(h2.SETTINGS, 0, 0, setting * SETTINGS_MOST)) == []
    assert code(greeted(), frame(h2.SETTINGS, 0, 0, setting * (SETTINGS_MOST + 1))) is Code.ENHANCE_YOUR_CALM


def test_content_that_is_worth_its_frames_is_not_bounded_by_their_number() -> None:
    session = begun()
    for _ in range(MESSAGE_BYTES // CRUMB_BYTES):
        events(session, frame(h2.DATA, 0, 1, bytes(CRUMB_BYTES)))


def test_fields_come_in_few_frames_and_are_short() -> None:
    for length in (0, 1):
        begins = frame(h2.HEADERS, 0, 1, REQUEST)
        assert code(greeted(), begins + frame(h2.CONTINUATION, 0, 1, b"\x84" * length) * BLOCK_FRAMES_MOST) is Code.ENHANCE_YOUR_CALM
    ended = frame(h2.HEADERS, 0, 1, REQUEST) + frame(h2.CONTINUATION, h2.END_HEADERS, 1, b"\0\1x\1y")
    assert isinstance(events(greeted(), ended)[0], Begun)
    longer = frame(h2.HEADERS, 0, 1, b"\x83" * BLOCK_BYTES_MOST) + frame(h2.CONTINUATION, h2.END_HEADERS, 1, b"\x83")
    assert code(greeted(), longer) is Code.ENHANCE_YOUR_CALM


def test_fields_as_long_as_the_client_was_told_that_they_may_be_are_taken() -> None:
    session, client = Session(MESSAGE_BYTES), Client()
    client.hear(written(session))
    fields = head()
    left = client.h2.remote_settings.max_header_list_size - sum(len(name) + len(value) + 32 for name, value in fields)
    value = "X" * (left // 2 - len("x-1") - 32)  # which is packed as long as it is
    stream = client.call(b"some", [*fields, ("x-1", value), ("x-2", value)])
    assert 2 * len(value) > LIST_BYTES_MOST - 1000
    assert [type(event) for event in events(session, client.unsent())] == [Begun, Piece, Ended]
    assert stream == 1


def test_fields_that_take_long_to_unpack_count_as_more_of_an_effort() -> None:
    session = greeted()
    before = session.effort
    events(session, frame(h2.HEADERS, h2.END_HEADERS, 1, REQUEST))
    assert session.effort == before + 1
    value = b"v" * 100
    events(session, frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST + (b"\0\1x\x64" + value) * 50))
    assert session.effort > before + 30


@given(st.binary(max_size=400), st.lists(st.sampled_from([*IDLE.values(), frame(h2.HEADERS, h2.END_HEADERS, 3, REQUEST)]), max_size=6))
def test_whatever_comes_it_is_taken_or_the_connection_ends(noise: bytes, frames: list[bytes]) -> None:
    session = begun()
    with suppress(Http2Error):
        events(session, b"".join(frames) + noise)
    with suppress(Http2Error):
        events(Session(MESSAGE_BYTES), GREETING + noise)

"""One gRPC connection on a clock, a wire and a line of exports that are moved by hand."""

from __future__ import annotations

import gzip
import weakref
from typing import Any, cast

import pytest

from infermeter.config import Limits
from infermeter.endpoints import PASSED_BY
from infermeter.errors import Overloaded
from infermeter.model import Accepted, Export
from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.connection import LINGER_SECONDS, UNREAD_SECONDS, Connection
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.grpc_connection import EFFORT_AT_ONCE, IDLE_SECONDS, GrpcConnection, Shared
from infermeter.otlp.grpc_frames import Code, frame
from infermeter.otlp.grpc_streams import STREAMS_MOST
from infermeter.otlp.places import LOOK_SECONDS, NEW_SECONDS, REST_SECONDS, Places
from infermeter.otlp.receiver import Receiver
from unit.otlp.calls import GREETING, TRACES, Client, Told, head, message
from unit.otlp.exports import body, span, wants
from unit.otlp.test_http_connection import Clock, Line, Wire

PATIENCE_SECONDS = 10.0
LONG_SECONDS = 100.0
BODY_BYTES = 100_000
OK, INVALID, TOO_LATE, EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 3, 4, 8, 12, 13, 14


class Peer:
    """One connection to a receiver, and what has become of it. It sends what its client says."""

    def __init__(self, limits: Limits | None = None, *, halves: bool = True, beside: Peer | None = None) -> None:
        self.exports: list[Export] = []
        self.accepted: list[Accepted] = []
        self.mistake: Exception | None = None
        self.is_overloaded = False
        self.line = Line()
        self.clock = beside.clock if beside else Clock()
        self.client = Client()
        self.receiver = Receiver(
            wants("a"),
            self._consume,
            limits or Limits(request_time=PATIENCE_SECONDS, body_bytes=BODY_BYTES),
            overloaded=lambda: self.is_overloaded,
            accepted=self.accepted.append,
            turns=self.line,
        )
        receiver = GrpcReceiver(self.receiver)
        places = Places[Connection](self.receiver.limits.connections)
        self.shared = beside.shared if beside else Shared(self.receiver, places, receiver.exchange, BODY_BYTES)
        self.wire = Wire(halves=halves)
        self.connection = GrpcConnection(self.shared, cast("Any", self.clock))
        self.connection.connection_made(self.wire)

    def _consume(self, export: Export) -> None:
        if self.mistake is not None:
            raise self.mistake
        self.exports.append(export)

    def send(self, *pieces: bytes) -> None:
        """What the client wants sent, or these."""
        for piece in pieces or (self.client.unsent(),):
            self.connection.data_received(piece)

    def hear(self) -> None:
        """The client reads what was written."""
        said, self.wire.written = self.wire.written, b""
        self.client.hear(said)

    def told(self, stream: int) -> Told:
        self.hear()
        return self.client.told[stream]

    def status(self, content: bytes, *fields: tuple[str, str], path: str = TRACES) -> int:
        """What one call is answered."""
        stream = self.client.call(content, head(path, *fields))
        self.send()
        return self.told(stream).status

    @property
    def refused(self) -> dict[str, int]:
        return {reason: count for (_, reason), count in self.receiver.exports_refused.items()}


def export(number: int = 1) -> bytes:
    return message(body(span(number)))


def begins(stream: int, packed: bytes = b"") -> bytes:
    """A call to the usual method, as frames of it."""
    path = b"\x04" + bytes((len(TRACES),)) + TRACES.encode()
    return frame(h2.HEADERS, h2.END_HEADERS, stream, packed or b"\x83\x86" + path + b"\x0f\x10\x10application/grpc")


def whole(stream: int, content: bytes) -> bytes:
    return begins(stream) + frame(h2.DATA, h2.END_STREAM, stream, content)


def test_calls_that_come_at_once_are_answered_in_one_go() -> None:
    peer = Peer()
    streams = [peer.client.call(export(number)) for number in range(1, 6)]
    peer.send()
    assert [peer.told(stream).status for stream in streams] == [OK] * 5
    assert len(peer.exports) == 5
    assert peer.wire.done == []


def test_an_export_may_come_in_whatever_pieces() -> None:
    peer = Peer()
    stream = peer.client.call(export())
    for byte in peer.client.unsent():
        peer.send(bytes((byte,)))
    assert peer.told(stream).status == OK
    assert len(peer.exports) == 1


def test_a_packed_export_is_unpacked_and_passed_on_as_it_came_with_those_it_came_by() -> None:
    peer = Peer()
    packed = gzip.compress(body(span()))
    assert peer.status(message(packed, is_packed=True), ("grpc-encoding", "gzip"), (PASSED_BY, "0123456789abcdef")) == OK
    assert len(peer.exports) == 1
    (accepted,) = peer.accepted
    assert (accepted.body, accepted.packing, accepted.passed_by[0]) == (packed, "gzip", "0123456789abcdef")
    assert peer.status(message(body(span(2))), ("grpc-encoding", "gzip")) == OK  # may be packed, and isn't
    assert peer.accepted[1].packing == "identity"


@pytest.mark.parametrize(
    ("content", "fields", "status"),
    [
        (message(b"some", is_packed=True), (), INVALID),
        (message(b"some", is_packed=True), (("grpc-encoding", "deflate"),), UNIMPLEMENTED),
        (b"\2" + message(b"")[1:], (), INVALID),
        (message(b"")[:4], (), INVALID),
        (b"", (), INVALID),
        (export()[:-1], (), INVALID),
        (export() + b"\0", (), INVALID),
        (message(b"") * 2, (), INVALID),
        (b"\0\xff\xff\xff\xff", (), EXHAUSTED),
        (message(b"\xff"), (), INVALID),
    ],
    ids=["packed somehow", "deflate", "unknown flag", "no length", "nothing", "cut", "too much", "two", "4 GB", "no protobuf"],
)
def test_what_is_no_message_is_refused_and_counted(content: bytes, fields: tuple[tuple[str, str], ...], status: int) -> None:
    peer = Peer()
    assert peer.status(content, *fields) == status
    assert peer.refused == {"too_large" if status == EXHAUSTED else "malformed": 1}
    assert peer.status(export()) == OK


def test_what_is_too_large_is_refused_at_its_length_and_the_rest_dropped() -> None:
    peer = Peer()
    stream = peer.client.call(b"\0" + (BODY_BYTES + 1).to_bytes(4, "big"), ends=False)
    peer.send()
    assert (peer.told(stream).status, peer.refused) == (EXHAUSTED, {"too_large": 1})
    assert peer.told(stream).reset == Code.NO_ERROR
    peer.send(frame(h2.DATA, h2.END_STREAM, stream, bytes(BODY_BYTES)))
    assert peer.status(export()) == OK


@pytest.mark.parametrize(
    ("fields", "status", "http_status"),
    [
        (head(method="GET"), UNIMPLEMENTED, "405"),
        (head("/grpc.health.v1.Health/Check"), UNIMPLEMENTED, "200"),
        ([*head()[:5], ("content-type", "application/json")], INVALID, "415"),
        ([*head()[:5]], INVALID, "415"),
        ([*head()[:5], ("content-type", "application/grpc+proto")], OK, "200"),
    ],
    ids=["GET", "another method", "JSON", "no type", "protobuf"],
)
def test_who_asks_for_something_else_is_told_so(fields: list[tuple[str, str]], status: int, http_status: str) -> None:
    peer = Peer()
    stream = peer.client.call(export(), fields)
    peer.send()
    told = peer.told(stream)
    assert (told.status, told.fields[":status"]) == (status, http_status)
    assert peer.refused == ({"malformed": 1} if status == INVALID else {})


def test_a_sender_of_other_signals_is_told_so_again_and_again_and_keeps_its_connection() -> None:
    peer = Peer()
    path = TRACES.replace("trace.v1.Trace", "metrics.v1.Metrics")
    assert {peer.status(message(b""), path=path) for _ in range(1200)} == {UNIMPLEMENTED}
    assert peer.refused == {"signal": 1200}
    assert peer.wire.done == []


def test_more_calls_than_may_be_under_way_are_told_to_come_back_before_they_know_of_that() -> None:
    peer = Peer()
    streams = [peer.client.call(export()[:9], ends=False) for _ in range(STREAMS_MOST + 1)]
    peer.send()
    told = peer.told(streams[-1])
    assert (told.status, "google.rpc.retryinfo-bin" in told.fields) == (UNAVAILABLE, True)
    assert (peer.refused, peer.wire.done) == ({"overload": 1}, [])
    peer.client.send(streams[0], export()[9:])
    peer.send()
    assert peer.told(streams[0]).status == OK


def test_more_connections_than_are_taken_are_turned_away_and_counted() -> None:
    first = Peer(Limits(connections=1))
    second = Peer(beside=first)
    assert (second.wire.done, first.refused) == (["closed"], {"overload": 1})
    second.hear()
    assert second.client.goodbye == Code.NO_ERROR
    second.connection.connection_lost(None)
    assert Peer(beside=first).wire.done == ["closed"]
    first.connection.connection_lost(None)
    second.connection.connection_lost(None)


def test_an_export_that_waits_in_line_is_taken_in_its_turn_while_others_are_told_of_theirs() -> None:
    peer = Peer()
    peer.line.is_free = False
    first, second = (peer.client.call(export(number)) for number in (1, 2))
    peer.send()
    assert (len(peer.line.waiting), peer.exports) == (2, [])
    peer.line.waiting[1](Overloaded("waited too long"))
    peer.line.waiting[0](None)
    assert (peer.told(first).status, peer.told(second).status) == (OK, UNAVAILABLE)
    assert (len(peer.exports), peer.refused) == (1, {"overload": 1})


@pytest.mark.parametrize(("said_bytes", "status"), [(len(export()), OK), (len(export()) - 1, None), (len(export()) + 1, None)])
def test_an_export_of_another_length_than_its_head_says_is_not_taken_and_counted(said_bytes: int, status: int | None) -> None:
    peer = Peer()
    stream = peer.client.call(export(), head(TRACES, ("content-length", str(said_bytes))))
    peer.send()
    assert peer.told(stream).fields.get("grpc-status") == (None if status is None else str(status))
    assert (len(peer.exports), peer.refused) == ((1, {}) if status == OK else (0, {"malformed": 1}))
    assert peer.client.goodbye == (None if status == OK else Code.PROTOCOL_ERROR)


def test_a_sender_that_hears_late_that_it_was_refused_keeps_its_connection() -> None:
    peer = Peer()
    too_long = b"\0" + (BODY_BYTES + 1).to_bytes(4, "big")
    streams = [
        peer.client.call(too_long, head(TRACES, ("content-length", str(BODY_BYTES + 6))), ends=False) for _ in range(2 * STREAMS_MOST)
    ]
    peer.send()  # all have been answered, and the first ones forgotten
    for stream in streams:
        peer.client.send(stream, bytes(1000))
    peer.send()
    peer.hear()
    assert {told.status for told in peer.client.told.values()} == {EXHAUSTED}
    assert peer.status(export()) == OK
    assert peer.refused == {"too_large": 2 * STREAMS_MOST}


def test_an_export_that_is_broken_off_is_not_taken_and_counted() -> None:
    peer = Peer()
    peer.line.is_free = False
    stream = peer.client.call(export())
    peer.send()
    peer.client.h2.reset_stream(stream)
    peer.send()
    peer.line.waiting[0](None)
    assert (peer.exports, peer.refused) == ([], {"malformed": 1})


def test_one_that_is_broken_off_in_the_same_breath_is_not_taken_either() -> None:
    peer = Peer()
    stream = peer.client.call(export())
    peer.client.h2.reset_stream(stream)
    peer.send()
    assert (peer.exports, peer.refused) == ([], {"malformed": 1})


def test_a_lost_connection_gives_up_what_was_under_way_and_leaves_the_line_in_peace() -> None:
    peer = Peer()
    peer.line.is_free = False
    peer.client.call(export())
    peer.client.call(export()[:-1], ends=False)
    peer.send()
    peer.connection.connection_lost(None)
    peer.line.waiting[0](None)
    assert (peer.exports, peer.refused) == ([], {"malformed": 2})
    assert not [timer for timer in peer.clock.timers if not timer.is_cancelled]


def test_a_lost_connection_holds_no_memory() -> None:
    peer = Peer()
    peer.client.call(export(), ends=False)
    peer.send()
    connection = weakref.ref(peer.connection)
    peer.connection.connection_lost(None)
    del peer.connection
    assert connection() is None


def test_our_own_mistakes_are_told_to_the_loop_and_end_one_call() -> None:
    peer = Peer()
    peer.mistake = KeyError()
    assert peer.status(export()) == INTERNAL
    assert peer.clock.mistakes == [peer.mistake]
    peer.mistake = None
    assert peer.status(export(2)) == OK


def test_a_flood_of_calls_on_one_connection_leaves_turns_to_others() -> None:
    peer = Peer()
    count = EFFORT_AT_ONCE
    peer.send(GREETING + b"".join(whole(2 * number + 1, message(b"")) for number in range(count)))
    answered = peer.wire.written.count(b"\x0bgrpc-status\x010")
    assert 0 < answered < count
    assert peer.wire.done == ["paused"]
    while peer.clock.soon:
        peer.clock.turn()
    assert peer.wire.written.count(b"\x0bgrpc-status\x010") == count
    assert peer.wire.done[-1] == "resumed"


def test_who_does_not_read_answers_is_not_read_either_and_cut_off_in_time() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    peer.client.call(export())
    peer.send()
    assert (peer.wire.done, peer.exports) == (["paused"], [])
    peer.clock.pass_by(UNREAD_SECONDS - 1)
    peer.connection.resume_writing()
    assert (peer.wire.done, len(peer.exports)) == (["paused", "resumed"], 1)
    peer.connection.pause_writing()
    peer.clock.pass_by(UNREAD_SECONDS)
    assert peer.wire.done[-1] == "aborted"


def test_turns_that_come_while_answers_pile_up_do_not_put_the_cut_off() -> None:
    peer = Peer()
    peer.line.is_free = False
    peer.client.call(export())
    peer.send()
    peer.connection.pause_writing()
    peer.clock.pass_by(UNREAD_SECONDS - 1)
    peer.line.waiting[0](None)
    peer.clock.pass_by(1)
    assert peer.wire.done[-1] == "aborted"


def test_who_makes_no_room_for_answers_is_cut_off_in_time() -> None:
    peer = Peer()
    peer.send(GREETING + h2.settings({h2.INITIAL_WINDOW_SIZE: 0}) + whole(1, export(1)))
    peer.clock.pass_by(UNREAD_SECONDS - 1)
    peer.send(whole(3, export(2)))
    assert "aborted" not in peer.wire.done
    peer.clock.pass_by(1)
    assert peer.wire.done == ["aborted"]
    assert len(peer.exports) == 2


def test_who_makes_room_late_gets_its_answer() -> None:
    peer = Peer()
    peer.send(GREETING + h2.settings({h2.INITIAL_WINDOW_SIZE: 0}) + whole(1, export(1)))
    peer.clock.pass_by(UNREAD_SECONDS - 1)
    peer.send(h2.window_update(1, 1000))
    assert b"grpc-status\x010" in peer.wire.written
    peer.clock.pass_by(UNREAD_SECONDS)
    assert peer.wire.done == []


def test_who_says_nothing_is_hung_up_on_and_not_counted() -> None:
    peer = Peer()
    peer.clock.pass_by(PATIENCE_SECONDS)
    assert (peer.wire.done, peer.refused) == (["half closed"], {})
    peer.clock.pass_by(LINGER_SECONDS)
    assert peer.wire.done[-1] == "aborted"


@pytest.mark.parametrize("said", [GREETING[:20], GREETING + begins(1)[:20], GREETING + frame(h2.HEADERS, 0, 1, b"\x83")])
def test_what_drips_is_cut_off_at_a_bound_of_all_of_it_and_counted(said: bytes) -> None:
    peer = Peer()
    peer.send(said)
    peer.clock.pass_by(PATIENCE_SECONDS / 2)
    if said.startswith(GREETING) and said.endswith(b"\x83"):
        peer.send(frame(h2.CONTINUATION, 0, 1, b"\x86"))
    else:
        peer.send(b"\0" if said.startswith(GREETING) else GREETING[20:21])
    peer.clock.pass_by(PATIENCE_SECONDS / 2 - 0.1)
    assert peer.wire.done == []
    peer.clock.pass_by(0.1)
    assert (peer.wire.done, peer.refused) == (["half closed"], {"malformed": 1})


def test_a_frame_has_its_time_from_its_first_byte_on() -> None:
    peer = Peer()
    peer.send(GREETING)
    peer.clock.pass_by(IDLE_SECONDS - 1)
    peer.send(begins(1)[:20])
    peer.clock.pass_by(0.5)
    assert peer.wire.done == []
    peer.send(begins(1)[20:] + begins(3)[:20])
    peer.clock.pass_by(PATIENCE_SECONDS - 0.1)
    assert peer.wire.done == []


def test_an_export_has_its_time_from_its_head_on_and_others_go_on() -> None:
    peer = Peer()
    slow = peer.client.call(export()[:5], ends=False)
    peer.send()
    for _ in range(9):
        peer.clock.pass_by(PATIENCE_SECONDS / 10)
        peer.client.send(slow, b"a", ends=False)
        peer.send()
    later = peer.client.call(export()[:5], ends=False)
    peer.send()
    peer.clock.pass_by(PATIENCE_SECONDS / 10)
    assert (peer.told(slow).status, peer.told(slow).reset) == (TOO_LATE, Code.NO_ERROR)
    assert peer.refused == {"malformed": 1}
    peer.client.send(later, export()[5:])
    peer.send()
    assert peer.told(later).status == OK
    assert peer.wire.done == []


def test_content_that_stops_amid_a_frame_ends_the_connection_and_counts_once() -> None:
    peer = Peer()
    peer.send(GREETING + begins(1) + frame(h2.DATA, 0, 1, export() + bytes(100))[:40])
    peer.clock.pass_by(PATIENCE_SECONDS)
    assert (peer.wire.done, peer.refused) == (["half closed"], {"malformed": 1})


def test_a_connection_rests_for_as_long_after_each_export_whatever_else_it_says_and_is_closed_then() -> None:
    peer = Peer()
    for number in range(3):
        assert peer.status(export(number + 1)) == OK
        peer.clock.pass_by(IDLE_SECONDS - 1)
    peer.client.h2.ping(bytes(8))
    peer.send()
    assert peer.wire.done == []
    peer.clock.pass_by(1)
    assert (peer.wire.done, peer.refused) == (["half closed"], {})
    peer.hear()
    assert peer.client.goodbye == Code.NO_ERROR


def test_deadlines_that_move_on_trouble_few_timers() -> None:
    peer = Peer()
    for number in range(100):
        assert peer.status(export(number + 1)) == OK
        peer.clock.pass_by(0.001)
    assert len([timer for timer in peer.clock.timers if not timer.is_cancelled]) == 1


@pytest.mark.parametrize("halves", [True, False])
def test_who_speaks_another_protocol_reads_why_while_what_it_sends_is_dropped(halves: bool) -> None:
    peer = Peer(halves=halves)
    peer.send(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n", GREETING + whole(1, export()))
    assert peer.refused == {"malformed": 1}
    assert peer.wire.written.endswith(h2.goaway(0, Code.PROTOCOL_ERROR))
    assert peer.wire.done == (["half closed"] if halves else [])
    peer.clock.pass_by(LINGER_SECONDS)
    assert peer.wire.done[-1] == "aborted"
    assert peer.exports == []


def test_a_broken_rule_ends_all_that_is_under_way_each_counted() -> None:
    peer = Peer()
    peer.send(GREETING + begins(1) + begins(3) + whole(5, export()) + frame(h2.PING, 0, 1, bytes(8)))
    assert peer.refused == {"malformed": 3}
    assert peer.wire.written.endswith(h2.goaway(5, Code.PROTOCOL_ERROR))
    assert peer.exports == []


def test_reading_that_was_to_go_on_drops_what_comes_once_it_has_ended() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    peer.clock.pass_by(1)
    peer.connection.connection_lost(None)
    peer.connection.pause_writing()
    peer.connection.resume_writing()
    assert peer.wire.done == ["paused", "resumed"]


def test_winding_up_says_goodbye_and_waits_for_what_is_being_received() -> None:
    peer = Peer()
    stream = peer.client.call(export()[:-1], ends=False)
    peer.send()
    answered = peer.connection.wind_up()
    assert answered is not None
    peer.client.send(stream, export()[-1:])
    peer.send()
    assert h2.goaway(stream, Code.NO_ERROR) in peer.wire.written
    assert b"grpc-status\x010" in peer.wire.written
    assert (answered.done(), peer.wire.done) == (True, ["closed"])
    assert peer.connection.wind_up() is None


def test_winding_up_what_rests_closes_it_and_a_lost_one_keeps_nobody_waiting() -> None:
    peer = Peer()
    assert peer.connection.wind_up() is None
    assert peer.wire.done == ["closed"]
    lost = Peer()
    lost.send(GREETING + begins(1))
    answered = lost.connection.wind_up()
    assert answered is not None
    lost.connection.connection_lost(None)
    assert answered.done()


def test_cutting_leaves_nothing_under_way() -> None:
    peer = Peer()
    peer.connection.cut()
    assert peer.wire.done == ["closed"]
    peer.wire.unsent_bytes = 1
    peer.connection.cut()
    assert peer.wire.done[-1] == "aborted"
    busy = Peer()
    busy.send(GREETING + begins(1))
    busy.connection.cut()
    assert busy.wire.done == ["aborted"]


def test_where_all_places_are_taken_who_rests_is_told_goodbye_and_counted() -> None:
    resting = Peer(Limits(connections=1, request_time=LONG_SECONDS))
    resting.send(GREETING)
    resting.clock.pass_by(NEW_SECONDS)
    comer = Peer(beside=resting)
    assert resting.wire.written.endswith(h2.goaway(0, Code.NO_ERROR))
    assert (resting.wire.done, comer.wire.done) == (["aborted"], [])
    assert resting.receiver.connections_displaced == {"http": 0, "grpc": 1}
    assert resting.refused == {}
    assert comer.status(export()) == OK


def test_who_has_sent_an_export_keeps_its_place_at_rest_for_longer() -> None:
    resting = Peer(Limits(connections=1, request_time=LONG_SECONDS))
    assert resting.status(export(), path="/other") == UNIMPLEMENTED
    resting.clock.pass_by(NEW_SECONDS - 0.5)
    assert Peer(beside=resting).wire.done == ["closed"]
    assert resting.status(export()) == OK
    resting.clock.pass_by(REST_SECONDS - 0.5)
    assert Peer(beside=resting).wire.done == ["closed"]
    resting.clock.pass_by(LOOK_SECONDS)
    assert Peer(beside=resting).wire.done == []
    assert resting.wire.done == ["aborted"]


@pytest.mark.parametrize("begun", [b"P", GREETING[:30], GREETING + begins(1)[:5], GREETING + begins(1), GREETING + whole(1, b"\0")[:-1]])
def test_who_is_at_work_keeps_its_place_for_as_long_as_it_may_take(begun: bytes) -> None:
    busy = Peer(Limits(connections=1, request_time=LONG_SECONDS))
    busy.send(begun)
    busy.clock.pass_by(LONG_SECONDS - 1)
    comer = Peer(beside=busy)
    assert comer.wire.written.endswith(h2.goaway(0, Code.NO_ERROR))
    assert (comer.wire.done, busy.wire.done) == (["closed"], [])

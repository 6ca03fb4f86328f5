"""One connection on a clock, a wire and a line of exports that are moved by hand."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest

from infermeter.config import Limits
from infermeter.errors import Overloaded
from infermeter.model import Export
from infermeter.otlp.connection import LINGER_SECONDS, UNREAD_SECONDS, Connection
from infermeter.otlp.http import HttpReceiver
from infermeter.otlp.http_connection import IDLE_SECONDS, PARTS_AT_ONCE, HttpConnection, Shared
from infermeter.otlp.places import LOOK_SECONDS, NEW_SECONDS, REST_SECONDS, Places
from infermeter.otlp.receiver import Receiver
from infermeter.otlp.turns import Turns
from unit.otlp.exports import body, span, wants

PATIENCE_SECONDS = 10.0
LONG_SECONDS = 100.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]+\r\n")


class Timer:
    """Something that is to be called."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call = at, call
        self.is_cancelled = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """A loop that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], None]] = []
        self.mistakes: list[object] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_exception_handler(self, context: dict[str, object]) -> None:
        self.mistakes.append(context["exception"])

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.Future(loop=cast("Any", self))

    def get_debug(self) -> bool:
        return False

    def turn(self) -> None:
        """One turn of the loop."""
        soon, self.soon = self.soon, []
        for call in soon:
            call()

    def pass_by(self, seconds: float) -> None:
        """That time passes."""
        until = self.now + seconds
        while due := sorted((timer for timer in self.timers if not timer.is_cancelled and timer.at <= until), key=Timer.when):
            self.timers.remove(due[0])
            self.now = due[0].at
            due[0].call()
        self.now = until


class Wire(asyncio.Transport):
    """What is done to a connection."""

    def __init__(self, *, halves: bool) -> None:
        super().__init__()
        self.written = b""
        self.unsent_bytes = 0
        self.done: list[str] = []
        self._halves = halves

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return self._halves

    def write_eof(self) -> None:
        self.done.append("half closed")

    def close(self) -> None:
        self.done.append("closed")

    def abort(self) -> None:
        self.done.append("aborted")

    def pause_reading(self) -> None:
        self.done.append("paused")

    def resume_reading(self) -> None:
        self.done.append("resumed")

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes


class Line(Turns):
    """A line of exports in which everybody waits while it isn't free."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = True
        self.waiting: list[Callable[[Overloaded | None], None]] = []

    def free(self) -> bool:
        return self.is_free

    def full(self) -> bool:
        return False

    def wait(self, call: Callable[[Overloaded | None], None]) -> None:
        self.waiting.append(call)


class Peer:
    """One connection to a receiver, and what has become of it."""

    def __init__(self, limits: Limits | None = None, *, halves: bool = True, beside: Peer | None = None) -> None:
        self.exports: list[Export] = []
        self.mistake: Exception | None = None
        self.is_overloaded = False
        self.line = Line()
        self.clock = beside.clock if beside else Clock()
        self.receiver = Receiver(
            wants("a"),
            self._consume,
            limits or Limits(request_time=PATIENCE_SECONDS, body_bytes=10_000),
            overloaded=lambda: self.is_overloaded,
            turns=self.line,
        )
        http = HttpReceiver(self.receiver)
        places = Places[Connection](self.receiver.limits.connections)
        self.shared = beside.shared if beside else Shared(self.receiver, places, http.exchange, http.at_once, lambda: "now")
        self.wire = Wire(halves=halves)
        self.connection = HttpConnection(self.shared, cast("asyncio.AbstractEventLoop", self.clock))
        self.connection.connection_made(self.wire)

    def _consume(self, export: Export) -> None:
        if self.mistake is not None:
            raise self.mistake
        self.exports.append(export)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in STATUS.findall(self.wire.written)]

    @property
    def refused(self) -> dict[str, int]:
        return {reason: count for (_, reason), count in self.receiver.exports_refused.items()}


def head(length: int | None, *fields: str, method: str = "POST", path: str = "/v1/traces") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/x-protobuf", framing, *fields, "", ""]).encode()


def export(number: int = 1, *fields: str) -> bytes:
    sent = body(span(number))
    return head(len(sent), *fields) + sent


def test_requests_that_come_at_once_are_answered_one_by_one_in_their_order() -> None:
    peer = Peer()
    peer.send(export(1) + head(0, path="/other") + export(2) + head(0, method="GET"))
    assert peer.statuses == [200, 404, 200, 405]
    assert len(peer.exports) == 2
    assert peer.wire.done == []


def test_an_answer_says_when_how_long_and_what_it_is() -> None:
    peer = Peer()
    peer.send(head(0))
    assert peer.wire.written == (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nDate: now\r\n\r\n")


def test_one_to_head_is_followed_by_no_body() -> None:
    peer = Peer()
    peer.send(head(0, method="HEAD") + head(0))
    first, second, rest = peer.wire.written.split(b"\r\n\r\n")
    assert (first[:12], second[:12], rest) == (b"HTTP/1.1 405", b"HTTP/1.1 200", b"")
    assert b"\r\nContent-Length: 9\r\n" in first


def test_a_flood_of_requests_on_one_connection_leaves_turns_to_others() -> None:
    peer = Peer()
    peer.send(head(0) * PARTS_AT_ONCE)
    answered = len(peer.statuses)
    assert 0 < answered < PARTS_AT_ONCE
    assert peer.wire.done == ["paused"]
    while peer.clock.soon:
        peer.clock.turn()
    assert peer.statuses == [200] * PARTS_AT_ONCE
    assert peer.wire.done[-1] == "resumed"


def test_who_does_not_read_answers_is_not_read_either_and_cut_off_in_time() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    peer.send(export(1))
    assert (peer.wire.done, peer.exports) == (["paused"], [])
    peer.clock.pass_by(UNREAD_SECONDS - 1)
    peer.connection.resume_writing()
    assert (peer.wire.done, peer.statuses) == (["paused", "resumed"], [200])
    peer.connection.pause_writing()
    peer.clock.pass_by(UNREAD_SECONDS - 1)
    assert "aborted" not in peer.wire.done
    peer.clock.pass_by(1)
    assert peer.wire.done[-1] == "aborted"


def test_answers_that_pile_up_amid_a_flood_end_the_reading_there() -> None:
    peer = Peer()
    peer.wire.write = lambda _: peer.connection.pause_writing()  # type: ignore[method-assign]
    peer.send(export(1) + export(2))
    assert len(peer.exports) == 1


def test_a_connection_rests_for_as_long_after_each_export_and_is_closed_then() -> None:
    peer = Peer()
    for number in range(3):
        peer.send(export(number + 1))
        peer.clock.pass_by(IDLE_SECONDS - 1)
    assert peer.wire.done == []
    peer.clock.pass_by(1)
    assert (peer.wire.done, peer.refused) == (["closed"], {})


def test_deadlines_that_move_on_trouble_no_timer() -> None:
    peer = Peer()
    for number in range(100):
        peer.send(export(number + 1))
        peer.clock.pass_by(0.001)
    assert len(peer.clock.timers) == 1


def test_who_says_nothing_is_hung_up_on_and_not_counted() -> None:
    peer = Peer()
    peer.clock.pass_by(PATIENCE_SECONDS)
    assert (peer.wire.done, peer.wire.written, peer.refused) == (["closed"], b"", {})


def test_a_head_has_its_time_from_connecting_on_or_from_its_first_byte_however_it_drips() -> None:
    for before in (b"", export(1)):
        peer = Peer()
        if before:
            peer.send(before)
            peer.clock.pass_by(IDLE_SECONDS - 1)
        for byte in head(5)[:9]:
            peer.send(bytes([byte]))
            peer.clock.pass_by(PATIENCE_SECONDS / 10)
        assert peer.wire.done == []
        peer.clock.pass_by(PATIENCE_SECONDS / 10)
        assert (peer.wire.done, peer.refused) == (["closed"], {"malformed": 1})


def test_a_body_has_its_time_from_the_end_of_the_head_on() -> None:
    peer = Peer()
    peer.send(head(100)[:20])
    peer.clock.pass_by(PATIENCE_SECONDS - 1)
    peer.send(head(100)[20:])
    for _ in range(9):
        peer.send(b"a")
        peer.clock.pass_by(PATIENCE_SECONDS / 10)
    assert peer.statuses == []
    peer.clock.pass_by(PATIENCE_SECONDS / 10)
    assert (peer.statuses, peer.refused) == ([408], {"malformed": 1})
    assert b"\r\nConnection: close\r\n" in peer.wire.written


@pytest.mark.parametrize("halves", [True, False])
def test_a_refused_sender_gets_to_read_its_answer_while_what_it_sends_is_dropped_for_some_time(halves: bool) -> None:
    peer = Peer(halves=halves)
    peer.send(head(20_000) + bytes(100))
    assert (peer.statuses, peer.refused) == ([413], {"too_large": 1})
    peer.send(bytes(19_900) + export(1))
    peer.clock.pass_by(LINGER_SECONDS - 0.1)
    assert (peer.wire.done, peer.statuses) == (["half closed"] if halves else [], [413])
    peer.connection.eof_received()
    peer.clock.pass_by(0.1)
    assert peer.wire.done[-1] == "aborted"
    assert peer.exports == []


def test_a_refused_export_that_has_come_whole_ends_no_connection() -> None:
    peer = Peer()
    peer.is_overloaded = True
    peer.send(export(1))
    peer.is_overloaded = False
    peer.send(export(1))
    assert (peer.statuses, peer.wire.done) == ([503, 200], [])
    assert b"\r\nRetry-After: 1\r\n" in peer.wire.written


def test_leave_is_given_only_for_what_will_be_read() -> None:
    peer = Peer()
    peer.send(head(5, "Expect: 100-continue"))
    assert peer.statuses == [100]
    peer.send(b"abcde" + head(20_000, "Expect: 100-continue"))
    assert peer.statuses == [100, 400, 413]


@pytest.mark.parametrize("field", ["Connection: close", "Upgrade: h2c"])
def test_after_the_last_request_nothing_is_read(field: str) -> None:
    peer = Peer()
    peer.send(export(1, field) + export(2), export(3))
    assert (peer.statuses, peer.wire.done, len(peer.exports)) == ([200], ["closed"], 1)
    peer.clock.pass_by(LINGER_SECONDS)
    assert peer.wire.done[-1] == "aborted"  # its answer could not be delivered


def test_an_export_waits_for_its_turn_and_nothing_is_read_meanwhile() -> None:
    peer = Peer()
    peer.line.is_free = False
    peer.send(export(1) + head(0))
    peer.clock.pass_by(10 * IDLE_SECONDS)
    assert (peer.statuses, peer.wire.done) == ([], ["paused"])
    peer.line.waiting[0](None)
    assert (peer.statuses, len(peer.exports)) == ([200], 1)
    peer.line.waiting[1](Overloaded("waited too long"))
    assert peer.statuses == [200, 503]
    assert peer.refused == {"overload": 1}
    assert peer.wire.done == ["paused", "resumed", "paused", "resumed"]


def test_one_whose_sender_left_while_it_waited_is_not_taken() -> None:
    peer = Peer()
    peer.line.is_free = False
    peer.send(export(1))
    peer.connection.eof_received()  # which a TLS transport tells even while it isn't read
    peer.connection.connection_lost(None)
    peer.line.waiting[0](None)
    assert (peer.exports, peer.refused, peer.statuses) == ([], {"malformed": 1}, [])


def test_our_own_mistake_is_told_to_the_loop_and_the_connection_goes_on() -> None:
    peer = Peer()
    peer.mistake = KeyError()
    peer.send(export(1))
    assert (peer.statuses, peer.clock.mistakes) == ([500], [peer.mistake])
    peer.mistake = None
    peer.send(export(2))
    assert peer.statuses == [500, 200]


def test_damage_is_counted_once_wherever_it_is() -> None:
    peer = Peer()
    peer.send(b"\0")
    assert (peer.statuses, peer.refused, peer.wire.done) == ([400], {"malformed": 1}, ["half closed"])
    peer = Peer()
    peer.send(head(None) + b"zz\r\n")
    assert (peer.statuses, peer.refused, peer.wire.done) == ([400], {"malformed": 1}, ["half closed"])
    peer = Peer()
    peer.is_overloaded = True
    peer.send(head(None) + b"zz\r\n")
    assert (peer.statuses, peer.refused, peer.wire.done) == ([503], {"overload": 1}, ["half closed"])


@pytest.mark.parametrize("half", [True, False])
def test_an_export_that_is_cut_off_is_counted_once_and_holds_nothing(half: bool) -> None:
    peer = Peer(Limits(in_flight_bytes=100))
    for _ in range(3):
        other = Peer(beside=peer)
        other.send(head(100) + bytes(60))
        if half:
            other.connection.eof_received()
        other.connection.connection_lost(None)
    assert peer.refused == {"malformed": 3}
    assert other.statuses == ([400] if half else [])


def test_who_leaves_between_requests_is_not_counted() -> None:
    peer = Peer()
    peer.send(export(1) + b"POST")
    peer.connection.eof_received()
    peer.connection.connection_lost(None)
    peer.clock.pass_by(2 * IDLE_SECONDS)
    assert (peer.statuses, peer.refused, peer.wire.done) == ([200], {}, [])


def test_one_connection_too_many_is_told_to_come_back() -> None:
    first = Peer(Limits(connections=1))
    second = Peer(beside=first)
    assert (second.statuses, second.wire.done) == ([503], ["closed"])
    assert b"\r\nRetry-After: 1\r\n" in second.wire.written
    assert first.refused == {"overload": 1}
    second.connection.connection_lost(None)
    first.connection.connection_lost(None)
    assert Peer(beside=first).wire.done == []


def test_at_the_end_what_rests_is_closed_and_what_is_received_still_answered() -> None:
    resting, busy, late, ended = Peer(), Peer(), Peer(), Peer()
    assert resting.connection.wind_up() is None
    resting.connection.cut()
    assert resting.wire.done == ["closed", "closed"]
    busy.send(export(1)[:-1])
    answered = busy.connection.wind_up()
    assert answered is not None
    assert not answered.done()
    busy.send(export(1)[-1:] + export(2))
    assert answered.done()
    assert (busy.statuses, busy.wire.done) == ([200], ["closed"])
    late.send(b"POST")
    assert (answered := late.connection.wind_up()) is not None
    late.send(b"\0")
    assert (answered.done(), late.statuses) == (True, [400])
    late.wire.unsent_bytes = 1
    late.connection.cut()
    assert late.wire.done[-1] == "aborted"
    ended.send(export(1, "Connection: close"))
    assert ended.connection.wind_up() is None


def test_at_the_end_what_hangs_is_cut_off() -> None:
    peer = Peer()
    peer.send(export(1)[:-1])
    answered = peer.connection.wind_up()
    peer.connection.cut()
    peer.connection.connection_lost(None)
    assert answered is not None
    assert answered.done()
    assert (peer.wire.done, peer.refused) == (["aborted"], {"malformed": 1})


def test_a_connection_that_was_lost_holds_nothing_until_cycles_are_looked_for() -> None:
    peer = Peer()
    peer.send(export(1)[:-1])
    lost = weakref.ref(peer.connection)
    gc.disable()
    try:
        peer.connection.connection_lost(None)
        del peer.connection
        assert lost() is None
    finally:
        gc.enable()


def test_exports_like_the_last_one_are_answered_and_counted_like_the_first() -> None:
    peer = Peer()
    sent = export(1) + export(2) * 2
    peer.send(sent)
    peer.send(export(3))
    peer.send(export(3))
    peer.send(head(3) + b"abc")
    peer.is_overloaded = True
    peer.send(export(4))
    assert peer.statuses == [200, 200, 200, 200, 200, 400, 503]
    assert peer.refused == {"malformed": 1, "overload": 1}
    assert (len(peer.exports), peer.receiver.spans_dropped["duplicate"]) == (3, 2)
    assert peer.receiver.spans_received["http"] == 5


def test_one_that_is_too_large_of_no_kind_or_of_another_signal_is_refused_as_ever() -> None:
    peer = Peer(Limits(request_time=PATIENCE_SECONDS, body_bytes=50))
    for changed in (head(60) + bytes(60), head(0, path="/v1/logs"), head(0, "Content-Encoding: br"), head(0, method="GET")):
        other = Peer(beside=peer)
        other.send(changed)
        first = other.wire.written
        again = Peer(beside=peer)
        again.send(changed.replace(b"60", b"00")[: changed.index(b"\r\n\r\n") + 4])
        again.wire.written = b""
        again.send(changed)
        assert again.wire.written == first


def test_an_answer_at_once_that_piles_up_ends_the_reading() -> None:
    peer = Peer()
    peer.send(export(1))
    peer.wire.write = lambda _: peer.connection.pause_writing()  # type: ignore[method-assign]
    peer.send(export(2))
    assert peer.wire.done == ["paused"]
    peer.send(export(3))
    assert len(peer.exports) == 2
    peer.clock.pass_by(UNREAD_SECONDS)
    assert peer.wire.done[-1] == "aborted"


def test_an_export_like_the_last_one_waits_for_its_turn_too() -> None:
    peer = Peer()
    peer.send(export(1))
    peer.line.is_free = False
    peer.send(export(2))
    assert (peer.statuses, len(peer.line.waiting)) == ([200], 1)
    peer.line.waiting[0](None)
    assert (peer.statuses, len(peer.exports)) == ([200, 200], 2)


def test_our_own_mistake_over_an_export_like_the_last_one_is_told_to_the_loop() -> None:
    peer = Peer()
    peer.send(export(1))
    peer.mistake = mistake = KeyError()
    peer.send(export(2))
    peer.mistake = None
    peer.send(export(3))
    assert (peer.statuses, peer.clock.mistakes) == ([200, 500, 200], [mistake])


def test_a_connection_that_is_wound_up_answers_no_further_export_at_once() -> None:
    peer = Peer()
    peer.send(export(1))
    assert peer.connection.wind_up() is None
    peer.send(export(2))
    assert (peer.statuses, len(peer.exports)) == ([200], 1)


def test_where_all_places_are_taken_who_rests_makes_room_and_is_counted() -> None:
    resting = Peer(Limits(connections=1, request_time=LONG_SECONDS))
    resting.clock.pass_by(NEW_SECONDS)
    comer = Peer(beside=resting)
    assert (resting.wire.done, resting.wire.written, comer.wire.done) == (["aborted"], b"", [])
    assert resting.receiver.connections_displaced == {"http": 1, "grpc": 0}
    assert resting.refused == {}
    comer.send(export())
    assert comer.statuses == [200]


def test_who_has_sent_an_export_keeps_its_place_at_rest_for_longer() -> None:
    resting = Peer(Limits(connections=1, request_time=LONG_SECONDS))
    for sent, keeps_seconds in ((head(0, path="/other"), NEW_SECONDS), (export(1), REST_SECONDS), (export(2), REST_SECONDS)):
        resting.send(sent)
        resting.clock.pass_by(keeps_seconds - 0.5)
        assert Peer(beside=resting).statuses == [503]
        resting.clock.pass_by(LOOK_SECONDS - 0.5)
    assert resting.wire.done == []
    resting.clock.pass_by(0.5)
    assert Peer(beside=resting).statuses == []
    assert resting.wire.done == ["aborted"]


@pytest.mark.parametrize("begun", [b"P", head(5), head(None) + b"5\r\nab"], ids=["head", "body", "chunk"])
def test_who_is_at_work_keeps_its_place_for_as_long_as_it_may_take(begun: bytes) -> None:
    busy = Peer(Limits(connections=1, request_time=LONG_SECONDS))
    busy.send(begun)
    busy.clock.pass_by(LONG_SECONDS - 1)
    assert Peer(beside=busy).statuses == [503]
    assert busy.wire.done == []


def test_who_waits_for_its_turn_or_leaves_answers_unread_or_is_turned_away_does_not_rest() -> None:
    waiting, unread, ending = (Peer(Limits(connections=1, request_time=LONG_SECONDS)) for _ in range(3))
    waiting.line.is_free = False
    waiting.send(export())
    unread.connection.pause_writing()
    ending.send(b"\0")
    for peer in (waiting, unread, ending):
        assert peer.connection.rests_since is None
        peer.clock.now += LONG_SECONDS
        assert Peer(beside=peer).statuses == [503]

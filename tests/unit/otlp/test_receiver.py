import gzip

import pytest

from infermeter.config import Limits
from infermeter.errors import DecodeError, Overloaded, TooLarge
from infermeter.model import Accepted, Export
from infermeter.otlp.receiver import REMEMBERED_EXPORTS, Packing, Receiver
from infermeter.otlp.refusals import TooSlow, UnknownPacking, WrongContentType, WrongSignal
from infermeter.otlp.turns import Turns
from unit.otlp.exports import body, span, wants


class Intake:
    """A receiver with what it was told and what it passed on."""

    def __init__(self, *, in_flight_bytes: int = 100) -> None:
        self.overloaded = False
        self.consumed: list[Export] = []
        limits = Limits(in_flight_bytes=in_flight_bytes)
        self.receiver = Receiver(wants(), self.consumed.append, limits, overloaded=lambda: self.overloaded)


def test_an_export_is_decoded_counted_and_consumed() -> None:
    intake = Intake()
    export = intake.receiver.export(body(span(1), span(2), span(3, span_id=b"")), "protobuf", "http")
    assert intake.consumed == [export]
    assert (export.spans, export.malformed) == (3, 1)
    assert intake.receiver.spans_received == {"grpc": 0, "http": 3}
    assert intake.receiver.spans_dropped == {"malformed": 1, "duplicate": 0}


def test_an_export_without_a_fit_span_is_not_passed_on() -> None:
    intake = Intake()
    intake.receiver.export(b"{}", "json", "http")
    intake.receiver.export(body(span(span_id=b"")), "protobuf", "grpc")
    assert intake.consumed == []
    assert intake.receiver.spans_dropped["malformed"] == 1


def test_what_is_no_export_is_taken_not_even_in_part() -> None:
    intake = Intake()
    with pytest.raises(DecodeError):
        intake.receiver.export(body(span())[:-1], "protobuf", "http")
    assert intake.consumed == []
    assert intake.receiver.spans_received.total() == 0


def test_a_repeated_export_is_dropped_and_answered_like_the_first() -> None:
    intake = Intake()
    sent = body(span(1), span(2), span(3, span_id=b""))
    first = intake.receiver.export(sent, "protobuf", "http")
    again = intake.receiver.export(sent, "protobuf", "grpc")
    assert intake.consumed == [first]
    assert (again.spans, again.malformed) == (3, 1)
    assert intake.receiver.spans_received == {"grpc": 3, "http": 3}
    assert intake.receiver.spans_dropped == {"malformed": 2, "duplicate": 2}


def test_exports_that_differ_in_a_span_or_in_length_are_no_repetition() -> None:
    intake = Intake()
    for sent in (body(span(1)), body(span(2)), body(span(1), span(2)), body(span(1, {"key": "v"}), span(2))):
        intake.receiver.export(sent, "protobuf", "http")
    assert len(intake.consumed) == 4


def test_a_repetition_is_looked_for_among_the_last_exports_only() -> None:
    intake = Intake()
    for number in range(REMEMBERED_EXPORTS + 1):
        intake.receiver.export(body(span(number)), "protobuf", "http")
    intake.receiver.export(body(span(1)), "protobuf", "http")
    assert len(intake.consumed) == REMEMBERED_EXPORTS + 1
    intake.receiver.export(body(span(0)), "protobuf", "http")
    assert len(intake.consumed) == REMEMBERED_EXPORTS + 2


def test_nothing_is_read_under_overload() -> None:
    intake = Intake()
    intake.overloaded = True
    with pytest.raises(Overloaded):
        intake.receiver.export(body(span()), "protobuf", "http")
    with pytest.raises(Overloaded), intake.receiver.receiving():
        pass
    assert intake.consumed == []


def test_bytes_in_flight_are_bounded_and_returned() -> None:
    receiver = Intake(in_flight_bytes=100).receiver
    with receiver.receiving() as hold:
        hold(60)
        with pytest.raises(Overloaded), receiver.receiving() as also_hold:
            also_hold(41)
        with receiver.receiving() as also_hold:
            also_hold(40)
    with receiver.receiving() as hold:
        hold(100)


class FullLine(Turns):
    """A line that nobody may join."""

    def full(self) -> bool:
        return True


def test_an_export_that_is_here_whole_needs_room_as_one_that_comes_in_pieces() -> None:
    receiver = Intake(in_flight_bytes=100).receiver
    with receiver.receiving() as hold:
        hold(60)
        receiver.check_room(40)
        with pytest.raises(Overloaded):
            receiver.check_room(41)
    receiver.check_room(100)
    full = Receiver(wants(), lambda _: None, Limits(), overloaded=lambda: False, turns=FullLine())
    with pytest.raises(Overloaded):
        full.check_room(1)
    with pytest.raises(Overloaded), full.receiving():
        pass


@pytest.mark.parametrize(
    ("error", "reason", "http_status", "grpc_status"),
    [
        (DecodeError(), "malformed", 400, 3),
        (WrongContentType(), "malformed", 415, 3),
        (UnknownPacking(), "malformed", 415, 12),
        (TooSlow(), "malformed", 408, 4),
        (TooLarge(), "too_large", 413, 8),
        (Overloaded(), "overload", 503, 14),
        (WrongSignal(), "signal", 200, 12),
    ],
)
def test_each_refusal_is_counted_and_has_one_answer(error: Exception, reason: str, http_status: int, grpc_status: int) -> None:
    receiver = Intake().receiver
    refusal = receiver.refuse(error, "grpc")
    assert (refusal.reason, refusal.http_status, refusal.grpc_status) == (reason, http_status, grpc_status)
    assert refusal.retry == (reason == "overload")
    assert receiver.exports_refused == {("grpc", reason): 1}


class Onward:
    """A receiver with what it passes on."""

    def __init__(self, **limits: int) -> None:
        self.accepted: list[Accepted] = []
        self.receiver = Receiver(wants(), lambda _: None, Limits(**limits), overloaded=lambda: False, accepted=self.accepted.append)


def test_what_was_taken_is_passed_on_as_it_was_sent() -> None:
    onward = Onward()
    plain, packed = body(span(1), span(2, span_id=b"")), gzip.compress(body(span(3)))
    onward.receiver.take(plain, "protobuf", "identity", "http")
    onward.receiver.take(packed, "protobuf", "gzip", "grpc")
    ((name,), _) = (accepted.passed_by for accepted in onward.accepted)
    assert onward.accepted == [
        Accepted(plain, "protobuf", "identity", 2, len(plain), (name,)),
        Accepted(packed, "protobuf", "gzip", 1, len(body(span(3))), (name,)),
    ]
    assert onward.accepted[1].body is packed


def test_what_comes_back_from_those_that_it_was_passed_on_to_was_taken_before() -> None:
    onward, other = Onward(), Onward()
    onward.receiver.take(body(span(1)), "protobuf", "identity", "http")
    for number in range(REMEMBERED_EXPORTS):
        onward.receiver.take(body(span(2 + number)), "protobuf", "identity", "http")
    first = onward.accepted[0]
    other.receiver.take(first.body, "protobuf", "identity", "grpc", passed_by=first.passed_by)
    assert other.accepted[0].passed_by == (*first.passed_by, *other.accepted[0].passed_by[1:])
    assert len(set(other.accepted[0].passed_by)) == 2
    assert onward.receiver.take(first.body, "protobuf", "identity", "grpc", passed_by=other.accepted[0].passed_by).spans == 1
    assert len(onward.accepted) == 1 + REMEMBERED_EXPORTS
    assert onward.receiver.spans_dropped["duplicate"] == 1


def test_what_was_refused_is_empty_unfit_or_repeated_is_not_passed_on() -> None:
    onward = Onward(decompressed_bytes=1000, in_flight_bytes=1000)
    sent = body(span(1))
    onward.receiver.take(sent, "protobuf", "identity", "http")
    onward.receiver.take(gzip.compress(sent), "protobuf", "gzip", "http")
    onward.receiver.take(b"", "protobuf", "identity", "http")
    onward.receiver.take(body(span(span_id=b"")), "protobuf", "identity", "http")
    refused: tuple[tuple[bytes, Packing], ...] = (
        (sent[:-1], "identity"),
        (sent, "gzip"),
        (gzip.compress(bytes(1001)), "gzip"),
        (bytes(1001), "identity"),
    )
    for unfit, packing in refused:
        with pytest.raises(DecodeError):
            onward.receiver.take(unfit, "protobuf", packing, "http")
    assert [accepted.body for accepted in onward.accepted] == [sent]


def test_what_a_file_holds_is_not_passed_on() -> None:
    onward = Onward()
    onward.receiver.export(body(span(1)), "protobuf", "file")
    assert onward.accepted == []

"""Exports that are answered first and decoded later, together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from infermeter.config import Limits
from infermeter.errors import DecodeError
from infermeter.model import Accepted, Export, SpanBatch, SpanFilter
from infermeter.otlp.backlog import MOST_BYTES, MOST_SPANS, Backlog
from infermeter.otlp.decoder import Checked, Decoder
from infermeter.otlp.kernel import JOINED_BYTES, Kernel
from infermeter.otlp.plain import SMALL_BYTES, Plain
from infermeter.otlp.receiver import Receiver
from support.compiled_kernel import library
from unit.otlp.exports import body, span, wants

LONG_BYTES = max(SMALL_BYTES, JOINED_BYTES)


Make: TypeAlias = Callable[[SpanFilter], Decoder]

either = pytest.mark.parametrize("make", [Plain, lambda wanted: Kernel(library(), wanted)], ids=["plain", "compiled"])


class Intake:
    """A receiver whose backlog is drained by hand."""

    def __init__(self, make: Make) -> None:
        self.consumed: list[Export] = []
        self.accepted: list[Accepted] = []
        self.kept = 0
        self.backlog = Backlog(make(wants("key")), self._keep)
        self.receiver = Receiver(
            wants("key"),
            self.consumed.append,
            Limits(),
            overloaded=lambda: False,
            accepted=self.accepted.append,
            backlog=self.backlog,
        )

    def _keep(self) -> None:
        self.kept += 1


def spans_of(export: Export | None) -> int:
    assert export is not None
    return sum(map(len, export.batches))


@either
def test_what_was_judged_is_counted_and_passed_on_at_once_and_decoded_when_it_is_drained(make: Make) -> None:
    intake = Intake(make)
    for number in range(3):
        told = intake.receiver.take(body(span(number), span(9, span_id=b"")), "protobuf", "identity", "http")
        assert (told.spans, told.malformed) == (2, 1)
    assert intake.receiver.spans_received["http"] == 6
    assert intake.receiver.spans_dropped == {"malformed": 3, "duplicate": 0}
    assert (len(intake.accepted), intake.kept, intake.consumed) == (3, 3, [])

    drained = intake.backlog.drained()

    assert drained is not None
    assert (drained.spans, drained.malformed, spans_of(drained)) == (6, 3, 3)
    assert intake.backlog.drained() is None


@either
def test_what_comes_again_is_not_kept_again_whether_it_was_decoded_by_then_or_not(make: Make) -> None:
    intake = Intake(make)
    for _ in range(2):
        intake.receiver.export(body(span(1)), "protobuf", "http")
    assert spans_of(intake.backlog.drained()) == 1
    intake.receiver.export(body(span(1)), "protobuf", "grpc")
    assert intake.backlog.drained() is None
    assert intake.receiver.spans_dropped["duplicate"] == 2


@either
def test_an_export_without_a_fit_span_is_not_kept(make: Make) -> None:
    intake = Intake(make)
    intake.receiver.export(body(span(span_id=b"")), "protobuf", "http")
    intake.receiver.export(body(), "protobuf", "http")
    assert intake.backlog.drained() is None
    assert (intake.kept, intake.accepted) == (0, [])
    assert intake.receiver.spans_dropped["malformed"] == 1


@either
def test_what_can_not_be_judged_is_decoded_at_once_or_refused(make: Make) -> None:
    intake = Intake(make)
    large = body(span(1, {"prompt": "x" * LONG_BYTES}))
    intake.receiver.export(large, "protobuf", "http")
    intake.receiver.export(b'{"resourceSpans": []}', "json", "http")
    with pytest.raises(DecodeError):
        intake.receiver.export(body(span())[:-1], "protobuf", "http")
    assert [export.spans for export in intake.consumed] == [1]
    assert (intake.kept, intake.receiver.spans_received["http"]) == (0, 1)


class Nothing:
    """A decoder that finds nothing in anything."""

    def checked(self, body: bytes) -> Checked | None:
        raise NotImplementedError

    def batches(self, bodies: Sequence[bytes]) -> Sequence[SpanBatch]:
        assert bodies
        return ()


@pytest.mark.parametrize(("spans", "size"), [(MOST_SPANS, 0), (1, MOST_BYTES)])
def test_it_is_full_when_it_holds_many_spans_or_many_bytes_and_no_more_when_it_was_drained(spans: int, size: int) -> None:
    backlog = Backlog(Nothing(), lambda: None)
    backlog.keep(b"", Checked(1, 0, (b"", b"")))
    assert not backlog.is_full
    backlog.keep(bytes(size), Checked(spans, 0, (b"", b"")))
    assert backlog.is_full
    assert spans_of(backlog.drained()) == 0
    assert not backlog.is_full

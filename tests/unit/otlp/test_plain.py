"""Which exports wait for company where protobuf judges them, and which are decoded at once because they'd gain nothing by it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infermeter.model import SpanBatch
from infermeter.otlp.plain import PASSED_OVER, TINY_BYTES, Plain
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.otlp.templates import LEAST_ROWS
from support.span_rows import rows
from unit.otlp.exports import body, span, wants

SPANS = 64


def unlike(count: int = SPANS) -> bytes:
    """Spans none of which is as long as another."""
    return body(*(span(number, {"key": "x" * 8 * number}) for number in range(count)))


def alike(count: int = SPANS) -> bytes:
    return body(*(span(number, {"key": 0.5, "other": "x" * 40}) for number in range(count)))


def rows_of(batches: Sequence[SpanBatch]) -> list[object]:
    return [row for batch in batches for row in rows(batch)]


def test_unlike_spans_are_judged_once_and_then_for_a_while_decoded_at_once() -> None:
    plain = Plain(wants("key"))
    sent = unlike()
    assert len(sent) > TINY_BYTES
    assert plain.checked(sent) is not None
    together = plain.batches([sent])
    alone = decode_protobuf(sent, wants("key")).batches
    assert sorted(map(repr, rows_of(together))) == sorted(map(repr, rows_of(alone)))

    assert [plain.checked(sent) for _ in range(PASSED_OVER)] == [None] * PASSED_OVER
    assert plain.checked(sent) is not None


def test_meanwhile_tiny_exports_still_wait_for_company() -> None:
    plain = Plain(wants("key"))
    plain.batches([unlike()])
    tiny = body(span(1))
    assert len(tiny) <= TINY_BYTES
    assert plain.checked(tiny) is not None


@pytest.mark.parametrize("sent", [[alike()], [alike(), unlike(SPANS - 1)]])
def test_where_half_of_the_spans_are_alike_all_exports_wait(sent: list[bytes]) -> None:
    plain = Plain(wants("key"))
    assert SPANS > LEAST_ROWS
    plain.batches(sent)
    assert plain.checked(alike()) is not None

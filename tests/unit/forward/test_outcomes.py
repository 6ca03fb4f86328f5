from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from infermeter.forward.outcomes import (
    FIRST_WAIT_SECONDS,
    MOST_ASKED_SECONDS,
    MOST_WAIT_SECONDS,
    Busy,
    Outcome,
    Rejected,
    Taken,
    http_outcome,
    rejected_spans,
    wait_seconds,
)

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@given(attempt=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_a_wait_doubles_up_to_its_bound_and_is_spread_by_half_of_it(attempt: int, random: float) -> None:
    mean = min(FIRST_WAIT_SECONDS * 2 ** min(attempt, 60), MOST_WAIT_SECONDS)
    assert 0.5 * mean <= wait_seconds(attempt, None, lambda: random) <= 1.5 * mean


@given(attempt=st.integers(0, 20), random=st.floats(0, 1, exclude_max=True), asked=st.floats(0, 1e9))
def test_what_a_receiver_asks_for_is_granted_within_a_bound(attempt: int, random: float, asked: float) -> None:
    alone = wait_seconds(attempt, None, lambda: random)
    assert wait_seconds(attempt, asked, lambda: random) == max(alone, min(asked, MOST_ASKED_SECONDS))


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (200, None, Taken()),
        (202, "5", Taken()),
        (429, None, Busy("HTTP 429", answered=True)),
        (502, None, Busy("HTTP 502", answered=True)),
        (503, "7", Busy("HTTP 503", 7.0, answered=True)),
        (504, " 0 ", Busy("HTTP 504", 0.0, answered=True)),
        (503, "9" * 5000, Busy("HTTP 503", 999_999_999.0, answered=True)),
        (503, "soon", Busy("HTTP 503", answered=True)),
        (503, "-1", Busy("HTTP 503", answered=True)),
        (503, "\u0663", Busy("HTTP 503", answered=True)),
        (503, "Fri, 20 Nov 2026 10:00:30 GMT", Busy("HTTP 503", 30.0, answered=True)),
        (503, "Fri, 20 Nov 2026 10:00:30 -0000", Busy("HTTP 503", 30.0, answered=True)),
        (503, "Fri, 20 Nov 2026 09:00:00 GMT", Busy("HTTP 503", 0.0, answered=True)),
        (503, "Fri, 20 Nov 2026 09:00:00 +9999999999999999999999", Busy("HTTP 503", answered=True)),
        (301, None, Rejected("HTTP 301")),
        (400, "5", Rejected("HTTP 400")),
        (401, None, Rejected("HTTP 401")),
        (408, None, Rejected("HTTP 408")),
        (413, None, Rejected("HTTP 413")),
        (500, None, Rejected("HTTP 500")),
    ],
)
def test_a_status_means_what_the_specification_says(status: int, retry_after: str | None, outcome: Outcome) -> None:
    assert http_outcome(status, retry_after, NOW) == outcome


def answer(rejected: int) -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    return response.SerializeToString()


@pytest.mark.parametrize(
    ("told", "json", "rejected"),
    [
        (b"", False, 0),
        (answer(3), False, 3),
        (answer(300), False, 10),
        (answer(-3), False, 0),
        (b"<html>", False, 0),
        (b"", True, 0),
        (b"{}", True, 0),
        (b'{"partialSuccess":{"rejectedSpans":"4"}}', True, 4),
        (b'{"partialSuccess":{"rejectedSpans":4,"errorMessage":"secret"}}', True, 4),
        (b'{"partialSuccess":{}}', True, 0),
        (b'{"partialSuccess":{"rejectedSpans":"many"}}', True, 0),
        (b'{"partialSuccess":{"rejectedSpans":[1]}}', True, 0),
        (b'{"partialSuccess":[]}', True, 0),
        (b"[]", True, 0),
        (b"<html>", True, 0),
    ],
)
def test_rejected_spans_are_read_within_what_was_sent_and_nonsense_says_nothing(told: bytes, json: bool, rejected: int) -> None:
    assert rejected_spans(told, json=json, most=10) == rejected


@given(st.binary(max_size=40), st.booleans())
def test_no_answer_is_a_mistake_of_ours(told: bytes, json: bool) -> None:
    assert 0 <= rejected_spans(told, json=json, most=5) <= 5

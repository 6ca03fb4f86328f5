"""What waits for its root takes no more memory than `limits.pending_bytes`, as the interpreter counts it, whatever the spans are like."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from infermeter.config import Limits
from unit.mapping.hand_made import Span, batches, mapper, mapping, ns

LIMIT_BYTES = 2**20
EVENTS = ("a", "b")
READS_BELOW = mapping(
    "{stages: {queue: {between: [{event: a, in: {rel: descendant, span: x}}, {event: b, in: {rel: descendant, span: x}}]}},"
    " labels: {model: {attr: m, in: {rel: descendant, span: x}}}}"
)


def below(number: int, trace: int, text: str = "", events: int = 1) -> Span:
    told = {"m": f"{number} {text}"} if text else {}
    return Span("x", 0, 1, f"{number:08}", "root", str(trace), attributes=told, events=[(name, 0.5) for name in EVENTS] * events)


FLOODS: dict[str, tuple[Callable[[int], Span], int, int]] = {
    "a span a trace": (lambda n: below(n, n), 200, 30),
    "many spans a trace": (lambda n: below(n, n // 50), 200, 30),
    "one trace": (lambda n: below(n, 0), 200, 30),
    "an export a span": (lambda n: below(n, n // 4), 1, 800),
    "long texts": (lambda n: below(n, n // 4, "y" * 5000), 50, 30),
    "wide texts": (lambda n: below(n, n // 4, "\U0001f525" * 5000), 50, 30),
    "many events": (lambda n: below(n, n // 4, events=100), 50, 12),
    "spans that only link": (lambda n: Span("other", 0, 1, f"{n:08}", "root", str(n // 4)), 200, 60),
}
"""The span of each number, how many come in an export, and how many exports."""


@pytest.mark.parametrize("flood", FLOODS)
def test_spans_whose_root_never_comes_take_no_more_memory_than_they_may(flood: str) -> None:
    span, spans, exports = FLOODS[flood]
    of = mapper(READS_BELOW, limits=Limits(pending_bytes=LIMIT_BYTES, pending_traces=2000))
    of.add(batches([span(n) for n in range(spans)], of.wanted), ns(0))
    of.finish()
    took_bytes = 0
    tracemalloc.start()
    try:
        for number in range(1, exports):
            of.add(batches([span(n) for n in range(number * spans, (number + 1) * spans)], of.wanted), ns(number))
            took_bytes = max(took_bytes, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert took_bytes < LIMIT_BYTES
    assert took_bytes > LIMIT_BYTES / 10, "too little came to show anything"

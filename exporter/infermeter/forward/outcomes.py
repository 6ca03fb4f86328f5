"""What came of an attempt to pass an export on, and what an OTLP receiver's answers mean. Pure.

Source: OTLP specification 1.x, "OTLP/gRPC Throttling", "OTLP/HTTP Response", "OTLP/HTTP Throttling", "Partial Success".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

import orjson
from google.protobuf.message import DecodeError as WireError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})

FIRST_WAIT_SECONDS: Final = 0.5
MOST_WAIT_SECONDS: Final = 15.0
"""Between two attempts: each wait is twice as long as the one before."""

MOST_ASKED_SECONDS: Final = 60.0
"""What of a receiver's wish to be left alone is granted."""


@dataclass(frozen=True, slots=True)
class Taken:
    """It was taken, but for so many of its spans."""

    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Busy:
    """Not now; `asked_seconds` is how long the receiver wants to be left alone. `problem` holds nothing that it sent.

    `answered`: it is what the receiver said, not that it said nothing.
    """

    problem: str
    asked_seconds: float | None = None
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never, it answered. `problem` holds nothing that the receiver sent."""

    problem: str


Outcome: TypeAlias = Taken | Busy | Rejected


def wait_seconds(attempt: int, asked_seconds: float | None, random: Callable[[], float]) -> float:
    """How long to wait after the attempt of this number (from 0), `random` being uniform in [0, 1): half to one and a half times as long.

    Never less than what was asked for, within its bound.
    """
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** min(attempt, 10), MOST_WAIT_SECONDS) * (0.5 + random())
    return max(wait, min(asked_seconds or 0.0, MOST_ASKED_SECONDS))


def http_outcome(status: int, retry_after: str | None, now: datetime) -> Outcome:
    """What a status means; `retry_after` is the header of that name."""
    if 200 <= status < 300:
        return Taken()
    if status in RETRIED_STATUSES:
        return Busy(f"HTTP {status}", None if retry_after is None else _asked_seconds(retry_after, now), answered=True)
    return Rejected(f"HTTP {status}")


def rejected_spans(answer: bytes, *, json: bool, most: int) -> int:
    """How many spans an answer says were rejected, of at most `most`; an answer that can't be read says nothing."""
    try:
        rejected = _json_rejected(answer) if json else ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
    except (WireError, ValueError, TypeError, OverflowError):
        return 0
    return min(max(rejected, 0), most)


def _json_rejected(answer: bytes) -> int:
    told = orjson.loads(answer) if answer else None
    partial = told.get("partialSuccess") if isinstance(told, Mapping) else None
    return int(partial.get("rejectedSpans") or 0) if isinstance(partial, Mapping) else 0


def _asked_seconds(retry_after: str, now: datetime) -> float | None:
    """Source: RFC 9110, section 10.2.3: seconds, or a date."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a zone's offset may be any number
        return None
    return max(((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds(), 0.0)

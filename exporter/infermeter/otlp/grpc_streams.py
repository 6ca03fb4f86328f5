"""What is remembered of a connection of HTTP/2 between two frames."""

from __future__ import annotations

from dataclasses import dataclass

from infermeter.otlp.grpc_answers import Answer


@dataclass(slots=True)
class Stream:
    """One that isn't answered. `room_bytes` may still come in it; `more_bytes` may be sent beside what every stream may."""

    room_bytes: int
    more_bytes: int = 0
    has_ended: bool = False
    answer: Answer | None = None


@dataclass(slots=True)
class Content:
    """The frame of content that is coming."""

    stream: int
    left_bytes: int
    padding_bytes: int
    is_last: bool


@dataclass(slots=True)
class Block:
    """The fields that are coming."""

    stream: int
    is_last: bool
    parts: list[bytes]

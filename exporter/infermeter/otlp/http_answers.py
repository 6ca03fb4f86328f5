"""HTTP/1.1 answers as they are written. Pure."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple

LEAVE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

ANSWERS_REMEMBERED: Final = 16
"""Most exports within a second are answered alike."""

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Answer(NamedTuple):
    """What a request is answered. `more` are further fields."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    more: tuple[tuple[str, str], ...] = ()


@lru_cache(ANSWERS_REMEMBERED)
def written(answer: Answer, *, date: str, closes: bool, has_body: bool = True) -> bytes:
    """The bytes of an answer. `date` is the time as HTTP writes it; without `has_body` it is one to HEAD, which tells of the body only."""
    more = "".join([f"{name}: {value}\r\n" for name, value in answer.more]) if answer.more else ""
    head = (
        f"{_STATUS_LINES[answer.status]}Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
        f"Date: {date}\r\n{more}{'Connection: close' + chr(13) + chr(10) if closes else ''}\r\n"
    ).encode("ascii")
    return head + answer.body if has_body else head

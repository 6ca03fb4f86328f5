"""Clients of a server under test, and what they saw themselves: how long it took to the first byte and to the last, and how it ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """One answer, in seconds since it was asked for.

    `first_byte_seconds`: of its body; None if it has none. `status` 0: the client left, or was cut off.
    """

    status: int
    seconds: float
    first_byte_seconds: float | None
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the client got what it asked for."""
        return self.status == 200


@dataclass(frozen=True)
class Question:
    """A POST: `body` is sent as JSON, or as it is. `leave_after`: the client is gone after so many bytes of the answer."""

    path: str
    body: Mapping[str, Any] | bytes
    leave_after: int | None = None


def ask(url: str, questions: Sequence[Question], *, at_a_time: int) -> list[Answer]:
    """Asks all of them, so many at a time, and gives their answers in the order of the questions."""
    return asyncio.run(_ask(url, questions, at_a_time))


async def _ask(url: str, questions: Sequence[Question], at_a_time: int) -> list[Answer]:
    places = asyncio.Semaphore(at_a_time)
    connector = aiohttp.TCPConnector(limit=at_a_time)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as http:
        return await asyncio.gather(*(_answer(http, question, places) for question in questions))


async def _answer(http: aiohttp.ClientSession, question: Question, places: asyncio.Semaphore) -> Answer:
    body = question.body if isinstance(question.body, bytes) else json.dumps(question.body).encode()
    first_seconds, pieces, status = None, bytearray(), 0
    async with places:
        begin = time.monotonic()
        try:
            async with http.post(question.path, data=body, headers={"Content-Type": "application/json"}) as response:
                async for piece in response.content.iter_any():
                    if first_seconds is None:
                        first_seconds = time.monotonic() - begin
                    pieces += piece
                    if question.leave_after is not None and len(pieces) >= question.leave_after:
                        response.close()
                        break
                else:
                    status = response.status
        except aiohttp.ClientPayloadError:
            status = 0
        return Answer(status, time.monotonic() - begin, first_seconds, bytes(pieces))

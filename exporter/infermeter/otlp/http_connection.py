"""One HTTP connection of a sender: its requests are answered one by one, in their order.

Whatever it could make this wait for, hold or do at once is bounded. What is HTTP is known by http_requests.py alone, what is an export by
the exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import ClassVar, Final, TypeAlias, TypeVar, cast

from infermeter.errors import DecodeError, Overloaded
from infermeter.otlp.connection import Connection
from infermeter.otlp.http_answers import LEAVE, Answer, written
from infermeter.otlp.http_requests import Head, Mark, Part, Requests
from infermeter.otlp.places import Places
from infermeter.otlp.receiver import Protocol, Receiver
from infermeter.otlp.refusals import RETRY_AFTER_SECONDS, TooSlow

T = TypeVar("T")

Exchange: TypeAlias = Generator[None, bytes | None, Answer]
"""Becomes the answer to a request: is sent the pieces of its body, then None, and may end before. What goes wrong is thrown into it."""

IDLE_SECONDS: Final = 120.0
"""How long a connection may rest between two exports; senders export every few seconds."""

PARTS_AT_ONCE: Final = 64
"""Of requests, before others have their turn."""

_FULL = Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"", more=(("Retry-After", str(RETRY_AFTER_SECONDS)),))
_NO_REQUEST = Answer(HTTPStatus.BAD_REQUEST, b"no HTTP request")
_OUR_MISTAKE = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error")


class _Phase(Enum):
    HEAD = "its beginning is awaited"
    BODY = "the rest of it is"
    REST = "nothing is"


@dataclass(frozen=True, slots=True)
class Shared:
    """What the connections of one listener have in common. `date` is now, as HTTP writes it.

    `at_once` is what becomes of an exchange with a body of one piece; None: it doesn't know this kind.
    """

    receiver: Receiver
    places: Places[Connection]
    exchange: Callable[[Head], Exchange]
    at_once: Callable[[Head, bytes], Answer | None]
    date: Callable[[], str]


class HttpConnection(Connection):
    """A sender's over HTTP. The phase says what the deadline means."""

    _PROTOCOL: ClassVar[Protocol] = "http"

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared.receiver, shared.places, loop)
        self._shared = shared
        self._requests = Requests()
        self._phase = _Phase.HEAD
        self._head: Head | None = None
        self._exchange: Exchange | None = None
        self._answer: Answer | None = None
        self._is_in_line = False

    def data_received(self, data: bytes) -> None:
        """Takes bytes."""
        if not self._is_ending and (self._is_paused or not self._answers_at_once(data)):
            self._requests.feed(data)
            if not self._is_paused:
                self._read_on()

    def eof_received(self) -> None:
        """The peer says no more, but may read what it is answered; then the connection ends."""
        if self._exchange is not None and not self._is_paused:
            self._fail(DecodeError("the body was cut off"))
            self._respond(is_whole=False)

    def _greet(self) -> None:
        self._deadline.move(self._receiver.limits.request_time)

    def _turn_away(self) -> None:
        self._write(_FULL, closes=True)

    def _say_goodbye(self) -> None:
        """HTTP has no word for it."""

    def _is_at_work(self) -> bool:
        return self._exchange is not None or self._requests.has_begun

    def _rested_at(self) -> float:
        return self._deadline.since

    def _give_up(self) -> None:
        self._fail(DecodeError("the body was cut off"))
        self._exchange = None

    def _answers_at_once(self, data: bytes) -> bool:
        """Whether these bytes are a whole usual export, which then is answered: the short way to what `_read_on` would come to."""
        request = self._requests.whole(data)
        if request is None or not self._receiver.turns.free():
            return False
        try:
            answer = self._shared.at_once(*request)
        except Exception as mistake:  # noqa: BLE001 - as below
            self._mistaken(mistake)
            answer = _OUR_MISTAKE
        if answer is None:
            return False
        self._head, self._answer = request[0], answer
        self._respond(is_whole=True)
        if self._phase is _Phase.REST and not self._is_paused:
            self._deadline.move(IDLE_SECONDS)
        return True

    def _read_on(self) -> None:
        """Takes what there is, request by request."""
        for _ in range(PARTS_AT_ONCE):
            try:
                part = self._requests.next_part()
            except DecodeError as error:
                self._damaged(error)
                return
            if part is Mark.NEED_DATA:
                self._await_more()
                return
            self._take(part)
            if self._is_paused or self._is_ending:
                return
        self._pause()
        self._loop.call_soon(self._resume)

    def _take(self, part: Part) -> None:
        if isinstance(part, Head):
            self._head, self._exchange = part, self._shared.exchange(part)
            self._go(self._exchange.send, None)
            if part.awaits_leave and self._answer is None:
                self._transport.write(LEAVE)
            return
        if self._exchange is not None and self._answer is None:  # else nobody wants the rest of it
            if part is Mark.END and not self._receiver.turns.free():
                self._get_in_line()
                return
            self._go(self._exchange.send, None if part is Mark.END else cast("bytes", part))
        if part is Mark.END:
            self._respond(is_whole=True)

    def _get_in_line(self) -> None:
        """The export is whole, but others come first, which takes a second at most."""
        self._is_in_line = True
        self._deadline.clear()
        self._pause()
        self._receiver.turns.wait(self._turn_came)

    def _turn_came(self, too_late: Overloaded | None) -> None:
        """The export that waited is taken, or its sender told to come back."""
        self._is_in_line = False
        if self._exchange is None:  # its connection was lost
            return
        if too_late is None:
            self._go(self._exchange.send, None)
        else:
            self._fail(too_late)
        self._respond(is_whole=True)
        self._resume()

    def _go(self, step: Callable[[T], None], sent: T) -> None:
        """One step of the exchange, which may end with the answer."""
        try:
            step(sent)
        except StopIteration as ended:
            self._answer = ended.value
        except Exception as mistake:  # noqa: BLE001 - whatever it is, the connection shall end as any other
            self._mistaken(mistake)
            self._answer = _OUR_MISTAKE

    def _fail(self, error: Exception) -> None:
        """Ends the exchange, which counts it."""
        if self._exchange is not None and self._answer is None:
            self._go(self._exchange.throw, error)

    def _respond(self, *, is_whole: bool) -> None:
        """Writes the answer. A request of which the rest is still to come is the last one."""
        assert self._head is not None  # noqa: S101 - whose answer
        assert self._answer is not None  # noqa: S101 - an exchange ends at the latest with the body
        closes = not is_whole or self._head.is_last or self._answered is not None
        self._write(self._answer, closes=closes, has_body=self._head.method != "HEAD")
        self.is_of_use |= self._answer.status == HTTPStatus.OK
        self._exchange = self._answer = None
        self._has_answered()
        if not is_whole:
            self._linger()
        elif closes:
            self._close()
        else:
            self._phase = _Phase.REST

    def _damaged(self, error: DecodeError) -> None:
        """What comes is no HTTP, of which the end can't be known."""
        if self._exchange is not None:
            self._fail(error)
            self._respond(is_whole=False)
        else:
            self._receiver.refuse(DecodeError(), "http")
            self._write(_NO_REQUEST, closes=True)
            self._has_answered()
            self._linger()

    def _await_more(self) -> None:
        """All that came was taken: what is awaited next, and until when."""
        if self._answer is not None:
            self._respond(is_whole=False)
        elif self._exchange is not None:
            self._enter(_Phase.BODY, self._receiver.limits.request_time)
        elif self._requests.has_begun:
            self._enter(_Phase.HEAD, self._receiver.limits.request_time)
        elif self._phase is _Phase.REST:
            self._deadline.move(IDLE_SECONDS)

    def _enter(self, phase: _Phase, seconds: float) -> None:
        if self._phase is not phase:
            self._phase = phase
            self._deadline.move(seconds)

    def _too_late(self) -> None:
        if self._exchange is not None:
            self._fail(TooSlow("the body took longer than limits.request_time"))
            self._respond(is_whole=False)
        else:
            if self._requests.has_begun:
                self._receiver.refuse(TooSlow(), "http")
            self._close()

    def _resume(self) -> None:
        if not self._is_in_line:
            super()._resume()

    def _write(self, answer: Answer, *, closes: bool, has_body: bool = True) -> None:
        self._transport.write(written(answer, date=self._shared.date(), closes=closes, has_body=has_body))

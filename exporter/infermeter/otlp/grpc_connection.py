"""One gRPC connection of a sender: several exports may be on their way in it, each is answered once it was taken or refused.

Whatever it could make this wait for, hold or do at once is bounded. What is HTTP/2 is known by grpc_session.py alone, what is an export
by the exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, TypeAlias, TypeVar

from infermeter.errors import DecodeError, Overloaded
from infermeter.otlp.connection import UNREAD_SECONDS, Connection
from infermeter.otlp.grpc_answers import OK, Answer
from infermeter.otlp.grpc_events import Begun, Ended, Event, Mark, Piece
from infermeter.otlp.grpc_frames import Code, Http2Error
from infermeter.otlp.grpc_heads import Head
from infermeter.otlp.grpc_session import Session
from infermeter.otlp.grpc_streams import STREAMS_MOST
from infermeter.otlp.places import Places
from infermeter.otlp.receiver import Protocol, Receiver
from infermeter.otlp.refusals import TooSlow

T = TypeVar("T")

Exchange: TypeAlias = Generator[None, bytes | None, Answer]
"""Becomes the answer to a call: is sent the pieces of its content, then None, and may end before. What goes wrong is thrown into it."""

IDLE_SECONDS: Final = 600.0
"""How long a connection may rest between two exports."""

EFFORT_AT_ONCE: Final = 128
"""Of frames, before others have their turn."""

_OUR_MISTAKE: Final = Answer(13, text="internal error")


@dataclass(frozen=True, slots=True)
class Shared:
    """What the connections of one listener have in common."""

    receiver: Receiver
    places: Places[Connection]
    exchange: Callable[[Head], Exchange]
    message_bytes_most: int


class GrpcConnection(Connection):
    """A sender's over gRPC.

    `_calls` are those not answered yet. Of them `_arriving` aren't whole, each with the time until which it must be, oldest first;
    `_whole_calls` have become so just now.
    """

    _PROTOCOL: ClassVar[Protocol] = "grpc"

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared.receiver, shared.places, loop)
        self._shared = shared
        self._session = Session(shared.message_bytes_most)
        self._calls: dict[int, Exchange] = {}
        self._arriving: dict[int, float] = {}
        self._whole_calls: list[int] = []
        self._whole = 0
        self._called_at = loop.time()
        self._begun_at: float | None = None
        self._unsent_at: float | None = None

    def data_received(self, data: bytes) -> None:
        """Takes bytes."""
        if not self._is_ending:
            self._session.feed(data)
            if not self._is_paused:
                self._read_on()

    def eof_received(self) -> None:
        """The peer says no more: the connection ends."""

    @property
    def rests_since(self) -> float | None:
        """On the loop's clock; None: something is under way, a frame that has begun included, or it has ended."""
        return None if self._session.has_begun else super().rests_since

    def _greet(self) -> None:
        self._flush()
        self._await_more()

    def _turn_away(self) -> None:
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._session.leave(Code.NO_ERROR)
        self._flush()

    def _is_at_work(self) -> bool:
        return self._session.streams > 0

    def _rested_at(self) -> float:
        return self._called_at

    def _read_on(self) -> None:
        """Takes what there is, event by event; exports last: what its sender has given up on meanwhile isn't taken any more."""
        try:
            is_all = self._events_taken()
        except Http2Error as error:
            if not self._calls:
                self._receiver.refuse(DecodeError(), "grpc")
            self._end(error.code)
            return
        self._take_exports()
        if not is_all:
            self._pause()
            self._loop.call_soon(self._resume)
        self._go_on()

    def _events_taken(self) -> bool:
        """Takes events, for a while; whether that was all that there is. Raises: Http2Error."""
        session = self._session
        until = session.effort + EFFORT_AT_ONCE
        while session.effort < until:
            event = session.next_event()
            if event is Mark.NEED_DATA:
                return True
            self._take(event)
        return False

    def _take(self, event: Event) -> None:
        if isinstance(event, Begun):
            self._begin(event.stream, self._shared.exchange(event.head))
        elif isinstance(event, Mark) or event.stream not in self._calls:  # it was answered: nobody wants the rest of it
            return
        elif isinstance(event, Piece):
            self._go(event.stream, self._calls[event.stream].send, event.content)
        elif isinstance(event, Ended):
            del self._arriving[event.stream]
            self._whole_calls.append(event.stream)
        else:
            self._break_off(event.stream)

    def _begin(self, stream: int, exchange: Exchange) -> None:
        self._called_at = now = self._loop.time()
        self._calls[stream] = exchange
        self._arriving[stream] = now + self._receiver.limits.request_time
        self._go(stream, exchange.send, None)
        if self._session.streams > STREAMS_MOST:
            self._take_exports()
            if stream in self._calls and self._session.streams > STREAMS_MOST:
                self._go(stream, exchange.throw, Overloaded("too many exports at once"))

    def _take_exports(self) -> None:
        """Those that are whole, unless they were broken off since."""
        for stream in self._whole_calls:
            if stream not in self._calls:
                continue
            if self._receiver.turns.free():
                self._go(stream, self._calls[stream].send, None)
            else:  # others come first, which takes a second at most
                self._receiver.turns.wait(partial(self._turn_came, stream))
        self._whole_calls.clear()

    def _turn_came(self, stream: int, too_late: Overloaded | None) -> None:
        """The export that waited is taken, or its sender told to come back."""
        exchange = self._calls.get(stream)
        if exchange is None:  # it was broken off
            return
        if too_late is None:
            self._go(stream, exchange.send, None)
        else:
            self._go(stream, exchange.throw, too_late)
        self._go_on()

    def _go(self, stream: int, step: Callable[[T], None], sent: T) -> None:
        """One step of an exchange, which may end with the answer."""
        try:
            step(sent)
        except StopIteration as ended:
            answer: Answer = ended.value
            self.is_of_use |= answer.status == OK
        except Exception as mistake:  # noqa: BLE001 - whatever it is, the call shall end as any other
            self._mistaken(mistake)
            answer = _OUR_MISTAKE
        else:
            return
        del self._calls[stream]
        self._arriving.pop(stream, None)
        self._session.answer(stream, answer)

    def _break_off(self, stream: int) -> None:
        """Nobody waits for its answer any more, which is counted."""
        self._arriving.pop(stream, None)
        with suppress(StopIteration):
            self._calls.pop(stream).throw(DecodeError("the export broke off"))

    def _go_on(self) -> None:
        """Writes what there is to be written, and says what is awaited next."""
        self._flush()
        if self._answered is not None and not self._session.streams:
            self._close()
        elif not self._is_unread and not self._is_ending:
            self._await_more()

    def _await_more(self) -> None:
        """Sets the deadline to the first of all that there are."""
        session, now, seconds = self._session, self._loop.time(), self._receiver.limits.request_time
        if session.is_greeted and not session.has_begun:
            self._begun_at = None
        elif self._begun_at is None or session.whole != self._whole:
            self._begun_at = now
        self._whole = session.whole
        if not session.has_unsent:
            self._unsent_at = None
        elif self._unsent_at is None:
            self._unsent_at = now
        until = (now if session.streams else self._called_at) + IDLE_SECONDS
        if self._begun_at is not None:
            until = min(until, self._begun_at + seconds)
        if self._unsent_at is not None:
            until = min(until, self._unsent_at + UNREAD_SECONDS)
        if self._arriving:
            until = min(until, next(iter(self._arriving.values())))
        self._deadline.move(until - now)

    def _too_late(self) -> None:
        session, now, seconds = self._session, self._loop.time(), self._receiver.limits.request_time
        if self._unsent_at is not None and self._unsent_at + UNREAD_SECONDS <= now:
            self._transport.abort()
            return
        for stream in [stream for stream, until in self._arriving.items() if until <= now]:
            self._go(stream, self._calls[stream].throw, TooSlow("the export took longer than limits.request_time"))
        if self._begun_at is not None and self._begun_at + seconds <= now:
            if session.has_begun and not session.is_in_content:  # content was counted with its export
                self._receiver.refuse(TooSlow(), "grpc")
            self._end(Code.NO_ERROR)
        elif not session.streams and self._called_at + IDLE_SECONDS <= now:
            self._end(Code.NO_ERROR)
        else:
            self._go_on()

    def _flush(self) -> None:
        if unwritten := self._session.unwritten:
            self._transport.write(b"".join(unwritten))
            unwritten.clear()

    def _give_up(self) -> None:
        for stream in tuple(self._calls):
            self._break_off(stream)

    def _end(self, code: Code) -> None:
        """Gives up what is under way, and says why."""
        self._give_up()
        self._session.leave(code)
        self._flush()
        self._has_answered()
        self._linger()

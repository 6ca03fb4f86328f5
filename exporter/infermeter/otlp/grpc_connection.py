"""One gRPC connection of a sender: several exports may be on their way in it, each is answered once it was taken or refused.

Whatever it could make this wait for, hold or do at once is bounded. What is HTTP/2 is known by grpc_session.py alone, what is an export
by the exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypeVar, cast

from infermeter.errors import DecodeError, Overloaded
from infermeter.otlp.deadline import LINGER_SECONDS, UNREAD_SECONDS, Deadline
from infermeter.otlp.grpc_answers import Answer
from infermeter.otlp.grpc_events import Begun, Ended, Event, Mark, Piece
from infermeter.otlp.grpc_frames import Code, Http2Error
from infermeter.otlp.grpc_heads import Head
from infermeter.otlp.grpc_session import STREAMS_MOST, Session
from infermeter.otlp.receiver import Receiver
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
class Listener:
    """What the connections of one listener have in common."""

    receiver: Receiver
    exchange: Callable[[Head], Exchange]
    message_bytes_most: int
    connections: set[Connection] = field(default_factory=set)


class Connection(asyncio.Protocol):
    """A sender's; what it does wrong is counted, and nothing of it logged.

    `_calls` are those not answered yet. Of them `_arriving` aren't whole, each with the time until which it must be, oldest first;
    `_whole_calls` have become so just now.
    """

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._receiver = listener.receiver
        self._loop = loop
        self._session = Session(listener.message_bytes_most)
        self._calls: dict[int, Exchange] = {}
        self._arriving: dict[int, float] = {}
        self._whole_calls: list[int] = []
        self._deadline = Deadline(loop, self._too_late)
        self._whole = 0
        self._rested_at = loop.time()
        self._begun_at: float | None = None
        self._unsent_at: float | None = None
        self._is_ending = self._is_unread = self._is_paused = False
        self._answered: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._listener.connections.add(self)
        if len(self._listener.connections) > self._receiver.limits.connections:
            self._receiver.refuse(Overloaded(), "grpc")
            self._session.leave(Code.NO_ERROR)
            self._flush()
            self._close()
        else:
            self._flush()
            self._await_more()

    def data_received(self, data: bytes) -> None:
        """Takes bytes."""
        if not self._is_ending:
            self._session.feed(data)
            if not self._is_paused:
                self._read_on()

    def eof_received(self) -> None:
        """The peer says no more: the connection ends."""

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's
        """What was being received is given up, and counted."""
        self._listener.connections.discard(self)
        self._deadline.end()
        self._is_ending = True
        self._give_all_up()
        self._has_answered()

    def pause_writing(self) -> None:
        """Answers pile up: nothing more is read before they were."""
        self._is_unread = True
        if not self._is_ending:
            self._pause()
            self._deadline.move(UNREAD_SECONDS)

    def resume_writing(self) -> None:
        """They are read."""
        self._is_unread = False
        self._resume()

    def wind_up(self) -> asyncio.Future[None] | None:
        """Takes nothing new; done once what is being received was answered. None: nothing is, and the connection ends."""
        if self._is_ending:
            return None
        self._session.leave(Code.NO_ERROR)
        self._flush()
        if not self._session.streams:
            self._close()
            return None
        self._answered = self._loop.create_future()
        return self._answered

    def cut(self) -> None:
        """Ends it now, whatever is under way."""
        if self._session.streams or self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

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
            self._begin(event.stream, self._listener.exchange(event.head))
        elif isinstance(event, Mark) or event.stream not in self._calls:  # it was answered: nobody wants the rest of it
            return
        elif isinstance(event, Piece):
            self._go(event.stream, self._calls[event.stream].send, event.content)
        elif isinstance(event, Ended):
            del self._arriving[event.stream]
            self._whole_calls.append(event.stream)
        else:
            self._give_up(event.stream)

    def _begin(self, stream: int, exchange: Exchange) -> None:
        self._rested_at = now = self._loop.time()
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
        """One step of an exchange, which may end with the answer; our own mistakes are told to whoever watches over the loop."""
        try:
            step(sent)
        except StopIteration as ended:
            answer: Answer = ended.value
        except Exception as mistake:  # noqa: BLE001 - whatever it is, the call shall end as any other
            self._loop.call_exception_handler({"message": "an export could not be answered", "exception": mistake})
            answer = _OUR_MISTAKE
        else:
            return
        del self._calls[stream]
        self._arriving.pop(stream, None)
        self._session.answer(stream, answer)

    def _give_up(self, stream: int) -> None:
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
        until = (now if session.streams else self._rested_at) + IDLE_SECONDS
        if self._begun_at is not None:
            until = min(until, self._begun_at + seconds)
        if self._unsent_at is not None:
            until = min(until, self._unsent_at + UNREAD_SECONDS)
        if self._arriving:
            until = min(until, next(iter(self._arriving.values())))
        self._deadline.move(until - now)

    def _too_late(self) -> None:
        session, now, seconds = self._session, self._loop.time(), self._receiver.limits.request_time
        if self._is_ending or self._is_unread or (self._unsent_at is not None and self._unsent_at + UNREAD_SECONDS <= now):
            self._transport.abort()
            return
        for stream in [stream for stream, until in self._arriving.items() if until <= now]:
            self._go(stream, self._calls[stream].throw, TooSlow("the export took longer than limits.request_time"))
        if self._begun_at is not None and self._begun_at + seconds <= now:
            if session.has_begun and not session.is_in_content:  # content was counted with its export
                self._receiver.refuse(TooSlow(), "grpc")
            self._end(Code.NO_ERROR)
        elif not session.streams and self._rested_at + IDLE_SECONDS <= now:
            self._end(Code.NO_ERROR)
        else:
            self._go_on()

    def _pause(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and not self._is_unread:
            self._is_paused = False
            self._transport.resume_reading()
            if not self._is_ending:
                self._read_on()

    def _flush(self) -> None:
        if unwritten := self._session.unwritten:
            self._transport.write(b"".join(unwritten))
            unwritten.clear()

    def _give_all_up(self) -> None:
        for stream in tuple(self._calls):
            self._give_up(stream)

    def _end(self, code: Code) -> None:
        """Gives up what is under way, says goodbye, and drops what still comes until the peer, too, has said all."""
        self._is_ending = True
        self._give_all_up()
        self._session.leave(code)
        self._flush()
        self._has_answered()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._deadline.move(LINGER_SECONDS)

    def _close(self) -> None:
        self._is_ending = True
        self._has_answered()
        self._transport.close()
        self._deadline.move(LINGER_SECONDS)

    def _has_answered(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

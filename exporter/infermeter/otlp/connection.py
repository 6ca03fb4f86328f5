"""What connections of senders have in common, whatever is spoken on them: a place, a deadline, an end.

What is read and written is known by http_connection.py and grpc_connection.py.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar, Final, cast

from infermeter.errors import Overloaded
from infermeter.otlp.deadline import Deadline
from infermeter.otlp.places import Places
from infermeter.otlp.receiver import Protocol, Receiver

UNREAD_SECONDS: Final = 30.0
"""How long a peer may leave answers unread, or make no room for them, while nothing more of it is taken."""

LINGER_SECONDS: Final = 2.0
"""How long what still comes from a peer that was turned away is read and dropped, so that it gets to read why."""


class Connection(asyncio.Protocol, ABC):
    """A sender's; what it does wrong is counted, and nothing of it logged.

    Reading stands still while answers are unread, and while it is others' turn. Once it `is_ending`, what still comes is dropped.
    """

    _PROTOCOL: ClassVar[Protocol]

    def __init__(self, receiver: Receiver, places: Places[Connection], loop: asyncio.AbstractEventLoop) -> None:
        self.is_of_use = False
        self._receiver = receiver
        self._places = places
        self._loop = loop
        self._deadline = Deadline(loop, self._time_is_up)
        self._is_ending = self._is_unread = self._is_paused = False
        self._answered: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or turns it away where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if self._places.take(self, self._loop.time()):
            self._greet()
        else:
            self._receiver.refuse(Overloaded(), self._PROTOCOL)
            self._turn_away()
            self._close()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's
        """What was being received is given up, and counted."""
        self._places.leave(self)
        self._deadline.end()
        self._is_ending = True
        self._give_up()
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

    @property
    def rests_since(self) -> float | None:
        """On the loop's clock; None: something is under way, or it has ended."""
        return None if self._is_ending or self._is_paused or self._is_at_work() else self._rested_at()

    def make_room(self) -> None:
        """Ends it now, while it rests; nothing is waited for."""
        self._receiver.connections_displaced[self._PROTOCOL] += 1
        self._is_ending = True
        self._say_goodbye()
        self._transport.abort()

    def wind_up(self) -> asyncio.Future[None] | None:
        """Takes nothing new; done once what is being received was answered. None: nothing is, and the connection ends."""
        if self._is_ending:
            return None
        self._say_goodbye()
        if not self._is_at_work():
            self._close()
            return None
        self._answered = self._loop.create_future()
        return self._answered

    def cut(self) -> None:
        """Ends it now, whatever is under way."""
        if self._is_at_work() or self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    @abstractmethod
    def _greet(self) -> None:
        """It has a place: the peer may begin."""

    @abstractmethod
    def _turn_away(self) -> None:
        """It has none: says so."""

    @abstractmethod
    def _say_goodbye(self) -> None:
        """Nothing new will be taken: says so where it can be said."""

    @abstractmethod
    def _is_at_work(self) -> bool:
        """Whether something is being received, or is to be answered."""

    @abstractmethod
    def _rested_at(self) -> float:
        """Since when it hasn't been at work, if it isn't."""

    @abstractmethod
    def _read_on(self) -> None:
        """Takes what there is."""

    @abstractmethod
    def _too_late(self) -> None:
        """What was awaited hasn't come in time."""

    @abstractmethod
    def _give_up(self) -> None:
        """Ends what is being received, each counted."""

    def _time_is_up(self) -> None:
        if self._is_ending or self._is_unread:
            self._transport.abort()
        else:
            self._too_late()

    def _mistaken(self, mistake: Exception) -> None:
        """Our own mistakes are told to whoever watches over the loop."""
        self._loop.call_exception_handler({"message": "an export could not be answered", "exception": mistake})

    def _pause(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and not self._is_unread:
            self._is_paused = False
            self._transport.resume_reading()
            if not self._is_ending:
                self._read_on()

    def _has_answered(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _linger(self) -> None:
        """Says no more, and drops what still comes until the peer, too, has said all."""
        self._is_ending = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._deadline.move(LINGER_SECONDS)

    def _close(self) -> None:
        self._is_ending = True
        self._has_answered()
        self._transport.close()
        self._deadline.move(LINGER_SECONDS)

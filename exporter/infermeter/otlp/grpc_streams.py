"""The streams of a connection of HTTP/2 that aren't answered, and what may be sent in them, either way. Pure.

What comes is bounded by the room that it was given, which grows again as it is handed on; an answer waits until its peer has room for it.

Source: RFC 9113, sections 5.1, 5.2, 6.9, 8.1.1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc_answers import Answer, written
from infermeter.otlp.grpc_frames import Code, Http2Error

STREAMS_MOST: Final = 16
"""At a time on a connection. Whoever counts them tells the others to come back: a client may not know it yet."""


@dataclass(slots=True)
class Stream:
    """One that isn't answered. `room_bytes` may still come in it; `more_bytes` may be sent beside what every stream may.

    `left_bytes` of content are still to come, None: that wasn't said. `is_bare`: nothing comes after its head.
    """

    room_bytes: int
    left_bytes: int | None
    is_bare: bool
    more_bytes: int = 0
    has_ended: bool = False
    answer: Answer | None = None


class Streams:
    """Those of one connection. What they want written goes to `unwritten`.

    `unanswered` are read by others, by number, and changed here alone; `last` is the highest number that the peer has begun.
    """

    def __init__(self, room_bytes: int, unwritten: list[bytes]) -> None:
        """`room_bytes` may come in each of them, and in all, before it was handed on."""
        self.unanswered: dict[int, Stream] = {}
        self.last = 0
        self._unwritten = unwritten
        self._room_bytes_most = self._room_bytes = room_bytes
        self._window_bytes = self._stream_window_bytes = h2.WINDOW_BYTES
        self._late: deque[int] = deque(maxlen=STREAMS_MOST)  # answered before they were whole
        self._excused = 0
        self._passed_over = 0

    @property
    def has_unsent(self) -> bool:
        """Whether there are answers for which the peer has made no room."""
        return any(stream.answer is not None for stream in self.unanswered.values())

    def begin(self, number: int, content_bytes: int | None, *, is_bare: bool = False) -> None:
        """One more, in which so much content shall come, None: that wasn't said. `is_bare` as in `Stream`."""
        self._reach(number)
        self.unanswered[number] = Stream(self._room_bytes_most, content_bytes, is_bare)

    def ignore(self, number: int) -> None:
        """One more, that is not looked at."""
        self._reach(number)
        self._excuse(number)

    def has_begun(self, number: int) -> bool:
        """Whether that is certain of one up to the last."""
        return number > self._passed_over

    def has_said_all(self, number: int) -> bool:
        """Whether its peer has ended one up to the last, broken it off, or passed it over; where that isn't certain, it hasn't."""
        stream = self.unanswered.get(number)
        if stream is not None:
            return stream.has_ended
        return number > self._excused and number not in self._late

    def awaits(self, number: int) -> bool:
        """Whether its end is still to come, answered or not."""
        stream = self.unanswered.get(number)
        return number in self._late if stream is None else not stream.has_ended

    def end(self, number: int) -> bool:
        """One that was awaited is whole; whether it is to be answered. Raises: Http2Error where its content is shorter than was said."""
        stream = self.unanswered.get(number)
        if stream is None:
            self._late.remove(number)
            return False
        if stream.left_bytes:
            raise Http2Error(Code.PROTOCOL_ERROR)
        stream.has_ended = True
        return True

    def break_off(self, number: int) -> bool:
        """Its peer gives it up; whether it would have been answered otherwise."""
        if number in self._late:
            self._late.remove(number)
        stream = self.unanswered.pop(number, None)
        return stream is not None and stream.answer is None

    def take_room(self, number: int, length_bytes: int, padding_bytes: int = 0) -> None:
        """So much comes, padding included, of which nothing is held: it is handed on, or dropped. Raises: Http2Error."""
        if self.has_said_all(number):
            raise Http2Error(Code.STREAM_CLOSED)
        stream = self.unanswered.get(number)
        if stream is not None:
            stream.room_bytes -= length_bytes
            if stream.left_bytes is not None:
                stream.left_bytes -= length_bytes - padding_bytes
                if stream.left_bytes < 0:
                    raise Http2Error(Code.PROTOCOL_ERROR)
        self._room_bytes -= length_bytes
        if self._room_bytes < 0 or (stream is not None and stream.room_bytes < 0):
            raise Http2Error(Code.FLOW_CONTROL_ERROR)
        if self._room_bytes < self._room_bytes_most // 2:
            self._unwritten.append(h2.window_update(0, self._room_bytes_most - self._room_bytes))
            self._room_bytes = self._room_bytes_most

    def answer(self, number: int, answer: Answer) -> None:
        """Ends a stream, once the peer has room for the answer. What still comes in it is dropped."""
        stream = self.unanswered[number]
        stream.answer = answer
        self._send(number, stream)

    def widen(self, number: int, more_bytes: int) -> None:
        """The peer makes more room, 0: in all of them. Raises: Http2Error."""
        stream = self.unanswered.get(number)
        if not number:
            self._window_bytes += more_bytes
        elif stream is not None:
            stream.more_bytes += more_bytes
        stream_bytes = 0 if stream is None else self._stream_window_bytes + stream.more_bytes
        if max(self._window_bytes, stream_bytes) > h2.WINDOW_BYTES_MOST:
            raise Http2Error(Code.FLOW_CONTROL_ERROR)
        self._send_on()

    def set_window(self, window_bytes: int) -> None:
        """The peer says how much room every stream has from the first. Raises: Http2Error."""
        widest_bytes = window_bytes + max((stream.more_bytes for stream in self.unanswered.values()), default=0)
        if widest_bytes > h2.WINDOW_BYTES_MOST:
            raise Http2Error(Code.FLOW_CONTROL_ERROR)
        self._stream_window_bytes = window_bytes
        self._send_on()

    def _send(self, number: int, stream: Stream) -> None:
        assert stream.answer is not None  # noqa: S101 - it is what is sent
        size = stream.answer.data_bytes
        if size and size > min(self._window_bytes, self._stream_window_bytes + stream.more_bytes):
            return
        self._window_bytes -= size
        self._unwritten.append(written(stream.answer, number))
        if not stream.has_ended:
            if not stream.is_bare:  # one that both sides have ended is closed: nothing more may be said in it
                self._unwritten.append(h2.reset(number, Code.NO_ERROR))
            if len(self._late) == STREAMS_MOST:
                self._excuse(self._late[0])
            self._late.append(number)
        del self.unanswered[number]

    def _reach(self, number: int) -> None:
        if number > self.last + 2:
            self._passed_over = number - 2
        self.last = number

    def _excuse(self, number: int) -> None:
        """What comes in it, or in one before that isn't known any more, may have been sent before its peer knew better."""
        self._excused = max(self._excused, number)

    def _send_on(self) -> None:
        for number, stream in tuple(self.unanswered.items()):
            if stream.answer is not None:
                self._send(number, stream)

"""The server's side of HTTP/2 on one connection, as gRPC needs it. Pure: bytes in; what is asked for, and bytes to be written, out.

Only streams that the client begins: a head, content, perhaps trailers. Whoever breaks a rule loses the connection, also where only a
stream need end. Whatever a peer could make this hold or do is bounded by what is said below, in grpc_streams.py and in grpc_heads.py; that
its answers are read, and that all comes in time, is the connection's part.

Source: RFC 9113, sections 3.4, 4, 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc_answers import Answer
from infermeter.otlp.grpc_events import Begun, BrokenOff, Ended, Event, Mark, Piece
from infermeter.otlp.grpc_frames import Code, Http2Error
from infermeter.otlp.grpc_heads import Block, Blocks
from infermeter.otlp.grpc_hpack import LIST_BYTES_MOST
from infermeter.otlp.grpc_streams import STREAMS_MOST, Streams

CONTENT_BYTES_MOST: Final = 1 << 20
"""Of a frame of content, which is handed on as it comes; the others are no longer than they always may be."""

IDLE_FRAMES_MOST: Final = 1024
"""Between two requests that came whole: frames that bring none of one on, as pings, settings, resets, crumbs of content."""

CRUMB_BYTES: Final = 256
"""Content in smaller frames, but for the last one, is a crumb."""

_SPARE_BYTES: Final = h2.FRAME_BYTES
"""That a stream may take beside its message, for what frames it."""


@dataclass(slots=True)
class _Content:
    """The frame of content that is coming."""

    stream: int
    left_bytes: int
    padding_bytes: int
    is_last: bool


class Session:
    """One connection's. What it wants written piles up in `unwritten`, and is to be taken from there.

    `whole` grows with each frame that leaves nothing unfinished.
    """

    def __init__(self, message_bytes_most: int) -> None:
        """A stream has room for a message of so many bytes."""
        room_bytes = min(max(message_bytes_most + _SPARE_BYTES, h2.WINDOW_BYTES), h2.WINDOW_BYTES_MOST)
        bounds = {
            h2.MAX_CONCURRENT_STREAMS: STREAMS_MOST,
            h2.INITIAL_WINDOW_SIZE: room_bytes,
            h2.MAX_FRAME_SIZE: CONTENT_BYTES_MOST,
            h2.MAX_HEADER_LIST_SIZE: LIST_BYTES_MOST,
        }
        self.unwritten = [h2.settings(bounds)]
        if room_bytes > h2.WINDOW_BYTES:
            self.unwritten.append(h2.window_update(0, room_bytes - h2.WINDOW_BYTES))
        self.whole = 0
        self._streams = Streams(room_bytes, self.unwritten)
        self._is_leaving = False
        self._blocks = Blocks()
        self._block: Block | None = None
        self._content = _Content(0, 0, 0, is_last=False)
        self._data = b""
        self._at = 0
        self._frames = self._idle_frames = 0
        self._read: Callable[[Session], Event] = Session._preface

    @property
    def streams(self) -> int:
        """How many aren't answered."""
        return len(self._streams.unanswered)

    @property
    def has_unsent(self) -> bool:
        """Whether there are answers for which the peer has made no room."""
        return self._streams.has_unsent

    @property
    def has_begun(self) -> bool:
        """Whether bytes have come of something that isn't whole."""
        return self._at < len(self._data) or self._block is not None or self._read in (Session._first_frame, Session._content_on)

    @property
    def is_in_content(self) -> bool:
        """Whether a frame of content has begun that isn't whole."""
        return self._read is Session._content_on

    @property
    def is_greeted(self) -> bool:
        """Whether the client has said what it must say first."""
        return self._read not in (Session._preface, Session._first_frame)

    @property
    def effort(self) -> int:
        """Grows with all that is done."""
        return self._frames + self._blocks.effort

    def feed(self, data: bytes) -> None:
        """Takes bytes that came."""
        self._data, self._at = self._data[self._at :] + data, 0

    def next_event(self) -> Event:
        """What comes next. Raises: Http2Error, and is of use only to say goodbye then."""
        event = self._read(self)
        if event is Mark.NEED_DATA:
            self._data, self._at = self._data[self._at :], 0  # a connection that rests holds nothing
        return event

    def answer(self, number: int, answer: Answer) -> None:
        """Ends a stream, once the peer has room for the answer. What still comes in it is dropped."""
        self._streams.answer(number, answer)

    def leave(self, code: Code) -> None:
        """Says goodbye, once: no further stream is looked at. One whose fields were why was: nobody shall send it again."""
        if not self._is_leaving:
            self._is_leaving = True
            last = self._streams.last
            if self._block is not None and code is not Code.NO_ERROR:
                last = max(last, self._block.stream)
            self.unwritten.append(h2.goaway(last, code))

    def _preface(self) -> Event:
        begun = self._data[self._at : self._at + len(h2.PREFACE)]
        if not h2.PREFACE.startswith(begun):
            raise Http2Error(Code.PROTOCOL_ERROR)
        if len(begun) < len(h2.PREFACE):
            return Mark.NEED_DATA
        self._at += len(h2.PREFACE)
        self._read = Session._first_frame
        return Mark.NOTHING

    def _first_frame(self) -> Event:
        """Settings, whatever they say."""
        if len(self._data) - self._at < h2.HEAD_BYTES:
            return Mark.NEED_DATA
        _, _, kind, flags, _ = h2.HEAD.unpack_from(self._data, self._at)
        if kind != h2.SETTINGS or flags & h2.ACK:
            raise Http2Error(Code.PROTOCOL_ERROR)
        event = self._frame()
        if event is not Mark.NEED_DATA:
            self._read = Session._frame
        return event

    def _frame(self) -> Event:
        data, at = self._data, self._at
        if len(data) - at < h2.HEAD_BYTES:
            return Mark.NEED_DATA
        high, low, kind, flags, number = h2.HEAD.unpack_from(data, at)
        length, number = high << 8 | low, number & h2.STREAM_MOST
        if (self._block is None) == (kind == h2.CONTINUATION):
            raise Http2Error(Code.PROTOCOL_ERROR)
        if kind == h2.DATA:
            return self._content_begins(length, flags, number)
        if length > h2.FRAME_BYTES:
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        end = at + h2.HEAD_BYTES + length
        if end > len(data):
            return Mark.NEED_DATA
        self._at = end
        self._frames += 1
        take = self._TAKE.get(kind)
        if take is None:
            self._spend()
            return Mark.NOTHING
        event = take(self, flags, number, data[end - length : end])
        if self._block is None:
            self.whole += 1
        return event

    def _spend(self) -> None:
        """Somebody asks for work that leads nowhere."""
        self._idle_frames += 1
        if self._idle_frames > IDLE_FRAMES_MOST:
            raise Http2Error(Code.ENHANCE_YOUR_CALM)

    def _content_begins(self, length: int, flags: int, number: int) -> Event:
        if length > CONTENT_BYTES_MOST or (flags & h2.PADDED and not length):
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        at = self._at + h2.HEAD_BYTES
        padding = 0
        if flags & h2.PADDED:
            if at == len(self._data):
                return Mark.NEED_DATA
            padding = self._data[at] + 1
        if padding > length or not number & 1 or number > self._streams.last:
            raise Http2Error(Code.PROTOCOL_ERROR)
        self._streams.take_room(number, length, padding)
        self._frames += 1
        is_last = bool(flags & h2.END_STREAM)
        if length - padding < CRUMB_BYTES and not is_last:
            self._spend()
        self._at = at + 1 if padding else at
        self._content = _Content(number, length - padding, max(0, padding - 1), is_last)
        self._read = Session._content_on
        return self._content_on()

    def _content_on(self) -> Event:
        """Content, in whatever pieces it comes."""
        content = self._content
        if content.left_bytes:
            piece = self._data[self._at : self._at + content.left_bytes]
            if not piece:
                return Mark.NEED_DATA
            self._at += len(piece)
            content.left_bytes -= len(piece)
            return Piece(content.stream, piece) if content.stream in self._streams.unanswered else Mark.NOTHING
        if content.padding_bytes:
            skipped = min(content.padding_bytes, len(self._data) - self._at)
            self._at += skipped
            content.padding_bytes -= skipped
            if content.padding_bytes:
                return Mark.NEED_DATA
        self._read = Session._frame
        self.whole += 1
        return self._ended(content.stream) if content.is_last else Mark.NOTHING

    def _ended(self, number: int) -> Event:
        if not self._streams.awaits(number):
            self._spend()
            return Mark.NOTHING
        self._idle_frames = 0
        return Ended(number) if self._streams.end(number) else Mark.NOTHING

    def _fields_begin(self, flags: int, number: int, payload: bytes) -> Event:
        self._spend()
        if not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR)
        self._block = Block(number, is_last=bool(flags & h2.END_STREAM))
        self._block.add(h2.unpadded(flags, payload))
        return self._fields_end() if flags & h2.END_HEADERS else Mark.NOTHING

    def _fields_go_on(self, flags: int, number: int, payload: bytes) -> Event:
        assert self._block is not None  # noqa: S101 - else it was refused
        if number != self._block.stream:
            raise Http2Error(Code.PROTOCOL_ERROR)
        self._block.add(payload)
        return self._fields_end() if flags & h2.END_HEADERS else Mark.NOTHING

    def _fields_end(self) -> Event:
        assert self._block is not None  # noqa: S101 - it was just added to
        number, is_last, packed = self._block.stream, self._block.is_last, self._block.packed()
        take = self._head if number > self._streams.last else self._trailers
        event = take(number, packed, is_last=is_last)
        self._block = None
        return event

    def _head(self, number: int, packed: bytes, *, is_last: bool) -> Event:
        head = self._blocks.head(packed)
        if self._is_leaving:
            self._streams.ignore(number)
            return Mark.NOTHING
        self._streams.begin(number, head.content_bytes, is_bare=is_last)
        if is_last:
            self._content = _Content(number, 0, 0, is_last)
            self._read = Session._content_on
        return Begun(number, head)

    def _trailers(self, number: int, packed: bytes, *, is_last: bool) -> Event:
        """They may come late, for what was answered before."""
        if self._streams.has_said_all(number):
            raise Http2Error(Code.STREAM_CLOSED if self._streams.has_begun(number) else Code.PROTOCOL_ERROR)
        self._blocks.trailers(packed)
        if number in self._streams.unanswered and not is_last:
            raise Http2Error(Code.PROTOCOL_ERROR)
        return self._ended(number) if is_last else Mark.NOTHING

    def _reset(self, _flags: int, number: int, payload: bytes) -> Event:
        self._spend()
        if len(payload) != h2.CODE_BYTES:
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        if not number & 1 or number > self._streams.last:
            raise Http2Error(Code.PROTOCOL_ERROR)
        return BrokenOff(number) if self._streams.break_off(number) else Mark.NOTHING

    def _settings(self, flags: int, number: int, payload: bytes) -> Event:
        self._spend()
        if number:
            raise Http2Error(Code.PROTOCOL_ERROR)
        if flags & h2.ACK:
            if payload:
                raise Http2Error(Code.FRAME_SIZE_ERROR)
            return Mark.NOTHING
        for key, value in h2.settings_in(payload):
            self._set(key, value)
        self.unwritten.append(h2.frame(h2.SETTINGS, h2.ACK, 0))
        return Mark.NOTHING

    def _set(self, key: int, value: int) -> None:
        """Of what may be set, only the room for answers concerns this side: they are short, and refer to nothing."""
        if key == h2.INITIAL_WINDOW_SIZE:
            self._streams.set_window(value)
        elif (key == h2.ENABLE_PUSH and value > 1) or (key == h2.MAX_FRAME_SIZE and not h2.FRAME_BYTES <= value < 1 << 24):
            raise Http2Error(Code.PROTOCOL_ERROR)

    def _ping(self, flags: int, number: int, payload: bytes) -> Event:
        self._spend()
        if number:
            raise Http2Error(Code.PROTOCOL_ERROR)
        if len(payload) != h2.PING_BYTES:
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        if not flags & h2.ACK:
            self.unwritten.append(h2.frame(h2.PING, h2.ACK, 0, payload))
        return Mark.NOTHING

    def _window_update(self, _flags: int, number: int, payload: bytes) -> Event:
        self._spend()
        if len(payload) != h2.CODE_BYTES:
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        more_bytes = int.from_bytes(payload, "big") & h2.WINDOW_BYTES_MOST
        if not more_bytes or number > self._streams.last or (number and not number & 1):
            raise Http2Error(Code.PROTOCOL_ERROR)
        self._streams.widen(number, more_bytes)
        return Mark.NOTHING

    def _priority(self, _flags: int, number: int, payload: bytes) -> Event:
        self._spend()
        if not number:
            raise Http2Error(Code.PROTOCOL_ERROR)
        if len(payload) != h2.PRIORITY_BYTES:
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        return Mark.NOTHING

    def _goodbye(self, _flags: int, number: int, payload: bytes) -> Event:
        """The peer will begin nothing more, and end the connection."""
        self._spend()
        if number:
            raise Http2Error(Code.PROTOCOL_ERROR)
        if len(payload) < 2 * h2.CODE_BYTES:
            raise Http2Error(Code.FRAME_SIZE_ERROR)
        return Mark.NOTHING

    def _never(self, _flags: int, _number: int, _payload: bytes) -> Event:
        """A client promises nothing."""
        raise Http2Error(Code.PROTOCOL_ERROR)

    _TAKE: ClassVar[dict[int, Callable[[Session, int, int, bytes], Event]]] = {
        h2.HEADERS: _fields_begin,
        h2.PRIORITY: _priority,
        h2.RST_STREAM: _reset,
        h2.SETTINGS: _settings,
        h2.PUSH_PROMISE: _never,
        h2.PING: _ping,
        h2.GOAWAY: _goodbye,
        h2.WINDOW_UPDATE: _window_update,
        h2.CONTINUATION: _fields_go_on,
    }

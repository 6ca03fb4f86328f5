"""HTTP/2's frames: their kinds, their heads, and those that are written here. Pure.

Source: RFC 9113, sections 4, 6, 7 and 11.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from infermeter.errors import DecodeError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first."""

HEAD: Final = struct.Struct(">HBBBL")
"""Of a frame: the length in two parts, kind, flags, stream."""

HEAD_BYTES: Final = 9
PRIORITY_BYTES: Final = 5
PING_BYTES: Final = 8
CODE_BYTES: Final = 4
_SETTING: Final = struct.Struct(">HL")
SETTINGS_MOST: Final = 32
"""In a frame; there are about ten. Each may concern every stream."""

STREAM_MOST: Final = (1 << 31) - 1
WINDOW_BYTES_MOST: Final = (1 << 31) - 1
WINDOW_BYTES: Final = 65_535
"""That may be sent in a stream, and in all of them, until something else is said."""

FRAME_BYTES: Final = 16_384
"""That every frame may be long."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(2, 7)


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Http2Error(DecodeError):
    """The peer's: it breaks the rules of HTTP/2, or asks too much of them. Its connection ends with this code."""

    def __init__(self, code: Code) -> None:
        super().__init__("no HTTP/2 that is taken here")
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it is written."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """What the peer shall keep to."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def window_update(stream: int, more_bytes: int) -> bytes:
    """So many more bytes may be sent in a stream, 0: in all of them."""
    return frame(WINDOW_UPDATE, 0, stream, more_bytes.to_bytes(4, "big"))


def reset(stream: int, code: Code) -> bytes:
    """A stream ends."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last_stream: int, code: Code) -> bytes:
    """The connection ends; later streams than this one were not looked at."""
    return frame(GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big"))


def settings_in(payload: bytes) -> list[tuple[int, int]]:
    """Key and value of each. Raises: Http2Error."""
    if len(payload) % _SETTING.size:
        raise Http2Error(Code.FRAME_SIZE_ERROR)
    if len(payload) > SETTINGS_MOST * _SETTING.size:
        raise Http2Error(Code.ENHANCE_YOUR_CALM)
    return list(_SETTING.iter_unpack(payload))


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a head's frame holds of fields, without padding and priority. Raises: Http2Error."""
    is_padded = bool(flags & PADDED)
    start = is_padded + (PRIORITY_BYTES if flags & PRIORITISED else 0)
    if start > len(payload):
        raise Http2Error(Code.FRAME_SIZE_ERROR)
    end = len(payload) - (payload[0] if is_padded else 0)
    if start > end:
        raise Http2Error(Code.PROTOCOL_ERROR)
    return payload[start:end]

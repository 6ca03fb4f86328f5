"""Bytes of a peer that speaks gRPC, or nearly: what is written back are whole frames, each stream is answered at most once, at its end."""

from __future__ import annotations

import struct
from collections import Counter
from functools import cache

from fuzz.web import Peer, receiver
from infermeter.otlp.grpc import GrpcReceiver

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">BHBBL")
FRAMES = b"*"
"""What begins inputs of frames, which are told shortly: kind, flags, stream, two bytes of length, and what the frame holds."""

LONGEST_FRAME_BYTES = 16_384
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
WRITTEN = {DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE}
END_STREAM = 0x1
SETTINGS_FRAME = HEAD.pack(0, 0, SETTINGS, 0, 0)
INTERNAL_ERROR = b"grpc-status\x0213"


@cache
def _grpc() -> Peer:
    return Peer(lambda: GrpcReceiver(receiver()).start("127.0.0.1:0"))


def exports(data: bytes) -> None:
    """After the byte that parts them come bytes as they are, or frames behind the preface."""
    sent = data[:1] + (framed(data[2:]) if data[1:2] == FRAMES else data[1:])
    written = _grpc().send(sent)
    assert INTERNAL_ERROR not in written
    assert_frames(written)


def framed(told: bytes) -> bytes:
    """A connection that begins well."""
    parts = [PREFACE, SETTINGS_FRAME]
    at = 0
    while at + 5 <= len(told):
        kind, flags, stream, high, low = told[at : at + 5]
        held = told[at + 5 : at + 5 + (high << 8 | low)]
        parts += [HEAD.pack(0, len(held), kind, flags, stream), held]
        at += 5 + len(held)
    return b"".join(parts)


def assert_frames(written: bytes) -> None:
    """They are of kinds that a server sends, and as long as any peer takes; nothing follows the end of a stream but that nothing will."""
    ended: Counter[int] = Counter()
    at = 0
    while at < len(written):
        high, low, kind, flags, stream = HEAD.unpack_from(written, at)
        length = high << 16 | low
        at += HEAD.size + length
        assert length <= LONGEST_FRAME_BYTES
        assert at <= len(written), "a frame is cut off"
        assert kind in WRITTEN
        if kind in {DATA, HEADERS}:
            assert stream % 2
            assert not ended[stream], "something follows an answer"
            ended[stream] += flags & END_STREAM

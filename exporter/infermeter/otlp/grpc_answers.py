"""What a call of gRPC is answered, as HTTP/2 writes it. Pure: nothing here depends on what was answered before.

Source: gRPC over HTTP2, "Responses"; RFC 7541, section 6.2.2 (fields that are remembered by nobody).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from infermeter.otlp.grpc_frames import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, frame

OK: Final = 0

_TOLD: Final = (("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,gzip"))
"""With every answer: who packed in a way that isn't known here learns what is. Source: gRPC's "Compression"."""

_UNPRINTABLE: Final = re.compile(rb"[^ -$&-~]")


class Answer(NamedTuple):
    """`message` is sent where `status`, a number in google.rpc.Code, is OK; else `text` and `metadata` say more.

    An `http_status` other than OK is for who doesn't speak gRPC.
    """

    status: int
    message: bytes = b""
    text: str = ""
    metadata: tuple[tuple[str, bytes], ...] = ()
    http_status: int = HTTPStatus.OK

    @property
    def data_bytes(self) -> int:
        """That the peer must have room for."""
        return len(self.message) + 5 if self.status == OK else 0


def written(answer: Answer, stream: int) -> bytes:
    """The frames of an answer, with which the stream ends."""
    if answer.status == OK:
        return b"".join(
            (
                _HEAD_1,
                number := stream.to_bytes(4, "big"),
                _HEAD_2,
                frame(DATA, 0, stream, b"\0" + len(answer.message).to_bytes(4, "big") + answer.message),
                _TRAILER_1,
                number,
                _TRAILER_2,
            )
        )
    fields = [(":status", str(int(answer.http_status))), *_TOLD, ("grpc-status", str(answer.status))]
    if answer.text:
        fields.append(("grpc-message", _UNPRINTABLE.sub(lambda found: b"%%%02X" % found[0][0], answer.text.encode()).decode()))
    fields += [(name, base64.b64encode(value).decode().rstrip("=")) for name, value in answer.metadata]
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _block(fields))


def _block(fields: Sequence[tuple[str, str]]) -> bytes:
    """Fields, each a literal that isn't remembered."""
    return b"".join(b"\0" + _text(name.encode()) + _text(value.encode()) for name, value in fields)


def _text(text: bytes) -> bytes:
    """Written plainly, behind its length."""
    if len(text) < 0x7F:
        return bytes((len(text),)) + text
    more = len(text) - 0x7F
    assert more < 1 << 14  # noqa: S101 - all that is said here is short
    length = (0x7F, more) if more < 0x80 else (0x7F, more & 0x7F | 0x80, more >> 7)
    return bytes(length) + text


def _halves(flags: int, block: bytes) -> tuple[bytes, bytes]:
    """Fields in a frame, before and after the number of its stream."""
    whole = frame(HEADERS, flags, 0, block)
    return whole[: HEAD.size - 4], whole[HEAD.size :]


_HEAD_1, _HEAD_2 = _halves(END_HEADERS, _block(((":status", "200"), *_TOLD)))
_TRAILER_1, _TRAILER_2 = _halves(END_HEADERS | END_STREAM, _block((("grpc-status", "0"),)))

"""What a call of gRPC begins with, out of the fields of HTTP/2, in whatever frames they come. Pure.

Source: RFC 9113, sections 8.1.1, 8.2 and 8.3; gRPC over HTTP2, "Requests".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from infermeter.endpoints import PASSED_BY
from infermeter.errors import DecodeError
from infermeter.otlp.grpc_frames import Code, Http2Error
from infermeter.otlp.grpc_hpack import LIST_BYTES_MOST, Field, Unpacking

BLOCK_BYTES_MOST: Final = LIST_BYTES_MOST
BLOCK_FRAMES_MOST: Final = 8
"""Of fields, packed, and of the frames that they come in: whoever keeps to the bound that it was told keeps to this one."""

BYTES_AN_EFFORT: Final = 128
"""Of a block, that take as long to unpack as anything else takes."""

_REQUIRED: Final = (":method", ":scheme", ":path")
_PSEUDO: Final = frozenset({*_REQUIRED, ":authority"})
_OF_CONNECTIONS: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_ONLY_KNOWN: Final = re.compile(rb"[\x81-\xfe]*")
"""A block that only refers to fields, each by one byte: it says the same until another one adds some. A sender's are mostly such."""


class Head(NamedTuple):
    """How something is asked for. `packing` is how the message is packed if it says that it is; `authorizations` are all that came.

    `content_bytes` is how much content shall follow, None: whatever does.
    """

    method: str
    path: str
    content_type: str
    packing: str
    authorizations: tuple[str, ...]
    passed_by: str
    content_bytes: int | None


def head_of(fields: Sequence[Field]) -> Head:
    """Raises: DecodeError where HTTP/2 calls them malformed."""
    pseudo: dict[str, str] = {}
    told: dict[str, str] = {}
    authorizations: list[str] = []
    for name, value in fields:
        if name.startswith(":"):
            if told or name in pseudo or name not in _PSEUDO or not _VALUE.fullmatch(value):
                raise DecodeError("no head of a request")
            pseudo[name] = value
            continue
        _check(name, value)
        if told.setdefault(name, value) != value and name == "content-length":
            raise DecodeError("two lengths")
        if name == "authorization":
            authorizations.append(value)
    if not all(pseudo.get(name) for name in _REQUIRED):
        raise DecodeError("no head of a request")
    return Head(
        pseudo[":method"],
        pseudo[":path"],
        told.get("content-type", ""),
        told.get("grpc-encoding", "identity"),
        tuple(authorizations),
        told.get(PASSED_BY, ""),
        _content_bytes(told.get("content-length")),
    )


def _check(name: str, value: str) -> None:
    """Raises: DecodeError where that is no field of a request, or a pseudo-header's."""
    is_field = _VALUE.fullmatch(value) and _NAME.fullmatch(name) and name not in _OF_CONNECTIONS
    if not is_field or (name == "te" and value != "trailers"):
        raise DecodeError("no field")


def _content_bytes(length: str | None) -> int | None:
    """Raises: DecodeError."""
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        raise DecodeError("no length")
    return int(length)


class Block:
    """The fields that are coming in frames of a stream; `is_last`: nothing follows them in it."""

    __slots__ = ("_parts", "is_last", "stream")

    def __init__(self, stream: int, *, is_last: bool) -> None:
        self.stream = stream
        self.is_last = is_last
        self._parts: list[bytes] = []

    def add(self, part: bytes) -> None:
        """More of them. Raises: Http2Error."""
        self._parts.append(part)
        if len(self._parts) > BLOCK_FRAMES_MOST:
            raise Http2Error(Code.ENHANCE_YOUR_CALM)

    def packed(self) -> bytes:
        """All of them. Raises: Http2Error."""
        packed = b"".join(self._parts)
        if len(packed) > BLOCK_BYTES_MOST:
            raise Http2Error(Code.ENHANCE_YOUR_CALM)
        return packed


class Blocks:
    """The blocks of fields of one connection, in their order. `effort` grows with the bytes of those that were looked into."""

    def __init__(self) -> None:
        self.effort = 0
        self._unpacking = Unpacking()
        self._same: tuple[bytes, Head] | None = None

    def head(self, block: bytes) -> Head:
        """Of a request. Raises: Http2Error."""
        if self._same is not None and self._same[0] == block:
            return self._same[1]
        fields = self._fields(block)
        try:
            head = head_of(fields)
        except DecodeError:
            raise Http2Error(Code.PROTOCOL_ERROR) from None
        self._same = (block, head) if _ONLY_KNOWN.fullmatch(block) else None
        return head

    def trailers(self, block: bytes) -> None:
        """What follows the content of a request, which nobody wants. Raises: Http2Error."""
        fields = self._fields(block)
        try:
            for name, value in fields:
                _check(name, value)
        except DecodeError:
            raise Http2Error(Code.PROTOCOL_ERROR) from None

    def _fields(self, block: bytes) -> list[Field]:
        self.effort += len(block) // BYTES_AN_EFFORT
        self._same = None
        try:
            return self._unpacking.fields(block)
        except DecodeError:
            raise Http2Error(Code.COMPRESSION_ERROR) from None

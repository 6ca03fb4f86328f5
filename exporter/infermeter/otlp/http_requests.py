"""HTTP/1.1 requests out of the bytes of a connection, whatever pieces they come in. Pure: no socket, no clock, nothing is answered.

A request is a `Head`, the pieces of its body, and END; the next one follows it. As strict as RFC 9112 allows, and stricter where two
readers could differ over where a request ends, which is how one is smuggled into another: nothing is guessed, and nothing mended.

Source: RFC 9112, sections 2.2, 3, 5, 6, 7; RFC 9110, sections 5.3 and 5.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from infermeter.errors import DecodeError

FIELDS_MOST: Final = 64
LINE_BYTES_MOST: Final = 4096
HEAD_BYTES_MOST: Final = 16_384
"""Of a head, and of what may follow a body in chunks; enough for what exporters and proxies send, and for a token."""

FRAMING_BYTES_FREE: Final = 16_384
FRAMING_SHARE_MOST: Final = 1 / 8
"""What the sizes of chunks may take beside the bytes in them: each chunk costs more than its bytes do."""

HEADS_REMEMBERED: Final = 64
KNOWN_BYTES_MOST: Final = 2048
"""A sender's heads are the same again and again, but for lengths; each connection knows its last one, unless that was longer."""

_TCHAR = r"[-!#$%&'*+.^_`|~0-9A-Za-z]"
_TEXT = r"[^\x00-\x08\n-\x1f\x7f]"
_REQUEST_LINE = re.compile(rf"({_TCHAR}{{1,32}}) ([\x21-\x7e]{{1,{LINE_BYTES_MOST}}}) HTTP/1\.([01])\r\n")
_FIELD = re.compile(rf"^({_TCHAR}{{1,256}}):({_TEXT}{{0,{LINE_BYTES_MOST}}})\r\n", re.MULTILINE)
_PATH = re.compile(r"(?:https?://[^/?]*)?([^?]*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"[\x21-\x7e]*")
_LENGTH_IN_HEAD = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})(?=\r\n)", re.IGNORECASE)
_LENGTH_DIGITS_MOST = 18
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\x00-\x08\n-\x1f\x7f]{0,256})?\r\n")
_CHUNK_LINE_BYTES_MOST = 8 + 1 + 256 + 2
_NO_BEGINNING = re.compile(rb"[^-!#$%&'*+.^_`|~0-9A-Za-z]")
_NEVER_IN_A_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r[^\n]")


class Mark(Enum):
    """What is no bytes: the end of a request, and that nothing more can be said before more has come."""

    END = "end"
    NEED_DATA = "need data"


class Head(NamedTuple):
    """What comes before a body. `path` is as written, without a query.

    `fields` have names in lower case; one that came repeatedly has its values joined by commas; the length is none of them. `length_bytes`
    is of the body, None: it comes in chunks. `is_last`: nothing that follows on the connection is a request. `awaits_leave`: the body comes
    once 100 was answered.
    """

    method: str
    path: str
    fields: Mapping[str, str]
    length_bytes: int | None
    is_last: bool
    awaits_leave: bool


Part: TypeAlias = Head | bytes | Mark


class _Known(NamedTuple):
    """A head that came, cut where its length stood: whatever digits stand there, the rest tells the same."""

    before: bytes
    after: bytes
    head: Head

    def again(self, data: bytes, at: int) -> tuple[Head, int] | None:
        """The head that begins at an offset, and the offset behind it; None: it isn't this one."""
        if data.startswith(self.before, at):
            begin = at + len(self.before)
            end = data.find(b"\r", begin, begin + _LENGTH_DIGITS_MOST + 1)
            digits = data[begin : max(end, begin)]
            if digits.isdigit() and data.startswith(self.after, end):
                method, path, fields, _, is_last, awaits_leave = self.head
                return Head(method, path, fields, int(digits), is_last, awaits_leave), end + len(self.after)
        return None


class Requests:
    """Reads one request after the other. Holds what was fed and not yet told, and no more than HEAD_BYTES_MOST if all was told."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._searched = 0
        self._left_bytes = 0
        self._body_bytes = 0
        self._framing_bytes = 0
        self._read: Callable[[Requests], Part] = Requests._head
        self._known: _Known | None = None

    @property
    def has_begun(self) -> bool:
        """Whether bytes are here that were not told."""
        return self._at < len(self._data)

    def feed(self, data: bytes) -> None:
        """Takes bytes that came."""
        self._data, self._at = self._data[self._at :] + data, 0

    def whole(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of a request that came before, but for its length and its body, and is all that came now, as most are.

        Whoever takes it doesn't feed it. None: `feed` and `next_part` tell what it is.
        """
        if self._known is None or self._at < len(self._data) or self._read is not Requests._head:
            return None
        again = self._known.again(data, 0)
        if again is None or again[0].length_bytes != len(data) - again[1]:
            return None
        self._data, self._at = b"", 0
        return again[0], data[again[1] :]

    def next_part(self) -> Part:
        """What comes next. Raises: DecodeError, and is of no more use then."""
        part = self._read(self)
        if part is Mark.NEED_DATA:
            self._data, self._at = self._data[self._at :], 0  # a connection that rests holds nothing
        return part

    def _head(self) -> Part:
        data, at = self._data, self._at
        again = self._known.again(data, at) if self._known is not None else None
        if again is not None:
            head, end = again
        else:
            end = data.find(b"\r\n\r\n", max(at, at + self._searched - 3)) + 4
            if end < 4 or end - at > HEAD_BYTES_MOST:
                return self._partial_head()
            raw = data[at : end - 2]
            head = head_of(raw)
            self._known = _known_of(raw)
        self._at, self._searched = end, 0
        self._left_bytes, self._body_bytes, self._framing_bytes = head.length_bytes or 0, 0, 0
        self._read = Requests._chunk_size if head.length_bytes is None else Requests._body
        return head

    def _partial_head(self) -> Mark:
        """Nothing, if a head can still come of it; what can't be one, or is too long, isn't waited for."""
        begun = self._data[self._at :]
        if len(begun) > HEAD_BYTES_MOST or _NO_BEGINNING.match(begun) or _NEVER_IN_A_HEAD.search(begun, max(0, self._searched - 1)):
            raise DecodeError("no HTTP request")
        self._searched = len(begun)
        return Mark.NEED_DATA

    def _body(self) -> Part:
        if self._left_bytes == 0:
            self._read = Requests._head
            return Mark.END
        return self._piece()

    def _piece(self) -> bytes | Mark:
        piece = self._data[self._at : self._at + self._left_bytes]
        if not piece:
            return Mark.NEED_DATA
        self._at += len(piece)
        self._left_bytes -= len(piece)
        return piece

    def _chunk_size(self) -> Part:
        line = _CHUNK_SIZE.match(self._data, self._at)
        if line is None:
            if len(self._data) - self._at >= _CHUNK_LINE_BYTES_MOST or self._data.find(b"\n", self._at) >= 0:
                raise DecodeError("chunks that are none")
            return Mark.NEED_DATA
        self._at = line.end()
        self._left_bytes = int(line[1], 16)
        self._framing_bytes += line.end() - line.start() + 2
        if self._framing_bytes > FRAMING_BYTES_FREE + self._body_bytes * FRAMING_SHARE_MOST:
            raise DecodeError("chunks that are too small")
        self._body_bytes += self._left_bytes
        self._read = Requests._chunk if self._left_bytes else Requests._trailer
        return self._read(self)

    def _chunk(self) -> Part:
        if self._left_bytes:
            return self._piece()
        ending = self._data[self._at : self._at + 2]
        if not b"\r\n".startswith(ending):
            raise DecodeError("chunks that are none")
        if len(ending) < 2:
            return Mark.NEED_DATA
        self._at += 2
        self._read = Requests._chunk_size
        return self._chunk_size()

    def _trailer(self) -> Part:
        """What follows chunks are fields, which are read and dropped."""
        data, at = self._data, self._at
        is_none = data.startswith(b"\r\n", at)
        found = data.find(b"\r\n" if is_none else b"\r\n\r\n", at)
        end = len(data) if found < 0 else found + (2 if is_none else 4)
        if end - at > HEAD_BYTES_MOST:
            raise DecodeError("chunks that are none")
        if found < 0:
            return Mark.NEED_DATA
        _fields(data[at : end - 2].decode("latin-1"))
        self._at = end
        self._read = Requests._head
        return Mark.END


@lru_cache(HEADS_REMEMBERED)
def head_of(raw: bytes) -> Head:
    """What a request begins with, each line with its end, without the empty one. Raises: DecodeError."""
    text = raw.decode("latin-1")
    line = _REQUEST_LINE.match(text)
    if line is None:
        raise DecodeError("no HTTP request")
    method, target, minor = line.groups()
    fields = _fields(text[line.end() :])
    is_1_1 = minor == "1"
    host = fields.get("host", None if is_1_1 else "")
    if host is None or not _HOST.fullmatch(host):  # several are joined by a comma and a space
        raise DecodeError("no HTTP request")
    path = _PATH.match(target)
    assert path is not None  # noqa: S101 - it matches nothing, too
    is_last = not is_1_1 or "upgrade" in fields or "close" in _listed(fields.get("connection", ""))
    awaits_leave = is_1_1 and fields.get("expect", "").lower() == "100-continue"
    length_bytes = _length(fields, is_1_1=is_1_1)
    fields.pop("content-length", None)
    return Head(method, path[1], fields, length_bytes, is_last, awaits_leave)


@lru_cache(HEADS_REMEMBERED)
def _known_of(raw: bytes) -> _Known | None:
    """To know this head again; None: it is long, has no length, or awaits something before its body."""
    head = head_of(raw)
    length = None if len(raw) > KNOWN_BYTES_MOST or head.awaits_leave else _LENGTH_IN_HEAD.search(raw)
    return None if length is None else _Known(raw[: length.start(1)], raw[length.end(1) :] + b"\r\n", head)


def _fields(text: str) -> dict[str, str]:
    """The fields in lines that each have their end. Raises: DecodeError."""
    found = _FIELD.findall(text)
    if len(found) != text.count("\n") or len(found) > FIELDS_MOST:  # a match is one line
        raise DecodeError("no HTTP request")
    fields: dict[str, str] = {}
    for name, value in found:
        key, told = name.lower(), value.strip(" \t")
        fields[key] = f"{fields[key]}, {told}" if key in fields else told
    return fields


def _length(fields: dict[str, str], *, is_1_1: bool) -> int | None:
    """Where the body ends; None: its chunks say that. Raises: DecodeError where it could be understood in two ways."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is None:
        if length is None:
            return 0
        if _LENGTH.fullmatch(length):
            return int(length)
    elif is_1_1 and length is None and coding.lower() == "chunked":
        return None
    raise DecodeError("a body without one clear end")


def _listed(value: str) -> list[str]:
    return [item.strip(" \t") for item in value.lower().split(",")]

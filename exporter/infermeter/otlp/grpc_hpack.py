"""Fields out of the blocks that HTTP/2 packs them into (HPACK). Pure.

What a peer makes this hold is bounded by TABLE_BYTES_MOST a connection, and by LIST_BYTES_MOST and FIELDS_MOST a block, however small
that is. Nothing is packed here: what is answered is written plainly.

Source: RFC 7541; its appendices A and B are the tables below.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import Final, TypeAlias

from infermeter.errors import DecodeError

Field: TypeAlias = tuple[str, str]
"""Name and value, each character a byte."""

TABLE_BYTES_MOST: Final = 4096
"""Of fields that later blocks may refer to, as RFC 7541 counts them; what HTTP/2 allows until something else is said."""

LIST_BYTES_MOST: Final = 16_384
"""Of the fields of a block, unpacked, counted likewise."""

FIELDS_MOST: Final = 64

_ENTRY_BYTES: Final = 32
"""That a field counts beside its characters. Source: RFC 7541, section 4.1."""

_MORE_BYTES_MOST: Final = 4
"""Of a number that doesn't fit in its first byte: enough for 2**28."""

_ALONE: Final = (
    ":authority", ":method GET", ":method POST", ":path /", ":path /index.html", ":scheme http", ":scheme https", ":status 200",
    ":status 204", ":status 206", ":status 304", ":status 400", ":status 404", ":status 500", "accept-charset",
    "accept-encoding gzip, deflate", "accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow",
    "authorization", "cache-control", "content-disposition", "content-encoding", "content-language", "content-length",
    "content-location", "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location", "max-forwards",
    "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie",
    "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate",
)  # fmt: skip
_STATIC: Final[tuple[Field, ...]] = tuple((name, value) for name, _, value in (line.partition(" ") for line in _ALONE))

_BY_BITS: Final = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    24: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: bytes(chain(range(2, 9), (11, 12), range(14, 22), range(23, 32), (0x7F, 0xDC, 0xF9))),
    30: b"\n\r\x16",
}
"""The characters by the length of their codes. The code is canonical: these lengths and this order are all of it."""


def _codes() -> dict[str, str]:
    """Each character by its code, written in 0 and 1."""
    codes: dict[str, str] = {}
    code, before = 0, 0
    for bits, symbols in _BY_BITS.items():
        code <<= bits - before
        before = bits
        for symbol in symbols:
            codes[f"{code:0{bits}b}"] = chr(symbol)
            code += 1
    return codes


_CODES: Final = _codes()


class Unpacking:
    """The blocks of one connection, each once and in their order: later ones refer to what earlier ones told."""

    def __init__(self) -> None:
        self._table: deque[Field] = deque()
        self._table_bytes = 0
        self._table_bytes_most = TABLE_BYTES_MOST

    def fields(self, block: bytes) -> list[Field]:
        """What a block holds, in its order. Raises: DecodeError, and is of no more use then."""
        fields: list[Field] = []
        at = list_bytes = 0
        try:
            while at < len(block):
                field, at = self._next(block, at, is_first=not fields)
                if field is None:
                    continue
                list_bytes += _size(field)
                fields.append(field)
                if list_bytes > LIST_BYTES_MOST or len(fields) > FIELDS_MOST:
                    raise DecodeError("too many fields")
        except IndexError:  # of the block, or of the table
            raise DecodeError("fields that are cut off, or refer to nothing") from None
        return fields

    def _next(self, block: bytes, at: int, *, is_first: bool) -> tuple[Field | None, int]:
        """A field, None where it only said how long the table may be, and where the next one begins. Raises: DecodeError, IndexError."""
        first = block[at]
        if first & 0x80:
            index, at = _number(block, at, 7)
            return self._known(index), at
        if first & 0xE0 == 0x20:
            if not is_first:
                raise DecodeError("the table's size amid fields")
            size, at = _number(block, at, 5)
            self._resize(size)
            return None, at
        is_remembered = bool(first & 0x40)
        index, at = _number(block, at, 6 if is_remembered else 4)
        if index:
            name = self._known(index)[0]
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        if is_remembered:
            self._remember((name, value))
        return (name, value), at

    def _known(self, index: int) -> Field:
        """Raises: IndexError."""
        if index == 0:
            raise IndexError
        return _STATIC[index - 1] if index <= len(_STATIC) else self._table[index - len(_STATIC) - 1]

    def _remember(self, field: Field) -> None:
        self._table.appendleft(field)
        self._table_bytes += _size(field)
        self._forget()

    def _resize(self, size: int) -> None:
        if size > TABLE_BYTES_MOST:
            raise DecodeError("a table larger than allowed")
        self._table_bytes_most = size
        self._forget()

    def _forget(self) -> None:
        while self._table_bytes > self._table_bytes_most:
            self._table_bytes -= _size(self._table.pop())


def _size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + _ENTRY_BYTES


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number of which the first part has so many bits, and where it ends. Raises: DecodeError, IndexError."""
    most = (1 << bits) - 1
    number = block[at] & most
    if number < most:
        return number, at + 1
    for place in range(_MORE_BYTES_MOST):
        byte = block[at + 1 + place]
        number += (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + 2 + place
    raise DecodeError("a number too large")


def _text(block: bytes, at: int) -> tuple[str, int]:
    """A name or a value, and where it ends. Raises: DecodeError, IndexError."""
    is_packed = block[at] & 0x80
    length, at = _number(block, at, 7)
    raw = block[at : at + length]
    if len(raw) < length:
        raise DecodeError("fields that are cut off")
    return _unpacked(raw) if is_packed else raw.decode("latin-1"), at + length


def _unpacked(raw: bytes) -> str:
    """What Huffman's code holds. Raises: DecodeError."""
    bits = bin(int.from_bytes(b"\1" + raw))[3:]
    text: list[str] = []
    at = 0
    while at < len(bits):
        for length in _BY_BITS:
            if (symbol := _CODES.get(bits[at : at + length])) is not None:
                text.append(symbol)
                at += length
                break
        else:
            break
    if len(bits) - at > 7 or "0" in bits[at:]:  # it is filled up with ones to whole bytes
        raise DecodeError("a code that is none")
    return "".join(text)

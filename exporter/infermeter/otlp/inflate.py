"""Unpacking gzip within a bound: what a bomb would become is never held. Pure."""

from __future__ import annotations

import zlib

from infermeter.errors import DecodeError, TooLarge

MEMBERS = 64
"""Most members of one body; each costs a copy of what follows it."""

_GZIP = 16 + zlib.MAX_WBITS


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """What a gzip body of one or more members unpacks to.

    Raises:
        TooLarge: more than `limit_bytes`, or more than MEMBERS members.
        DecodeError: no gzip, damaged, or cut off.
    """
    parts: list[bytes] = []
    left_bytes = limit_bytes
    for _ in range(MEMBERS):
        inflater = zlib.decompressobj(_GZIP)
        try:
            part = inflater.decompress(body, left_bytes + 1)
        except zlib.error:
            raise DecodeError("damaged gzip") from None
        left_bytes -= len(part)
        if left_bytes < 0:
            raise TooLarge("unpacks to more than limits.decompressed_bytes")
        if not inflater.eof:
            raise DecodeError("gzip that was cut off")
        parts.append(part)
        body = inflater.unused_data
        if not body:
            return b"".join(parts)
    raise TooLarge("gzip of too many members")

"""A saved report's file, or standard input, also packed: what `compare` and `advise` read."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Final

from infermeter.errors import ConfigError

BYTES_MOST: Final = 256 << 20
"""Of a saved report, unpacked: a day of slots of 20 models is a sixth."""


def saved_report(path: str, *, most_bytes: int = BYTES_MOST) -> bytes:
    """The bytes of a saved report, unpacked, at most so many. Raises: ConfigError that names the file."""
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            body = file.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError(path, f"can't be read: {error.strerror}") from error
    if body[:2] == b"\x1f\x8b":
        body = _unpacked(body, path, most_bytes)
    if len(body) > most_bytes:
        raise ConfigError(path, f"longer than {most_bytes} bytes")
    return body


def _unpacked(body: bytes, path: str, most_bytes: int) -> bytes:
    """Raises: ConfigError."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = inflater.decompress(body, most_bytes + 1)
    except zlib.error:
        raise ConfigError(path, "is damaged gzip") from None
    if len(unpacked) <= most_bytes and (not inflater.eof or inflater.unused_data):
        raise ConfigError(path, "is gzip that was cut off, or has something after its end")
    return unpacked

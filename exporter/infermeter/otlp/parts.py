"""How many parts an export may fall into: small bytes can become large objects. Pure."""

from __future__ import annotations

import numpy as np

from infermeter.errors import TooLarge
from infermeter.otlp.answers import Encoding

MOST_PARTS = 2**20
"""Of one export; some 20,000 spans with 14 attributes each. Senders export 512 spans at a time, collectors 8,192."""

_ALWAYS_FEW_BYTES = 2**20
_MARKS: dict[Encoding, bytes] = {
    "protobuf": bytes([1 << 3 | 2, 2 << 3 | 2, 9 << 3 | 2, 11 << 3 | 2]),  # tags of the messages that repeat: resources to events
    "json": b"{[,",
}
_GOES_ON = 0x80


def check_parts(body: bytes, encoding: Encoding) -> None:
    """Refuses a body that could become too many objects: each needs one of the bytes that are counted here.

    Raises:
        TooLarge: there may be more than MOST_PARTS.
    """
    if len(body) > _ALWAYS_FEW_BYTES:
        octets = np.frombuffer(body, np.uint8)
        parts = sum(int(np.count_nonzero(octets == mark)) for mark in _MARKS[encoding])
        if encoding == "protobuf":  # a tag is a varint, which may be written longer than it must: zeros follow it
            zeros = octets[1:] << 1 == 0
            parts += sum(int(np.count_nonzero(zeros & (octets[:-1] == mark | _GOES_ON))) for mark in _MARKS[encoding])
        if parts > MOST_PARTS:
            raise TooLarge("holds too many parts")

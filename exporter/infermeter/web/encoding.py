"""Bodies packed for those who accept it. Source: RFC 9110, section 12.5.3 (Accept-Encoding)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from itertools import chain
from time import monotonic as _monotonic
from typing import Final

try:
    from isal import isal_zlib as zlib  # five times as fast, and packs no worse
except ImportError:  # where there is no wheel of it
    import zlib  # type: ignore[no-redef]

LEAST_BYTES = 1024
"""Smaller bodies are sent as they are."""

LONG_SECONDS: Final = 0.02
"""A turn of others that is longer is answered with one as long: where a flood keeps each turn of the loop, a page needs few of them."""

_LEVEL: Final = 1
_GZIP: Final = 31
"""Window bits of 2^15 bytes and of gzip's format. Source: zlib's manual, deflateInit2."""

_UNWANTED = re.compile(r"q=0(\.0*)?")


class _Share:
    """The loop's time, shared with others: after each piece of work they have their turn, or after as much work as a long one took."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends = monotonic()

    async def others(self) -> None:
        """Lets the others have their turn, if it is time."""
        began = self._monotonic()
        if began < self._ends:
            return
        await asyncio.sleep(0)
        now = self._monotonic()
        self._ends = now + (now - began if now - began > LONG_SECONDS else 0.0)


async def in_turns(
    pieces: Iterable[bytes], accept_encoding: str, *, monotonic: Callable[[], float] = _monotonic
) -> tuple[bytes, dict[str, str]]:
    """A body that comes in pieces as it is sent, and the headers that say so; before each piece the loop has its turn.

    Where others keep the loop for long, many pieces may come between their turns. A body whose first piece with anything in it is small is
    sent as it is. `monotonic` in seconds.
    """
    every = iter(pieces)
    share = _Share(monotonic)
    await share.others()
    first = b""
    while not first and (piece := next(every, None)) is not None:
        first = piece
        if not first:
            await share.others()
    packing = zlib.compressobj(_LEVEL, wbits=_GZIP) if len(first) >= LEAST_BYTES and accepts_gzip(accept_encoding) else None
    sent: list[bytes] = []
    for piece in chain((first,), every):
        sent.append(packing.compress(piece) if packing else piece)
        await share.others()
    if packing is None:
        return b"".join(sent), {}
    return b"".join((*sent, packing.flush())), {"Content-Encoding": "gzip"}


def packed(body: bytes, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """The body as it is sent, and the headers that say so."""
    if len(body) < LEAST_BYTES or not accepts_gzip(accept_encoding):
        return body, {}
    packing = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return packing.compress(body) + packing.flush(), {"Content-Encoding": "gzip"}


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, or everything, with a weight above 0."""
    entries = (entry.partition(";") for entry in accept_encoding.lower().split(","))
    weights = {coding.strip(): parameter.replace(" ", "") for coding, _, parameter in entries}
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not _UNWANTED.fullmatch(weight)

"""Bodies packed for those who accept it. Source: RFC 9110, section 12.5.3 (Accept-Encoding)."""

from __future__ import annotations

import gzip
import re

LEAST_BYTES = 1024
"""Smaller bodies are sent as they are."""

_UNWANTED = re.compile(r"q=0(\.0*)?")


def packed(body: bytes, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
    """The body as it is sent, and the headers that say so."""
    if len(body) < LEAST_BYTES or not accepts_gzip(accept_encoding):
        return body, {}
    return gzip.compress(body, compresslevel=1, mtime=0), {"Content-Encoding": "gzip"}


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, or everything, with a weight above 0."""
    entries = (entry.partition(";") for entry in accept_encoding.lower().split(","))
    weights = {coding.strip(): parameter.replace(" ", "") for coding, _, parameter in entries}
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and not _UNWANTED.fullmatch(weight)

"""Which header fields of a message are handed on, and where a request is to go. Pure.

Source: RFC 9110 section 7.6, RFC 9112 section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = (
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)
"""They speak of one connection. Trailers aren't handed on, so neither is their announcement."""

PSEUDONYM = "1.1 infermeter"
"""What this proxy calls itself in `Via`."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""They ask for nothing to be done: no inferences. Source: RFC 9110 section 9.2.1."""


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The fields that are for the other end, in their order."""
    kept = CIMultiDict(headers)
    for options in kept.getall("Connection", ()):
        for option in options.split(","):
            kept.popall(option.strip(), None)
    for name in HOP_BY_HOP:
        kept.popall(name, None)
    return kept


def upstream_headers(headers: CIMultiDictProxy[str], *, client: str | None) -> CIMultiDict[str]:
    """Those of a request for the upstream server; `client` is the client's address.

    The body is waited for here, and no longer expected to be asked for.
    """
    kept = end_to_end(headers)
    kept.popall("Expect", None)
    _append(kept, "Via", PSEUDONYM)
    if client is not None:
        _append(kept, "X-Forwarded-For", client)
    return kept


def _append(headers: CIMultiDict[str], name: str, value: str) -> None:
    before = headers.popall(name, None)
    headers[name] = value if before is None else ", ".join((*before, value))


def framing_is_known(headers: Mapping[str, str]) -> bool:
    """Whether the body is transferred as it is, or in chunks, and not in any other coding besides."""
    coding = headers.get("Transfer-Encoding")
    return coding is None or coding.strip().lower() == "chunked"


def target_of(target: str) -> str | None:
    """Path and query of a request's target, byte for byte; None for a target that is neither a path nor an absolute URL."""
    if target.startswith("/"):
        return target
    return URL(target, encoded=True).raw_path_qs if target.startswith(("http://", "https://")) else None

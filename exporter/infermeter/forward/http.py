"""Exports over HTTP/1.1: body, content type and content encoding are those that came."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO

import aiohttp

from infermeter import __version__
from infermeter.endpoints import PASSED_BY, Endpoint
from infermeter.forward.names import Names
from infermeter.forward.outcomes import Busy, Outcome, Taken, http_outcome, rejected_spans
from infermeter.forward.target import ANSWER_BYTES
from infermeter.model import Accepted

_CONTENT_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}

_KEEPALIVE_SECONDS = 4.0
"""How long a connection rests: less than servers let it (Node.js and uvicorn: 5 s), lest it is closed just when it is used."""

_ADDED_BY_CLIENTS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class HttpTarget:
    """An OTLP/HTTP receiver. To be made and used within one event loop. Redirects aren't followed, the environment's proxies not used."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], *, timeout_seconds: float) -> None:
        self._url = endpoint.url
        self._headers = {"User-Agent": f"infermeter/{__version__}", **headers}
        self._timeout_seconds = timeout_seconds
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, resolver=Names()),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_ADDED_BY_CLIENTS,
        )

    async def fitted(self, accepted: Accepted) -> Accepted:
        """Itself: HTTP carries every encoding."""
        return accepted

    async def send(self, accepted: Accepted) -> Outcome:
        """One attempt."""
        headers = {**self._headers, PASSED_BY: ",".join(accepted.passed_by), "Content-Type": _CONTENT_TYPES[accepted.encoding]}
        if accepted.packing == "gzip":
            headers["Content-Encoding"] = "gzip"
        content = BytesIO(accepted.body)
        try:
            async with self._http.post(self._url, data=content, headers=headers, allow_redirects=False) as response:
                outcome = http_outcome(response.status, response.headers.get("Retry-After"), datetime.now(UTC))
                answer = None
                with suppress(TimeoutError, aiohttp.ClientError, OSError):  # the status stands: asked again, it would take the export twice
                    answer = await _answer(response)
        except TimeoutError:
            return Busy(f"no answer within {self._timeout_seconds:g} s")
        except aiohttp.ClientSSLError:
            return Busy("TLS failed")
        except (aiohttp.ClientError, OSError) as error:
            return Busy(_problem(error))
        finally:
            content.close()  # aiohttp has made a copy of it, which what failed would hold until the garbage collector finds it
        if outcome == Taken() and answer is not None:
            return Taken(rejected_spans(answer, json=response.content_type == "application/json", most=accepted.spans))
        return outcome

    async def close(self) -> None:
        """Breaks off what is under way."""
        await self._http.close()


def _problem(error: Exception) -> str:
    """Why a connection failed, without anything that a peer sent."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name can't be resolved"
    errno = getattr(error, "errno", None)
    return os.strerror(errno) if errno else "the connection failed"


async def _answer(response: aiohttp.ClientResponse) -> bytes | None:
    """The answer, or None if it is longer than any that says something."""
    answer = b""
    while piece := await response.content.read(ANSWER_BYTES + 1 - len(answer)):
        answer += piece
        if len(answer) > ANSWER_BYTES:
            return None
    return answer

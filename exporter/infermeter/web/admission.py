"""Whether a request is answered at all: the rate of all, basic authentication, and who has failed at it too often."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from infermeter.web.access import Access
from infermeter.web.failures import Bucket, Failures
from infermeter.web.passwords import Busy, Passwords

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBED: Final = frozenset({"/-/healthy", "/-/ready"})
"""Paths that are answered to everybody: whoever restarts a container has no password, and mustn't be kept out by a flood."""

CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="infermeter", charset="UTF-8"'}

TOLD_SECONDS: Final = 60.0
"""At most one line in the log in so long."""


class Admission:
    """Asks each request who sends it, where `access` has users."""

    def __init__(self, access: Callable[[], Access], *, failures_per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._failures = Failures(failures_per_minute, monotonic)
        self._passwords = Passwords()
        self._monotonic = monotonic
        self._limit = access().rate_limit
        self._bucket = Bucket(self._limit.interval, self._limit.burst, monotonic)
        self._told_at = float("-inf")

    def close(self) -> None:
        """Asks nobody any more."""
        self._passwords.close()

    async def refusal(self, request: web.Request) -> web.Response | None:
        """What a request is answered that isn't let in; None: it is."""
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in PROBED:
            return None
        access = self._access()
        if not self._taken(access):
            return _refused(429, "Too Many Requests", {"Retry-After": "1"})
        return await self._unauthorised(request, access) if access.users else None

    def _taken(self, access: Access) -> bool:
        if access.rate_limit != self._limit:
            self._limit = access.rate_limit
            self._bucket = Bucket(self._limit.interval, self._limit.burst, self._monotonic)
        return self._bucket.take()

    async def _unauthorised(self, request: web.Request, access: Access) -> web.Response | None:
        shown = request.headers.getall("Authorization", [])
        if not shown:
            return _refused(401, "Unauthorized", CHALLENGE)
        wait_seconds = self._failures.attempt(request.remote)  # taken first, so that guesses at once are counted too
        if wait_seconds:
            self._tell(request.remote)
            return _refused(429, "Too Many Requests", {"Retry-After": str(wait_seconds)})
        pair = pair_in(shown[0]) if len(shown) == 1 else None
        try:
            is_right = pair is not None and await self._passwords.right(*pair, access.users)
        except Busy:
            self._failures.give_back(request.remote)
            return _refused(503, "Service Unavailable", {"Retry-After": "1"})
        if not is_right:
            return _refused(401, "Unauthorized", CHALLENGE)
        self._failures.give_back(request.remote)
        return None

    def _tell(self, address: str | None) -> None:
        now = self._monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.warning("web: %s has failed to authenticate too often, and is refused for a while", address or "a peer")


def pair_in(authorization: str) -> tuple[str, str] | None:
    """User and password in such a header; None: it holds none. Source: RFC 7617."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None


def _refused(status: int, reason: str, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, text=f"{status} {reason}\n", headers=headers)

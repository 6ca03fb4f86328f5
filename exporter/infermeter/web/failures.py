"""How often each address may fail to show who it is. Pure but for the clock that it is given."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

PEERS_MOST: Final = 1024
"""Addresses that are remembered; one more takes the place of the one that was last seen longest ago."""

_IPV6_PREFIX_BITS: Final = 64
"""Whoever has one IPv6 address has as a rule this whole prefix."""


class Failures:
    """A bucket for each address: `per_minute` attempts at once, and as many more each minute. An attempt that didn't fail is given back."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        """`monotonic` is in seconds."""
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def attempt(self, address: str | None) -> int:
        """Takes one attempt; 0, or in how many seconds there is one again."""
        peer, now = _network(address), self._monotonic()
        left = self._left_of(peer, now)
        if left < 1:
            self._remember(peer, left, now)
            return math.ceil((1 - left) * 60 / self._per_minute)
        self._remember(peer, left - 1, now)
        return 0

    def give_back(self, address: str | None) -> None:
        """The last attempt didn't fail."""
        peer, now = _network(address), self._monotonic()
        self._remember(peer, min(self._left_of(peer, now) + 1, self._per_minute), now)

    def _left_of(self, peer: str, now: float) -> float:
        left, then = self._left.get(peer, (float(self._per_minute), now))
        return min(left + (now - then) * self._per_minute / 60, self._per_minute)

    def _remember(self, peer: str, left: float, now: float) -> None:
        self._left[peer] = left, now
        self._left.move_to_end(peer)
        if left >= self._per_minute:
            del self._left[peer]
        elif len(self._left) > PEERS_MOST:
            self._left.popitem(last=False)


class Bucket:
    """Requests of all together: `burst` at once, and one more each `interval_seconds`; an interval of 0 bounds nothing."""

    def __init__(self, interval_seconds: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._interval_seconds = interval_seconds
        self._burst = burst
        self._monotonic = monotonic
        self._left = float(burst)
        self._then = monotonic()

    def take(self) -> bool:
        """Whether one more may be answered now."""
        if not self._interval_seconds:
            return True
        now = self._monotonic()
        self._left = min(self._left + (now - self._then) / self._interval_seconds, self._burst)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _network(address: str | None) -> str:
    """What stands for an address; a peer without one is a peer too."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> (128 - _IPV6_PREFIX_BITS) << (128 - _IPV6_PREFIX_BITS)))

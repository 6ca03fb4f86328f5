"""Whether a user's password is right, by bcrypt: off the loop, one at a time, and as slowly for users that there aren't.

A pair that was right is remembered under a keyed digest, so that a scrape costs bcrypt once. Source of the rules: exporter-toolkit.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt

REMEMBERED_MOST: Final = 100
"""Right pairs."""

WAITING_MOST: Final = 8
"""Pairs that wait for bcrypt, or are in it."""

_PASSWORD_BYTES: Final = 72
"""What bcrypt looks at; whoever made the hash has cut the password there too."""

_SALT_AND_DIGEST: Final = "Aq0T1ivDA6cpgLFS7HOy8uJiuJzEprb5rIJnowTQXoe57otLYNuoy"
"""Of no password that anybody knows."""


class Busy(Exception):
    """Too many pairs wait."""


class Passwords:
    """Knows none: it is given the users with each question."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")

    async def right(self, user: str, password: str, users: Mapping[str, str]) -> bool:
        """Whether `users`, hashes by name, hold this pair. Raises: Busy."""
        hashed = users.get(user) or self._hash_of_nobody(user, users)
        pair = self._digest(user, hashed, password)
        if pair in self._right:
            self._right.move_to_end(pair)
            return True
        if self._waiting >= WAITING_MOST:
            raise Busy
        self._waiting += 1
        try:
            matches = await asyncio.get_running_loop().run_in_executor(self._thread, _matches, password, hashed)
        finally:
            self._waiting -= 1
        is_right = matches and user in users
        if is_right:
            self._right[pair] = None
            if len(self._right) > REMEMBERED_MOST:
                self._right.popitem(last=False)
        return is_right

    def close(self) -> None:
        """Answers nothing any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _hash_of_nobody(self, user: str, users: Mapping[str, str]) -> str:
        """Of the cost of one of the users, always the same for one name: so the time tells nothing, also where costs differ."""
        costs = sorted(hashed[4:6] for hashed in users.values())
        which = int.from_bytes(hmac.digest(self._secret, user.encode(errors="surrogatepass"), "sha256")[:8]) % len(costs)
        return f"$2b${costs[which]}${_SALT_AND_DIGEST}"

    def _digest(self, *texts: str) -> bytes:
        """Of texts of any length, told apart."""
        coded = [text.encode(errors="surrogatepass") for text in texts]
        return hmac.digest(self._secret, b"".join(len(part).to_bytes(8) + part for part in coded), "sha256")


def _matches(password: str, hashed: str) -> bool:
    """On the thread; compares in constant time, as bcrypt does."""
    try:
        return bcrypt.checkpw(password.encode(errors="surrogatepass")[:_PASSWORD_BYTES], hashed.encode())
    except ValueError:  # a salt that is none
        return False

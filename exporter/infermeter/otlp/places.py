"""Who has a place among the connections of a listener, and who gives it up to one that comes where all are taken. Pure.

Whoever is at work keeps its place. Of those that rest, one that has never sent anything of use goes first, so that whoever only connects
takes the places of its like: it can't drive out senders that rest between two exports.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

NEW_SECONDS: Final = 2.0
"""How long one of which no export was taken yet keeps its place at rest: a sender sends as soon as it has connected."""

REST_SECONDS: Final = 30.0
"""How long the others do: a sender at work exports every few seconds."""

LOOK_SECONDS: Final = 1.0
"""Between two looks at all of them, however many come in vain meanwhile."""


class Holder(Protocol):
    """What may have a place. `is_of_use` once an export of it was taken."""

    is_of_use: bool

    @property
    def rests_since(self) -> float | None:
        """On the loop's clock; None: something is under way."""

    def make_room(self) -> None:
        """Ends it at once."""


T = TypeVar("T", bound=Holder)


class Places(Generic[T]):
    """Those of one listener. Times are seconds on the loop's clock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: set[T] = set()
        self._others: set[T] = set()
        self._looked_at: float | None = None
        self._due: OrderedDict[T, float] = OrderedDict()  # who may have to go, first who goes first, and since when it rested

    def __iter__(self) -> Iterator[T]:
        """All that are connected, also those that have no place, or none any more."""
        return iter((*self._held, *self._others))

    def take(self, comer: T, now: float) -> bool:
        """Whether there is a place for it, if need be that of one that rests, which ends. It counts as connected in any case."""
        if len(self._held) >= self._most:
            given_up = self._given_up(now)
            if given_up is None:
                self._others.add(comer)
                return False
            self._held.remove(given_up)
            self._others.add(given_up)
            given_up.make_room()
        self._held.add(comer)
        return True

    def leave(self, one: T) -> None:
        """It isn't connected any more."""
        self._held.discard(one)
        self._others.discard(one)
        self._due.pop(one, None)

    def _given_up(self, now: float) -> T | None:
        """Who goes; None: nobody has to."""
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._due = OrderedDict(sorted(self._resting(now), key=lambda due: (due[0].is_of_use, due[1])))
        while self._due:
            one, since = self._due.popitem(last=False)
            if one.rests_since == since:
                return one
        return None

    def _resting(self, now: float) -> Iterator[tuple[T, float]]:
        """Those that have rested for long enough to go, and since when."""
        for one in self._held:
            since = one.rests_since
            if since is not None and now - since >= (REST_SECONDS if one.is_of_use else NEW_SECONDS):
                yield one, since

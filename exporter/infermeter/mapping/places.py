"""Places in a mapping file: reading a strict YAML tree while noting every problem with its dotted path. Knows no operator."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TypeVar

from infermeter.errors import ConfigError, MappingError
from infermeter.parsing import strict_yaml

T = TypeVar("T")
U = TypeVar("U")


class Unreadable(Exception):
    """Nothing can be made of a place; why is noted."""


class Place:
    """What stands somewhere in a file, its dotted path, and the list in which problems are noted."""

    def __init__(self, tree: strict_yaml.Node, path: str, problems: list[ConfigError], *, file: bool = False) -> None:
        """`path` begins with the name of the file; `file`: it is nothing but that."""
        self._tree = tree
        self._path = path
        self._problems = problems
        self._joint = ": " if file else "."

    def wrong(self, problem: str) -> Unreadable:
        """Notes a problem of this place. The exception is there to be raised."""
        self._problems.append(MappingError(self._path, problem))
        return Unreadable()

    @property
    def is_mapping(self) -> bool:
        """Whether a mapping stands here."""
        return isinstance(self._tree, strict_yaml.Mapping)

    @property
    def _is_nothing(self) -> bool:
        return isinstance(self._tree, strict_yaml.Scalar) and self._tree.plain and not self._tree.text

    # --- collections ---------------------------------------------------------------------------------------------------------------
    def list(self, *, empty: bool = False) -> list[Place]:
        """The entries of a list, at least one unless it may be empty; what is no list is its own only entry."""
        if self._is_nothing:
            raise self.wrong("is empty")
        if not isinstance(self._tree, strict_yaml.Sequence):
            return [self]
        if not self._tree.items and not empty:
            raise self.wrong("is empty")
        return [Place(item, f"{self._path}[{n}]", self._problems) for n, item in enumerate(self._tree.items)]

    def mapping(self) -> dict[str, Place]:
        """The entries of a mapping, whatever their keys."""
        if not isinstance(self._tree, strict_yaml.Mapping):
            raise self.wrong("is empty" if self._is_nothing else "must be a mapping")
        found: dict[str, Place] = {}
        for entry in self._tree.entries:
            place = Place(entry.node, f"{self._path}{self._joint}{entry.key}", self._problems)
            if entry.key in found:
                place.wrong("given twice")
            found[entry.key] = place
        return found

    def keys(self, known: str, *, required: str = "") -> dict[str, Place]:
        """The entries of a mapping with a closed set of keys (words with blanks between); `required` must be there."""
        allowed = known.split()
        found = self.mapping()
        for key in [key for key in found if key not in allowed]:
            near = get_close_matches(key.lower(), allowed, n=1)
            found.pop(key).wrong("unknown key" + (f"; did you mean {near[0]}?" if near else f"; known are {', '.join(allowed)}"))
        missing = [key for key in required.split() if key not in found]
        for key in missing:
            self.wrong(f"{key} is missing")
        if missing:
            raise Unreadable
        return found

    def only(self, known: str) -> tuple[str, Place]:
        """Key and place of a mapping that has exactly one of the `known` keys."""
        found = self.keys(known)
        if len(found) != 1:
            raise self.wrong(f"must have exactly one of {', '.join(known.split())}")
        return next(iter(found.items()))

    def each(self, read: Callable[[Place], T], *, empty: bool = False) -> tuple[T, ...]:
        """`read` of each entry of the list; the problems of all of them are noted."""
        return every(self.list(empty=empty), read)

    # --- scalars -------------------------------------------------------------------------------------------------------------------
    def text(self, *, pattern: re.Pattern[str] | None = None, empty: bool = False) -> str:
        """A text, not empty unless that is allowed, all of it as `pattern` says."""
        if not isinstance(self._tree, strict_yaml.Scalar):
            raise self.wrong("must be a text")
        if not self._tree.text and not empty:
            raise self.wrong("is empty")
        if pattern is not None and not pattern.fullmatch(self._tree.text):
            raise self.wrong(f"must match {pattern.pattern}")
        return self._tree.text

    def choice(self, known: Iterable[str]) -> str:
        """One of some words."""
        text = self.text()
        if text not in (words := list(known)):
            near = get_close_matches(text.lower(), words, n=1)
            raise self.wrong("unknown" + (f"; did you mean {near[0]}?" if near else f"; known are {', '.join(words)}"))
        return text

    def true(self) -> None:
        """The word `true`: the key says it all, and its absence is the contrary."""
        if not isinstance(self._tree, strict_yaml.Scalar) or self._tree.text != "true" or not self._tree.plain:
            raise self.wrong("must be true (or left out)")

    @property
    def is_true(self) -> bool:
        """Whether the word `true` stands here."""
        return isinstance(self._tree, strict_yaml.Scalar) and self._tree.plain and self._tree.text == "true"

    def number(self) -> float:
        """A finite number."""
        text = self.text()
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII):
            raise self.wrong("must be a number")
        if not math.isfinite(number := float(text)):
            raise self.wrong("is too large")
        return number

    def whole(self) -> int:
        """A whole number of at most nine digits."""
        text = self.text()
        if not re.fullmatch(r"[+-]?\d{1,9}", text, re.ASCII):
            raise self.wrong("must be a whole number")
        return int(text)

    def pattern(self) -> re.Pattern[str]:
        """A regular expression."""
        try:
            return re.compile(self.text())
        except re.error as error:
            raise self.wrong(f"not a regular expression: {error}") from error


def every(items: Iterable[U], read: Callable[[U], T]) -> tuple[T, ...]:
    """`read` of each of the items; the problems of all of them are noted before it gives up."""
    done: list[T] = []
    complete = True
    for item in items:
        try:
            done.append(read(item))
        except Unreadable:
            complete = False
    if not complete:
        raise Unreadable
    return tuple(done)

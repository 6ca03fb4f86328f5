"""YAML text into a tree that remembers lines: the subset of YAML that can't surprise. No schema here, no types, no files.

Scalars stay the text that was written; what it means is decided where the expected type is known (structure.py). Tags and merge
keys are refused; aliases are followed as long as the whole stays small, so that a few lines can't grow into gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import yaml

from infermeter.errors import ConfigError

SIZE_LIMIT_CHARACTERS = 262_144
NODES_LIMIT = 10_000
"""Of the tree with every alias written out."""

DEPTH_LIMIT = 16


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `plain` when it was written without quotes. Lines count from 1."""

    line: int
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, the line where it stands, and its value."""

    key: str
    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping in the order of the text; a key that was given twice is there twice."""

    line: int
    entries: tuple[Entry, ...]


Node: TypeAlias = Scalar | Sequence | Mapping


def parse_yaml(text: str, where: str) -> Node:
    """The only document of `text`; an empty one is a plain empty scalar.

    Raises: ConfigError with `where` and the line, for what is no YAML, and for what is refused here.
    """
    if len(text) > SIZE_LIMIT_CHARACTERS:
        raise ConfigError(where, f"longer than {SIZE_LIMIT_CHARACTERS} characters")
    try:
        return _Builder(where, text).document()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(where, f"{line}not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(where, f"not valid YAML: {str(error).splitlines()[0]}") from error


class _Built(NamedTuple):
    """A node, how many nodes it holds with every alias written out, and how deep it is."""

    node: Node
    nodes: int
    levels: int


class _Builder:
    """One pass over the parser's events. Recursion is bounded by DEPTH_LIMIT."""

    def __init__(self, where: str, text: str) -> None:
        self._where = where
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, _Built] = {}

    def document(self) -> Node:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Scalar(1, "", plain=True)
        node = self._node(next(self._events), 1).node
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refusal(after, "a second document; one is expected")
        return node

    def _node(self, event: yaml.Event, depth: int) -> _Built:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._refusal(event, "an alias without an anchor before it")
            built = self._anchors[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            self._check(event)
            built = self._anchored(event, _Built(_scalar(event), 1, 1))
        elif depth == DEPTH_LIMIT:
            raise self._refusal(event, f"nested deeper than {DEPTH_LIMIT} levels")
        elif isinstance(event, yaml.SequenceStartEvent):
            built = self._anchored(event, self._sequence(event, depth))
        else:
            built = self._anchored(event, self._mapping(event, depth))
        if built.nodes > NODES_LIMIT:
            raise self._refusal(event, f"more than {NODES_LIMIT} values")
        if depth + built.levels - 1 > DEPTH_LIMIT:
            raise self._refusal(event, f"nested deeper than {DEPTH_LIMIT} levels")
        return built

    def _anchored(self, event: yaml.Event, built: _Built) -> _Built:
        """`built`, remembered under the event's anchor. An anchor is known once its node is complete: no node holds itself."""
        if getattr(event, "tag", None) not in (None, "!"):
            raise self._refusal(event, "tags (`!...`) are not taken")
        if (anchor := getattr(event, "anchor", None)) is not None:
            self._anchors[anchor] = built
        return built

    def _sequence(self, start: yaml.Event, depth: int) -> _Built:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return _Built(Sequence(_line(start), tuple(item.node for item in items)), *_extent(items))

    def _mapping(self, start: yaml.Event, depth: int) -> _Built:
        entries, values = [], []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refusal(event, "a key must be a word")
            if event.value == "<<" and event.implicit[0]:
                raise self._refusal(event, "merge keys (`<<`) are not taken")
            self._check(event)
            value = self._node(next(self._events), depth + 1)
            values.append(value)
            entries.append(Entry(event.value, _line(event), value.node))
        return _Built(Mapping(_line(start), tuple(entries)), *_extent(values))

    def _check(self, event: yaml.ScalarEvent) -> None:
        """Refuses a text that could never be written, or name a file: half of a character, or a NUL, as escapes tell them."""
        if not is_text(event.value):
            raise self._refusal(event, "holds half of a surrogate pair, which is no character")
        if "\0" in event.value:
            raise self._refusal(event, "holds a NUL")

    def _refusal(self, event: yaml.Event, problem: str) -> ConfigError:
        return ConfigError(self._where, f"line {_line(event)}: {problem}")


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: not with half of a surrogate pair, as which Python also reads what wasn't UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    return Scalar(_line(event), event.value, plain=event.implicit[0])


def _extent(children: list[_Built]) -> tuple[int, int]:
    """Nodes and levels of a collection of these."""
    return 1 + sum(child.nodes for child in children), 1 + max((child.levels for child in children), default=0)


def _line(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line + 1

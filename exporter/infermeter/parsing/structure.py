"""YAML text to the configuration, and to lists that it names: every problem with its dotted path, its line, and the nearest known key.

Types, ranges and defaults are those of config/'s dataclasses; contradictions between keys are told by rules.py.
"""

from __future__ import annotations

import collections.abc
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from infermeter.config import Config, Duration, GpuChoice
from infermeter.errors import ConfigError, ConfigErrors
from infermeter.model import Window
from infermeter.parsing import strict_yaml
from infermeter.parsing.durations import duration_seconds, duration_text
from infermeter.parsing.rules import Problem, contradictions, notices
from infermeter.parsing.scalars import SCALARS, is_null, scalar_value, written
from infermeter.parsing.strict_yaml import Node, Scalar

__all__ = ["Kind", "Problem", "alternatives", "field_kinds", "known_paths", "load_config", "load_entries", "load_file", "notices", "wanted"]

Entry = TypeVar("Entry")

Kind: TypeAlias = Any
"""A type as config/ annotates it, or one member of a union."""

_UNFIT = object()
"""In place of a value that couldn't be read, and was told."""


def load_config(text: str, where: str, absent: Callable[[Config], Iterable[Problem]] = lambda _: ()) -> Config:
    """The configuration that `text` holds; `where` names it (a file, as a rule) if it is no YAML at all.

    `absent` tells what it names and isn't there, by path. Raises: ConfigErrors with every problem, in the order of the file.
    """
    try:
        root = strict_yaml.parse_yaml(text, where)
    except ConfigError as error:
        raise ConfigErrors((error,)) from error
    reader = _Reader(elsewhere=known_paths())
    config = reader.document(root, Config)
    unread = {path.partition(".")[0] for _, path, _ in reader.problems}
    for path, problem in (*contradictions(config), *absent(config)):
        if path.partition(".")[0] not in unread:  # else it may only follow from what couldn't be read
            reader.add(path, problem)
    reader.judge("")
    return config


def load_entries(
    kind: type[Entry], text: str, where: str, *, most: int, unfit: Callable[[Sequence[Entry]], Iterable[Problem]]
) -> list[Entry]:
    """The entries, dataclasses of this `kind`, of the list that `text` holds: 1 to `most`. `where` names it (a file, as a rule).

    `unfit` tells what of them can't hold together, by path (`[3].currency`). Raises: ConfigErrors with every problem.
    """
    try:
        root = strict_yaml.parse_yaml(text, where)
    except ConfigError as error:
        raise ConfigErrors((error,)) from error
    reader = _Reader()
    entries = reader.entries(kind, root, most)
    if entries and not reader.problems:
        for path, problem in unfit(entries):
            reader.add(path, problem)
    reader.judge(where)
    return entries


def load_file(kind: type[Entry], text: str, where: str, unfit: Callable[[Entry], Iterable[Problem]]) -> Entry:
    """What `text` holds as a dataclass of this `kind`, whose keys are all optional; `where` names it (a file, as a rule).

    `unfit` tells what of it can't hold together, by path. Raises: ConfigErrors with every problem.
    """
    try:
        root = strict_yaml.parse_yaml(text, where)
    except ConfigError as error:
        raise ConfigErrors((error,)) from error
    reader = _Reader()
    read = reader.document(root, kind)
    if not reader.problems:
        for path, problem in unfit(read):
            reader.add(path, problem)
    reader.judge(f"{where}: ")
    return read


def alternatives(kind: Kind) -> tuple[Kind, ...]:
    """The members of a union but None; of anything else, itself."""
    if _origin(kind) in (Union, UnionType):
        return tuple(member for member in get_args(kind) if member is not NoneType)
    return (kind,)


@cache
def field_kinds(dataclass: type) -> Mapping[str, Kind]:
    """The type of each field of a configuration dataclass."""
    return get_type_hints(dataclass, include_extras=True)


def wanted(members: Sequence[Kind]) -> str:
    """What is to be written for one of these: `auto, all or a list`."""
    words = [word for member in members for word in _words(member)]
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


class _Reader:
    """Reads one tree. `problems` holds (line, dotted path, problem)."""

    def __init__(self, *, elsewhere: Sequence[str] = ()) -> None:
        """`elsewhere`: dotted paths that an unknown key may have been meant for."""
        self._elsewhere = elsewhere
        self.problems: list[tuple[int, str, str]] = []
        self._lines: dict[str, int] = {"": 1}

    def add(self, path: str, problem: str) -> None:
        """A problem at `path`, on the line of the nearest key above it that was written."""
        known = path
        while known not in self._lines:
            known = known.rpartition(".")[0]
        self.problems.append((self._lines[known], path, problem))

    def judge(self, where: str) -> None:
        """Raises ConfigErrors if there are problems, in the order of the file; `where` is put before their paths."""
        if self.problems:
            found = sorted(self.problems, key=lambda problem: problem[0])
            raise ConfigErrors(
                tuple(ConfigError(f"{where}{path}".removesuffix(": "), f"{problem} (line {line})") for line, path, problem in found)
            )

    def entries(self, kind: type[Entry], root: Node, most: int) -> list[Entry]:
        """The entries of a list, without those that couldn't be read."""
        if not isinstance(root, strict_yaml.Sequence) or not 1 <= len(root.items) <= most:
            self.add("", f"must be a list of 1 to {most} entries")
            return []
        values = self._list(kind, {}, root, "")
        return [] if values is _UNFIT else list(cast("tuple[Entry, ...]", values))

    def document(self, root: Node, kind: type[Entry]) -> Entry:
        """The dataclass of a whole file, with defaults in place of what couldn't be read."""
        if isinstance(root, strict_yaml.Mapping):
            return cast("Entry", self._dataclass(kind, root, ""))
        if not (isinstance(root, Scalar) and is_null(root)):
            self.add("", "must be a mapping of sections such as `server:` and `cost:`" if kind is Config else "must be a mapping")
        return kind()

    def _value(self, kind: Kind, bounds: Mapping[str, Any], node: Node, path: str) -> object:
        """What `node` holds as `kind`, or _UNFIT."""
        members = alternatives(kind)
        if isinstance(node, Scalar):
            return None if is_null(node) and _optional(kind) else self._scalar(members, bounds, node, path)
        for member in members:
            if isinstance(node, strict_yaml.Sequence):
                if _origin(member) is tuple:
                    return self._list(get_args(member)[0], bounds, node, path)
            elif is_dataclass(member) and member is not Window:
                return self._dataclass(cast("type", member), node, path)
            elif _origin(member) is Annotated and member is not Duration:
                return self._overrides(get_args(member)[1], node, path)
            elif _is_mapping(member):
                return self._named(get_args(member)[1], bounds, node, path)
        self.add(path, f"must be {wanted(members)}, not a {'list' if isinstance(node, strict_yaml.Sequence) else 'mapping'}")
        return _UNFIT

    def _scalar(self, members: Sequence[Kind], bounds: Mapping[str, Any], scalar: Scalar, path: str) -> object:
        problem = f"must be {wanted(members)}, not {written(scalar)}"
        for member in members:
            try:
                value = _read(member, scalar)
            except ValueError as error:
                problem = str(error) if len(members) == 1 else problem
                continue
            if outside := _outside(value, bounds, duration=member is Duration):
                self.add(path, outside)
                return _UNFIT
            return value
        if bounds.get("secret"):
            problem = f"must be {wanted(members)}, in quotes if need be; what stands there isn't shown"
        choices = [choice for member in members if _origin(member) is Literal for choice in get_args(member)]
        near = difflib.get_close_matches(scalar.text, choices, n=1)
        self.add(path, f"{problem}; did you mean {near[0]}?" if near else problem)
        return _UNFIT

    def _list(self, kind: Kind, bounds: Mapping[str, Any], node: strict_yaml.Sequence, path: str) -> object:
        values = []
        for index, item in enumerate(node.items):
            where = f"{path}[{index}]"
            self._lines[where] = item.line
            values.append(self._value(kind, bounds, item, where))
        return _UNFIT if _UNFIT in values else tuple(values)

    def _named(self, kind: Kind, bounds: Mapping[str, Any], node: strict_yaml.Mapping, path: str) -> object:
        values = {name: self._value(kind, bounds, value, where) for name, where, value in self._entries(node, path)}
        return _UNFIT if _UNFIT in values.values() else values

    def _overrides(self, dataclass: type, node: strict_yaml.Mapping, path: str) -> object:
        """The keys of `dataclass` that are written; null stays, and means none."""
        values = self._fields(dataclass, node, path, null_is_unset=False)
        return _UNFIT if _UNFIT in values.values() else values

    def _dataclass(self, dataclass: type, node: strict_yaml.Mapping, path: str) -> object:
        values = self._fields(dataclass, node, path, null_is_unset=True)
        required = [field.name for field in fields(dataclass) if field.default is MISSING and field.default_factory is MISSING]
        for name in required:
            if name not in values:
                self.add(path, f"`{name}` is missing")
        readable = {name: value for name, value in values.items() if value is not _UNFIT}
        return dataclass(**readable) if readable.keys() >= set(required) else _UNFIT

    def _fields(self, dataclass: type, node: strict_yaml.Mapping, path: str, *, null_is_unset: bool) -> dict[str, object]:
        known = {field.name: field for field in fields(dataclass)}
        kinds = field_kinds(dataclass)
        values: dict[str, object] = {}
        for name, where, value in self._entries(node, path):
            if name not in known:
                self.add(where, f"unknown key; {_nearest(name, tuple(known), path, self._elsewhere)}")
            elif not (isinstance(value, Scalar) and is_null(value) and null_is_unset and not _optional(kinds[name])):
                values[name] = self._value(kinds[name], known[name].metadata, value, where)
        return values

    def _entries(self, node: strict_yaml.Mapping, path: str) -> Iterator[tuple[str, str, Node]]:
        """Name, path and value of each key; a key given twice is told, and the first one holds."""
        first: dict[str, int] = {}
        for entry in node.entries:
            where = f"{path}.{entry.key}" if path else entry.key
            if entry.key in first:
                self.problems.append((entry.line, where, f"given twice, first on line {first[entry.key]}"))
                continue
            first[entry.key] = self._lines[where] = entry.line
            yield entry.key, where, entry.node


def _origin(kind: Kind) -> object:
    return get_origin(kind)


def _optional(kind: Kind) -> bool:
    return NoneType in get_args(kind)


def _is_mapping(kind: Kind) -> bool:
    return _origin(kind) is collections.abc.Mapping


def _words(kind: Kind) -> tuple[str, ...]:
    """What can be written for one member of a union."""
    if _origin(kind) is Literal:
        return cast("tuple[str, ...]", get_args(kind))
    if kind is GpuChoice:
        return ("a UUID", "an index", "{gpu, share}")
    if kind in (Window, Duration):
        return ("a duration such as 30s, 5m or 1h30m",)
    if _origin(kind) is tuple:
        return ("a list",)
    if kind is bool:
        return ("true", "false")
    return (SCALARS[kind],) if kind in SCALARS else ("a mapping",)


def _read(kind: Kind, scalar: Scalar) -> object:
    """The value of a scalar as one member of a union. Raises: ValueError."""
    if kind in (Duration, Window):
        seconds = duration_seconds(scalar.text)
        return seconds if kind is Duration else Window(scalar.text, seconds)
    if kind is GpuChoice:
        return GpuChoice(scalar_value(int if scalar.text.isdecimal() else str, scalar))
    if kind in SCALARS or _origin(kind) is Literal:
        return scalar_value(kind, scalar)
    raise ValueError(f"must be {wanted((kind,))}, not {written(scalar)}")


def _outside(value: object, bounds: Mapping[str, Any], *, duration: bool) -> str | None:
    """What is wrong with the form of a text or the size of a number."""
    if isinstance(value, str):
        pattern = bounds.get("pattern")
        return None if pattern is None or re.fullmatch(pattern, value) else f"`{value[:64]}` doesn't match {pattern}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    show = duration_text if duration else "{:.12g}".format
    minimum, above, maximum = bounds.get("minimum"), bounds.get("above"), bounds.get("maximum")
    if minimum is not None and value < minimum:
        return f"must be at least {show(minimum)}, not {show(value)}"
    if above is not None and value <= above:
        return f"must be above {show(above)}, not {show(value)}"
    if maximum is not None and value > maximum:
        return f"must be at most {show(maximum)}, not {show(value)}"
    return None


def _nearest(name: str, siblings: Sequence[str], path: str, anywhere: Sequence[str]) -> str:
    """Where an unknown key may have been meant: beside it, else anywhere, else the keys that there are."""
    beside = {key: key for key in siblings}
    elsewhere = {key.rpartition(".")[2]: key for key in reversed(anywhere)}
    for keys, cutoff in ((beside, 0.75), (elsewhere, 0.8), (beside, 0.5)):
        if near := difflib.get_close_matches(name, keys, n=1, cutoff=cutoff):
            return f"did you mean {keys[near[0]]}?"
    return f"known {f'in {path}' if path else 'sections'}: {', '.join(siblings)}"


@cache
def known_paths() -> tuple[str, ...]:
    """The dotted path of every key of the configuration, sections before what they hold."""
    return tuple(_paths(Config, ""))


def _paths(dataclass: type, prefix: str) -> Iterator[str]:
    for name, kind in field_kinds(dataclass).items():
        yield f"{prefix}{name}"
        for member in alternatives(kind):
            if is_dataclass(member):
                yield from _paths(cast("type", member), f"{prefix}{name}.")

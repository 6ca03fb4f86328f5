"""What a new configuration changes of the one in force, and which of that a running sidecar takes over: config/'s metadata say. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Final, cast

from infermeter.config import Config, Reload
from infermeter.errors import ConfigError, ConfigErrors
from infermeter.parsing.structure import alternatives, field_kinds

_ABSENT: Final = object()
"""In place of the value of a name that only one of two mappings has."""


class RestartNeeded(ConfigError):
    """The operator's: a changed key that only a restart takes over. The text holds no value."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value is another one: its dotted path, and the problem (one sentence) if a reload doesn't take it over."""

    path: str
    problem: str | None = None


def changed_keys(old: Config, new: Config) -> tuple[str, ...]:
    """The dotted path of every key that changes, in the order of config/.

    Raises: ConfigErrors that name all of those that a reload doesn't take over, if there are any.
    """
    changes = tuple(configuration_changes(old, new))
    refused = tuple(RestartNeeded(change.path, change.problem) for change in changes if change.problem is not None)
    if refused:
        raise ConfigErrors(refused)
    return tuple(change.path for change in changes)


def configuration_changes(old: Config, new: Config) -> Iterator[Change]:
    """Every key that differs. A section that isn't there is one in which nothing is set."""
    return _of_section(Config, old, new, "", reload=False)


def _of_section(dataclass: type, old: object, new: object, prefix: str, *, reload: Reload) -> Iterator[Change]:
    kinds = field_kinds(dataclass)
    for field in fields(dataclass):
        before, after, path = getattr(old, field.name), getattr(new, field.name), f"{prefix}{field.name}"
        own: Reload | None = field.metadata["reload"]
        rule = reload if own is None else own
        section = _section(kinds[field.name])
        if before == after:
            continue
        if section is not None:
            yield from _of_section(section, before or section(), after or section(), f"{path}.", reload=rule)
        else:
            yield from _of_value(before, after, path, reload=rule)


def _of_value(before: object, after: object, path: str, *, reload: Reload) -> Iterator[Change]:
    """A mapping changes name by name, anything else as a whole."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in (*before, *(name for name in after if name not in before)):
            yield from _of_value(before.get(name, _ABSENT), after.get(name, _ABSENT), f"{path}.{name}", reload=reload)
    elif reload == "once":
        yield Change(path, None if before is None else "can't be changed without a restart once it is set")
    else:
        yield Change(path, None if reload else "can't be changed without a restart")


def _section(kind: object) -> type | None:
    """The dataclass of a key that holds a section."""
    members = alternatives(kind)
    return cast("type", members[0]) if len(members) == 1 and is_dataclass(members[0]) else None

"""What a parser of arguments holds, as plain data: completion scripts and the manual page are made of it, and never written by hand."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

FILES = frozenset({"FILE", "PATH", "REPORT"})
FOLDERS = frozenset({"DIR"})


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or without names what stands alone."""

    names: tuple[str, ...]
    value: str
    """What stands for its value in the usage; empty: it takes none."""
    choices: tuple[str, ...]
    summary: str
    required: bool
    several: bool
    """Takes more than one value, one after the other."""
    again: bool
    """May be given more than once."""

    @property
    def takes_files(self) -> bool:
        """Its value is a file's name."""
        return self.value in FILES

    @property
    def takes_folders(self) -> bool:
        """Its value is a folder's name."""
        return self.value in FOLDERS


@dataclass(frozen=True, slots=True)
class Command:
    """The program (its path is empty), a command, or an action of one (`mappings test`)."""

    path: str
    summary: str
    """One line, as in the list of commands."""
    closing: str
    """What stands beneath the options: examples."""
    options: tuple[Argument, ...]
    positionals: tuple[Argument, ...]
    commands: tuple[Command, ...]

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(" ")[2]

    def all(self) -> Iterator[Command]:
        """Itself, then those below, in their order."""
        yield self
        for command in self.commands:
            yield from command.all()


def command_of(parser: argparse.ArgumentParser, path: str = "", summary: str = "") -> Command:
    """The parser's commands, options and texts."""
    options: list[Argument] = []
    positionals: list[Argument] = []
    commands: list[Command] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public view of what a parser holds
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            summaries = {listed.dest: listed.help or "" for listed in action._choices_actions}  # noqa: SLF001 - likewise
            commands += [command_of(below, f"{path} {name}".strip(), summaries[name]) for name, below in action.choices.items()]
        else:
            (options if action.option_strings else positionals).append(_argument(action, parser.prog))
    return Command(path, summary or parser.description or "", parser.epilog or "", tuple(options), tuple(positionals), tuple(commands))


def _argument(action: argparse.Action, program: str) -> Argument:
    value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
    return Argument(
        names=tuple(action.option_strings),
        value=value if isinstance(value, str) else " ".join(value),
        choices=tuple(str(choice) for choice in action.choices or ()),
        summary=(action.help or "") % (vars(action) | {"prog": program}),
        required=action.required,
        several=action.nargs in ("+", "*"),
        again=isinstance(action, argparse._AppendAction),  # noqa: SLF001 - likewise
    )

"""Completion for fish, from 3.1 on."""

from __future__ import annotations

from collections.abc import Iterator

from infermeter.commands.command_line import Argument, Command

_HEAD = """\
# fish completion for infermeter
function __infermeter_at --description 'whether the words so far name this command and no action below it'
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -e words[1]
    set -l path
    for word in $words
        if contains -- (string join -- ' ' $path $word) $__infermeter_paths
            set path $path $word
        end
    end
    test "$path" = "$argv"
end
"""


def fish(program: Command) -> str:
    """The script."""
    paths = " ".join(_quoted(command.path) for command in program.all() if command.path)
    lines = [line for command in program.all() for line in _lines(command, program)]
    return "\n".join([f"{_HEAD}set -g __infermeter_paths {paths}", "complete -c infermeter -f", *lines, ""])


def _lines(command: Command, program: Command) -> Iterator[str]:
    start = f"complete -c infermeter -n {_quoted(f'__infermeter_at {command.path}'.rstrip())}"
    for below in command.commands:
        yield f"{start} -a {below.name} -d {_quoted(below.summary)}"
    for argument in command.positionals:
        yield f"{start} {_value(argument)}".rstrip()
    for option in command.options if command.path else (*command.options, *program.commands[0].options[1:]):
        names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
        yield " ".join(
            [start, names, *(["-r" if option.takes_files else "-x", _value(option)] if option.value else []), "-d", _quoted(option.summary)]
        )
        if option.several and option.takes_files:
            yield f"{start} -F"


def _value(argument: Argument) -> str:
    if argument.choices:
        return f"-a {_quoted(' '.join(argument.choices))}"
    if argument.takes_folders:
        return "-a '(__fish_complete_directories)'"
    return "-F" if argument.takes_files else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""Completion for bash, from 3.2 on, without the package bash-completion.

Where nothing is offered bash itself completes files; a value that is no file switches that off.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from infermeter.commands.command_line import Argument, Command

_SCRIPT = """\
# bash completion for infermeter
_infermeter() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} path='' words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
{paths}
    esac
  done
  case "$path:$prev" in
{values}
    *)
      case "$path" in
{commands}
      esac
      ;;
  esac
  local IFS=$' \\t\\n' word
  for word in $words; do
    if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
  done
}}
complete -o default -F _infermeter infermeter
"""

_NO_FILES = "compopt +o default 2>/dev/null"
_FOLDERS = "compopt -o dirnames +o default 2>/dev/null"


def bash(program: Command) -> str:
    """The script; it is to be sourced."""
    below = [command for command in program.all() if command.path]
    return _SCRIPT.format(
        paths="\n".join(f"      {quote(_before(command))}) path={quote(command.path)} ;;" for command in below),
        values="\n".join(line for command in program.all() for line in _values(command)),
        commands="\n".join(f"        {quote(command.path)}) {_words(command, program)} ;;" for command in program.all()),
    )


def _before(command: Command) -> str:
    """What the script has read when it comes to the command: the path so far, a space, the word."""
    above, _, word = command.path.rpartition(" ")
    return f"{above} {word}"


def _values(command: Command) -> Iterator[str]:
    """What may follow each option that takes a value."""
    for option in command.options:
        if option.value:
            names = " | ".join(quote(f"{command.path}:{name}") for name in option.names)
            yield f"    {names}) {_value(option)} ;;"


def _value(argument: Argument) -> str:
    if argument.choices:
        return f"words={quote(' '.join(argument.choices))}; {_NO_FILES}"
    if argument.takes_files:
        return ":"
    return _FOLDERS if argument.takes_folders else _NO_FILES


def _words(command: Command, program: Command) -> str:
    """What may stand anywhere else; without a command it is `serve`, whose options then count too."""
    options = command.options if command.path else (*command.options, *program.commands[0].options)
    alone = [*(below.name for below in command.commands), *(word for argument in command.positionals for word in argument.choices)]
    files = any(argument.takes_files for argument in (*command.positionals, *(option for option in options if option.several)))
    dashed = sorted({name for option in options for name in option.names})
    offered = f"if [[ $cur == -* ]]; then words={quote(' '.join(dashed))}; else words={quote(' '.join(alone))}; fi"
    return offered if files else f"{offered}; {_NO_FILES}"

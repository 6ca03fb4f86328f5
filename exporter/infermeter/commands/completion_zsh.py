"""Completion for zsh, from 5.0 on."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from infermeter.commands.command_line import Argument, Command

_LAST = """\
# as a file of $fpath this is the function's body; sourced, it says so itself
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _infermeter "$@"
else
  compdef _infermeter infermeter
fi
"""


def zsh(program: Command) -> str:
    """The script; it is to be sourced after compinit, or a file of $fpath."""
    return "\n".join(["#compdef infermeter", "", *(_function(command, program) for command in reversed([*program.all()])), _LAST])


def _function(command: Command, program: Command) -> str:
    options = command.options if command.path else (*command.options, *program.commands[0].options[1:])
    specs = [spec for option in options for spec in _option(option)]
    if not command.commands:
        specs += [f"{'*' if argument.several else ''}:{argument.value}:{_action(argument)}" for argument in command.positionals]
        return f"{_name(command)}() {{\n{_arguments(specs)}\n}}\n"
    below = "\n".join(f"        {quote(f'{one.name}:{_plain(one.summary)}')}" for one in command.commands)
    cases = "\n".join(f"        {one.name}) {_name(one)} ;;" for one in command.commands)
    return (
        f"{_name(command)}() {{\n  local state line\n  typeset -A opt_args\n"
        f"{_arguments(['1: :->command', '*:: :->rest', *specs], '-C ')}\n"
        f"  case $state in\n    command)\n      local -a commands=(\n{below}\n      )\n      _describe command commands\n      ;;\n"
        f"    rest)\n      case $words[1] in\n{cases}\n      esac\n      ;;\n  esac\n}}\n"
    )


def _arguments(specs: list[str], flags: str = "") -> str:
    return f"  _arguments {flags}\\\n" + " \\\n".join(f"    {quote(spec)}" for spec in specs)


def _name(command: Command) -> str:
    return "_".join(["_infermeter", *command.path.replace("-", "_").split()])


def _option(option: Argument) -> Iterator[str]:
    """`name[summary]:value:action`; an option's two names exclude each other."""
    others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    for name in option.names:
        repeated = "*" if option.again else others
        value = f":{option.value}:{_action(option)}" if option.value else ""
        several = f":*{value}" if option.several else value
        yield f"{repeated}{name}[{_plain(option.summary)}]{several}"


def _action(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    if argument.takes_folders:
        return "_files -/"
    return "_files" if argument.takes_files else " "


def _plain(text: str) -> str:
    """Without what has a meaning in a specification."""
    return text.replace("\\", "").replace("[", "(").replace("]", ")").replace(":", r"\:")

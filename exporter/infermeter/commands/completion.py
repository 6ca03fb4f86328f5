"""`infermeter completion`: a script that lets a shell complete commands, options, choices and files."""

from __future__ import annotations

import argparse

from infermeter.commands.command_line import command_of
from infermeter.commands.completion_bash import bash
from infermeter.commands.completion_fish import fish
from infermeter.commands.completion_zsh import zsh

_SHELLS = {"bash": bash, "fish": fish, "zsh": zsh}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `completion`."""
    parser.epilog = (
        "where it goes:"
        "\n  infermeter completion bash > ~/.local/share/bash-completion/completions/infermeter"
        "\n  infermeter completion fish > ~/.config/fish/completions/infermeter.fish"
        "\n  infermeter completion zsh > a folder of $fpath, as _infermeter"
    )
    parser.add_argument("shell", choices=sorted(_SHELLS), help="whose script is printed")


def run(args: argparse.Namespace) -> int:
    """Prints the script, made from `args.whole()`: the parser that knows every command's options."""
    print(_SHELLS[args.shell](command_of(args.whole())), end="")
    return 0

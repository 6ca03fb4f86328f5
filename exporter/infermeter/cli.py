"""The command line: argv to a command, errors to one line each on standard error and an exit code. No command's own options here.

Only the module of the command that runs is imported, so that a sidecar starts without the demo.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from infermeter import __version__
from infermeter.errors import ConfigError, ConfigErrors, GpuUnavailable, InputError, ListenError

COMMANDS: Mapping[str, str] = {
    "serve": "the sidecar (default)",
    "demo": "all of it on this machine, without a GPU",
    "check-config": "says whether a configuration file holds",
    "replay": "the same ledger over recorded spans and power, offline",
    "capture": "records this machine's GPUs into a file that replay plays",
    "proxy": "for servers without spans: a reverse proxy that makes them",
    "compare": "whether a change made inferences cheaper, at one SLA and one hourly cost",
    "mappings": "the mappings; what one would see in recorded spans",
    "advise": "what to act on, and which hardware would do",
    "catalogue": "the devices that are known, and how well",
    "reference": "the generated references, as Markdown",
}
"""Each one is a module of infermeter.commands with `add_arguments(parser)` and `run(args) -> exit code`."""

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` (default: the process's) names. Exit code: 0 done, 1 a failure at run time, 2 wrong use."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before it is imported: its C core writes on standard error what is told here too
    try:
        args = _parser(arguments[0]).parse_args(arguments)
        code: int = args.run(args)
        print(end="", flush=True)  # which also takes a standard output that is closed
    except ConfigErrors as errors:
        return _failed(WRONG, *errors.problems)
    except ConfigError as error:
        return _failed(WRONG, error)
    except (InputError, ListenError, GpuUnavailable) as error:
        return _failed(FAILED, error)
    except BrokenPipeError:  # whoever read standard output has gone; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _failed(FAILED, error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser(chosen: str) -> argparse.ArgumentParser:
    """A parser that knows every command by name, and the options of the chosen one; `run` of what it parses is that command's."""
    parser = _OneLineParser("infermeter", description="The meter on AI inference servers: cost per inference at the SLA.")
    parser.add_argument("--version", action="version", version=f"infermeter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == chosen:
            module = importlib.import_module(f"infermeter.commands.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


class _OneLineParser(argparse.ArgumentParser):
    """Tells wrong use in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _failed(code: int, *errors: Exception) -> int:
    """Tells each error in one line, whatever a file that it speaks of holds."""
    for error in errors:
        print("".join(letter if letter.isprintable() else " " for letter in str(error)), file=sys.stderr)
    return code

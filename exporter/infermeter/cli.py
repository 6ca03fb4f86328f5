"""The command line: argv to a command, errors to one line each on standard error and an exit code. No command's own options here.

Only the module of the command that runs is imported, so that a sidecar starts without the demo.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from infermeter import __version__
from infermeter.errors import ConfigError, ConfigErrors, GpuUnavailable, InputError, ListenError

COMMANDS: Mapping[str, str] = {
    "serve": "runs the sidecar: takes spans, reads GPUs, tells Prometheus (the default)",
    "demo": "shows all of it on this machine, without a GPU",
    "check-config": "says whether a configuration file holds, or each problem of it",
    "replay": "the sidecar's accounts of recorded spans and power, offline",
    "capture": "records this machine's GPUs into a file that replay plays",
    "proxy": "for servers without spans: a reverse proxy that makes them",
    "compare": "says whether a change made inferences cheaper, at one SLA and one hourly cost",
    "mappings": "lists the mappings of servers' spans, tries one, records spans for a new one",
    "advise": "says what to act on, and which hardware would do",
    "catalogue": "lists the devices that are known, and how well",
    "health": "says by its exit code whether the sidecar on this machine answers",
    "reference": "prints the references of metrics, servers, configuration and findings, or the manual page",
    "completion": "prints a script that lets your shell complete what you type",
}
"""Each one is a module of infermeter.commands with `add_arguments(parser)` and `run(args) -> exit code`."""

FAILED, WRONG, INTERRUPTED = 1, 2, 130

_CLOSING = """\
infermeter COMMAND --help tells what a command takes. First steps:
  infermeter demo                             see it at work
  infermeter check-config infermeter.yaml     prices, SLA and server, before they are deployed
  infermeter serve --config infermeter.yaml   then: http://127.0.0.1:10470/metrics

environment:
  INFERMETER_CONFIG        the configuration file, where --config isn't given
  INFERMETER_SERVER_NAME   the server's name, where server.name isn't set
  INFERMETER_LOG_LEVEL     debug, info, warning or error

exit codes:
  0 done    1 a failure at run time    2 wrong use or configuration"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` (default: the process's) names. Exit code: 0 done, 1 a failure at run time, 2 wrong use."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    if argv is None and arguments[0] == "serve":
        _end_at_once_when_told()
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


def _end_at_once_when_told() -> None:
    """Until `serve` listens to signals itself, which takes as long as its imports: nothing is accepted yet, so nothing is left to do.

    As the first process of a container it would be deaf until then. Who wants the configuration read anew finds it being read.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _parser(*chosen: str) -> argparse.ArgumentParser:
    """A parser that knows every command by name, and the options of the chosen ones; `run` of what it parses is that command's."""
    parser = _OneLineParser("infermeter", description="The meter on AI inference servers: cost per inference at the SLA.", epilog=_CLOSING)
    parser.add_argument("--version", action="version", version=f"infermeter {__version__}", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name in chosen:
            module = importlib.import_module(f"infermeter.commands.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, whole=_whole)
    return parser


def _whole() -> argparse.ArgumentParser:
    """The parser with every command's options, for those that tell of them all."""
    return _parser(*COMMANDS)


class _OneLineParser(argparse.ArgumentParser):
    """Tells wrong use in one line, and leaves the examples beneath the options as they are written."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as argparse's own, which makes commands' parsers so too
        super().__init__(*args, **options)
        self.formatter_class = argparse.RawDescriptionHelpFormatter

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _failed(code: int, *errors: Exception) -> int:
    """Tells each error in one line, whatever a file that it speaks of holds."""
    for error in errors:
        print("".join(letter if letter.isprintable() else " " for letter in str(error)), file=sys.stderr)
    return code

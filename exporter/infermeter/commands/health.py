"""`infermeter health`: whether the sidecar answers, as an exit code; for a container's health check, where there is no shell and no curl.

It runs every few seconds, so it imports no more than it needs.
"""

from __future__ import annotations

import argparse
from typing import Final
from urllib.parse import urlsplit

from infermeter.commands.caller import add_caller_arguments, told_caller
from infermeter.errors import ConfigError, InputError, Unavailable
from infermeter.network.fetching import fetch, url_problem

URL: Final = "http://127.0.0.1:10470"
TIMEOUT_SECONDS: Final = 4.0
BYTES_MOST: Final = 1 << 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `health`."""
    parser.epilog = "examples:\n  infermeter health\n  infermeter health --ready --url http://127.0.0.1:9470"
    parser.epilog += "\n  infermeter health --url https://127.0.0.1:10470 --pinned-file /etc/infermeter/server.crt"
    parser.add_argument("--url", default=URL, metavar="URL", help="where listen.web is (default %(default)s); no path")
    parser.add_argument("--ready", action="store_true", help="whether its listeners are bound, not only whether it lives")
    add_caller_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, and nothing is printed. Raises: ConfigError, InputError (it doesn't answer, or not with 200)."""
    problem = url_problem(args.url) or (None if urlsplit(args.url).path in ("", "/") else "a path is none of it")
    if problem is not None:
        raise ConfigError("--url", problem)
    caller = told_caller(args)
    url = f"{args.url.rstrip('/')}/-/{'ready' if args.ready else 'healthy'}"
    try:
        fetch(url, timeout_seconds=TIMEOUT_SECONDS, caller=caller, most_bytes=BYTES_MOST)
    except Unavailable as error:
        raise InputError("not ready" if args.ready else "not healthy", str(error)) from error
    return 0

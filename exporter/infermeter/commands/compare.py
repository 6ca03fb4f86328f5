"""`infermeter compare`: what a change did to cost, energy and the SLA, and whether that is shown. The judgement is comparison/'s."""

from __future__ import annotations

import argparse
import time

import orjson

from infermeter.commands.caller import add_caller_arguments, is_told, told_caller
from infermeter.commands.recorded_range import recorded_range, written_range
from infermeter.commands.report_file import saved_report
from infermeter.comparison.comparison import comparison
from infermeter.comparison.comparison_json import comparison_json
from infermeter.comparison.comparison_text import comparison_text
from infermeter.comparison.saved import stretch_of
from infermeter.comparison.stretch import Stretch
from infermeter.errors import ConfigError
from infermeter.network.prometheus_api import Prometheus, matcher_problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter compare before.json after.json --fail-on regression"
        "\n  infermeter compare --prometheus http://127.0.0.1:9090 --before 2d/1d --after 1d/now --server chat"
    )
    parser.add_argument("reports", nargs="*", metavar="REPORT", help="BEFORE and AFTER: saved reports (also .gz; `-` is standard input)")
    parser.add_argument("--prometheus", metavar="URL", help="instead of reports: the URL below which a Prometheus has /api/v1")
    parser.add_argument("--before", metavar="FROM/TO", help="with --prometheus: RFC 3339, unix seconds, `now`, or how long ago (2d/1d)")
    parser.add_argument("--after", metavar="FROM/TO", help="with --prometheus: likewise")
    parser.add_argument("--server", metavar="NAME", help="with --prometheus: the `server` label, where there are several")
    parser.add_argument(
        "--matchers", default="", metavar="MATCHERS", help="with --prometheus: more label matchers, such as 'namespace=\"prod\"'"
    )
    parser.add_argument("--token-file", metavar="FILE", help="with --prometheus: a file that holds a bearer token")
    add_caller_arguments(parser)
    parser.add_argument(
        "--fail-on", choices=("regression",), help="exit 1 if something is shown to be worse; without it: 0 whatever is found"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what the comparison is printed as (default text)")


def run(args: argparse.Namespace) -> int:
    """Prints the comparison; 1 only where it was asked for, and a regression is shown."""
    before, after = _saved(args) if args.prometheus is None else _recorded(args)
    told = comparison(before, after)
    print(orjson.dumps(comparison_json(told), option=orjson.OPT_INDENT_2).decode() if args.format == "json" else comparison_text(told))
    return 1 if args.fail_on == "regression" and told.regressions else 0


def _saved(args: argparse.Namespace) -> tuple[Stretch, Stretch]:
    """Raises: ConfigError."""
    if any((args.before, args.after, args.server, args.matchers, is_told(args))):
        raise ConfigError(
            "infermeter compare",
            "--before, --after, --server, --matchers, --token-file, TLS and passwords go with --prometheus",
        )
    paths = args.reports
    if len(paths) != 2:
        raise ConfigError("infermeter compare", "needs two saved reports, BEFORE and AFTER, or --prometheus with --before and --after")
    if paths == ["-", "-"]:
        raise ConfigError("-", "standard input can be only one of BEFORE and AFTER")
    before, after = (stretch_of(saved_report(path), "standard input" if path == "-" else path) for path in paths)
    return before, after


def _recorded(args: argparse.Namespace) -> tuple[Stretch, Stretch]:
    """Raises: ConfigError."""
    if args.reports:
        raise ConfigError("infermeter compare", "takes saved reports or --prometheus, not both")
    if args.before is None or args.after is None:
        raise ConfigError("--prometheus", "needs --before FROM/TO and --after FROM/TO")
    problem = matcher_problem(args.matchers)
    if problem is not None:
        raise ConfigError("--matchers", problem)
    now = time.time()
    before, after = (
        written_range(text, option, now_unix_seconds=now) for text, option in ((args.before, "--before"), (args.after, "--after"))
    )
    if before.start_unix_seconds < after.end_unix_seconds and after.start_unix_seconds < before.end_unix_seconds:
        raise ConfigError("--before and --after", "overlap")
    prometheus = Prometheus(args.prometheus, caller=told_caller(args))
    told = [recorded_range(prometheus, own, server=args.server, matchers=args.matchers) for own in (before, after)]
    return told[0], told[1]

"""`infermeter advise`: what to act on and which hardware would do, of a running sidecar, a report or a history. The rules are advice/'s."""

from __future__ import annotations

import argparse
import math
import os
import time as clock
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Final
from urllib.parse import urlsplit

import orjson

from infermeter.advice import SizingSettings, right_size, sizing_settings
from infermeter.advice.advice_json import Source, Told, advice_json
from infermeter.advice.evidence_json import ToldAdvice, told_advice, told_prices
from infermeter.advice.gaps import gaps
from infermeter.advice.replicas import with_replicas
from infermeter.catalogue import Catalogue, with_devices
from infermeter.commands.caller import add_caller_arguments, is_told, told_caller
from infermeter.commands.configuration import configuration_text, known_devices, written_configuration
from infermeter.commands.recorded_advice import AskedRange, recorded_advice
from infermeter.commands.report_file import BYTES_MOST, saved_report
from infermeter.commands.supposed import asked_device, known_precision, question, supposed, with_precision
from infermeter.config import Config, DevicePrice
from infermeter.errors import ConfigError, InputError, Unavailable
from infermeter.metrics.advice_text import advice_text
from infermeter.model import RightSizing, SizingEvidence
from infermeter.network.fetching import fetch, url_problem
from infermeter.network.prometheus_api import Prometheus, matcher_problem
from infermeter.parsing.durations import duration_seconds
from infermeter.prices.listing import example_price_lists, price_list

SIDECAR_URL: Final = "http://127.0.0.1:10470/api/v1/report"
TIMEOUT_SECONDS: Final = 30.0
NAME_MOST: Final = 64
EXAMPLES: Final = "examples"
RANGE: Final = "7d"
DAY_SECONDS: Final = 86_400.0

RANGE_SECONDS_LEAST, RANGE_SECONDS_MOST = 60.0, 90 * 86_400.0
HEADROOM_LEAST, HEADROOM_MOST = 1.0, 10.0

_NS: Final = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `advise`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter advise                                       of the sidecar on this machine"
        "\n  infermeter advise --what-if gpu=l4,price=0.76"
        "\n  infermeter advise --prometheus http://127.0.0.1:9090 --range 7d --server chat"
    )
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument("--url", metavar="URL", help=f"a sidecar's report (default {SIDECAR_URL})")
    sources.add_argument("--report", metavar="FILE", help="a saved report (also .gz; `-` is standard input)")
    sources.add_argument("--prometheus", metavar="URL", help="the URL below which a Prometheus that scrapes the sidecars has /api/v1")
    parser.add_argument("--range", metavar="DURATION", help=f"with --prometheus: how far back (default {RANGE})")
    parser.add_argument("--server", metavar="NAME", help="with --prometheus: the `server` label, where there are several")
    parser.add_argument("--matchers", metavar="MATCHERS", help="with --prometheus: more label matchers, such as 'namespace=\"prod\"'")
    parser.add_argument("--token-file", metavar="FILE", help="with --url or --prometheus: a file that holds a bearer token")
    add_caller_arguments(parser)
    parser.add_argument(
        "--what-if", action="append", default=[], metavar="SUPPOSED",
        help="gpu=l4,price=0.76: that GPU at that price an hour, in the server's currency; also precision=bf16, memory=20GB (what it "
        "needs at least, if it reserves all there is)",
    )  # fmt: skip
    parser.add_argument("--prices", metavar="FILE", help="prices of other devices; `examples` (or examples:AWS): those that are shipped")
    parser.add_argument("--devices", metavar="FILE", help="facts of devices that the catalogue lacks, or has otherwise")
    parser.add_argument("--headroom", metavar="FACTOR", help="capacity that a device must have over the peak load (default 1.3)")
    parser.add_argument(
        "--precision", metavar="PRECISION", help="what the server computes in, such as bf16, where server.precision doesn't tell"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file whose advice and precision count; default $INFERMETER_CONFIG, else none"
    )
    parser.add_argument("--all", action="store_true", help="every device, also those that would not do")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what the advice is printed as (default text)")


def run(args: argparse.Namespace) -> int:
    """Prints the advice; nothing on standard output unless it could be judged."""
    document = advice_json(advised(args, now_ns=clock.time_ns()))
    if args.format == "json":
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        print(advice_text(document, all_candidates=args.all))
    return 0


@dataclass(frozen=True, slots=True)
class _Given:
    """What the command line and its configuration say of right-sizing. `anew`: they say something, so a report's verdicts don't stand."""

    config: Config
    settings: SizingSettings
    catalogue: Catalogue
    precision: str | None
    anew: bool


def advised(args: argparse.Namespace, *, now_ns: int) -> Told:
    """What there is to tell at `now_ns` (unix). Raises: ConfigError, ConfigErrors, InputError (the sidecar doesn't answer)."""
    _agree(args)
    questions = [question(text) for text in args.what_if]
    given = _given(args)
    for one in questions:
        asked_device(one, given.catalogue)
    history = None
    if args.prometheus is not None:
        history = recorded_advice(_prometheus(args), _asked_range(args), config=given.config, catalogue=given.catalogue, now_ns=now_ns)
    told, source = _reported(args) if history is None else (history.told, history.source)
    anew = given.anew or history is not None
    sizing = told.advice.sizing
    prices, whose = ((), None) if sizing is None else _prices(args, given, told, sizing, now_ns=now_ns)
    evidence = None if sizing is None else _evidence(sizing.evidence, told, given, now_ns=now_ns)
    if sizing is not None and evidence is not None and anew:
        sizing = right_size(evidence, given.catalogue, prices, given.settings, now_ns=now_ns)
        if history is not None and history.replicas > 1:
            sizing = with_replicas(sizing, replicas=history.replicas, peak_sum_ratio=history.peak_sum_ratio, settings=given.settings)
    answers = [supposed(one, evidence, given.catalogue, prices, given.settings, now_ns=now_ns) for one in questions]
    return Told(
        server=told.server,
        source=source,
        price_as_of=None if told.price_as_of is None else told.price_as_of.isoformat(),
        price_source=told.price_source,
        slas={model: sla for model, sla in told.slas.items() if evidence is None or model in {one.model for one in evidence.models}},
        advice=replace(told.advice, sizing=sizing),
        supposed=answers,
        missing=gaps(
            None if sizing is None else sizing.evidence,
            [*(() if sizing is None else sizing.candidates), *(one.candidate for one in answers)],
            given.catalogue,
            gpus_seen=told.gpus_seen,
        ),
        headroom=given.settings.headroom if anew else None,
        prices=whose,
        notes=_age(told, now_ns=now_ns) if history is None else history.notes,
    )


def _age(told: ToldAdvice, *, now_ns: int) -> tuple[str, ...]:
    """A note, where what a report says is of another time."""
    days = (now_ns / _NS - told.end_unix_seconds) / DAY_SECONDS
    return (f"what the report says is {days:.0f} days old",) if days > 1 else ()


def _agree(args: argparse.Namespace) -> None:
    """Tells options that don't go together. Raises: ConfigError."""
    if args.prometheus is None:
        for option in ("range", "server", "matchers"):
            if getattr(args, option) is not None:
                raise ConfigError(f"--{option}", "goes with --prometheus")
    if args.report is not None and args.token_file is not None:
        raise ConfigError("--token-file", "goes with --url or --prometheus")
    if args.report is not None and is_told(args):
        raise ConfigError("--report", "is a file: nobody is asked over TLS, or for a password")


def _given(args: argparse.Namespace) -> _Given:
    """Raises: ConfigError, ConfigErrors."""
    named = args.config or os.environ.get("INFERMETER_CONFIG")
    config = written_configuration(named) if named else Config()
    catalogue = known_devices(config)
    if args.devices is not None:
        catalogue = with_devices(catalogue, configuration_text(args.devices), args.devices)
    settings = sizing_settings(config)
    if args.headroom is not None:
        settings = replace(settings, headroom=_headroom(args.headroom))
    precision = None if args.precision is None else known_precision(args.precision, "--precision")
    anew = any(value is not None for value in (named, args.devices, args.headroom, args.precision, args.prices))
    return _Given(config, settings, catalogue, precision, anew)


def _headroom(text: str) -> float:
    try:
        headroom = float(text)
    except ValueError:
        headroom = math.nan
    if not HEADROOM_LEAST <= headroom <= HEADROOM_MOST:
        raise ConfigError("--headroom", f"must be a number from {HEADROOM_LEAST:g} to {HEADROOM_MOST:g}")
    return headroom


def _evidence(evidence: SizingEvidence, told: ToldAdvice, given: _Given, *, now_ns: int) -> SizingEvidence:
    """The evidence as it is judged now: with today's age of its price, and the precision that is told here. Raises: ConfigError."""
    if told.price_as_of is not None:
        as_of = datetime.combine(told.price_as_of, time(), UTC)
        evidence = replace(evidence, price_age_seconds=max(0.0, now_ns / _NS - as_of.timestamp()))
    if given.precision is None and evidence.precision is None:
        return replace(evidence, precision=given.config.server.precision)
    return with_precision(evidence, given.precision, "--precision")


# --- prices of other devices -------------------------------------------------------------------------------------------------------
def _prices(
    args: argparse.Namespace, given: _Given, told: ToldAdvice, sizing: RightSizing, *, now_ns: int
) -> tuple[tuple[DevicePrice, ...], str | None]:
    """Those that count, and whose they are; None: nobody's. Raises: ConfigError, ConfigErrors."""
    path = given.config.advice.prices_file if args.prices is None else args.prices
    if path is not None and path.partition(":")[0] == EXAMPLES:
        return _examples(path, now_ns=now_ns)
    if path is not None:
        listed = price_list(configuration_text(path), path, currency=sizing.evidence.currency, catalogue=given.catalogue)
        _known_names(listed, path, given.catalogue)
        return tuple(listed.values()), path
    known = told_prices(sizing, as_of=datetime.fromtimestamp(told.end_unix_seconds, UTC).date())
    return known, "those that the sidecar was configured with" if known else None


def _known_names(listed: Iterable[str], where: str, catalogue: Catalogue) -> None:
    """Raises: ConfigError, for a name that is nearly one of the catalogue's. Others are devices that nothing is known of."""
    for name in listed:
        if catalogue.meant(name) is None and (near := catalogue.nearest(name)):
            raise ConfigError(
                where, f"`{name[:NAME_MOST]}` isn't in the catalogue; did you mean {' or '.join(near)}? --devices F adds to it"
            )


def _examples(asked: str, *, now_ns: int) -> tuple[tuple[DevicePrice, ...], str]:
    """Those that are shipped, taken as if they were of today, and a text that says so. Raises: ConfigError."""
    lists = example_price_lists()
    provider = asked.partition(":")[2]
    if provider and provider not in lists:
        raise ConfigError("--prices", f"must be {EXAMPLES}, or {EXAMPLES}: and one of {', '.join(lists)}")
    chosen = {name: prices for name, prices in lists.items() if provider in ("", name)}
    dates = sorted(price.as_of for prices in chosen.values() for price in prices.values())
    whose = f"EXAMPLES, list prices of {', '.join(chosen)} from {dates[0]} to {dates[-1]}, taken as if they were of today"
    today = datetime.fromtimestamp(now_ns / _NS, UTC).date()
    return tuple(replace(price, as_of=today) for prices in chosen.values() for price in prices.values()), whose


# --- sources -----------------------------------------------------------------------------------------------------------------------
def _reported(args: argparse.Namespace) -> tuple[ToldAdvice, Source]:
    """Raises: ConfigError, InputError."""
    if args.report is not None:
        where = "standard input" if args.report == "-" else args.report
        told = told_advice(saved_report(args.report), where)
        return told, Source("report", where, told.end_unix_seconds)
    url = SIDECAR_URL if args.url is None else args.url
    problem = url_problem(url)
    if problem is not None:
        raise ConfigError("--url", problem)
    if urlsplit(url).path in ("", "/"):
        url = f"{url.rstrip('/')}{urlsplit(SIDECAR_URL).path}"
    try:
        body = fetch(url, timeout_seconds=TIMEOUT_SECONDS, caller=told_caller(args), most_bytes=BYTES_MOST)
    except Unavailable as error:
        raise InputError("no sidecar answers", f"{error}; --url, --report or --prometheus name another source") from error
    told = told_advice(body, url)
    return told, Source("sidecar", url, told.end_unix_seconds)


def _prometheus(args: argparse.Namespace) -> Prometheus:
    """Raises: ConfigError."""
    return Prometheus(args.prometheus, caller=told_caller(args))


def _asked_range(args: argparse.Namespace) -> AskedRange:
    """Raises: ConfigError."""
    try:
        seconds = duration_seconds(RANGE if args.range is None else args.range)
    except ValueError as error:
        raise ConfigError("--range", str(error)) from error
    if not RANGE_SECONDS_LEAST <= seconds <= RANGE_SECONDS_MOST:
        raise ConfigError("--range", "must be from 1m to 90d")
    matchers = args.matchers or ""
    problem = matcher_problem(matchers)
    if problem is not None:
        raise ConfigError("--matchers", problem)
    return AskedRange(args.prometheus, seconds, args.server, matchers)

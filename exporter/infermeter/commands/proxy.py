"""`infermeter proxy`: a reverse proxy that makes the spans which a server hasn't got."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from dataclasses import replace

from infermeter.commands.configuration import with_environment, written_configuration
from infermeter.config import Config, Proxy
from infermeter.errors import ConfigError, ConfigErrors, ListenError
from infermeter.logs import log_to_stderr
from infermeter.parsing.rules import unfit_proxy
from infermeter.parsing.strict_yaml import is_text
from infermeter.proxy import ProxyServer, Spans, otlp_exporter

log = logging.getLogger(__name__)

STOPPING = signal.SIGTERM, signal.SIGINT

SWITCH_SECONDS = 0.0001
"""How long the thread that sends spans may keep a request waiting, each time that it wakes up (Python's default is 5 ms).

An export of 800 spans takes some 2 ms to pack, and a request wakes up some ten times.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `proxy`; each stands in for the key of the same name in the configuration's section `proxy`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter proxy --upstream http://127.0.0.1:8000 --model chat"
        "\n  infermeter proxy --upstream http://127.0.0.1:8000 --in-flight 1 --path /predict"
    )
    parser.add_argument("--config", metavar="FILE", help="configuration file; default $INFERMETER_CONFIG, else the defaults")
    parser.add_argument("--upstream", metavar="URL", help="the server, such as http://127.0.0.1:8000")
    parser.add_argument("--listen", metavar="ADDRESS", help="where to listen (default 127.0.0.1:8080)")
    parser.add_argument("--endpoint", metavar="URL", help="where spans go, OTLP over HTTP (default http://127.0.0.1:4318)")
    parser.add_argument("--model", metavar="NAME", help="the model's name in spans; bodies aren't looked into")
    parser.add_argument("--in-flight", metavar="COUNT", type=int, help="inferences at a time that the server gets; others wait, in order")
    parser.add_argument(
        "--path",
        metavar="PREFIX",
        action="append",
        help="how the paths of inferences begin (default: all but GET, HEAD, OPTIONS, TRACE); may be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Hands requests on until SIGTERM or SIGINT, and lets those under way end."""
    named = args.config or os.environ.get("INFERMETER_CONFIG")
    config = with_environment(written_configuration(named) if named else Config(), os.environ)
    log_to_stderr(config.log.level, config.log.format)
    proxy = with_options(config.proxy, args)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.setswitchinterval(SWITCH_SECONDS)
    asyncio.run(_serve(replace(config, proxy=proxy)))
    return 0


def with_options(proxy: Proxy, args: argparse.Namespace) -> Proxy:
    """The section with what the command line says. Raises: ConfigErrors."""
    said = {
        "upstream": args.upstream,
        "listen": args.listen,
        "endpoint": args.endpoint,
        "model": args.model,
        "in_flight": args.in_flight,
        "paths": None if args.path is None else tuple(args.path),
    }
    proxy = replace(proxy, **{key: value for key, value in said.items() if value is not None})
    problems = [ConfigError(path, problem) for path, problem in unfit_proxy(proxy)]
    if not is_text(proxy.model or ""):
        problems.append(ConfigError("proxy.model", "isn't UTF-8"))
    if proxy.upstream is None:
        problems.append(ConfigError("proxy.upstream", "is required: --upstream URL says where the server is"))
    if proxy.in_flight is not None and proxy.in_flight < 1:
        problems.append(ConfigError("proxy.in_flight", "must be at least 1"))
    if problems:
        raise ConfigErrors(tuple(problems))
    return proxy


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stop.set)
    proxy = config.proxy
    try:
        exporter = otlp_exporter(proxy.endpoint)
    except OSError as error:
        raise ConfigError("OTEL_EXPORTER_OTLP_*CERTIFICATE", f"can't be read: {error.strerror or error}") from error
    spans = Spans(
        exporter,
        service=config.server.name or "infermeter-proxy",
        model=proxy.model,
        limited=proxy.in_flight is not None,
    )
    server = ProxyServer(proxy, config.limits, spans)
    try:
        address = await server.start()
    except OSError as error:
        await server.stop()
        raise ListenError("proxy.listen", f"{proxy.listen}: {error.strerror or error}") from error
    gc.collect()
    gc.freeze()  # what was made so far lives for ever: the collector needn't look at it again
    log.info("listening: proxy on %s, for %s", address, proxy.upstream)
    await stop.wait()
    log.info("stopping: requests under way may end")
    await server.stop()
    for number in STOPPING:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)  # it ends already: whoever asks again doesn't get another exit code
    log.info(
        "stopped: %d inferences, %d failed; %d of %d spans delivered",
        server.relay.inferences,
        server.relay.failed,
        spans.delivered,
        spans.made,
    )

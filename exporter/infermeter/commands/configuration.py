"""From the command line and the environment to a configuration; its files, and logging as it says. Parsing is structure.py's."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

from infermeter.catalogue import Catalogue, shipped_catalogue, with_devices
from infermeter.config import Config, Cost, Log, Server
from infermeter.endpoints import absent_variables
from infermeter.errors import ConfigError, ConfigErrors, MappingError
from infermeter.logs import log_to_stderr
from infermeter.mapping import load_mappings
from infermeter.otlp import access as otlp_access
from infermeter.parsing.structure import Problem, field_kinds, load_config
from infermeter.prices.listing import Listed, PriceList, price_list
from infermeter.prices.opencost import check_prometheus_url
from infermeter.reloads import Offer
from infermeter.scrape import check_metrics_url
from infermeter.web import access as web_access

log = logging.getLogger(__name__)

BYTES_LIMIT = 1 << 20
"""Of a file that an operator wrote: a configuration, a mapping, a list of prices."""

MAPPING_SUFFIXES = (".yaml", ".yml")


def configured(path: str | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration that `path`, else $INFERMETER_CONFIG names, else the defaults; logging is set up as it says.

    $INFERMETER_SERVER_NAME stands in for an unset `server.name`; $INFERMETER_LOG_LEVEL overrides `log.level`.
    Raises: ConfigErrors, ConfigError.
    """
    named = path or environ.get("INFERMETER_CONFIG")
    config = with_environment(written_configuration(named, environ) if named else Config(), environ)
    log_to_stderr(config.log.level, config.log.format)
    if not named:
        log.info("no configuration: no prices and no SLA, so neither are in /metrics; --config F or INFERMETER_CONFIG names one")
    return config


def offered(path: str | None, environ: Mapping[str, str] = os.environ) -> Offer:
    """What `configured` would give now, with what its prices file holds; logging stays as it is. Raises: ConfigErrors, ConfigError."""
    named = path or environ.get("INFERMETER_CONFIG")
    if named == "-":
        raise ConfigError("configuration file", "was standard input, which can't be read again")
    config = with_environment(written_configuration(named, environ) if named else Config(), environ)
    return Offer(config, listed(config))


def written_configuration(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of a file (`-`: standard input), and what it names is there. Raises: ConfigErrors, ConfigError."""
    return load_config(configuration_text(path), path, lambda config: (*_absent(config), *_absent_variables(config, environ)))


def _absent_variables(config: Config, environ: Mapping[str, str]) -> Iterator[Problem]:
    for name, problem in absent_variables(config.forward.headers, environ).items():
        yield f"forward.headers.{name}", problem


def _absent(config: Config) -> Iterator[Problem]:
    """What a configuration names and isn't there; problems within files of mappings are told when these are loaded."""
    if config.gpu.file is not None and not Path(config.gpu.file).is_file():
        yield "gpu.file", f"no such file: {config.gpu.file}"
    token_file = config.server.metrics_token_file
    if token_file is not None and not Path(token_file).is_file():
        yield "server.metrics_token_file", f"no such file: {token_file}"
    for path, file in (("advice.devices_file", config.advice.devices_file), ("advice.prices_file", config.advice.prices_file)):
        if file is not None and not Path(file).is_file():
            yield path, f"no such file: {file}"
    tls = config.otlp.tls
    named = {
        "web.config_file": config.web.config_file,
        "otlp.tls.cert_file": tls.cert_file,
        "otlp.tls.key_file": tls.key_file,
        "otlp.tls.client_ca_file": tls.client_ca_file,
        "otlp.token_file": config.otlp.token_file,
    }
    for path, file in named.items():
        if file is not None and not Path(file).is_file():
            yield path, f"no such file: {file}"
    if config.cost is not None:
        yield from _absent_prices(config.cost)
    try:
        mappings = load_mappings(config.server.kind, own_mappings(config))
        if config.server.metrics_url is not None:
            check_metrics_url(config.server.metrics_url, mappings)
    except ConfigErrors as errors:
        yield from ((error.where, error.problem) for error in errors.problems if not isinstance(error, MappingError))
    except ConfigError as error:
        yield error.where, error.problem


def _absent_prices(cost: Cost) -> Iterator[Problem]:
    """Problems within a prices file are told when it is loaded."""
    for path, file in (("cost.prices_file", cost.prices_file), ("cost.opencost.token_file", cost.opencost.token_file)):
        if file is not None and not Path(file).is_file():
            yield path, f"no such file: {file}"
    if cost.opencost.prometheus_url is not None:
        try:
            check_prometheus_url(cost.opencost.prometheus_url)
        except ConfigError as error:
            yield error.where, error.problem


def access_notes(config: Config) -> tuple[str, ...]:
    """What the files that say who may ask and send hold in vain, or at a risk. Raises: ConfigErrors, ConfigError."""
    otlp_access.read_access(config.otlp)
    return () if config.web.config_file is None else web_access.read_access(config.web.config_file).content.notes


def with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """`config` with what the environment says. Raises: ConfigErrors that name the variables."""
    problems = []
    if (name := environ.get("INFERMETER_SERVER_NAME")) and config.server.name is None:
        pattern = next(field.metadata["pattern"] for field in fields(Server) if field.name == "name")
        if not re.fullmatch(pattern, name):
            problems.append(ConfigError("INFERMETER_SERVER_NAME", f"doesn't match {pattern}"))
        config = replace(config, server=replace(config.server, name=name))
    if level := environ.get("INFERMETER_LOG_LEVEL"):
        levels = {name: name for name in get_args(field_kinds(Log)["level"])}
        if level.lower() not in levels:
            problems.append(ConfigError("INFERMETER_LOG_LEVEL", f"must be one of {', '.join(levels)}"))
        config = replace(config, log=replace(config.log, level=levels.get(level.lower(), "info")))
    if problems:
        raise ConfigErrors(tuple(problems))
    return config


def own_mappings(config: Config) -> dict[str, str]:
    """The texts of the files in `mappings_dir`, by path; none without one. Raises: ConfigError; ConfigErrors of MappingError."""
    if config.mappings_dir is None:
        return {}
    folder = Path(config.mappings_dir)
    if not folder.is_dir():
        raise ConfigError("mappings_dir", f"no such folder: {folder}")
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in MAPPING_SUFFIXES)
    except OSError as error:
        raise ConfigError("mappings_dir", f"can't be read: {folder}: {error.strerror}") from error
    texts: dict[str, str] = {}
    problems: list[ConfigError] = []
    for path in paths:
        if path.exists() and not path.is_file():
            problems.append(MappingError(str(path), "is no file"))
            continue
        try:
            texts[str(path)] = configuration_text(str(path))
        except ConfigError as error:
            problems.append(MappingError(error.where, error.problem))
    if problems:
        raise ConfigErrors(tuple(problems))
    if not texts:
        raise ConfigError("mappings_dir", f"no mapping (*.yaml or *.yml) in {folder}")
    return texts


def listed(config: Config) -> Listed:
    """What the files that a configuration names list; its candidates are among the devices. Raises: ConfigErrors, ConfigError."""
    own = None if config.advice.devices_file is None else known_devices(config)
    if problems := tuple(_unknown_candidates(config, own)):
        raise ConfigErrors(problems)
    return Listed(listed_prices(config, own), candidate_prices(config, own), own)


def listed_prices(config: Config, catalogue: Catalogue | None) -> PriceList | None:
    """What `cost.prices_file` holds; None without one. Raises: ConfigErrors, ConfigError."""
    if config.cost is None or config.cost.prices_file is None:
        return None
    path = config.cost.prices_file
    return price_list(configuration_text(path), path, currency=config.cost.currency, catalogue=catalogue)


def known_devices(config: Config) -> Catalogue:
    """The devices that are shipped, and what `advice.devices_file` says of its own and of these. Raises: ConfigErrors, ConfigError."""
    path = config.advice.devices_file
    return shipped_catalogue() if path is None else with_devices(shipped_catalogue(), configuration_text(path), path)


def _unknown_candidates(config: Config, own: Catalogue | None) -> Iterator[ConfigError]:
    """Those of `advice.candidates` that no device is called."""
    names = config.advice.candidates
    if names == "all":
        return
    known = own or shipped_catalogue()
    for index, name in enumerate(names):
        if known.named(name) is None:
            near = " or ".join(known.nearest(name))
            meant = f"did you mean {near}?" if near else "`infermeter catalogue` lists what is"
            yield ConfigError(f"advice.candidates[{index}]", f"no device is called `{name[:64]}`; {meant}")


def candidate_prices(config: Config, catalogue: Catalogue | None) -> PriceList | None:
    """What `advice.prices_file` holds, in the currency of the costs; None without one. Raises: ConfigErrors, ConfigError."""
    path = config.advice.prices_file
    if path is None:
        return None
    currency = None if config.cost is None else config.cost.currency
    return price_list(configuration_text(path), path, currency=currency, catalogue=catalogue)


def configuration_text(path: str) -> str:
    """The text of a file that an operator wrote; `-` is standard input. Raises: ConfigError that names the file."""
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            content = file.read(BYTES_LIMIT + 1)
    except OSError as error:
        raise ConfigError(path, f"can't be read: {error.strerror}") from error
    if len(content) > BYTES_LIMIT:
        raise ConfigError(path, f"longer than {BYTES_LIMIT} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(path, f"is no UTF-8 text: byte {error.start}") from error

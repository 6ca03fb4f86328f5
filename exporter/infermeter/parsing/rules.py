"""What a configuration can't say at once, and what it says in vain. Pure; single values are judged in structure.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import TypeAlias

from infermeter.config import Config, Cost, Forward, Gpu, GpuChoice, Limits, Listen, Otlp, OtlpTls, Proxy, Server, Sla, Slas
from infermeter.endpoints import endpoint_of, header_problem, is_loopback, reaches
from infermeter.model import Window
from infermeter.parsing.currencies import CURRENCIES

Problem: TypeAlias = tuple[str, str]
"""Dotted path, and one sentence."""

WINDOWS_LIMIT = 4
WINDOW_SECONDS_LEAST, WINDOW_SECONDS_MOST = 60.0, 86_400.0

_ADDRESS = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_URL = re.compile(r"https?://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[^\s?#@\\]*)?")
_TEXT = r'"(?:[^"\\\n]|\\.)*"'
_MATCHER = rf"\s*[A-Za-z_][A-Za-z0-9_]*\s*(?:=|!=|=~|!~)\s*{_TEXT}\s*"
_MATCHERS = re.compile(rf"{_MATCHER}(?:,{_MATCHER})*,?")
"""Between the braces of a selector. Source: Prometheus, querying basics, instant vector selectors."""

_PAGE_SOURCES = ("dcgm", "triton")


def contradictions(config: Config) -> Iterator[Problem]:
    """Everything that can't hold together."""
    if config.cost is not None:
        yield from _prices(config.cost)
        yield from _counted_twice(config.cost, emissions=config.emissions.grams_per_kwh is not None)
        yield from _told_by_others(config.cost)
        yield from _rent(config.cost, config.server)
        yield from _purchase(config.cost)
    if config.sla is not None:
        yield from _sla(config.sla)
    if not isinstance(config.server.gpus, str):
        yield from _gpus(config.server.gpus)
        yield from _shares_by_process(config.server.gpus, config.server, config.gpu)
    yield from _gpu(config.gpu)
    if config.host_power.source == "hwmon" and config.gpu.source != "auto" and (problem := beside_hwmon(config.gpu.source)):
        yield "host_power.source", problem
    yield from _listen(config.listen)
    yield from _otlp(config.otlp)
    yield from _forward(config.forward, config.listen)
    yield from unfit_proxy(config.proxy)
    yield from _windows(config.windows)
    yield from _limits(config.limits)


def notices(config: Config) -> tuple[str, ...]:
    """One line for each thing that is set, and that this version does nothing with, or doesn't know."""
    unread: list[str] = []
    measured = config.gpu.source == "replay" or config.host_power.source != "none"
    if config.cost is not None and config.cost.power.host_watts == "measured" and not measured:
        unread.append("cost.power.host_watts: nothing measures them; host_power.source says what does")
    if config.cost is not None and config.cost.currency is not None and config.cost.currency not in CURRENCIES:
        unread.append(f"cost.currency: {config.cost.currency} is taken as written, but is no code of ISO 4217 that this version knows")
    if config.forward.endpoint is None and config.forward != Forward():
        unread.append("forward: passes nothing on without forward.endpoint")
    unread += _exposed(config)
    return tuple(unread)


def beside_hwmon(gpu_source: str) -> str | None:
    """Why the host's power can't be read from hwmon beside this source of GPU readings (`none`: there is none); None: it can.

    Those meters have the GPUs in them. What a board's own GPU rail tells is taken off; what a driver tells can't be: it is read at other
    instants, at another place.
    """
    if gpu_source in ("none", "hwmon"):
        return None
    return f"hwmon's meters have the GPUs in them, and those that {gpu_source} reads would be counted twice; use rapl, or gpu.source: none"


def unfit_proxy(proxy: Proxy) -> Iterator[Problem]:
    """What of the section `proxy` can't be, wherever it comes from; `upstream` may be missing."""
    for name, url in (("upstream", proxy.upstream), ("endpoint", proxy.endpoint)):
        if url is not None and not _URL.fullmatch(url):
            yield f"proxy.{name}", "is no URL such as http://127.0.0.1:8000, without user, query and fragment"
    match = _ADDRESS.fullmatch(proxy.listen)
    if match is None or int(match[2]) > 65_535:
        yield "proxy.listen", f"`{proxy.listen}` is no address such as 127.0.0.1:8080 or [::1]:8080"
    elif int(match[2]) and proxy.upstream is not None and proxy.upstream.partition("://")[2].partition("/")[0] == proxy.listen:
        yield "proxy.upstream", "is proxy.listen: the proxy would ask itself"
    for index, path in enumerate(proxy.paths):
        if not path.startswith("/"):
            yield f"proxy.paths[{index}]", "is no path: it doesn't begin with /"


def _prices(cost: Cost) -> Iterator[Problem]:
    """A price without a currency, a date and a source is a number that nobody can check."""
    prices = {
        "rent.per_hour": cost.rent.per_hour,
        "purchase.price": cost.purchase.price,
        "power.price_per_kwh": cost.power.price_per_kwh,
        "cooling.per_hour": cost.cooling.per_hour,
        "host.per_hour": cost.host.per_hour or None,
        "licence.per_hour": cost.licence.per_hour or None,
        "other.per_hour": cost.other.per_hour or None,
    }
    priced = [path for path, price in prices.items() if price is not None]
    for name, value in (("currency", cost.currency), ("as_of", cost.as_of), ("source", cost.source)):
        if priced and not value:
            yield f"cost.{name}", f"is required with a price, and cost.{priced[0]} is one"


def _rented_by(cost: Cost) -> tuple[str, ...]:
    """The keys that tell what an hour of rent costs; one at most may."""
    told = {
        "cost.rent": cost.rent.per_hour is not None,
        "cost.prices_file": cost.prices_file is not None,
        "cost.opencost": cost.opencost.prometheus_url is not None,
    }
    return tuple(path for path, tells in told.items() if tells)


def _counted_twice(cost: Cost, *, emissions: bool) -> Iterator[Problem]:
    """Rent of a cloud contains the hardware, power and cooling; in colocation it contains neither of them."""
    rented = _rented_by(cost)
    for path in rented[1:]:
        yield path, f"the rent would be counted twice: {rented[0]} tells it; keep one of the two"
    if rented and cost.rent.rent_includes_power:
        unless = "set cost.rent.rent_includes_power: false if it doesn't (colocation)"
        if cost.power.price_per_kwh is not None:
            yield "cost.power.price_per_kwh", f"power would be counted twice: {rented[0]} contains it; {unless}"
        if cost.power.pue is not None and not emissions:  # with emissions it is about grams, not about money
            yield "cost.power.pue", f"cooling would be counted twice: {rented[0]} contains it; {unless}"
        if cost.cooling.per_hour is not None:
            yield "cost.cooling.per_hour", f"cooling would be counted twice: {rented[0]} contains it; {unless}"
        if cost.purchase.price is not None:
            yield "cost.purchase.price", f"the hardware would be counted twice: {rented[0]} contains it; {unless}"
    if cost.power.pue is not None and cost.cooling.per_hour is not None:
        yield "cost.cooling.per_hour", "cooling would be counted twice: cost.power.pue contains it; keep one of the two"


def _told_by_others(cost: Cost) -> Iterator[Problem]:
    """Others tell the price of an hour of one GPU, and nothing else."""
    rent, rented = cost.rent, _rented_by(cost)
    if rented and rented[0] != "cost.rent":
        if rent.per != "gpu":
            yield "cost.rent.per", f"must be gpu: {rented[0]} tells what an hour of a GPU costs"
        for key in ("upfront", "term"):
            if getattr(rent, key):
                yield f"cost.rent.{key}", f"can't be told beside {rented[0]}, which tells the whole rent"
    opencost = cost.opencost
    if opencost.prometheus_url is None and (opencost.selector or opencost.token_file):
        yield "cost.opencost.prometheus_url", "is required with cost.opencost: which Prometheus holds node_gpu_hourly_cost?"
    if opencost.prometheus_url is not None and cost.currency is None:
        yield "cost.currency", "is required with cost.opencost, which doesn't tell it"
    if opencost.selector is not None and not _MATCHERS.fullmatch(opencost.selector):
        yield "cost.opencost.selector", 'is no list of label matchers such as node="gpu-1", without braces'


def _rent(cost: Cost, server: Server) -> Iterator[Problem]:
    rent = cost.rent
    if rent.upfront and rent.term is None:
        yield "cost.rent.term", "is required with cost.rent.upfront: over which time is it spread?"
    if rent.upfront and not _rented_by(cost):
        yield "cost.rent.per_hour", "is required with cost.rent.upfront (0 if all is paid in advance)"
    if rent.term is not None and not rent.upfront and cost.rent.per_hour is not None:
        yield "cost.rent.upfront", "is required with cost.rent.term: what is spread over it?"
    if rent.instance_gpus is not None and rent.per == "gpu":
        yield "cost.rent.instance_gpus", "is only read with cost.rent.per: instance, which is gpu"
    used = max(server.gpu_count or 0, 0 if isinstance(server.gpus, str) else len(server.gpus))
    if rent.instance_gpus is not None and rent.per == "instance" and used > rent.instance_gpus:
        yield "cost.rent.instance_gpus", f"is {rent.instance_gpus}, but the server uses {used} GPUs"


def _purchase(cost: Cost) -> Iterator[Problem]:
    purchase = cost.purchase
    if purchase.price is None:
        for key in ("residual", "lifetime_years", "finance_rate_per_year"):
            if getattr(purchase, key):
                yield "cost.purchase.price", f"is required with cost.purchase.{key}"
        return
    if purchase.lifetime_years is None:
        yield "cost.purchase.lifetime_years", "is required with cost.purchase.price: over which time is it spread?"
    if purchase.residual > purchase.price:
        yield "cost.purchase.residual", f"is {purchase.residual:g}, more than the price of {purchase.price:g}"


def _sla(sla: Slas) -> Iterator[Problem]:
    targets = {name: value for name, value in asdict(sla.default or Sla()).items() if value is not None}
    for overrides in sla.models.values():
        targets |= {name: value for name, value in overrides.items() if value is not None}
    if targets.keys() == {"quantile"}:
        yield "sla", "sets a quantile, but none of duration_seconds, ttft_seconds and tpot_seconds"


def _gpus(choices: Sequence[GpuChoice]) -> Iterator[Problem]:
    seen: set[str | int] = set()
    for index, choice in enumerate(choices):
        if isinstance(choice.gpu, int) and choice.gpu < 0:
            yield f"server.gpus[{index}]", "an index counts from 0"
        if choice.gpu in seen:
            yield f"server.gpus[{index}]", f"{choice.gpu} is listed twice"
        seen.add(choice.gpu)


def _shares_by_process(choices: Sequence[GpuChoice], server: Server, gpu: Gpu) -> Iterator[Problem]:
    for index, choice in enumerate(choices):
        if choice.share != "process":
            continue
        if server.pid is None:
            yield f"server.gpus[{index}].share", "process takes server.pid: whose use is it?"
        if gpu.source not in {"auto", "nvml"}:  # else it would silently count whole
            yield f"server.gpus[{index}].share", f"process is told by gpu.source: nvml alone, which is {gpu.source}"


def _gpu(gpu: Gpu) -> Iterator[Problem]:
    if gpu.source == "replay" and gpu.file is None:
        yield "gpu.file", "is required with gpu.source: replay"
    if gpu.source != "replay" and gpu.file is not None:
        yield "gpu.file", f"is only read with gpu.source: replay, which is {gpu.source}"
    if gpu.source in _PAGE_SOURCES and gpu.url is None:
        yield "gpu.url", f"is required with gpu.source: {gpu.source}: where is its /metrics?"
    if gpu.source not in _PAGE_SOURCES and gpu.url is not None:
        yield "gpu.url", f"is only read with gpu.source: dcgm or triton, which is {gpu.source}"
    if gpu.stale_after is not None and gpu.stale_after < gpu.interval:
        yield "gpu.stale_after", "is shorter than gpu.interval: every reading would be stale"
    if gpu.simulated.idle_watts > gpu.simulated.peak_watts:
        yield "gpu.simulated.idle_watts", f"is above gpu.simulated.peak_watts ({gpu.simulated.peak_watts:g})"


def _listen(listen: Listen) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for field in fields(listen):
        address, path = getattr(listen, field.name), f"listen.{field.name}"
        if address is None:
            continue
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match[2]) > 65_535:
            yield path, f"`{address}` is no address such as 0.0.0.0:10470 or [::1]:4317"
        elif int(match[2]) and address in taken:
            yield path, f"`{address}` is taken by {taken[address]}"
        taken.setdefault(address, path)


def _otlp(otlp: Otlp) -> Iterator[Problem]:
    tls = otlp.tls
    for name in ("cert_file", "key_file"):
        if getattr(tls, name) is None and tls != OtlpTls():
            yield f"otlp.tls.{name}", "is required with otlp.tls"


def _exposed(config: Config) -> Iterator[str]:
    """One line, where others than this machine's reach the OTLP listeners."""
    listen, otlp = config.listen, config.otlp
    addresses = {f"listen.{key}": getattr(listen, key) for key in ("otlp_grpc", "otlp_http")}
    exposed = " and ".join(path for path, address in addresses.items() if address is not None and not is_loopback(address))
    if exposed and otlp.token_file is None and otlp.tls.client_ca_file is None:
        yield f"{exposed}: whoever reaches that can send spans; otlp.token_file or otlp.tls.client_ca_file says who may"
    elif exposed and otlp.tls.cert_file is None:
        yield f"{exposed}: without otlp.tls the token can be read on its way"


def _forward(forward: Forward, listen: Listen) -> Iterator[Problem]:
    for name, value in forward.headers.items():
        if problem := header_problem(name, value):
            yield f"forward.headers.{name}", problem
    if forward.endpoint is None:
        return
    try:
        endpoint = endpoint_of(forward.endpoint, forward.protocol)
    except ValueError as error:
        yield "forward.endpoint", str(error)
        return
    for key in ("otlp_http", "otlp_grpc"):
        address = getattr(listen, key)
        if address is not None and reaches(endpoint, address):
            yield "forward.endpoint", f"is listen.{key}: exports would come back for ever"


def _windows(windows: Sequence[Window]) -> Iterator[Problem]:
    if len(windows) > WINDOWS_LIMIT:
        yield "windows", f"{len(windows)} of them; at most {WINDOWS_LIMIT}"
    for index, window in enumerate(windows):
        if not WINDOW_SECONDS_LEAST <= window.seconds <= WINDOW_SECONDS_MOST:
            yield f"windows[{index}]", f"{window.label} is not between 1m and 24h"
        elif index and window.seconds <= windows[index - 1].seconds:
            yield f"windows[{index}]", f"{window.label} is not longer than {windows[index - 1].label}; they ascend"


def _limits(limits: Limits) -> Iterator[Problem]:
    for name in ("decompressed_bytes", "in_flight_bytes"):
        if getattr(limits, name) < limits.body_bytes:
            yield f"limits.{name}", f"is below limits.body_bytes ({limits.body_bytes}): an export of that size could never be taken"

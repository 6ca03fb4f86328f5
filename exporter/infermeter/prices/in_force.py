"""From what is configured and what others tell to the prices that are in force. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from infermeter.catalogue import Catalogue
from infermeter.config import Cost, DevicePrice
from infermeter.ledger.tariff import Prices
from infermeter.model import GpuIdentity
from infermeter.prices.listing import Listed, PriceList, device_key

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Quote:
    """What an hour of each GPU of the server costs, as `source` said at `as_of_ns`."""

    per_hour: float
    as_of_ns: int
    source: str


def prices_in_force(cost: Cost | None, *, listed: Listed, quote: Quote | None, gpus: Iterable[GpuIdentity]) -> Prices:
    """The prices of a server with these GPUs; `quote`: None before anybody has told one."""
    prices = Prices.configured(cost)
    if listed.prices is not None:
        return _with_list(prices, listed.prices, gpus, listed.catalogue)
    if quote is not None:
        return _with(prices, gpu_per_hour=quote.per_hour, as_of_ns=quote.as_of_ns, sources=(quote.source,))
    return prices


def _with_list(prices: Prices, listed: PriceList, gpus: Iterable[GpuIdentity], catalogue: Catalogue | None) -> Prices:
    """Each GPU by the price of its own product; one whose product isn't told or isn't listed has none."""
    found = {gpu.uuid: entry for gpu in gpus if gpu.product is not None and (entry := listed.get(device_key(gpu.product, catalogue)))}
    currency = next(iter(listed.values())).currency
    prices = replace(prices, gpu_per_hour={uuid: entry.per_hour for uuid, entry in found.items()}, currency=currency)
    if not found:
        return prices
    return _with(
        prices,
        gpu_per_hour=prices.gpu_per_hour,
        as_of_ns=min(_midnight_ns(entry) for entry in found.values()),
        sources=sorted({f"{entry.provider}, {entry.source}" for entry in found.values()}),
    )


def _with(prices: Prices, *, gpu_per_hour: float | Mapping[str, float] | None, as_of_ns: int, sources: Iterable[str]) -> Prices:
    """The whole is as old as the oldest of it, and every source is named."""
    return replace(
        prices,
        gpu_per_hour=gpu_per_hour,
        as_of_ns=as_of_ns if prices.as_of_ns is None else min(as_of_ns, prices.as_of_ns),
        source="; ".join((*filter(None, (prices.source,)), *sources)),
    )


def _midnight_ns(entry: DevicePrice) -> int:
    return int(datetime(entry.as_of.year, entry.as_of.month, entry.as_of.day, tzinfo=UTC).timestamp()) * _SECOND_NS

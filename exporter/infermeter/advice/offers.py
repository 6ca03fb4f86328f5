"""The lowest price of each device, of those that count. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from infermeter.catalogue import Catalogue
from infermeter.config import DevicePrice

_TIME_ZONES_DAYS: Final = 1
"""A price of tomorrow is one of today, elsewhere."""


def cheapest(
    catalogue: Catalogue, prices: Iterable[DevicePrice], currency: str | None, *, stale_after_seconds: float, now_ns: int
) -> dict[str, DevicePrice]:
    """The lowest price of each device, by name, in this currency, that is neither too old nor of a day to come."""
    today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date()
    names: dict[str, str | None] = {}
    lowest: dict[str, DevicePrice] = {}
    for price in prices:
        age_days = (today - price.as_of).days
        if price.currency != currency or age_days < -_TIME_ZONES_DAYS or age_days * 86_400 > stale_after_seconds:
            continue
        if price.device not in names:
            device = catalogue.meant(price.device)
            names[price.device] = None if device is None else device.name
        name = names[price.device]
        if name is not None and (name not in lowest or price.per_hour < lowest[name].per_hour):
            lowest[name] = price
    return lowest

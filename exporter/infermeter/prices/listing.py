"""A list of device prices: what `cost.prices_file` holds, and which of its prices is a device's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from infermeter.catalogue import device_of, shipped_devices
from infermeter.config import DevicePrice
from infermeter.structure import Problem, load_entries

ENTRIES_MOST: Final = 1000

PriceList = Mapping[str, DevicePrice]
"""The price of each device, by what `device_key` calls it."""


def price_list(text: str, where: str, *, currency: str | None) -> PriceList:
    """The prices that are in force of those in `text`: of each device the newest.

    A device has one provider, all entries have one currency, and that is `currency` unless None.
    Raises: ConfigErrors, with `where` (the file), entry, key and line of every problem.
    """
    if text.lstrip().startswith("["):  # JSON may be indented by tabs, YAML may not
        text = text.replace("\t", " ")
    entries = load_entries(DevicePrice, text, where, most=ENTRIES_MOST, unfit=lambda entries: _unfit(entries, currency))
    newest: dict[str, DevicePrice] = {}
    for entry in sorted(entries, key=lambda entry: entry.as_of):
        newest[device_key(entry.device)] = entry
    return newest


def device_key(name: str) -> str:
    """What a device is called here: its name in the catalogue, whether that or a product is given; else the product itself."""
    name = name.strip()
    if name in _catalogue_names():
        return name
    device = device_of(name)
    return name if device is None else device.name


def _catalogue_names() -> frozenset[str]:
    return frozenset(device.name for device in shipped_devices())


def _unfit(entries: Sequence[DevicePrice], currency: str | None) -> Iterator[Problem]:
    """What makes it unclear which price is meant."""
    expected = entries[0].currency if currency is None else currency
    told_by = "[0].currency" if currency is None else "cost.currency"
    first: dict[str, int] = {}
    dates: dict[tuple[str, object], int] = {}
    for index, entry in enumerate(entries):
        if entry.currency != expected:
            yield f"[{index}].currency", f"is {entry.currency}, but {told_by} is {expected}"
        key = device_key(entry.device)
        before = first.setdefault(key, index)
        if (other := entries[before].provider) != entry.provider:
            yield f"[{index}].provider", f"is {entry.provider}, but [{before}] tells {other}'s price of {key}; keep one of the two"
        elif (same := dates.setdefault((key, entry.as_of), index)) != index:
            yield f"[{index}].as_of", f"is that of [{same}], which tells a price of {key} too; keep one of the two"

"""A list of device prices: what `cost.prices_file` holds, and which of its prices is a device's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from infermeter.catalogue import Catalogue, example_prices, shipped_catalogue
from infermeter.config import DevicePrice
from infermeter.parsing.structure import Problem, load_entries

ENTRIES_MOST: Final = 1000

PriceList = Mapping[str, DevicePrice]
"""The price of each device, by what `device_key` calls it."""


class Listed(NamedTuple):
    """What the operator's files list: the prices in force, those of candidates (None: no such file), and the devices there are."""

    prices: PriceList | None = None
    candidates: PriceList | None = None
    catalogue: Catalogue | None = None

    @property
    def devices(self) -> Catalogue:
        """Those of the operator's file, else those that are shipped."""
        return shipped_catalogue() if self.catalogue is None else self.catalogue

    @property
    def candidate_prices(self) -> tuple[DevicePrice, ...]:
        """Of every device that is listed one."""
        return tuple((self.candidates or {}).values())


NOTHING_LISTED: Final = Listed()


def price_list(text: str, where: str, *, currency: str | None, catalogue: Catalogue | None = None) -> PriceList:
    """The prices that are in force of those in `text`: of each device the newest.

    A device has one provider, all entries have one currency, and that is `currency` unless None. `catalogue`: default the shipped one.
    Raises: ConfigErrors, with `where` (the file), entry, key and line of every problem.
    """
    if text.lstrip().startswith("["):  # JSON may be indented by tabs, YAML may not
        text = text.replace("\t", " ")
    entries = load_entries(DevicePrice, text, where, most=ENTRIES_MOST, unfit=lambda entries: _unfit(entries, currency, catalogue))
    return _newest(entries, catalogue)


def example_price_lists() -> Mapping[str, PriceList]:
    """The example prices, by provider: only for whoever asks for examples by name."""
    entries = example_prices()
    providers = dict.fromkeys(entry.provider for entry in entries)
    return {provider: _newest([entry for entry in entries if entry.provider == provider], None) for provider in providers}


def device_key(name: str, catalogue: Catalogue | None = None) -> str:
    """What a device is called here: its name in the catalogue, whether that or a product is given; else the product itself."""
    device = (catalogue or shipped_catalogue()).meant(name)
    return name.strip() if device is None else device.name


def _newest(entries: Iterable[DevicePrice], catalogue: Catalogue | None) -> PriceList:
    newest: dict[str, DevicePrice] = {}
    for entry in sorted(entries, key=lambda entry: entry.as_of):
        newest[device_key(entry.device, catalogue)] = entry
    return newest


def _unfit(entries: Sequence[DevicePrice], currency: str | None, catalogue: Catalogue | None) -> Iterator[Problem]:
    """What makes it unclear which price is meant."""
    expected = entries[0].currency if currency is None else currency
    told_by = "[0].currency" if currency is None else "cost.currency"
    first: dict[str, int] = {}
    dates: dict[tuple[str, object], int] = {}
    for index, entry in enumerate(entries):
        if entry.currency != expected:
            yield f"[{index}].currency", f"is {entry.currency}, but {told_by} is {expected}"
        key = device_key(entry.device, catalogue)
        before = first.setdefault(key, index)
        if (other := entries[before].provider) != entry.provider:
            yield f"[{index}].provider", f"is {entry.provider}, but [{before}] tells {other}'s price of {key}; keep one of the two"
        elif (same := dates.setdefault((key, entry.as_of), index)) != index:
            yield f"[{index}].as_of", f"is that of [{same}], which tells a price of {key} too; keep one of the two"

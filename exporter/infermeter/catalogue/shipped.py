"""What comes with the package: devices, and example prices, which never stand in for an operator's. Read when it is first asked for."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from infermeter.catalogue.catalogue import Catalogue
from infermeter.catalogue.devices import Device
from infermeter.catalogue.entries import devices_of
from infermeter.config import DevicePrice
from infermeter.parsing.structure import load_entries


@cache
def shipped_catalogue() -> Catalogue:
    """The devices that come with the package, in the order of the file."""
    return devices_of(_text("devices.yaml"), "devices.yaml")


def shipped_devices() -> tuple[Device, ...]:
    """Those of the catalogue that is shipped."""
    return shipped_catalogue().devices


def device_of(product: str) -> Device | None:
    """The shipped device that a product name means; None: unknown."""
    return shipped_catalogue().device_of(product)


def example_prices() -> tuple[DevicePrice, ...]:
    """List prices of single days, several providers' for one device: to try things with, where they were asked for by name."""
    return tuple(load_entries(DevicePrice, _text("example_prices.yaml"), "example_prices.yaml", most=1000, unfit=lambda _: ()))


def _text(name: str) -> str:
    return files("infermeter.catalogue").joinpath(name).read_text("utf-8")

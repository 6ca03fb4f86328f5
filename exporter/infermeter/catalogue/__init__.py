"""Facts about devices, as package data with their sources. Pure: the only files that are read here are the package's own."""

from infermeter.catalogue.catalogue import Catalogue
from infermeter.catalogue.devices import PRECISIONS, Device, Fact, MigProfile, Precision
from infermeter.catalogue.entries import with_devices
from infermeter.catalogue.shipped import device_of, example_prices, shipped_catalogue, shipped_devices

__all__ = [
    "PRECISIONS",
    "Catalogue",
    "Device",
    "Fact",
    "MigProfile",
    "Precision",
    "device_of",
    "example_prices",
    "shipped_catalogue",
    "shipped_devices",
    "with_devices",
]

"""Facts about devices, as package data with their sources. Pure: the only files that are read here are the package's own."""

from infermeter.catalogue.devices import Device, device_of, shipped_devices

__all__ = ["Device", "device_of", "shipped_devices"]

"""The devices that are known, and which of them a product name means. Pure: package data is all that is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of device. `match`: products as a management library prints them, `*` standing for anything.

    `power_limit_watts` is the whole board's as it ships, None where none is published; the library shows one board as `shown_as` devices.
    `verified`: the limit was found in a source that its maker stands behind.
    """

    name: str
    match: tuple[str, ...]
    power_limit_watts: float | None
    source: str
    verified: bool
    shown_as: int = 1

    @property
    def limit_as_shown_watts(self) -> float | None:
        """The power limit of one device as the library shows it."""
        return None if self.power_limit_watts is None else self.power_limit_watts / self.shown_as


@cache
def shipped_devices() -> tuple[Device, ...]:
    """The devices that come with the package, in the order of the file."""
    content = yaml.safe_load(files("infermeter.catalogue").joinpath("devices.yaml").read_text("utf-8"))
    return tuple(_device(entry) for entry in content["devices"])


def device_of(product: str) -> Device | None:
    """The device that a product name means; None: unknown. Where several patterns fit, the one that says most.

    The whole name must fit, so that a slice of a device (MIG, vGPU) is never taken for all of it. Drivers before 470 left out `NVIDIA`.
    """
    name = product.strip()
    for candidate in (name, f"NVIDIA {name}"):
        fitting = [
            (len(pattern.replace("*", "")), pattern == candidate, device)
            for device in shipped_devices()
            for pattern in device.match
            if _fits(pattern, candidate)
        ]
        if fitting:
            return max(fitting, key=lambda fit: fit[:2])[2]
    return None


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name) is not None


def _device(entry: Mapping[str, Any]) -> Device:
    return Device(**{**entry, "match": tuple(entry["match"])})

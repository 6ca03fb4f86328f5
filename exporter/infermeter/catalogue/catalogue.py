"""Devices, and which of them a name or a product means. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from infermeter.catalogue.devices import Device

NEAREST_MOST: Final = 5


class Catalogue:
    """Devices in order, no two of one name. Immutable."""

    def __init__(self, devices: Iterable[Device]) -> None:
        """Of several devices of one name, the last one counts, in the place of the first."""
        self._by_name = {device.name: device for device in devices}
        products = [(pattern, device) for device in self._by_name.values() for pattern in device.match]
        self._by_product = {pattern: device for pattern, device in reversed(products) if "*" not in pattern}
        self._by_pattern = [(len(pattern.replace("*", "")), _compiled(pattern), device) for pattern, device in products if "*" in pattern]

    @property
    def devices(self) -> tuple[Device, ...]:
        """All of them."""
        return tuple(self._by_name.values())

    def named(self, name: str) -> Device | None:
        """The device of exactly this name."""
        return self._by_name.get(name)

    def device_of(self, product: str) -> Device | None:
        """The device that a product name means; None: unknown. Where several patterns fit, the one that says most.

        The whole name must fit, so that a slice of a device (MIG, vGPU) is never taken for all of it. Drivers before 470 left out `NVIDIA`.
        """
        name = product.strip()
        for candidate in (name, f"NVIDIA {name}"):
            if candidate in self._by_product:
                return self._by_product[candidate]
            fitting = [(says, device) for says, pattern, device in self._by_pattern if pattern.fullmatch(candidate)]
            if fitting:
                return max(fitting, key=lambda fit: fit[0])[1]
        return None

    def meant(self, name_or_product: str) -> Device | None:
        """The device of this name, else the one that this product means."""
        return self.named(name_or_product.strip()) or self.device_of(name_or_product)

    def nearest(self, name: str) -> Sequence[str]:
        """The names that may have been meant: those that begin with it, else the one that is most like it; at most 5."""
        typed = name.strip().lower()
        beginning = [known for known in self._by_name if typed and known.startswith(f"{typed}-")]
        return beginning[:NEAREST_MOST] or difflib.get_close_matches(typed, self._by_name, n=1, cutoff=0.6)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")))

"""Power rails that the kernel shows under hwmon: what there is to read, and which rail of a known board feeds what. Nothing is summed here.

Source: Linux kernel documentation, hwmon/sysfs-interface (units, names of files), hwmon/ina3221, hwmon/acpi_power_meter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from infermeter.errors import Unavailable

HWMON: Final = "sys/class/hwmon"

CHIPS_LIMIT, RAILS_LIMIT, TEXT_LIMIT_BYTES = 256, 256, 256
"""A machine has some ten chips and some thirty rails."""

ENTRIES_LIMIT: Final = 4_096
"""Of one folder that are looked at."""

OFFSET_WATTS: Final = 1.0
"""A rail that is switched off may read a little below 0. Source: Texas Instruments, INA3221 datasheet: 80 uV of the shunt's voltage, which
over 5 milliohms at 20 V is 0.32 W."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
"""As long as 64 bits are at most."""

_POWER: Final = re.compile(r"power([0-9]{1,3})_(?:input|average)")
_ENERGY: Final = re.compile(r"energy([0-9]{1,3})_input")
_INA3221_CHANNELS: Final = (1, 2, 3)
"""in4 to in6 are shunt voltages, in7 and curr4 sums over the channels: no rails."""

_UNCONNECTED: Final = "NC"
"""What device trees call a channel that measures nothing."""


@dataclass(frozen=True, slots=True)
class Rail:
    """One measured rail. `label` is the board's name of it, else the channel's (`power1`); `chip` is the name of the chip's driver.

    The product of `factors` (files) is its power in microwatts: millivolts x milliamperes, or microwatts at once; none: it tells no power.
    `energy` counts microjoules, None where there is no such file.
    """

    chip: str
    label: str
    factors: tuple[Path, ...]
    energy: Path | None = None

    def watts(self) -> float | None:
        """Its power now. What lies below 0 by no more than a chip's offset is 0. Raises: Unavailable."""
        if not self.factors:
            return None
        microwatts = 1
        for factor in self.factors:
            microwatts *= number_in(factor)
        watts = microwatts / 1e6
        return 0.0 if -OFFSET_WATTS <= watts < 0 else watts

    def joules(self) -> float | None:
        """Its energy so far. Raises: Unavailable."""
        return None if self.energy is None else number_in(self.energy) / 1e6


def rails_below(root: Path) -> tuple[Rail, ...]:
    """Every rail below a root of the file system, in the order of chips and channels; empty where there is none."""
    return tuple(rail for _, rail in zip(range(RAILS_LIMIT), _rails(root), strict=False))


@dataclass(frozen=True, slots=True)
class Board:
    """Which rails of a kind of board feed what, by label. `inputs` are disjoint, and together all that the board (or its module) draws.

    `gpu` is the rail of the GPU; without `gpu_alone` it feeds something else too.
    """

    name: str
    inputs: tuple[str, ...]
    gpu: str
    gpu_alone: bool


BOARDS: Final = (
    Board("Jetson Thor", ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), "VDD_GPU", gpu_alone=True),
    Board("Jetson AGX Orin", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "VDD_GPU_SOC", gpu_alone=False),
    Board("Jetson Orin NX, Orin Nano or Xavier NX", ("VDD_IN",), "VDD_CPU_GPU_CV", gpu_alone=False),
    Board("Jetson AGX Xavier", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "GPU", gpu_alone=True),
    Board("Jetson TX2", ("VDD_IN",), "VDD_SYS_GPU", gpu_alone=True),
    Board("Jetson TX1", ("VDD_IN",), "VDD_GPU", gpu_alone=True),
    Board("Jetson Nano", ("POM_5V_IN",), "POM_5V_GPU", gpu_alone=True),
)
"""The first whose rails are all there.

Source: NVIDIA Jetson Linux Developer Guide, "Software-Based Power Consumption Modeling" of each series; the kernel's device trees
(arch/arm64/boot/dts/nvidia, nodes ti,ina3221) have the same labels. On AGX Orin VDDQ_VDD2_1V8AO is a part of VIN_SYS_5V0; the rails of
Thor are those that its tegrastats prints.
"""


def board_of(rails: Sequence[Rail]) -> tuple[Board, Mapping[str, Rail]] | None:
    """The known board that has these rails, and its rails by label; None: no known board."""
    by_label = {rail.label: rail for rail in reversed(rails)}
    for board in BOARDS:
        if by_label.keys() >= {*board.inputs, board.gpu}:
            return board, by_label
    return None


def text_in(path: Path) -> str:
    """What a file of sysfs, procfs or a device tree holds, cut short. Raises: Unavailable."""
    try:
        with path.open("rb") as file:
            return file.read(TEXT_LIMIT_BYTES).decode("utf-8", "replace").strip("\0 \t\r\n")
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from error


def number_in(path: Path) -> int:
    """The whole number that a file of sysfs holds. Raises: Unavailable."""
    text = text_in(path)
    if not _NUMBER.fullmatch(text):
        raise Unavailable(f"{path}: holds no whole number")
    return int(text)


def entries_of(folder: Path) -> tuple[Path, ...]:
    """What a folder of sysfs holds, in the order of numbers and names; empty if it isn't there or can't be read.

    Of more than ENTRIES_LIMIT some.
    """
    try:
        return tuple(
            sorted(
                islice(folder.iterdir(), ENTRIES_LIMIT), key=lambda path: [(len(part), part) for part in re.split(r"([0-9]+)", path.name)]
            )
        )
    except OSError:
        return ()


def _rails(root: Path) -> Iterator[Rail]:
    """Older drivers, acpi_power_meter among them, show their files beside the chip's, in the device that it belongs to."""
    for chip in entries_of(root / HWMON)[:CHIPS_LIMIT]:
        name = _first_text(chip / "name", chip / "device/name")
        if name is None:  # a chip that is being taken away
            continue
        found = tuple(_ina3221(chip, name) if name == "ina3221" else _telling_power(chip, name))
        for rail in found or _telling_power(chip / "device", name):
            if rail.label != _UNCONNECTED:
                yield rail


def _ina3221(chip: Path, name: str) -> Iterator[Rail]:
    """The three channels; the driver tells no power, and voltage and current of a channel bear its number."""
    for channel in _INA3221_CHANNELS:
        factors = (chip / f"in{channel}_input", chip / f"curr{channel}_input")
        if all(factor.exists() for factor in factors):
            yield Rail(name, _label(chip, f"in{channel}_label", f"in{channel}"), factors)


def _telling_power(chip: Path, name: str) -> Iterator[Rail]:
    """Channels that tell power or energy at once. ACPI power meters tell an average alone; of two, the instantaneous value counts."""
    found: dict[str, dict[str, Path]] = {}
    for path in entries_of(chip):
        if power := _POWER.fullmatch(path.name):
            kept = found.setdefault(power[1], {})
            if path.name.endswith("_input") or "power" not in kept:
                kept["power"] = path
        elif energy := _ENERGY.fullmatch(path.name):
            found.setdefault(energy[1], {})["energy"] = path
    for number, files in found.items():
        told = "power" if "power" in files else "energy"
        label = _label(chip, f"{told}{number}_label", f"{told}{number}")
        yield Rail(name, label, (files["power"],) if "power" in files else (), files.get("energy"))


def _label(chip: Path, file: str, channel: str) -> str:
    """The channel's label, else that of a chip with a name of its own (ABI `label`), else the channel."""
    return _first_text(chip / file, chip / "label") or channel


def _first_text(*paths: Path) -> str | None:
    """What the first of the files that can be read holds; None: none can."""
    for path in paths:
        try:
            return text_in(path)
        except Unavailable:
            continue
    return None

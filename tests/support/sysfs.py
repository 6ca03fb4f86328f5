"""Trees of sysfs as the kernel lays them out, in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write(root: Path, files: Mapping[str, object]) -> Path:
    """Writes each file with its content and a newline, as sysfs shows it."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


def ina3221(root: Path, number: int, **milliwatts: int) -> Path:
    """One chip whose channels (three at most, label = power) each stand at 1 V.

    Source of the layout: Linux kernel documentation, hwmon/ina3221; in4 to in7 and curr4 are there as on real boards.
    """
    chip = f"sys/class/hwmon/hwmon{number}"
    files: dict[str, object] = {f"{chip}/name": "ina3221", f"{chip}/in7_label": "sum of shunt voltages", f"{chip}/in7_input": 900}
    for channel, (label, power) in enumerate(milliwatts.items(), 1):
        files |= {
            f"{chip}/in{channel}_label": label,
            f"{chip}/in{channel}_input": 1000,
            f"{chip}/curr{channel}_input": power,
            f"{chip}/in{channel + 3}_input": 300,
        }
    files[f"{chip}/curr4_input"] = sum(milliwatts.values())
    return write(root, files)


def acpi_meter(root: Path, number: int, watts: float, *, place: str = "/device", **extra: object) -> Path:
    """An ACPI power meter; its driver shows its files in the device, and in later kernels (`place=""`) in the chip.

    Source of the layout: Linux kernel documentation, hwmon/acpi_power_meter; drivers/hwmon/acpi_power_meter.c.
    """
    chip = f"sys/class/hwmon/hwmon{number}{place}"
    files = {"name": "power_meter", "power1_average": round(watts * 1e6), "power1_average_interval": 1000, **extra}
    return write(root, {f"{chip}/{name}": content for name, content in files.items()})


def rapl_zone(root: Path, zone: str, name: str, microjoules: int, most: int | None = 262_143_328_850) -> Path:
    """A RAPL zone. Source of the layout: Linux kernel documentation, power/powercap, and ABI/testing/sysfs-class-powercap."""
    folder = f"sys/class/powercap/{zone}"
    files: dict[str, object] = {f"{folder}/name": name, f"{folder}/energy_uj": microjoules}
    if most is not None:
        files[f"{folder}/max_energy_range_uj"] = most
    return write(root, files)

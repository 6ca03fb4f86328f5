"""`infermeter catalogue`: the devices that are known, and how well; on request the example prices. Facts are catalogue/'s."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import orjson

from infermeter.catalogue import Catalogue, Device, Fact, Precision, example_prices, shipped_catalogue
from infermeter.commands.configuration import known_devices, written_configuration
from infermeter.config import Config, DevicePrice

SCHEMA: Final = 1

RATES: Final[Sequence[Precision]] = ("fp32", "fp16", "bf16", "fp8", "int8", "fp4")
"""The precisions that the table has room for."""

_GIGA, _TERA = 1e9, 1e12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `catalogue`."""
    parser.epilog = "example:\n  infermeter catalogue --format json"
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file whose advice.devices_file counts too; default $INFERMETER_CONFIG, else none"
    )
    parser.add_argument("--prices", action="store_true", help="the example prices that are shipped, instead of the devices")
    parser.add_argument(
        "--format",
        choices=("table", "json"),
        default="table",
        help="what they are printed as (default table); json has sources, notes and MIG profiles",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the devices, or the example prices."""
    named = args.config or os.environ.get("INFERMETER_CONFIG")
    config = written_configuration(named) if named else Config()
    catalogue = known_devices(config)
    if args.format == "json":
        listed = {"prices": list(map(asdict, example_prices()))} if args.prices else {"devices": list(map(_described, catalogue.devices))}
        print(orjson.dumps({"schema": SCHEMA, **listed}, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(_price_table(example_prices()) if args.prices else _device_table(catalogue, config.advice.devices_file)))
    return 0


def _described(device: Device) -> Mapping[str, Any]:
    """A device as JSON: null is not known; `facts` tells of each value who says so, and whether it was verified."""
    values = {field.name: getattr(device, field.name) for field in fields(device)}
    plain = {name: value.value if isinstance(value, Fact) else value for name, value in values.items()}
    return {
        **plain,
        "dense_flops": {precision: rate.value for precision, rate in device.dense_flops.items()},
        "verified": device.verified,
        "facts": {name: {"source": fact.source, "verified": fact.verified} for name, fact in device.facts.items()},
    }


def _device_table(catalogue: Catalogue, own: str | None) -> Iterator[str]:
    heads = ("GB", "GB/S", *(precision.upper() for precision in RATES), "WATTS")
    rows = [("DEVICE", *(f"{head} " for head in heads)), *map(_row, catalogue.devices)]
    yield from _aligned(rows, left=1)
    yield ""
    yield "Rates: 10^12 operations a second, dense (datasheets often advertise sparse ones: twice as much)."
    yield "-  not known, or the device can't      ?  not verified: shown, and never decides alone"
    yield "Sources, notes, more precisions and MIG profiles: --format json"
    changed = [device.name for device in catalogue.devices if shipped_catalogue().named(device.name) != device]
    if changed:
        yield f"From {own}: {', '.join(changed)}"


def _row(device: Device) -> tuple[str, ...]:
    return (
        device.name,
        _cell(device.memory_bytes, _GIGA),
        _cell(device.memory_bandwidth_bytes_per_second, _GIGA),
        *(_cell(device.dense_flops.get(precision), _TERA) for precision in RATES),
        _cell(device.power_limit_watts, 1.0),
    )


def _cell(fact: Fact[float] | None, unit: float) -> str:
    if fact is None:
        return "- "
    value = fact.value / unit
    written = f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{written}{' ' if fact.verified else '?'}"


def _price_table(prices: Iterable[DevicePrice]) -> Iterator[str]:
    rows = [("DEVICE", "PROVIDER", "AN HOUR", "AS OF")]
    rows += [(price.device, price.provider, f"{price.per_hour:.4g} {price.currency}", price.as_of.isoformat()) for price in prices]
    yield from _aligned(rows, left=2)
    yield ""
    yield "Examples of list prices on those days: never used unless asked for by name. Sources: --format json"


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """Lines of columns: `left` of them to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:left], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[left:], widths[left:], strict=True)]
        yield "  ".join(cells).rstrip()

"""Devices as YAML, those of the package and an operator's own: what an entry may say, and what becomes of it. Pure.

An entry whose name is known says only what differs; every other one must say enough to compare its device with others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from infermeter.catalogue.catalogue import Catalogue
from infermeter.catalogue.devices import PRECISIONS, SINGLE_FACTS, Device, Fact, MigProfile, Precision
from infermeter.config import key
from infermeter.parsing.structure import Problem, load_entries

ENTRIES_MOST: Final = 500

NEEDED: Final = ("memory_bytes", "memory_bandwidth_bytes_per_second", "dense_flops", "precisions")
"""What a device that isn't known yet must have, to be compared with others."""

FLOPS_PER_BYTE_LEAST, FLOPS_PER_BYTE_MOST = 1.0, 10_000.0
"""Rate by bandwidth: 9 (fp32) to 3800 (fp4) of every device that is shipped. Outside, one of the two is in the wrong unit."""


def _rate() -> Any:  # noqa: ANN401 - as config.key
    return key(None, "operations a second", minimum=1e10, maximum=1e17)


@dataclass(frozen=True, slots=True)
class DenseFlops:
    """Rates without sparsity, by precision."""

    fp64: float | None = _rate()
    fp32: float | None = _rate()
    tf32: float | None = _rate()
    bf16: float | None = _rate()
    fp16: float | None = _rate()
    fp8: float | None = _rate()
    fp6: float | None = _rate()
    int8: float | None = _rate()
    int4: float | None = _rate()
    fp4: float | None = _rate()


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """One device, or what is to be different about a known one."""

    name: str = key(doc="what it is called here", pattern=r"[a-z0-9]+(-[a-z0-9]+)*")
    source: str = key(doc="where its facts come from", pattern=r".*\S.*")
    match: tuple[str, ...] = key((), "products as the driver prints them; * stands for anything", pattern=r".*[^\s*].*")
    architecture: str | None = key(None, "such as ampere", pattern=r"[a-z0-9][a-z0-9-]*")
    form_factor: str | None = key(None, "such as pcie", pattern=r"[a-z0-9][a-z0-9-]*")
    memory_bytes: float | None = key(None, "memory", minimum=1e8, maximum=1e13)
    memory_bandwidth_bytes_per_second: float | None = key(None, "peak", minimum=1e9, maximum=1e14)
    dense_flops: DenseFlops = field(default_factory=DenseFlops)
    power_limit_watts: float | None = key(None, "as it ships", minimum=0.1, maximum=10_000)
    precisions: tuple[Precision, ...] | None = key(None, "what it computes natively")
    mig_profiles: tuple[MigProfile, ...] | None = key(None, "what MIG can cut from it")
    sources: Mapping[str, str] = key(factory=dict, doc="of single facts, where it is another", pattern=r".*\S.*")
    unverified: tuple[str, ...] = key((), "facts that nobody has checked")
    note: str | None = key(None, "what one should know about it")

    @property
    def told(self) -> Mapping[str, Any]:
        """The values that it tells, by their dotted names."""
        told: dict[str, Any] = {name: value for name in SINGLE_FACTS if (value := getattr(self, name)) is not None}
        for precision in PRECISIONS:
            if (rate := getattr(self.dense_flops, precision)) is not None:
                told[f"dense_flops.{precision}"] = rate
        return told


def devices_of(text: str, where: str) -> Catalogue:
    """The devices that `text` holds, each as complete as it is known. `where` names it. Raises: ConfigErrors."""
    return _merged(Catalogue(()), load_entries(DeviceEntry, text, where, most=ENTRIES_MOST, unfit=lambda entries: _unfit(entries, None)))


def with_devices(known: Catalogue, text: str, where: str) -> Catalogue:
    """`known`, with the devices that `text` adds, and with what it says otherwise of those that are known.

    Raises: ConfigErrors, with `where` (the file), entry, key and line of every problem.
    """
    return _merged(known, load_entries(DeviceEntry, text, where, most=ENTRIES_MOST, unfit=lambda entries: _unfit(entries, known)))


def _merged(known: Catalogue, entries: Iterable[DeviceEntry]) -> Catalogue:
    return Catalogue((*known.devices, *(_device(entry, known.named(entry.name)) for entry in entries)))


def _device(entry: DeviceEntry, known: Device | None) -> Device:
    """What an entry says, over what is known already. Its products come on top: a device has as many names as drivers."""
    facts: dict[str, Fact[Any]] = {
        name: Fact(value, entry.sources.get(name, entry.source), verified=name not in entry.unverified)
        for name, value in entry.told.items()
    }
    base = known or Device(entry.name, (), None, None, None, None, {}, None, None, None, entry.source)
    rates = {name: rate for name, rate in base.dense_flops.items() if entry.precisions is None or name in entry.precisions}
    rates |= {name: facts[path] for name in PRECISIONS if (path := f"dense_flops.{name}") in facts}
    single: dict[str, Any] = {name: facts[name] for name in SINGLE_FACTS if name in facts}
    return replace(
        base,
        **single,
        match=(*base.match, *(pattern for pattern in entry.match if pattern not in base.match)),
        architecture=entry.architecture or base.architecture,
        form_factor=entry.form_factor or base.form_factor,
        dense_flops=rates,
        source=entry.source if known is None else f"{entry.source}; {known.source}",
        note=entry.note or base.note,
    )


def _unfit(entries: Sequence[DeviceEntry], known: Catalogue | None) -> Iterator[Problem]:
    """What doesn't hold together: within an entry, between entries, and with what is known (None: nothing has to be told)."""
    base = known or Catalogue(())
    names: dict[str, int] = {}
    patterns = {pattern: device.name for device in base.devices for pattern in device.match}
    for index, entry in enumerate(entries):
        where = f"[{index}]"
        if (first := names.setdefault(entry.name, index)) != index:
            yield f"{where}.name", f"is that of [{first}]; keep one of the two"
        for position, pattern in enumerate(entry.match):
            if (owner := patterns.setdefault(pattern, entry.name)) != entry.name:
                yield f"{where}.match[{position}]", f"means {owner} already"
        yield from ((f"{where}.{path}", problem) for path, problem in _strangers(entry))
        device = _device(entry, base.named(entry.name))
        if known is not None and known.named(entry.name) is None:
            yield from ((where, problem) for problem in _missing(device, known))
        yield from ((f"{where}.{path}", problem) for path, problem in _implausible(device, entry))


def _strangers(entry: DeviceEntry) -> Iterator[Problem]:
    """Names of facts that an entry doesn't tell."""
    told = entry.told
    named = [(f"sources.{name}", name) for name in entry.sources]
    named += [(f"unverified[{index}]", name) for index, name in enumerate(entry.unverified)]
    for path, name in named:
        if name not in told:
            near = difflib.get_close_matches(name, told, n=1)
            yield path, f"`{name[:64]}` is no fact that this entry tells{f'; did you mean {near[0]}?' if near else ''}"


def _missing(device: Device, known: Catalogue) -> Iterator[str]:
    """What a device that isn't known must say of itself and doesn't."""
    missing = [name for name in NEEDED if not getattr(device, name)]
    if missing:
        near = " or ".join(known.nearest(device.name))
        listed = ", ".join(f"`{name}`" for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        yield f"{listed} {verb} missing, and no {device.name} is known{f'; did you mean {near}?' if near else ''}"


def _implausible(device: Device, entry: DeviceEntry) -> Iterator[Problem]:
    """Rates that the device can't have, as far as the entry has a part in them."""
    bandwidth, precisions = device.memory_bandwidth_bytes_per_second, device.precisions
    for precision, rate in device.dense_flops.items():
        path = f"dense_flops.{precision}"
        if path in entry.told and precisions is not None and precision not in precisions.value:
            yield path, f"is a rate of what `precisions` hasn't: {', '.join(precisions.value)}"
        if bandwidth is None or not {path, "memory_bandwidth_bytes_per_second"} & entry.told.keys():
            continue
        if not FLOPS_PER_BYTE_LEAST <= (ratio := rate.value / bandwidth.value) <= FLOPS_PER_BYTE_MOST:
            culprit = path if path in entry.told else "memory_bandwidth_bytes_per_second"
            yield culprit, f"makes {ratio:.3g} operations a byte of bandwidth: check the units of both"

"""Which of the devices that a source sees are meant, by their names: the list of `server.gpus`, and what others call devices. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from infermeter.config import GpuChoice
from infermeter.errors import ConfigError
from infermeter.model import GpuIdentity

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
"""The container runtime's variable.

Source: NVIDIA Container Toolkit, "Specialized Configurations with Docker", GPU enumeration.
"""

_UUID: Final = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_INDEX: Final = re.compile(r"(?:nvidia)?([0-9]{1,4})(?:/vgpu[0-9]+)?")
"""Device plugins name by index too, or by the device node. Source: NVIDIA/k8s-device-plugin, README, DEVICE_ID_STRATEGY;
GoogleCloudPlatform/container-engine-accelerators, pkg/gpu/nvidia."""


def chosen(
    identities: Sequence[GpuIdentity],
    choice: Literal["auto", "all"] | Sequence[GpuChoice],
    env: Mapping[str, str],
) -> tuple[GpuIdentity, ...]:
    """The server's own devices with their shares: in the order of `choice` where it lists them, else in the source's.

    `auto` follows NVIDIA_VISIBLE_DEVICES in `env`, and without it means all. Raises: ConfigError for an entry of a list that no
    device answers to, that several answer to, or that names a device again.
    """
    if choice == "all":
        return tuple(identities)
    if choice == "auto":
        told = visible(tuple(identities), env.get(VISIBLE, ""))
        return tuple(identities) if told is None else told
    return tuple(_listed(identities, choice))


def visible(identities: tuple[GpuIdentity, ...], variable: str) -> tuple[GpuIdentity, ...] | None:
    """What the container runtime's variable leaves; None where it says nothing about the devices here: `all`, `void`, a path.

    Its indices are the host's, and inside a container the devices are numbered anew: indices mean something only where more devices
    are seen than are listed.
    """
    entries = [entry.strip() for entry in variable.split(",") if entry.strip()]
    if entries == ["none"]:
        return ()
    names: list[str | int] = [int(entry) if _NUMBER.fullmatch(entry) else entry for entry in entries]
    if names and all(isinstance(name, int) for name in names) and len(names) >= len(identities):
        return identities
    uuids = {identity.uuid for name in names for identity in _named(identities, name)}
    return tuple(identity for identity in identities if identity.uuid in uuids) or None


class Allocated(NamedTuple):
    """Devices that an orchestrator gave away: those seen here, how many of them as one slice of several, and how many aren't seen.

    `unnamed` ids name no device that could be told apart from others.
    """

    taken: tuple[GpuIdentity, ...]
    sliced: int
    unseen: int
    unnamed: int


def allocated(identities: tuple[GpuIdentity, ...], ids: Collection[str]) -> Allocated:
    """The devices of these ids: UUIDs, also inside of a longer name, and indices. `UUID::7` is the seventh slice of a device.

    Source: NVIDIA/k8s-device-plugin, internal/rm, annotated ids.
    """
    here = {identity.uuid for identity in identities}
    uuids, indices, sliced, unnamed = set(), set(), 0, 0
    for text in ids:
        name, slices, _ = text.partition("::")
        sliced += bool(slices)
        if name in here:
            uuids.add(name)
        elif match := _UUID.search(name):
            uuids.add(match[0])
        elif match := _INDEX.fullmatch(name):
            indices.add(match[1])
        else:
            unnamed += 1
    by_index = (visible(identities, ",".join(sorted(indices))) if indices else None) or ()
    taken = {identity.uuid for identity in by_index} | (uuids & here)
    unseen = len(uuids - here) + max(0, len(indices) - len(by_index))
    return Allocated(tuple(identity for identity in identities if identity.uuid in taken), sliced, unseen, unnamed)


def _listed(identities: Sequence[GpuIdentity], choice: Sequence[GpuChoice]) -> Iterator[GpuIdentity]:
    seen: dict[str, int] = {}
    for i, entry in enumerate(choice):
        where = f"server.gpus[{i}]"
        answering = _named(identities, entry.gpu)
        if not answering:
            raise ConfigError(where, f"no GPU {entry.gpu!r} here: {_inventory(identities)}")
        if len(answering) > 1:
            raise ConfigError(where, f"{entry.gpu!r} could be {' or '.join(identity.uuid for identity in answering)}")
        device = answering[0]
        if device.uuid in seen:
            raise ConfigError(where, f"{entry.gpu!r} is the GPU of server.gpus[{seen[device.uuid]}] again")
        seen[device.uuid] = i
        by_process = entry.share == "process"
        yield replace(device, share_ratio=1.0 if entry.share == "process" else entry.share, share_by_process=by_process)


def _named(identities: Sequence[GpuIdentity], name: str | int) -> list[GpuIdentity]:
    """The devices that answer to an index, a UUID or the beginning of a UUID."""
    if isinstance(name, int):
        return [identity for identity in identities if identity.index == name]
    exact = [identity for identity in identities if identity.uuid == name]
    return exact or [identity for identity in identities if name and identity.uuid.startswith(name)]


def _inventory(identities: Sequence[GpuIdentity]) -> str:
    if not identities:
        return "none is seen"
    return "there are " + ", ".join(f"{identity.uuid} (index {identity.index})" for identity in identities)

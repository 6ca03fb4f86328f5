"""Which of the devices that a source sees belong to the server: `server.gpus`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from infermeter.config import GpuChoice
from infermeter.errors import ConfigError
from infermeter.model import GpuIdentity

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
"""The container runtime's variable.

Source: NVIDIA Container Toolkit, "Specialized Configurations with Docker", GPU enumeration.
"""


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
        return _visible(tuple(identities), env.get(VISIBLE, ""))
    return tuple(_listed(identities, choice))


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


def _visible(identities: tuple[GpuIdentity, ...], variable: str) -> tuple[GpuIdentity, ...]:
    """What the container runtime's variable leaves. What says nothing about the devices here leaves all: `all`, `void`, a path.

    Its indices are the host's, and inside a container the devices are numbered anew: indices mean something only where more devices
    are seen than are listed.
    """
    entries = [entry.strip() for entry in variable.split(",") if entry.strip()]
    if entries == ["none"]:
        return ()
    if all(entry.isdecimal() for entry in entries) and len(entries) >= len(identities):
        return identities
    names: list[str | int] = [int(entry) if entry.isdecimal() else entry for entry in entries]
    uuids = {identity.uuid for name in names for identity in _named(identities, name)}
    return tuple(identity for identity in identities if identity.uuid in uuids) or identities


def _inventory(identities: Sequence[GpuIdentity]) -> str:
    if not identities:
        return "none is seen"
    return "there are " + ", ".join(f"{identity.uuid} (index {identity.index})" for identity in identities)

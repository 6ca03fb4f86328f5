"""What a source of GPU readings is, and what one reading brings. No reading happens here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection


@dataclass(frozen=True, slots=True)
class Seen:
    """All devices that a source sees, and what it knows of who uses them.

    `processes` asks which processes (host pids) compute on each device, by UUID; None: this source can't tell. It may raise
    GpuUnavailable. `pods` is which pod (namespace, name) a device is allocated to, by UUID, where the source tells.
    """

    identities: tuple[GpuIdentity, ...]
    processes: Callable[[], Mapping[str, frozenset[int]]] | None = None
    pods: Mapping[str, tuple[str, str]] = field(default_factory=dict)


Choose: TypeAlias = Callable[[Seen], tuple[GpuIdentity, ...]]
"""Picks the server's own devices out of all that a source sees, with their shares. May block, on the reading thread.

Raises: ConfigError (a device was chosen that isn't there), GpuUnavailable (not known yet: try again later).
"""


def every(seen: Seen) -> tuple[GpuIdentity, ...]:
    """Chooses all of them."""
    return seen.identities


class GpuSource(Protocol):
    """Where GPU readings come from. Used by one thread, except for `name` and `asking`.

    While a device hangs, that thread stays in its call and another one reads the other devices (`without`): a source whose devices are
    asked one by one keeps nothing in `read` that two devices share.
    """

    @property
    def name(self) -> str:
        """The label value `source`."""
        ...

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Readings of single devices that were lost so far, by reason. Never falls, also over `close` and `open`."""
        ...

    @property
    def asking(self) -> str | None:
        """The UUID of the device whose answer `read` waits for; None between devices, and where they are all asked at once."""
        ...

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices. May block. Close it whatever comes of it.

        Raises: GpuUnavailable (try again later), ConfigError (a device was chosen that isn't there), InputError (a damaged file).
        """
        ...

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample | HostSample]:
        """What the chosen devices say at `now_ns` (unix), except for those in `without`, which aren't asked.

        `without` is looked at before each device, since it grows: to all of them, once a read that hangs was given up. Each device's
        samples ascend in time, and none comes twice; a recording plays its host too. A device that fails is missing, and counted in
        `rejected`; the others are there. May block. Raises: GpuUnavailable when nothing answers; then the source is closed and opened
        again, or read again while a thread is still inside it.
        """
        ...

    def close(self) -> None:
        """Lets go of the devices, also of those that a failed `open` took hold of."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read brought. `identities` is set when the source was opened: these devices replace those known before."""

    samples: Sequence[GpuSample | HostSample] = ()
    identities: tuple[GpuIdentity, ...] | None = None
    rejected: Mapping[Rejection, int] = field(default_factory=dict)

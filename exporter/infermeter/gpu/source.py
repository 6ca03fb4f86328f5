"""What a source of GPU readings is, and what one reading brings. No reading happens here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from infermeter.model import GpuIdentity, GpuSample, Rejection

Choose: TypeAlias = Callable[[tuple[GpuIdentity, ...]], tuple[GpuIdentity, ...]]
"""Picks the server's own devices out of all that a source sees, with their shares. Raises: ConfigError."""


class GpuSource(Protocol):
    """Where GPU readings come from. Used by one thread, except for `name`."""

    @property
    def name(self) -> str:
        """The label value `source`."""
        ...

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Readings of single devices that were lost so far, by reason. Never falls, also over `close` and `open`."""
        ...

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices. May block. Close it whatever comes of it.

        Raises: GpuUnavailable (try again later), ConfigError (a device was chosen that isn't there), InputError (a damaged file).
        """
        ...

    def read(self, now_ns: int) -> Sequence[GpuSample]:
        """What the chosen devices say at `now_ns` (unix): each device's samples ascend in time, and none comes twice.

        A device that fails is missing, and counted in `rejected`; the others are there. May block. Raises: GpuUnavailable when
        nothing answers; then the source is closed and opened again.
        """
        ...

    def close(self) -> None:
        """Lets go of the devices, also of those that a failed `open` took hold of."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read brought. `identities` is set when the source was opened: these devices replace those known before."""

    samples: Sequence[GpuSample] = ()
    identities: tuple[GpuIdentity, ...] | None = None
    rejected: Mapping[Rejection, int] = field(default_factory=dict)

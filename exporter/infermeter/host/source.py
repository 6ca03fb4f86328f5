"""What a source of the host's power is. No reading happens here."""

from __future__ import annotations

from typing import Protocol

from infermeter.model import HostSample


class HostSource(Protocol):
    """Where readings of the rest of the machine come from. Used by one thread."""

    @property
    def name(self) -> str:
        """The label value `source`."""
        ...

    def read(self, now_ns: int) -> HostSample:
        """What the host draws at `now_ns` (unix), or has drawn so far, without what the GPUs' own readings tell. May block.

        Raises: Unavailable (a state: ask again). After it an energy counter may begin anew, lower than it was.
        """
        ...

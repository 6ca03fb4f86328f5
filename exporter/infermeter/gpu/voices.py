"""Which of the chosen devices hang: one line of the log for each change, however often they are asked. The loop's alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from infermeter.gpu.source import Reading
from infermeter.model import GpuIdentity

log = logging.getLogger(__name__)


class Voices:
    """The chosen devices, and which of them were told to hang and haven't been heard since."""

    def __init__(self) -> None:
        """No devices yet."""
        self._hanging: set[str] = set()
        self._told: frozenset[str] | None = None
        self.devices: frozenset[str] = frozenset()

    def expect(self, source: str, identities: Sequence[GpuIdentity]) -> None:
        """From now on these devices are asked."""
        self.devices = frozenset(identity.uuid for identity in identities)
        self._hanging &= self.devices
        if self.devices != self._told:
            log.info("GPU source %s reads %s", source, ", ".join(identity.uuid for identity in identities) or "no GPU")
            self._told = self.devices

    def hear(self, reading: Reading) -> None:
        """Takes note of who spoke."""
        if not self._hanging:
            return
        for uuid in self._hanging & {getattr(sample, "uuid", None) for sample in reading.samples}:
            log.info("GPU %s answers again", uuid)
            self._hanging.remove(uuid)

    def hangs(self, uuid: str, timeout_seconds: float) -> None:
        """A call to this device doesn't come back."""
        if uuid not in self._hanging:
            log.warning("GPU %s doesn't answer: nothing for more than %g s", uuid, timeout_seconds)
            self._hanging.add(uuid)

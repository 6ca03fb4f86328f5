"""Which of the chosen devices speak: one line of the log for each change, however often they are asked. The loop's alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from infermeter.gpu.source import Reading
from infermeter.model import GpuIdentity, GpuSample

log = logging.getLogger(__name__)


class Voices:
    """The chosen devices, when each was heard last, and which of them were told to be silent."""

    def __init__(self, timeout_seconds: float) -> None:
        """A device whose readings fail is told after this long without one."""
        self._timeout_seconds = timeout_seconds
        self._heard: dict[str, float] = {}
        self._silent: set[str] = set()
        self._told: frozenset[str] | None = None
        self.devices: frozenset[str] = frozenset()

    def expect(self, source: str, identities: Sequence[GpuIdentity], now: float) -> None:
        """From now on (monotonic seconds) these devices are asked."""
        self.devices = frozenset(identity.uuid for identity in identities)
        self._heard = dict.fromkeys(self.devices, now)
        self._silent &= self.devices
        if self.devices != self._told:
            log.info("GPU source %s reads %s", source, ", ".join(identity.uuid for identity in identities) or "no GPU")
            self._told = self.devices

    def hear(self, reading: Reading, now: float) -> None:
        """Takes note of who spoke in a reading; who didn't is silent only if it was asked in vain."""
        heard = {sample.uuid for sample in reading.samples if isinstance(sample, GpuSample)}
        self._heard.update(dict.fromkeys(heard, now))
        for uuid in heard & self._silent:
            log.info("GPU %s answers again", uuid)
        self._silent -= heard
        if not reading.rejected.get("read"):
            return
        for uuid in self.devices - heard - self._silent:
            if now - self._heard[uuid] > self._timeout_seconds:
                self._tell(uuid, "its readings fail")

    def hangs(self, uuid: str) -> None:
        """A call to this device doesn't come back."""
        if uuid not in self._silent:
            self._tell(uuid, f"nothing for more than {self._timeout_seconds:g} s; the others are read on")

    def _tell(self, uuid: str, problem: str) -> None:
        log.warning("GPU %s doesn't answer: %s", uuid, problem)
        self._silent.add(uuid)

"""Power that nobody measured: power limit x utilisation, only where it was asked for, and labelled as modelled.

It is wrong by half and more (an idle device draws a tenth to a third of its limit, and a busy one seldom all of it): for devices that
tell neither energy nor power, it is what can be said.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from infermeter.catalogue import device_of
from infermeter.gpu.source import GpuSource
from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection

log = logging.getLogger(__name__)


class EstimatedSource:
    """Another source, with an estimate for those of its devices that tell neither energy nor power. What is told stays as it is."""

    def __init__(self, source: GpuSource) -> None:
        """`source` is what reads the devices."""
        self._source = source
        self._limits: dict[str, float] = {}
        self._without: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """That of the source: it is still what reads the devices."""
        return self._source.name

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Those of the source."""
        return self._source.rejected

    @property
    def asking(self) -> str | None:
        """Which device the source asks."""
        return self._source.asking

    def open(self) -> tuple[GpuIdentity, ...]:
        """The devices of the source; those that are estimated say so. Raises: as the source."""
        identities = self._source.open()
        silent = {identity.uuid: _limit_watts(identity) for identity in identities if identity.energy is None}
        self._limits = {uuid: watts for uuid, watts in silent.items() if watts is not None}
        self._tell(frozenset(silent) - self._limits.keys())
        return tuple(replace(identity, energy="modelled") if identity.uuid in self._limits else identity for identity in identities)

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample | HostSample]:
        """What the source reads; where a device tells its utilisation and no power, the estimate. Raises: as the source."""
        samples = self._source.read(now_ns, without=without)
        if not self._limits:
            return samples
        return [self._estimated(sample) if isinstance(sample, GpuSample) else sample for sample in samples]

    def close(self) -> None:
        """Closes the source."""
        self._source.close()

    def _estimated(self, sample: GpuSample) -> GpuSample:
        limit = self._limits.get(sample.uuid)
        measured = sample.power_watts is not None or sample.energy_joules is not None
        if limit is None or measured or sample.utilisation_ratio is None:
            return sample
        return replace(sample, power_watts=(sample.power_limit_watts or limit) * sample.utilisation_ratio)

    def _tell(self, without: frozenset[str]) -> None:
        if without - self._without:
            log.warning("no estimate of power for %s: neither the device nor the catalogue tells a power limit", ", ".join(sorted(without)))
        self._without = without


def _limit_watts(identity: GpuIdentity) -> float | None:
    """What the device tells of itself, else what its kind ships with."""
    if identity.power_limit_watts:
        return identity.power_limit_watts
    device = device_of(identity.product) if identity.product else None
    return None if device is None or device.power_limit_watts is None else device.power_limit_watts.value

"""GPUs that don't exist: their power follows the load that they are told, so nothing about accuracy rests on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from infermeter.config import SimulatedGpu
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, Rejection

MEMORY_TOTAL_BYTES = 24 * 2**30
MEMORY_USED_BYTES = 16 * 2**30
"""A model is resident, always the same."""


DELAY_NS = 2_000_000_000
"""Spans arrive after what they tell: a reading speaks of this much earlier, when all has been told, and bears that time."""


class SimulatedSource:
    """Devices whose mean power since the last reading is idle + (peak - idle) x the share of that time in which something computed."""

    name = "simulated"
    asking: str | None = None
    rejected: Mapping[Rejection, int] = {}

    def __init__(self, settings: SimulatedGpu, *, busy_share: Callable[[int, int], float], choose: Choose) -> None:
        """`busy_share(begin_ns, end_ns)` is the covered part (0 to 1) of the time between; called on the reading thread."""
        self._settings = settings
        self._busy_share = busy_share
        self._choose = choose
        self._uuids: tuple[str, ...] = ()
        self._last_ns: int | None = None
        self._joules = 0.0

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices, named and labelled as simulated."""
        identities = self._choose(Seen(tuple(self._identity(index) for index in range(self._settings.gpus))))
        self._uuids = tuple(identity.uuid for identity in identities)
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:  # noqa: ARG002 - none of them can hang
        """One sample a device, of DELAY_NS before `now_ns`; none of the time before the first read, or before a clock was set back.

        Energy is power integrated since the first read.
        """
        if self._last_ns is None or now_ns < self._last_ns:
            self._last_ns = now_ns
        begin_ns, end_ns = self._last_ns, now_ns - DELAY_NS
        if end_ns <= begin_ns:
            return ()
        share = self._busy_share(begin_ns, end_ns)
        watts = self._settings.idle_watts + (self._settings.peak_watts - self._settings.idle_watts) * share
        self._joules += watts * (end_ns - begin_ns) / 1e9
        self._last_ns = end_ns
        return [
            GpuSample(
                uuid,
                end_ns,
                power_watts=watts,
                energy_joules=self._joules,
                utilisation_ratio=share,
                memory_used_bytes=MEMORY_USED_BYTES,
                memory_total_bytes=MEMORY_TOTAL_BYTES,
            )
            for uuid in self._uuids
        ]

    def close(self) -> None:
        """Nothing to let go of."""

    def _identity(self, index: int) -> GpuIdentity:
        return GpuIdentity(
            f"simulated-{index}",
            index=index,
            product="simulated",
            source=self.name,
            energy="modelled",
            memory_total_bytes=MEMORY_TOTAL_BYTES,
            power_limit_watts=self._settings.peak_watts,
        )

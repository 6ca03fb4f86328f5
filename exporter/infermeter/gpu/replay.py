"""A recording played as if it happened now: each row comes when as much time has passed as in the recording."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from infermeter.gpu.columns import SampleColumns
from infermeter.gpu.rows import Recording
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, HostSample, Rejection

log = logging.getLogger(__name__)


class ReplaySource:
    """Plays a recording of devices, and of their host, from its first sample on, once or round and round.

    The first read is the instant of the first sample: `shift` = now at the first read - time of the first sample. In round n the
    time of a sample is shifted by n periods, and its energy counter by what the device used in n periods, so that neither jumps; a
    period is the recording's length plus one mean step.
    """

    name = "replay"
    asking: str | None = None

    def __init__(self, load: Callable[[], Recording], *, loop: bool, hardware: bool, choose: Choose) -> None:
        """`load` reads the recording when the source is opened. Without `hardware`, temperatures, clocks and limits are left out."""
        self._load = load
        self._loop = loop
        self._hardware = hardware
        self._choose = choose
        self._rejected: Mapping[Rejection, int] = {}
        self._play: _Play | None = None
        self._told = False

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """What was rejected when the recording was read."""
        return self._rejected

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices of the recording. Raises: InputError, ConfigError."""
        recording = self._load()
        self._rejected = recording.rejected
        self._tell(recording.warnings)
        identities = self._choose(Seen(recording.identities))
        samples = recording.samples if self._hardware else recording.samples.without_hardware()
        samples = samples.of(identity.uuid for identity in identities)
        self._play = _Play(samples, recording.host_samples, loop=self._loop) if len(samples) or recording.host_samples else None
        return identities

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample | HostSample]:  # noqa: ARG002 - a recording can't hang
        """The rows whose time has come since the last read, at most the latest period's."""
        return self._play.until(now_ns) if self._play else ()

    def _tell(self, warnings: Sequence[str]) -> None:
        """Once, however often it is opened."""
        if not self._told:
            self._told = True
            for warning in warnings:
                log.warning("%s", warning)

    def close(self) -> None:
        """Forgets the recording."""
        self._play = None


class _Play:
    """How far a recording was played. Rows are counted on over the rounds: row i of round n is row n x length + i."""

    def __init__(self, samples: SampleColumns, host_samples: Sequence[HostSample], *, loop: bool) -> None:
        """Samples of devices and of the host, each in order of time, at least one in all; they are played in one order."""
        self._samples = samples
        self._host_samples = host_samples
        self._loop = loop
        self._start_ns: int | None = None
        self._next = 0
        times_ns = np.concatenate([samples.time_ns, np.array([sample.time_ns for sample in host_samples], dtype=np.int64)])
        self._order = np.argsort(times_ns, kind="stable")
        self._since_first_ns = times_ns[self._order] - times_ns.min()
        length_ns = int(self._since_first_ns[-1])
        steps = max(int(np.bincount(samples.device, minlength=1).max()), len(host_samples)) - 1
        self._period_ns = length_ns + length_ns // max(steps, 1) if length_ns else 10**9
        self._joules_per_round = _joules_per_round(samples, self._period_ns)

    def until(self, now_ns: int) -> list[GpuSample | HostSample]:
        if self._start_ns is None:
            self._start_ns = now_ns
        rows = len(self._order)
        rounds, within_ns = divmod(now_ns - self._start_ns, self._period_ns) if self._loop else (0, now_ns - self._start_ns)
        upto = rounds * rows + int(np.searchsorted(self._since_first_ns, within_ns, side="right"))
        first, self._next = max(self._next, upto - rows), max(self._next, upto)
        return [self._sample(i, self._start_ns) for i in range(first, upto)]

    def _sample(self, i: int, start_ns: int) -> GpuSample | HostSample:
        round_, row = divmod(i, len(self._order))
        time_ns = start_ns + round_ * self._period_ns + int(self._since_first_ns[row])
        place = int(self._order[row])
        if place >= len(self._samples):
            return replace(self._host_samples[place - len(self._samples)], time_ns=time_ns)
        sample = self._samples[place]
        joules = sample.energy_joules
        if joules is not None:
            joules += round_ * self._joules_per_round[sample.uuid]
        return replace(sample, time_ns=time_ns, energy_joules=joules)


def _joules_per_round(samples: SampleColumns, period_ns: int) -> dict[str, float]:
    """What each device's energy counter gains in one period, at its mean power over the recording; 0 where it fell or isn't told."""
    gains = dict.fromkeys(samples.uuids, 0.0)
    joules = samples.values.get("energy_joules")
    if joules is None:
        return gains
    for device, uuid in enumerate(samples.uuids):
        rows = np.flatnonzero((samples.device == device) & ~np.isnan(joules))
        length_ns = int(samples.time_ns[rows[-1]] - samples.time_ns[rows[0]]) if len(rows) else 0
        if length_ns:
            gains[uuid] = max(float(joules[rows[-1]] - joules[rows[0]]), 0.0) * period_ns / length_ns
    return gains

"""The server's GPUs: their samples turned into columns of ticks, the state of each second, and what was counted of each device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from infermeter.config import Gpu
from infermeter.ledger.attribution import Lane, Split
from infermeter.ledger.baseline import MOST_DEVICES, Baseline, Hours, recalled, remembered
from infermeter.ledger.energy import EnergyMeter, Reading, Reason, Step, gap_limit_ns, stale_limit_ns
from infermeter.ledger.hardware import Hardware
from infermeter.ledger.instants import SLOT_TICKS, TICK_NS, ticks_between
from infermeter.ledger.tallies import Tallies
from infermeter.ledger.timeline import Timeline
from infermeter.model import GpuFacts, GpuIdentity, GpuSample, GpuState

_JOULES, _STRAY_JOULES, _KNOWN_NS, _SEEN_NS, _TOLD_NS, _UTILISATION, _RESIDENT_NS, _DEVICE_JOULES, _MEMORY_BYTES = range(9)
_FIELDS: Final = 9
"""Joules are the server's share, `_DEVICE_JOULES` those of the whole device: a share may change within a tick."""

_BARE_BYTES: Final = 512 * 2**20
_BARE_RATIO: Final = 0.01
"""Memory in use above both, with no count of processes told: a model is resident. A driver alone holds up to 0.7 % of the memory
(some 600 MiB of 80 GiB); a context alone takes 200 to 500 MiB more, and a model its weights."""

_QUIET_TICKS: Final = 5
_SIMULATED: Final = "simulated"
_WHOLE: Final = 0.999


def is_resident(sample: GpuSample) -> bool:
    """Whether a model is on the device: by the processes that compute there, else by its memory."""
    if sample.computing_processes is not None:
        return sample.computing_processes > 0
    if sample.memory_used_bytes is None:
        return False
    return sample.memory_used_bytes > max(_BARE_BYTES, _BARE_RATIO * (sample.memory_total_bytes or 0))


@dataclass(slots=True, eq=False)
class _Device:
    """One device; `column` is its place in the rows of ticks. `stays` are the ticks from and before which the server has had it.

    Of these only the last may be open, and those are kept that reach into ticks which aren't settled. `quiet_since` is the first of the
    settled ticks since which it has been idle throughout with `quiet_bytes` in its memory, `held` whether a model was on it in the last.
    """

    column: int
    identity: GpuIdentity
    meter: EnergyMeter
    baseline: Baseline
    tallies: Tallies = field(default_factory=Tallies)
    joules: float | None = None
    states: dict[GpuState, float] = field(default_factory=lambda: {"active": 0.0, "held_idle": 0.0, "idle": 0.0, "unknown": 0.0})
    stays: list[tuple[int, int | None]] = field(default_factory=list)
    quiet_since: int | None = None
    quiet_bytes: float = 0.0
    held: bool | None = None

    @property
    def present(self) -> bool:
        """Whether the server has it now."""
        return bool(self.stays) and self.stays[-1][1] is None

    def was_present(self, tick: int) -> bool:
        """Whether the server had it in a tick that isn't settled yet."""
        return any(first <= tick and (stop is None or tick < stop) for first, stop in self.stays)

    def leave(self, tick: int) -> None:
        """From this tick on the server doesn't have it."""
        first, _ = self.stays.pop()
        if tick > first:
            self.stays.append((first, tick))

    @property
    def learns(self) -> bool:
        """Whether its power is one that can be learnt from: measured, or that of a device which is simulated as a whole."""
        return self.identity.energy != "modelled" or self.identity.source == _SIMULATED


class Devices:
    """All devices that this server ever had; the present ones carry its money."""

    def __init__(self, config: Gpu, identities: Sequence[GpuIdentity], *, first_tick: int) -> None:
        self._config = config
        self._gap_ns = gap_limit_ns(config.interval)
        self._stale_ns = stale_limit_ns(config)
        self._devices: dict[str, _Device] = {}
        self._remembered: dict[str, Hours] = {}
        self._metered = 0
        self._shares_changed = 0
        self._ticks: Timeline[np.float64] = Timeline(first_tick, (1, _FIELDS), np.float64)
        self.hardware = Hardware(first_tick // SLOT_TICKS)
        self.rejected: dict[Reason, int] = {"read": 0, "gap": 0, "reset": 0, "outlier": 0}
        self.change(identities, tick=first_tick)

    def change(self, identities: Sequence[GpuIdentity], *, tick: int) -> None:
        """From this tick on the server has these devices; what was counted of others stays.

        What a device used between leaving and coming back was another server's, which counts it.
        """
        for identity in identities:
            known = self._devices.get(identity.uuid)
            if known is None:
                known = self._devices[identity.uuid] = self._new(identity)
            else:
                known.meter.limit_watts = identity.power_limit_watts or known.meter.limit_watts
            known.identity = identity
            if not known.present:
                known.stays.append((tick, None))
                known.meter.restart()
        here = {identity.uuid for identity in identities}
        for device in self.present:
            if device.identity.uuid not in here:
                device.leave(tick)
        self._ticks.widen(len(self._devices))
        self.hardware.gpus = len(here)

    def _new(self, identity: GpuIdentity) -> _Device:
        """A device that wasn't there before. Of a modelled energy, and of a module with a CPU in it, the power is no second witness."""
        judged = identity.energy != "modelled" and identity.power_scope == "gpu"
        meter = EnergyMeter(self._gap_ns, limit_watts=identity.power_limit_watts, judged=judged)
        baseline = Baseline(self._configured_watts(identity.uuid))
        baseline.recall(self._remembered.pop(identity.uuid, {}))
        return _Device(len(self._devices), identity, meter, baseline)

    def remember(self) -> dict[str, Any]:
        """The baselines of all devices, those that haven't shown up again last."""
        return remembered({uuid: device.baseline.hours for uuid, device in self._devices.items()} | self._remembered)

    def recall(self, section: object, *, now_tick: int) -> None:
        """Takes in what `remember` said before this start. Raises: ValueError, if that isn't what this is."""
        for uuid, hours in recalled(section, now_tick=now_tick).items():
            if uuid in self._devices:
                self._devices[uuid].baseline.recall(hours)
            elif len(self._remembered) < MOST_DEVICES:
                self._remembered[uuid] = hours

    @property
    def present(self) -> list[_Device]:
        """Those that the server has now."""
        return [device for device in self._devices.values() if device.present]

    @property
    def limits(self) -> dict[str, float | None]:
        """The GPUs that the server has by UUID, each with the power limit in watts that is enforced, as far as it was told."""
        return {device.identity.uuid: device.meter.limit_watts for device in self.present}

    @property
    def metered(self) -> bool:
        """Whether any device has told its energy or power."""
        return self._metered > 0

    @property
    def pricing(self) -> tuple[bool, int]:
        """Changes whenever a sample has changed what the prices hang on."""
        return self._metered > 0, self._shares_changed

    @property
    def shares(self) -> dict[str, float]:
        """The GPUs that the server pays for: its share of each, by UUID."""
        return {device.identity.uuid: device.identity.share_ratio for device in self.present}

    def watts(self, now_ns: int) -> float | None:
        """Power of the server's share by the last fresh samples; None where none tells."""
        told = [
            device.identity.share_ratio * device.meter.last.power_watts
            for device in self.present
            if device.meter.last is not None and self._is_fresh(device, now_ns) and device.meter.last.power_watts is not None
        ]
        return sum(told) if told else None

    def add(self, sample: GpuSample, *, latest_ns: int | None) -> list[tuple[int, float]]:
        """Takes a sample in; the energy that it tells, as (tick, joules of the server's share).

        A sample later than `latest_ns` is absurd; one of an unknown device can't be used.
        """
        device = self._devices.get(sample.uuid)
        if device is None:
            self.reject("read", 1)
            return []
        if latest_ns is not None and sample.time_ns > latest_ns:
            self.reject("outlier", 1)
            return []
        reading = device.meter.read(sample)
        if reading.rejected is not None:
            self.reject(reading.rejected, 1)
        if not reading.accepted:
            return []
        if device.joules is None and (sample.energy_joules is not None or sample.power_watts is not None):
            device.joules = 0.0
            self._metered += 1
        throttled_before = device.tallies.held_down_seconds
        if rejected := device.tallies.read(sample):
            self.reject("outlier", rejected)
        self._see(device, sample, reading)
        if reading.watched_from_ns is not None:
            after = device.tallies.held_down_seconds
            throttled_seconds = None if after is None or throttled_before is None else after - throttled_before
            self.hardware.add(sample, since_ns=reading.watched_from_ns, throttled_seconds=throttled_seconds)
        pieces = [] if reading.step is None else self._book(device, reading.step)
        if sample.share_ratio is not None and sample.share_ratio != device.identity.share_ratio:
            self._share(device, sample.share_ratio)
        return pieces

    def _share(self, device: _Device, ratio: float) -> None:
        """From now on this is the server's share of the device; what is booked stays."""
        if 0 < ratio <= 1:
            device.identity = replace(device.identity, share_ratio=ratio)
            self._shares_changed += 1
        else:
            self.reject("outlier", 1)

    def reject(self, reason: Reason, n: int) -> None:
        """Counts samples that couldn't be used."""
        self.rejected[reason] += n

    def _see(self, device: _Device, sample: GpuSample, reading: Reading) -> None:
        """Marks the ticks that the stretch before the sample covers."""
        if reading.watched_from_ns is None:
            return
        resident = is_resident(sample)
        for tick, ns in ticks_between(reading.watched_from_ns, sample.time_ns, self._ticks.first):
            row = self._ticks.row(tick)[device.column]
            row[_SEEN_NS] += ns
            row[_RESIDENT_NS] += ns * resident
            row[_MEMORY_BYTES] = max(row[_MEMORY_BYTES], sample.memory_used_bytes or 0)
            if sample.utilisation_ratio is not None:
                row[_TOLD_NS] += ns
                row[_UTILISATION] = max(row[_UTILISATION], sample.utilisation_ratio)

    def _book(self, device: _Device, step: Step) -> list[tuple[int, float]]:
        device.joules = (device.joules or 0.0) + step.joules
        pieces = []
        for tick, ns, joules in step.by_tick(self._ticks.first):
            share = joules * device.identity.share_ratio
            row = self._ticks.row(tick)[device.column]
            usable = step.watched and ns > 0
            row[_JOULES if usable else _STRAY_JOULES] += share
            row[_KNOWN_NS] += ns if usable else 0
            row[_DEVICE_JOULES] += joules if usable else 0.0
            pieces.append((tick, share))
        return pieces

    @property
    def stop_tick(self) -> int:
        """One past the last tick that a sample speaks of."""
        return self._ticks.stop

    def lanes(self, tick: int, length_ns: int) -> list[Lane]:
        """Every device in a tick that isn't settled yet, of which `length_ns` count."""
        row = self._ticks.row(tick).tolist()
        paid = [device.identity.share_ratio * device.was_present(tick) for device in self._devices.values()]
        if not any(paid):
            paid = [1.0] * len(paid)
        total = sum(paid)
        return [
            _lane(device, row[device.column], part / total, length_ns) for device, part in zip(self._devices.values(), paid, strict=True)
        ]

    def settle(self, tick: int, lanes: Sequence[Lane], times: Sequence[Split], *, seconds: float, quiet_ticks: int | None) -> None:
        """Books the states of a tick's seconds, and learns the baseline if nothing has computed for `quiet_ticks` (None: can't be told)."""
        row = self._ticks.row(tick).tolist()
        for device, lane, time in zip(self._devices.values(), lanes, times, strict=True):
            if not device.was_present(tick):
                continue
            resident = row[device.column][_RESIDENT_NS] > 0
            active = time.active * lane.seen_ratio
            worked = time.unattributed * lane.seen_ratio if lane.utilisation_ratio and not time.active else 0.0
            device.states["active"] += (active + worked) * seconds
            device.states["held_idle" if resident else "idle"] += time.idle * seconds
            device.states["unknown"] += (time.active - active + time.unattributed - worked) * seconds
            self._watch(device, tick, resident=resident, idle=time.idle >= _WHOLE, used_bytes=row[device.column][_MEMORY_BYTES])
            if (
                resident
                and device.learns
                and lane.utilisation_ratio == 0
                and quiet_ticks is not None
                and quiet_ticks >= _QUIET_TICKS
                and lane.known_seconds >= _WHOLE
            ):
                device.baseline.learn(tick, row[device.column][_DEVICE_JOULES] / lane.known_seconds)

    def _watch(self, device: _Device, tick: int, *, resident: bool, idle: bool, used_bytes: float) -> None:
        """Follows since when a device has been idle. What fills its memory works on it, though nothing computes: the wait begins anew."""
        total_bytes = (device.meter.last.memory_total_bytes if device.meter.last is not None else None) or 0
        fills = used_bytes > device.quiet_bytes + max(_BARE_BYTES, _BARE_RATIO * total_bytes)
        if not idle:
            device.quiet_since = None
        elif device.quiet_since is None or resident is not device.held or fills:
            device.quiet_since, device.quiet_bytes = tick, used_bytes
        device.held = resident

    def forget(self, stop_tick: int) -> None:
        """Ticks before this one are settled."""
        self._ticks.drop(stop_tick)
        for device in self._devices.values():
            if len(device.stays) > 1 or not device.present:
                device.stays = [stay for stay in device.stays if stay[1] is None or stay[1] > stop_tick]

    def facts(self, now_ns: int) -> tuple[GpuFacts, ...]:
        """What is known of each device."""
        return tuple(self._facts(device, now_ns) for device in self._devices.values())

    def _facts(self, device: _Device, now_ns: int) -> GpuFacts:
        up, last = self._is_fresh(device, now_ns), device.meter.last
        return GpuFacts(
            identity=device.identity if device.meter.believed else replace(device.identity, energy="integrated"),
            up=up,
            last=last if up else None,
            last_sample_ns=None if last is None else last.time_ns,
            energy_joules=device.joules,
            state_seconds=dict(device.states),
            baseline_watts=device.baseline.watts,
            throttled_seconds=device.tallies.throttled_seconds,
            pcie_transmitted_bytes=device.tallies.transmitted_bytes,
            pcie_received_bytes=device.tallies.received_bytes,
            quiet_since_ns=device.quiet_since * TICK_NS if up and device.quiet_since is not None else None,
            held=device.held if up else None,
        )

    def _is_fresh(self, device: _Device, now_ns: int) -> bool:
        last = device.meter.last
        return device.present and last is not None and now_ns - last.time_ns <= self._stale_ns

    def _configured_watts(self, uuid: str) -> float | None:
        configured = self._config.baseline_watts
        return configured if configured is None or isinstance(configured, float | int) else configured.get(uuid)


def _lane(device: _Device, row: list[float], weight: float, length_ns: int) -> Lane:
    watts = device.baseline.watts
    share = row[_JOULES] / row[_DEVICE_JOULES] if row[_DEVICE_JOULES] > 0 else device.identity.share_ratio
    told = row[_TOLD_NS] > 0 and (row[_UTILISATION] > 0 or row[_TOLD_NS] >= row[_SEEN_NS])
    return Lane(
        weight=weight,
        joules=row[_JOULES],
        stray_joules=row[_STRAY_JOULES],
        known_seconds=row[_KNOWN_NS] / TICK_NS,
        seen_ratio=min(1.0, row[_SEEN_NS] / length_ns),
        utilisation_ratio=row[_UTILISATION] if told else None,
        baseline_watts=None if watts is None else watts * share,
    )

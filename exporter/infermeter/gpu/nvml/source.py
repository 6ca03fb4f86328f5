"""The NVIDIA devices of this machine as a source: opened, chosen from, read one by one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal

import pynvml

from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu.nvml.calls import Untyped, optional
from infermeter.gpu.nvml.device import SOURCE, Wishes
from infermeter.gpu.nvml.place import CHECK_NS, Place
from infermeter.gpu.nvml.processes import tells_processes
from infermeter.gpu.nvml.readings import pids
from infermeter.gpu.source import Choose, Seen
from infermeter.model import GpuIdentity, GpuSample, Rejection

log = logging.getLogger(__name__)

MOST: Final = 256
"""Devices of one machine."""


class NvmlSource:
    """The NVIDIA devices of this machine that are chosen.

    Each keeps its state to itself. A `read` that a later one has overtaken, because a call of it hung, asks no further device.
    """

    name = SOURCE
    asking: str | None = None

    def __init__(
        self,
        *,
        hardware: bool,
        choose: Choose,
        profiling: Literal["auto", "off"] = "auto",
        interval_seconds: float = 1.0,
        own_processes: Callable[[], frozenset[int]] = frozenset,
        library: Untyped = pynvml,
    ) -> None:
        """`hardware`: power limit, temperature, clock and PCIe in each sample too. `profiling`: GPM where there is any.

        `own_processes`: host pids of the server, for devices whose share goes by process; may raise Unavailable. `library` is the binding.
        """
        self._library = library
        self._wishes = Wishes(hardware=hardware, profiling=profiling == "auto", interval_seconds=interval_seconds)
        self._choose = choose
        self._own_processes = own_processes
        self._places: tuple[Place, ...] = ()
        self._silent: tuple[int, ...] = ()
        self._count = 0
        self._checked_ns: int | None = None
        self._initialised = False
        self._turn = 0
        self._told_modules = False
        self._past: Counter[Rejection] = Counter()

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Readings of a device that failed, and values that are absurd."""
        counts: dict[Rejection, int] = {}
        for tally in (self._past, *(tally for place in self._places for tally in place.tallies)):
            for reason, n in tally.items():
                if n:
                    counts[reason] = counts.get(reason, 0) + n
        return counts

    def open(self) -> tuple[GpuIdentity, ...]:
        """The chosen devices; none where NVML sees none. Raises: GpuUnavailable (no library, driver, answer), ConfigError.

        A device that was read before and doesn't answer now is there all the same, and looked for.
        """
        try:
            self._library.nvmlInit()
            self._initialised = True
            driver_version = optional(self._library.nvmlSystemGetDriverVersion)
            self._count = min(self._library.nvmlDeviceGetCount(), MOST)
        except pynvml.NVMLError as error:
            raise GpuUnavailable(f"NVML: {error}") from error
        found = {
            index: optional(lambda at: Place(self._library, at, self._wishes, driver_version=driver_version), index)
            for index in range(self._count)
        }
        answering = [place for place in found.values() if place is not None]
        if self._count and all(place.is_unknown for place in answering):
            self._past["read"] += self._count
            raise GpuUnavailable("NVML: no GPU answers")
        self._silent = tuple(index for index, place in found.items() if place is None)
        self._past["read"] += len(self._silent)
        self._checked_ns = None
        seen = {place.device_uuid for place in answering}
        try:
            return self._chosen([*answering, *(place for place in self._places if place.device_uuid not in seen)])
        except (ConfigError, GpuUnavailable):
            for place in answering:
                place.leave()
            raise

    def read(self, now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        """The samples of each device that answers. Raises: GpuUnavailable when none of the chosen does, or the machine has others now."""
        self._turn = turn = self._turn + 1
        self.asking = None
        self._look_for_others(now_ns)
        samples: list[GpuSample] = []
        trouble: pynvml.NVMLError | None = None
        answered = False
        for place in self._places:
            left_out = sum(identity.uuid in without for identity in place.chosen)
            if left_out:
                place.miss(len(place.chosen) - left_out)
                continue
            try:
                samples += self._asked(place, now_ns, turn)
                answered = True
            except pynvml.NVMLError as error:
                trouble = error
            if self._turn != turn:
                return samples
        self.asking = None
        if trouble is not None and not answered:
            raise GpuUnavailable(f"NVML: {trouble}") from trouble
        return samples

    def close(self) -> None:
        """Lets go of the library. What was read is remembered by its UUID."""
        self.asking = None
        for place in self._places:
            place.leave()
        if self._initialised:
            self._initialised = False
            optional(self._library.nvmlShutdown)

    def _asked(self, place: Place, now_ns: int, turn: int) -> list[GpuSample]:
        def asking(uuid: str) -> None:
            if self._turn == turn:
                self.asking = uuid

        samples = place.read(now_ns, asking)
        if optional(place.partitioned_anew, now_ns):
            raise GpuUnavailable(f"NVML: GPU {place.device_uuid} was partitioned anew")
        return samples

    def _chosen(self, places: Sequence[Place]) -> tuple[GpuIdentity, ...]:
        handles = {uuid: handle for place in places for uuid, handle in place.handles.items()}
        seen = Seen(tuple(identity for place in places for identity in place.identities), lambda: self._processes(handles))
        try:
            identities = self._choose(seen)
        except ConfigError as error:
            if not self._silent and not any(place.is_unknown for place in places):
                raise
            raise GpuUnavailable(f"NVML: a GPU doesn't answer, and {error}") from error
        for identity in identities:
            if identity.share_by_process and identity.uuid in handles and not tells_processes(self._library, handles[identity.uuid]):
                raise ConfigError("server.gpus", f"share: process, but GPU {identity.uuid} doesn't tell who uses it")
        for place in places:
            own = {identity.uuid for identity in place.identities}
            place.choose(tuple(identity for identity in identities if identity.uuid in own), self._own_processes)
        for gone in (place for place in self._places if place not in places):
            self._past += gone.rejected
        for place in (place for place in places if not place.chosen):
            self._past += place.rejected
            place.leave()
        self._places = tuple(place for place in places if place.chosen)
        self._warn_of_modules(identities)
        return identities

    def _processes(self, handles: Mapping[str, Untyped]) -> Mapping[str, frozenset[int]]:
        """Host pids by UUID; a device that doesn't tell is missing."""
        told = {uuid: optional(pids, self._library, handle) for uuid, handle in handles.items()}
        return {uuid: processes for uuid, processes in told.items() if processes is not None}

    def _look_for_others(self, now_ns: int) -> None:
        """Raises: GpuUnavailable if a device is there now that wasn't when this was opened, so that it is opened anew."""
        if self._checked_ns is None:
            self._checked_ns = now_ns
        if 0 <= now_ns - self._checked_ns < CHECK_NS:
            return
        self._checked_ns = now_ns
        if (optional(self._library.nvmlDeviceGetCount) or 0) > self._count:
            raise GpuUnavailable("NVML: a GPU was added")
        known = {place.device_uuid for place in self._places}
        for index in self._silent:
            uuid = optional(lambda at: self._library.nvmlDeviceGetUUID(self._library.nvmlDeviceGetHandleByIndex(at)), index)
            if uuid is not None and uuid not in known:
                raise GpuUnavailable("NVML: a GPU answers that was silent")

    def _warn_of_modules(self, identities: Sequence[GpuIdentity]) -> None:
        modules = [identity.uuid for identity in identities if identity.power_scope == "module"]
        if modules and not self._told_modules:
            self._told_modules = True
            log.warning("the power of %s is its module's, with the CPU: the GPU's own isn't told", ", ".join(modules))

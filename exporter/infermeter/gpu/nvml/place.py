"""The place of one GPU: the device while it answers, and when it is looked for again while it doesn't."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import pynvml

from infermeter.errors import GpuUnavailable
from infermeter.gpu.nvml.calls import GONE, Untyped, optional
from infermeter.gpu.nvml.device import SOURCE, Device, Wishes, no_rejections
from infermeter.gpu.nvml.mig import MigDevice, instance_handles
from infermeter.gpu.nvml.processes import ProcessShare
from infermeter.model import GpuIdentity, GpuSample, Rejection

log = logging.getLogger(__name__)

_SECOND_NS: Final = 1_000_000_000
RETRY_NS: Final = 10 * _SECOND_NS
"""How long a device that is gone is left alone."""

CHECK_NS: Final = 60 * _SECOND_NS
"""How often it is looked at whether a device was partitioned anew."""


class Held(Protocol):
    """A device that was taken hold of: whole, or its instances."""

    @property
    def identities(self) -> tuple[GpuIdentity, ...]:
        """At least one."""
        ...

    @property
    def handles(self) -> Mapping[str, Untyped]:
        """What to ask about processes, by UUID."""
        ...

    @property
    def rejected(self) -> Counter[Rejection]:
        """What was lost."""
        ...

    def read(self, now_ns: int, chosen: Sequence[str], asking: Callable[[str], None]) -> list[GpuSample]:
        """Samples of those chosen; each UUID is told before it is asked. Raises: NVMLError."""
        ...

    def close(self) -> None:
        """Gives memory of the library back."""
        ...


class Place:
    """One GPU of the machine, and those of its identities that are read."""

    def __init__(self, library: Untyped, index: int, wishes: Wishes, *, driver_version: str | None) -> None:
        """Raises: NVMLError if the device doesn't even tell its UUID. One that does is known, and looked for if it tells no more."""
        self._library = library
        self._index = index
        self._wishes = wishes
        self._driver_version = driver_version
        self._handle = library.nvmlDeviceGetHandleByIndex(index)
        self.device_uuid: str = library.nvmlDeviceGetUUID(self._handle)
        self._held: Held | None = optional(self._take)
        self.is_unknown = self._held is None
        bare = GpuIdentity(self.device_uuid, index=index, driver_version=driver_version, source=SOURCE)
        self._known = (bare,) if self._held is None else self._held.identities
        self._rejected = no_rejections()
        self._shares: dict[str, ProcessShare] = {}
        self._own_processes: Callable[[], frozenset[int]] = frozenset
        self._tried_ns: int | None = None
        self._checked_ns: int | None = None
        self._told_ns: int | None = None
        self._is_silent = False
        self.chosen: tuple[GpuIdentity, ...] = ()

    @property
    def identities(self) -> tuple[GpuIdentity, ...]:
        """The devices that are seen here, or were when it answered last."""
        return self._known

    @property
    def handles(self) -> Mapping[str, Untyped]:
        """What to ask about processes, by UUID; nothing while it doesn't answer."""
        return {} if self._held is None else self._held.handles

    @property
    def rejected(self) -> Counter[Rejection]:
        """What was lost here so far."""
        held = self._held
        return self._rejected if held is None else self._rejected + held.rejected

    @property
    def tallies(self) -> tuple[Mapping[Rejection, int], ...]:
        """The same, not added up yet."""
        held = self._held
        return (self._rejected,) if held is None else (self._rejected, held.rejected)

    def choose(self, chosen: tuple[GpuIdentity, ...], own_processes: Callable[[], frozenset[int]]) -> None:
        """Reads these and no others."""
        self.chosen = chosen
        self._own_processes = own_processes
        self._follow_processes()

    def read(self, now_ns: int, asking: Callable[[str], None]) -> list[GpuSample]:
        """What the chosen say. Raises: NVMLError if the device is in trouble, or gone; GpuUnavailable to be opened anew."""
        uuids = [identity.uuid for identity in self.chosen]
        asking(uuids[0])
        try:
            held = self._held or self._found_again(now_ns)
            samples = held.read(now_ns, uuids, asking)
        except pynvml.NVMLError as error:
            self.miss(len(uuids))
            self._tell_trouble(now_ns, error)
            if self._held is not None and error.value in GONE:
                self.leave()
                self._tried_ns = now_ns
            raise
        if self._is_silent:
            self._is_silent = False
            log.info("GPU %s answers again", self.device_uuid)
        return self._with_shares(samples, now_ns)

    def miss(self, readings: int) -> None:
        """Counts readings that didn't come."""
        self._rejected["read"] += readings

    def partitioned_anew(self, now_ns: int) -> bool:
        """Whether other instances are there now than when this was opened. Looked at now and then. Raises: NVMLError."""
        if self._checked_ns is None:
            self._checked_ns = now_ns
        if self._held is None or 0 <= now_ns - self._checked_ns < CHECK_NS:
            return False
        self._checked_ns = now_ns
        uuids = {self._library.nvmlDeviceGetUUID(handle) for handle in instance_handles(self._library, self._handle)}
        return (uuids or {self.device_uuid}) != {identity.uuid for identity in self._known}

    def leave(self) -> None:
        """Lets go of the device; it is looked for again at the next reading."""
        if self._held is not None:
            self._held.close()
            self._rejected += self._held.rejected
        self._held, self._tried_ns, self._checked_ns = None, None, None

    def _take(self) -> Held:
        handles = instance_handles(self._library, self._handle)
        if not handles:
            return Device(self._library, self._handle, self._index, self._wishes, driver_version=self._driver_version)
        return MigDevice(self._library, self._handle, self._index, self._wishes, handles, driver_version=self._driver_version)

    def _found_again(self, now_ns: int) -> Held:
        """The device by its UUID, since its index may be another's now.

        Raises: NVMLError if it isn't time yet, or it isn't there; GpuUnavailable if more is known of it now than when this was opened.
        """
        if self._tried_ns is not None and 0 <= now_ns - self._tried_ns < RETRY_NS:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        self._tried_ns = now_ns
        self._handle = self._library.nvmlDeviceGetHandleByUUID(self.device_uuid)
        held = self._take()
        if self.is_unknown:
            held.close()
            raise GpuUnavailable(f"NVML: GPU {self.device_uuid} answers that was silent")
        if not {identity.uuid for identity in self.chosen} <= held.handles.keys():
            held.close()
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_NOT_FOUND)
        self._held = held
        self._follow_processes()
        return held

    def _tell_trouble(self, now_ns: int, error: pynvml.NVMLError) -> None:
        """One line when it falls silent, and not more than one a minute if it comes and goes."""
        if self._is_silent or (self._told_ns is not None and 0 <= now_ns - self._told_ns < CHECK_NS):
            return
        self._is_silent, self._told_ns = True, now_ns
        log.warning("GPU %s doesn't answer: %s", self.device_uuid, error)

    def _follow_processes(self) -> None:
        handles = self.handles
        wanted = [identity.uuid for identity in self.chosen if identity.share_by_process and identity.uuid in handles]
        self._shares = {uuid: ProcessShare(self._library, handles[uuid], uuid, self._own_processes) for uuid in wanted}

    def _with_shares(self, samples: list[GpuSample], now_ns: int) -> list[GpuSample]:
        waiting = dict(self._shares)
        for place, sample in enumerate(samples if waiting else ()):
            share = waiting.pop(sample.uuid, None)
            new = None if share is None else share.from_now(now_ns)
            if new is not None:
                samples[place] = replace(sample, share_ratio=new)
        return samples

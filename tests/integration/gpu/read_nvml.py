"""Run in a process of its own, whose LD_LIBRARY_PATH decides which NVML there is: the source that a configuration means, read.

Argument: JSON with `gpu` (keys of the configuration), `reads`, and `through`: "sampler", or "". Optional: `step_seconds` (the library's
clock goes on by so much from reading to reading, from `begin_seconds`; without it nothing is scripted), `touch` (files that come to be
before a reading or phase: {"3": path}), `until` (the phases: UUIDs), `own` (pids of the server, whose share goes by process), `uuids`
(those chosen). Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from infermeter.config import Gpu
from infermeter.errors import GpuUnavailable
from infermeter.gpu.sampler import Sampler
from infermeter.gpu.source import GpuSource, Reading, Seen
from infermeter.gpu.sources import gpu_source
from infermeter.model import GpuIdentity, GpuSample

SECOND_NS = 1_000_000_000


class Script:
    """The library's clock, and what happens when."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._step_ns = round(wanted.get("step_seconds", 0) * SECOND_NS)
        self._begin_ns = round(wanted.get("begin_seconds", 1_800_000_000) * SECOND_NS)
        self._touch: dict[str, str] = wanted.get("touch", {})
        self._library = ctypes.CDLL("libnvidia-ml.so.1") if self._step_ns else None
        self.instant(0)

    def instant(self, reading: int) -> int:
        """When a reading is taken; what is to happen before it has happened."""
        if file := self._touch.get(str(reading)):
            Path(file).touch()
        if self._library is None:
            return reading
        now_ns = self._begin_ns + reading * self._step_ns
        self._library.stub_set_time_ns(ctypes.c_ulonglong(now_ns))
        return now_ns

    def truth(self, gpus: int) -> list[float]:
        """The energy that each device has really used by now, in joules."""
        if self._library is None:
            return []
        self._library.stub_joules.restype = ctypes.c_double
        return [self._library.stub_joules(index) for index in range(gpus)]


def choosing(wanted: dict[str, Any]) -> Callable[[Seen], tuple[GpuIdentity, ...]]:
    """Those that are named, or all; each by process where the server's pids are told."""

    def choose(seen: Seen) -> tuple[GpuIdentity, ...]:
        identities = [identity for identity in seen.identities if identity.uuid in wanted.get("uuids", [identity.uuid])]
        return tuple(replace(identity, share_by_process="own" in wanted) for identity in identities)

    return choose


def read(source: GpuSource, wanted: dict[str, Any], script: Script) -> dict[str, Any]:
    """Identities, samples by reading, the true energy at each of them; an error in a reading's place, and what was opened after it."""
    samples: list[Any] = []
    truth: list[list[float]] = []
    identities: list[Any] = []
    try:
        identities = [asdict(identity) for identity in source.open()]
        for reading in range(wanted["reads"]):
            now_ns = script.instant(reading)
            truth.append(script.truth(len(identities)))
            samples.append([asdict(sample) for sample in source.read(now_ns)])
    except GpuUnavailable as error:
        if not samples:
            return {"unavailable": str(error)}
        samples.append(str(error))
    finally:
        source.close()
    kept = ctypes.CDLL("libnvidia-ml.so.1").stub_allocated()
    return {
        "name": source.name,
        "identities": identities,
        "samples": samples,
        "truth": truth,
        "rejected": dict(source.rejected),
        "allocated": kept,
    }


async def sampled(source: GpuSource, settings: Gpu, wanted: dict[str, Any]) -> dict[str, Any]:
    """What the loop sees of a source whose calls hang: waits until exactly those of each phase of `until` have spoken in a reading."""
    readings: asyncio.Queue[Reading] = asyncio.Queue()
    failures: asyncio.Queue[Exception] = asyncio.Queue()
    sampler = Sampler(
        source,
        interval_seconds=settings.interval,
        timeout_seconds=settings.timeout,
        now=time.time_ns,
        loop=asyncio.get_running_loop(),
        deliver=readings.put_nowait,
        fail=failures.put_nowait,
    )
    sampler.start()
    await readings.get()
    rejected = 0
    for phase, until in enumerate(wanted["until"]):
        if file := wanted.get("touch", {}).get(str(phase)):
            await asyncio.to_thread(Path(file).touch)
        heard: set[str] | None = None
        while heard != set(until):
            reading = await readings.get()
            rejected += reading.rejected.get("read", 0)
            heard = {sample.uuid for sample in reading.samples if isinstance(sample, GpuSample)}
    seen = {"is_rejected": rejected > 0, "up": sampler.up, "failed": failures.qsize()}
    sampler.stop()
    return seen


def main() -> None:
    """Reads, and prints what was read."""
    wanted = json.loads(sys.argv[1])
    settings = Gpu(**wanted["gpu"])
    own = frozenset(wanted.get("own", ()))
    source = gpu_source(settings, busy_share=lambda _begin_ns, _end_ns: 0.0, choose=choosing(wanted), own_processes=lambda: own)
    seen = None
    if source is not None:
        seen = asyncio.run(sampled(source, settings, wanted)) if wanted["through"] else read(source, wanted, Script(wanted))
    json.dump(seen, sys.stdout)


main()

"""Run in a process of its own, whose LD_LIBRARY_PATH decides which NVML there is: the source that a configuration means, read.

Argument: JSON with `gpu` (keys of the configuration), `reads`, and `through`: "sampler", or "". Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from infermeter.config import Gpu
from infermeter.errors import GpuUnavailable
from infermeter.gpu.sampler import Sampler
from infermeter.gpu.source import GpuSource, Reading
from infermeter.gpu.sources import gpu_source


def read(source: GpuSource, reads: int) -> dict[str, Any]:
    """Identities and samples, or the error."""
    try:
        identities = [asdict(identity) for identity in source.open()]
        samples = [[asdict(sample) for sample in source.read(instant)] for instant in range(reads)]
    except GpuUnavailable as error:
        return {"unavailable": str(error)}
    finally:
        source.close()
    return {"name": source.name, "identities": identities, "samples": samples, "rejected": dict(source.rejected)}


async def sampled(source: GpuSource, settings: Gpu) -> dict[str, Any]:
    """What the loop sees of a source whose calls are slow: when it was told what, and whether it ever waited."""
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
    late = await readings.get()
    seen = {"samples": len(late.samples), "rejected": dict(late.rejected), "up": sampler.up, "last_error": sampler.last_error}
    sampler.stop()
    return seen


def main() -> None:
    """Reads, and prints what was read."""
    wanted = json.loads(sys.argv[1])
    settings = Gpu(**wanted["gpu"])
    source = gpu_source(settings, busy_share=lambda _begin_ns, _end_ns: 0.0)
    seen = None
    if source is not None:
        seen = asyncio.run(sampled(source, settings)) if wanted["through"] else read(source, wanted["reads"])
    json.dump(seen, sys.stdout)


main()

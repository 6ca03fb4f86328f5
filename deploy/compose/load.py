"""Load for the demo's server, for ever: `load.py URL`. It rises and falls over an hour between a tenth and six tenths of the capacity."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import sys

import aiohttp

from infermeter.demo.load import Load

HOUR_SECONDS = 3600
CAPACITY_SECONDS = 3.0
LOW, HIGH = 0.1, 0.6
WAIT_SECONDS = 0.5


async def main(url: str) -> None:
    """Waits for the server, measures what it can do, then sends shares of that."""
    await _answering(url)
    async with Load(url, in_flight=32) as load:
        capacity = await load.measured_capacity(CAPACITY_SECONDS)
        print(f"capacity {capacity:.0f} inferences/s", flush=True)
        await load.run(math.inf, lambda elapsed: capacity * _share(elapsed))


def _share(elapsed_seconds: float) -> float:
    """Of the capacity; lowest at the beginning of each hour."""
    return LOW + (HIGH - LOW) * (1 - math.cos(2 * math.pi * elapsed_seconds / HOUR_SECONDS)) / 2


async def _answering(url: str) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS)) as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(url):
                    return
            await asyncio.sleep(WAIT_SECONDS)


async def _until_told() -> None:
    work = asyncio.create_task(main(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


if __name__ == "__main__":
    asyncio.run(_until_told())

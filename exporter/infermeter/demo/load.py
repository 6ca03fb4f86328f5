"""Clients for the demo's server: requests at random instants at a rate that changes with time."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp

from infermeter.demo.network import INPUTS

BODIES = 16
"""Different inputs that the clients take turns with."""

LOOK_AGAIN_SECONDS = 0.5
"""How long a rate holds before it is asked for again."""

PATIENCE = aiohttp.ClientTimeout(total=30)


class Load:
    """Clients of one server, with at most `in_flight` open requests; an async context manager. The counters are the clients' own."""

    def __init__(self, url: str, *, in_flight: int, seed: int = 0) -> None:
        self.answered = 0
        self.failed = 0
        self.offered_per_second = 0.0
        self._url = url
        self._in_flight = in_flight
        self._free = asyncio.Semaphore(in_flight)
        self._random = random.Random(seed)  # noqa: S311 - arrival times, not secrets
        self._bodies = [json.dumps({"input": [round(self._random.gauss(0, 1), 4) for _ in range(INPUTS)]}).encode() for _ in range(BODIES)]

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=PATIENCE)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.close()

    async def measured_capacity(self, seconds: float) -> float:
        """Inferences per second with every client asking again as soon as it is answered."""
        begin, before = time.monotonic(), self.answered

        async def client() -> None:
            while time.monotonic() - begin < seconds:
                await self._request()

        await asyncio.gather(*(client() for _ in range(self._in_flight)))
        return (self.answered - before) / (time.monotonic() - begin)

    async def run(self, seconds: float, rate: Callable[[float], float]) -> None:
        """Sends for so many seconds, `rate(elapsed seconds)` requests a second, then waits for the last answers.

        Arrivals are a Poisson process. A load that the server can't take is held back by the clients' limit rather than piled up.
        """
        begin = due = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            while (elapsed := due - begin) < seconds:
                self.offered_per_second = rate(elapsed)
                gap = self._random.expovariate(self.offered_per_second) if self.offered_per_second > 0 else math.inf
                due = max(due + min(gap, LOOK_AGAIN_SECONDS), time.monotonic())
                await asyncio.sleep(due - time.monotonic())
                if gap > LOOK_AGAIN_SECONDS:  # nobody came; what has no memory may be drawn anew, at the rate of now
                    continue
                await self._free.acquire()
                requests.create_task(self._counted_request())
        self.offered_per_second = 0.0

    async def _counted_request(self) -> None:
        try:
            await self._request()
        finally:
            self._free.release()

    async def _request(self) -> None:
        body = self._bodies[(self.answered + self.failed) % BODIES]
        try:
            async with self._http.post(self._url, data=body) as response:
                await response.read()
                good = response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            good = False
        if good:
            self.answered += 1
        else:
            self.failed += 1

"""What a running sidecar has to say, for tests that compare it with what others measured."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from support.running import Clock, Running

SIDECAR = 'listen: {web: "127.0.0.1:0", otlp_grpc: null, otlp_http: "127.0.0.1:0"}\nserver: {kind: infermeter}\ngpu: {source: none}\n'
"""One that takes native spans over HTTP and looks at no GPU."""


def values(report: dict[str, Any], family: str, **labels: str) -> list[Any]:
    """The values of the rows that have these labels."""
    return [row["value"] for row in report.get(family, []) if labels.items() <= row["labels"].items()]


def sums(report: dict[str, Any], family: str, label: str) -> dict[str, float]:
    """The sums of a histogram's rows, by one of their labels."""
    return {row["labels"][label]: row["sum"] for row in report.get(family, [])}


async def told(sidecar: Running, clock: Clock, count: int) -> dict[str, Any]:
    """The report once it has so many inferences."""
    async with asyncio.timeout(20):
        while True:
            clock.turn_to(max(time.time_ns(), clock.unix_ns))
            report: dict[str, Any] = await sidecar.report()
            if sum(values(report, "inferences_observed_total")) >= count:
                return report
            await asyncio.sleep(0.05)

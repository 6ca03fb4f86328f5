"""What is read from outside besides spans: the GPUs, their host, the server's own metrics, prices. Each on a thread of its own.

Start, readiness, scrape and stop never wait for any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from infermeter.config import Config, Gpu, Server, opencost_of
from infermeter.gpu.sampler import Sampler
from infermeter.gpu.source import GpuSource, Reading
from infermeter.host.source import HostSource
from infermeter.mapping import ServerMapping
from infermeter.model import HostSample, ServerReading
from infermeter.polling import Poller
from infermeter.prices.in_force import Quote
from infermeter.prices.opencost import TIMEOUT_SECONDS, OpenCostPrices
from infermeter.scrape.scraper import Scraper


@dataclass(frozen=True, slots=True)
class Takers:
    """Whom the readers tell, on the loop. `fail` is told what must end the process."""

    gpus: Callable[[Reading], None]
    host: Callable[[HostSample], None]
    server: Callable[[ServerReading], None]
    prices: Callable[[Quote], None]
    fail: Callable[[Exception], None]


class _Reader(Protocol):
    """Something that reads on a thread of its own."""

    def start(self) -> None:
        """Begins to read; returns at once."""
        ...

    def stop(self) -> None:
        """Tells nothing any more; doesn't wait."""
        ...


class Readers:
    """All readers of a configuration, made on the loop and not started yet."""

    def __init__(
        self,
        config: Config,
        mappings: Sequence[ServerMapping],
        *,
        gpus: GpuSource | None,
        host: HostSource | None,
        now_ns: Callable[[], int],
        takers: Takers,
    ) -> None:
        """`now_ns` is unix nanoseconds, called on the threads."""
        self._loop = asyncio.get_running_loop()
        self._now_ns = now_ns
        self._takers = takers
        self._wants_gpus = config.gpu.source != "none"
        self._sampler = None if gpus is None else self._gpu_reader(config.gpu, gpus)
        self._host = None if host is None else self._host_reader(config.gpu, host)
        url = config.server.metrics_url
        self._scraper = None if url is None else self._server_reader(config.server, url, mappings)
        self._opencost = opencost_of(config)
        self._prices = self._price_reader()

    def start(self) -> None:
        """Begins to read; returns at once."""
        for reader in self._every():
            reader.start()

    def ask_prices_as(self, config: Config) -> None:
        """From now on prices are asked for as this configuration says, and no other is told. Called after the start."""
        opencost = opencost_of(config)
        if opencost == self._opencost:
            return
        if self._prices:
            self._prices.stop()
        self._opencost = opencost
        self._prices = self._price_reader()
        if self._prices:
            self._prices.start()

    def stop(self) -> None:
        """Nothing is told any more once this returns and the loop has turned; doesn't wait for a call under way."""
        for reader in self._every():
            reader.stop()

    def _every(self) -> list[_Reader]:
        every: tuple[_Reader | None, ...] = (self._sampler, self._host, self._scraper, self._prices)
        return [reader for reader in every if reader]

    def _gpu_reader(self, settings: Gpu, source: GpuSource) -> Sampler:
        return Sampler(
            source,
            interval_seconds=settings.interval,
            timeout_seconds=settings.timeout,
            now=self._now_ns,
            loop=self._loop,
            deliver=self._takers.gpus,
            fail=self._takers.fail,
        )

    def _host_reader(self, settings: Gpu, source: HostSource) -> Poller[HostSample]:
        """It is read as often as the GPUs."""
        return Poller(
            f"host power ({source.name})",
            source.read,
            interval_seconds=settings.interval,
            timeout_seconds=settings.timeout,
            now=self._now_ns,
            loop=self._loop,
            deliver=self._takers.host,
            fail=self._takers.fail,
        )

    def _server_reader(self, settings: Server, url: str, mappings: Sequence[ServerMapping]) -> Scraper:
        return Scraper(
            url,
            mappings,
            interval_seconds=settings.metrics_interval,
            token_file=settings.metrics_token_file,
            now=self._now_ns,
            loop=self._loop,
            deliver=self._takers.server,
            fail=self._takers.fail,
        )

    def _price_reader(self) -> _Reader | None:
        opencost = OpenCostPrices.configured(self._opencost)
        if opencost is None:
            return None
        return Poller(
            "the Prometheus of cost.opencost",
            opencost.quote,
            interval_seconds=opencost.retry_seconds,
            timeout_seconds=TIMEOUT_SECONDS + 1,
            now=self._now_ns,
            loop=self._loop,
            deliver=self._takers.prices,
            fail=self._takers.fail,
        )

    @property
    def gpu_source(self) -> str | None:
        """The name of the source of GPU readings, None for none."""
        return self._sampler.source_name if self._sampler else None

    @property
    def gpu_source_up(self) -> bool | None:
        """Whether it answers; None for none."""
        return self._sampler.up if self._sampler else None

    @property
    def gpu_trouble(self) -> str | None:
        """Why nothing tells of GPUs, in a few words; None: their source does, if only that there are none. It is asked nothing."""
        if self._sampler is None:
            return "no driver is here" if self._wants_gpus else "gpu.source is none"
        if self._sampler.up:
            return None
        name, error = self._sampler.source_name, self._sampler.last_error
        if error is None:
            return f"{name} hasn't answered yet"
        return f"{name} doesn't answer in time" if error == "TimeoutError" else f"{name} is unavailable"

    @property
    def server_scrape_up(self) -> bool | None:
        """Whether the server's own metrics answer; None where nothing asks for them."""
        return self._scraper.up if self._scraper else None

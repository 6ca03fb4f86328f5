"""The composition root: one process, one event loop that owns all state. Reads like the way of the data.

    otlp (HTTP, gRPC)                 -> Intake -> Meter (mapping, ledger) -> Snapshot -> metrics -> web
    gpu, host, scrape, prices (a thread each) -> Readers  ------^
    otlp -> Receiver -> Forwarder -> the user's own collector

Everything that is global to a process (clock, devices, the file that outlives it, the signal to stop) is a parameter of `run`, so that
tests run the real program in their own process, on ports of their own, under a clock of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from prometheus_client import ProcessCollector

from infermeter.config import Config
from infermeter.faces import Face, drained, listen, unless
from infermeter.forward.forwarder import forwarder
from infermeter.gpu.source import GpuSource, Reading
from infermeter.host.source import HostSource
from infermeter.intake import Intake
from infermeter.mapping import ServerMapping
from infermeter.memory import Memory
from infermeter.meter import Meter, Surroundings
from infermeter.metrics.exposition import Exposition
from infermeter.metrics.report import findings_report, report_pieces
from infermeter.model import HostSample, ServerReading, Snapshot
from infermeter.otlp import access as otlp_access
from infermeter.otlp.decoders import tell
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.http import HttpReceiver
from infermeter.prices.in_force import Quote
from infermeter.prices.listing import NOTHING_LISTED, Listed
from infermeter.readers import Readers, Takers
from infermeter.reloads import Offer, Reload, Reloads
from infermeter.state import Saver, StateFile
from infermeter.systemd import Supervisor
from infermeter.web import access as web_access
from infermeter.web.page import LINKS
from infermeter.web.page.status import STATUS
from infermeter.web.server import WebServer

log = logging.getLogger(__name__)

ADVANCE_SECONDS = 1.0
"""How often time passes for the ledger: one tick."""

SAVE_SECONDS = 60.0
"""How often what was learnt is saved: this much of it a crash may lose."""

RECALL_SECONDS = 1.0
"""How long the start waits for what was learnt before."""

FORWARD_SECONDS = 0.7
"""How long the end lets exports be passed on, counted from its beginning."""

LAST_SECONDS = 1.5
"""How long the end waits in all, counted from its beginning."""

LAST_SAVE_SECONDS = 0.5
"""Of which the last save has at least so much."""


class Instant(NamedTuple):
    """One reading of both clocks: wall-clock time, as senders stamp it, and monotonic time, by which money accrues."""

    unix_ns: int
    monotonic_ns: int


Now: TypeAlias = Callable[[], Instant]
Pause: TypeAlias = Callable[[asyncio.Event], Awaitable[None]]
"""Returns when the next tick is due, or the event is set."""
Gpus: TypeAlias = Callable[[Callable[[int, int], float]], GpuSource | None]
"""Makes the GPU source, given the share of the time between two instants in which something computed (a simulated GPU follows it)."""

Hosts: TypeAlias = Callable[[str], HostSource | None]
"""Makes the source of the host's power, given the name of what reads the GPUs (`none` for nothing). Raises: ConfigError."""


async def a_second(stop: asyncio.Event) -> None:
    """Waits for ADVANCE_SECONDS, or until `stop` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ADVANCE_SECONDS):
            await stop.wait()


async def run(  # noqa: PLR0913 - what is global to a process, and what its files hold
    config: Config,
    mappings: Sequence[ServerMapping],
    *,
    gpus: Gpus,
    host: Hosts = lambda _: None,
    listed: Listed = NOTHING_LISTED,
    reload: Reload | None = None,
    state: StateFile | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
    now: Now,
    pause: Pause = a_second,
    stop: asyncio.Event,
    hurry: asyncio.Event | None = None,
    supervisor: Supervisor | None = None,
    on_listen: Callable[[Mapping[str, str]], None],
) -> Snapshot:
    """Serves until `stop` is set; then takes what was accepted, settles, saves what was learnt, and returns what was counted.

    `listed` is what the files hold that it names, `reload` where a new configuration comes from (None: it never changes), `environ` what
    `forward.headers` take from the environment; `pause` lasts from tick to tick; once `hurry` is set, the end waits for nobody but the
    last save; `supervisor` is told what goes on (None: nobody); `on_listen` is told each address by its key, once bound.

    Raises:
        ListenError: an address can't be listened on.
        ConfigError: the configuration names GPUs that aren't there.
        ConfigErrors: it names variables of the environment that aren't there.
    """
    sidecar = Sidecar(
        Offer(config, listed),
        mappings,
        gpus=gpus,
        host=host,
        reload=reload,
        state=state,
        environ=environ,
        now=now,
        pause=pause,
        stop=stop,
        supervisor=supervisor or Supervisor(None),
    )
    loop = asyncio.get_running_loop()
    faces = sidecar.faces()
    try:
        if sidecar.forwarder:
            sidecar.forwarder.start()
        on_listen({key: await listen(key, getattr(config.listen, key), face) for key, face in faces.items()})
        sidecar.readers.start()
        await sidecar.serve()
    finally:
        stopped_at = loop.time()
        sidecar.stop()
        await unless(hurry, drained(faces.values(), sidecar.forwarder, stopped_at + FORWARD_SECONDS))
    if sidecar.failure:
        raise sidecar.failure
    return sidecar.finish(save_seconds=max(stopped_at + LAST_SECONDS - loop.time(), LAST_SAVE_SECONDS))


class Sidecar:
    """What `run` puts together: meter, transports, web face and readers, and the turning of time between them."""

    def __init__(  # noqa: PLR0913 - as `run`
        self,
        offer: Offer,
        mappings: Sequence[ServerMapping],
        *,
        gpus: Gpus,
        host: Hosts,
        reload: Reload | None,
        state: StateFile | None,
        environ: Mapping[str, str],
        now: Now,
        pause: Pause,
        stop: asyncio.Event,
        supervisor: Supervisor,
    ) -> None:
        """Starts to count now, with what was learnt before; listens to nothing yet, and reads nothing."""
        config = self._config = offer.config
        self._now = now
        self._pause = pause
        self._stop = stop
        self._supervisor = supervisor
        self._last = now()
        self._meter = Meter(config, mappings, start_ns=self._last.unix_ns, listed=offer.listed)
        self._memory = Memory(config.limits.memory_bytes)
        self.forwarder = (
            forwarder(config.forward, environ, monotonic=lambda: now().monotonic_ns / 1e9, fail=self._fail)
            if config.forward.endpoint is not None
            else None
        )
        self._intake = Intake(
            self._meter,
            config.limits,
            now_ns=lambda: now().unix_ns,
            exhausted=self._memory.exceeded,
            accepted=self.forwarder.offer if self.forwarder else None,
            guard=self._mistakes_end_it,
        )
        self._exposition = Exposition((ProcessCollector(registry=None),))
        self._state = state
        self._saver = Saver(state) if state else None
        self._saved_ns = self._last.monotonic_ns
        self._recall()
        source = gpus(self._meter.recent_compute.share)
        self.readers = Readers(
            config,
            mappings,
            gpus=source,
            host=host(source.name if source else "none"),
            now_ns=lambda: now().unix_ns,
            takers=Takers(
                gpus=self._take_reading, host=self._take_host, server=self._take_server, prices=self._take_price, fail=self._fail
            ),
        )
        self._reload = reload or Reload(lambda: offer, asyncio.Event())
        self._reloads = Reloads(offer, read=self._reload.read, take=self._take_offer, now_ns=lambda: now().unix_ns)
        self._expects_spans = any(mapping.rules for mapping in mappings)
        self._has_gpus = False
        self._phase: Literal["starting", "ready", "stopping"] = "starting"
        self.failure: Exception | None = None

    def faces(self) -> dict[str, Face]:
        """What listens, by its key below `listen`, without what is switched off. Raises: ConfigErrors, ConfigError (who may ask)."""
        senders = otlp_access.watched(self._config.otlp, fail=self._fail)
        every: dict[str, Callable[[], Face]] = {
            "web": lambda: WebServer(
                render=lambda accept: self._exposition.pieces(self._snapshot(), accept),
                report=lambda: report_pieces(self._snapshot()),
                events=lambda: report_pieces(self._snapshot(), slots=False),
                findings=lambda: findings_report(self._snapshot().advice.findings),
                ready=self.readiness,
                page=STATUS if self._config.web.page else LINKS,
                reload=self.reload if self._config.web.lifecycle else None,
                access=web_access.watched(self._config.web.config_file, fail=self._fail),
                auth_failures_per_minute=self._config.web.auth_failures_per_minute,
            ),
            "otlp_grpc": lambda: GrpcReceiver(self._intake.receiver, senders),
            "otlp_http": lambda: HttpReceiver(self._intake.receiver, senders),
        }
        return {key: make() for key, make in every.items() if getattr(self._config.listen, key) is not None}

    def readiness(self) -> tuple[bool, str]:
        """Whether everything listens, and a line about it, which also tells what there is nothing to count from. Asks nobody."""
        if self._phase != "ready":
            return False, self._phase
        spans = sum(self._intake.receiver.spans_received.values())
        gpus = self.readers.gpu_trouble or (None if self._has_gpus else f"{self.readers.gpu_source} shows none of this server's")
        told = ("ready", f"without a GPU: {gpus}" if gpus else "", "no spans yet" if self._expects_spans and not spans else "")
        return True, ", ".join(text for text in told if text)

    async def serve(self) -> None:
        """From now on everything listens and is read: serves until it is to stop."""
        self._phase = "ready"
        tell(self._intake.decoder)
        self._supervisor.ready(self.readiness()[1])
        async with self._reloading_when_asked():
            with self._supervisor.watched():
                await self._turn_until_stopped()

    def stop(self) -> None:
        """Nothing more is read, and nobody is told that this is ready."""
        self._phase = "stopping"
        self._supervisor.stopping()
        self.readers.stop()

    async def reload(self) -> tuple[bool, str]:
        """Takes a new configuration over as a whole, or not at all; whether it did, and a line about it."""
        if self._phase != "ready":
            return False, f"not reloaded: it is {self._phase}"
        self._supervisor.reloading()
        try:
            with self._mistakes_end_it():
                return await self._reloads.reload()
        finally:
            self._supervisor.ready(self.readiness()[1])

    @asynccontextmanager
    async def _reloading_when_asked(self) -> AsyncIterator[None]:
        """Reloads whenever the operator asks; to ask again before it has begun is to ask once."""

        async def reload() -> None:
            while await self._reload.asked.wait():
                self._reload.asked.clear()
                await self.reload()

        reloading = asyncio.create_task(reload())
        try:
            yield
        finally:
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)  # a mistake of ours has ended it, and is told by `run`

    async def _turn_until_stopped(self) -> None:
        """Lets time pass for the ledger, tick by tick."""
        while not self._stop.is_set():
            self._advance()
            await self._read_ahead()
            self._memory.refresh()
            self._save_sometimes()
            self._supervisor.is_told(self.readiness()[1])
            await self._pause(self._stop)

    def finish(self, *, save_seconds: float) -> Snapshot:
        """Nothing arrives any more: completes what is pending, settles, and saves."""
        self._advance()
        self._meter.finish(self._last.unix_ns)
        if self._saver:
            self._saver.finish(self._meter.remember(), seconds=save_seconds)
        return self._snapshot_at(self._last.unix_ns)

    def _take_reading(self, reading: Reading) -> None:
        with self._mistakes_end_it():
            if reading.identities is not None:
                self._has_gpus = bool(reading.identities)
                self._meter.gpus_changed(reading.identities)
            self._meter.add_samples(reading.samples, rejected=reading.rejected)

    def _take_host(self, sample: HostSample) -> None:
        with self._mistakes_end_it():
            self._meter.add_samples((sample,), rejected={})

    def _take_server(self, reading: ServerReading) -> None:
        with self._mistakes_end_it():
            self._meter.add_server_reading(reading)

    def _take_price(self, quote: Quote) -> None:
        with self._mistakes_end_it():
            self._advance()  # what has passed is paid by the price before
            self._meter.quoted(quote)

    def _take_offer(self, offer: Offer) -> None:
        """Puts another configuration in force; raises RestartNeeded if it can't, and then has changed nothing."""
        self._advance()  # what has passed is paid by the prices before
        self._meter.reconfigure(offer.config, listed=offer.listed)
        self.readers.ask_prices_as(offer.config)

    def _recall(self) -> None:
        """Takes up what an earlier run has learnt. Blocks for one small file, and not for long, before anything listens."""
        damaged = self._meter.recall(self._state.load_within(RECALL_SECONDS)) if self._state else ()
        if damaged:
            log.warning("state file: %s can't be read, and is learnt anew", ", ".join(damaged))

    def _save_sometimes(self) -> None:
        """Saves in a thread, one at a time: a disk can hang."""
        if self._saver and not self._saver.busy and self._last.monotonic_ns - self._saved_ns >= SAVE_SECONDS * 1e9:
            self._saved_ns = self._last.monotonic_ns
            self._saver.begin(self._meter.remember())

    @contextmanager
    def _mistakes_end_it(self) -> Iterator[None]:
        """Our own mistakes end the process, where a callback's would only be logged by the loop."""
        try:
            yield
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._stop.set()

    def _advance(self) -> None:
        self._intake.drain()
        instant = self._now()
        self._meter.advance(instant.unix_ns, instant.monotonic_ns - self._last.monotonic_ns)
        self._last = instant

    async def _read_ahead(self) -> None:
        """Reads what a snapshot is made of, step by step, for the loop to have its turn in between, and then considers what to advise."""
        for _ in self._meter.read_ahead():
            await asyncio.sleep(0)
        self._meter.consider(self._last.unix_ns)

    def _snapshot(self) -> Snapshot:
        self._advance()
        return self._snapshot_at(self._last.unix_ns)

    def _snapshot_at(self, now_ns: int) -> Snapshot:
        return self._meter.snapshot(
            now_ns,
            spans_received=self._intake.receiver.spans_received,
            spans_dropped=self._intake.receiver.spans_dropped,
            exports_refused=self._intake.receiver.exports_refused,
            connections_displaced=self._intake.receiver.connections_displaced.total(),
            surroundings=Surroundings(
                gpu_source=self.readers.gpu_source,
                gpu_source_up=self.readers.gpu_source_up,
                server_scrape_up=self.readers.server_scrape_up,
                state_files_rejected=self._state.rejected if self._state else None,
                config_loaded_ns=self._reloads.loaded_ns,
                config_reload_successful=self._reloads.successful,
                forward=self.forwarder.facts() if self.forwarder else None,
            ),
        )

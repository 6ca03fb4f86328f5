"""The meter: mapping and ledger joined, from decoded exports and GPU samples to a Snapshot. Still pure: no I/O, no clock.

`Meter` is what `serve` feeds as things arrive; `Replay` runs the same mapper and the same ledger over a whole recording. Both put
their Snapshot together in one place, `_snapshot`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import numpy as np

from infermeter import __revision__, __version__
from infermeter.advice import advise, premises_of
from infermeter.advice.adviser import EVERY_NS, Adviser
from infermeter.config import Config, opencost_of
from infermeter.errors import InputError
from infermeter.ledger import Ledger
from infermeter.ledger.tariff import Prices
from infermeter.mapping import Mapper, ServerMapping
from infermeter.model import (
    Advice,
    Export,
    ForwardFacts,
    GpuIdentity,
    GpuSample,
    HostSample,
    InferenceBatch,
    IntakeFacts,
    Ints,
    LedgerSnapshot,
    Rejection,
    ServerReading,
    Snapshot,
)
from infermeter.prices.in_force import Quote, prices_in_force
from infermeter.prices.listing import NOTHING_LISTED, Listed
from infermeter.reloading import RestartNeeded

Counts: TypeAlias = Mapping[Any, int]
"""By label value, or a tuple of them. A mapping's keys are invariant, and every counter has literals of its own: hence Any."""

LONGEST_REPLAY_NS = 366 * 86_400 * 1_000_000_000
"""A year: what lasts longer has a wrong time in it, and every second of it would be settled."""

FLUSH_SPANS = 8192
"""Spans that wait before they are mapped at once, whatever the time: keeps a flood from piling up between two turns.

Each time costs some thousand calls, whatever there is to map; so many spans take some 10 ms, while which nothing else is done.
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The state of what is read from outside; None where a thing isn't configured.

    `config_loaded_ns`: when the configuration in force was; `config_reload_successful`: whether it is the last that was offered.
    """

    gpu_source: str | None = None
    gpu_source_up: bool | None = None
    server_scrape_up: bool | None = None
    state_files_rejected: int | None = None
    config_loaded_ns: int | None = None
    config_reload_successful: bool = True
    forward: ForwardFacts | None = None


class Meter:
    """What `serve` feeds, in the order of arrival; one thread."""

    def __init__(self, config: Config, mappings: Sequence[ServerMapping], *, start_ns: int, listed: Listed = NOTHING_LISTED) -> None:
        """A meter that starts counting at `start_ns` (unix); `listed` is what the files hold that the configuration names."""
        self._config = config
        self._mapper = Mapper(mappings, assembly=config.assembly, limits=config.limits)
        self._ledger = Ledger(config, start_ns=start_ns, sampled=_sampled(config, self._mapper), gpus=())
        self._listed = listed
        self._adviser = Adviser(config, listed.devices, listed.candidate_prices)
        self._quote: Quote | None = None
        self._gpus: tuple[GpuIdentity, ...] = ()
        self._reprice()
        self._reads_spans = any(mapping.rules for mapping in mappings)
        self._is_counted_by_server = config.server.metrics_url is not None
        self._waiting = 0
        self.wanted = self._mapper.wanted
        self.recent_compute = RecentCompute(start_ns)

    def consume(self, export: Export, now_ns: int) -> None:
        """Takes a decoded export; its inferences are booked by the next `flush`: after FLUSH_SPANS spans at the latest."""
        self._mapper.add(export.batches, now_ns)
        self._waiting += export.spans
        if self._waiting >= FLUSH_SPANS or self._mapper.presses:
            self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Maps and books every trace that is complete."""
        self._waiting = 0
        self._book(self._mapper.take(now_ns), now_ns)

    def gpus_changed(self, identities: Sequence[GpuIdentity]) -> None:
        """The devices that are this server's, as their source names them now."""
        self._ledger.gpus_changed(identities)
        self._gpus = tuple(identities)
        self._reprice()

    def quoted(self, quote: Quote) -> None:
        """What a GPU costs from the last `advance` on."""
        self._quote = quote
        self._reprice()

    def reconfigure(self, config: Config, *, listed: Listed) -> None:
        """From the last `advance` on, the prices and SLAs of another configuration are in force; nothing that was counted is lost.

        Raises: RestartNeeded, if money would be of another currency; then nothing has changed.
        """
        quote = self._quote if opencost_of(config) == opencost_of(self._config) else None
        prices = prices_in_force(config.cost, listed=listed, quote=quote, gpus=self._gpus)
        if self._prices.currency not in (None, prices.currency):
            raise RestartNeeded("cost.currency", "is another one than that of the money that was counted; this needs a restart")
        self._config, self._listed, self._quote = config, listed, quote
        self._ledger.reconfigure(config)
        self._adviser.reconfigure(config, listed.devices, listed.candidate_prices)
        self._reprice()

    def add_samples(self, samples: Sequence[GpuSample | HostSample], *, rejected: Mapping[Rejection, int]) -> None:
        """Readings of the devices and of their host, each in order of time, and those that the source had to reject, by reason."""
        self._ledger.add_samples(sample for sample in samples if isinstance(sample, GpuSample))
        self._ledger.add_host_samples(sample for sample in samples if isinstance(sample, HostSample))
        for reason, n in rejected.items():
            self._ledger.reject(reason, n)

    def add_server_reading(self, reading: ServerReading) -> None:
        """What the server's own metrics say since the last reading."""
        self._is_counted_by_server = reading.counts_inferences or not self._reads_spans
        self._ledger.add_server_reading(reading)

    def remember(self) -> dict[str, Any]:
        """What was learnt and outlives a restart, ready for JSON, by section."""
        return self._ledger.remember()

    def recall(self, sections: Mapping[str, Any]) -> tuple[str, ...]:
        """Takes up what `remember` told before; the sections that are damaged, of which nothing was taken."""
        return self._ledger.recall(sections)

    def advance(self, now_ns: int, elapsed_ns: int) -> None:
        """Time has passed: `elapsed_ns` on a monotonic clock. Accrues cost, closes slots, settles ticks."""
        self.flush(now_ns)
        self._ledger.advance(now_ns, elapsed_ns)

    def read_ahead(self) -> Iterator[None]:
        """Reads what the next snapshot would have to, in steps of some two milliseconds: in between anything else may be called."""
        return self._ledger.read_ahead()

    def consider(self, now_ns: int, *, every_ns: int = EVERY_NS) -> None:
        """Considers what to advise, if the last time is so long ago: by a snapshot, of which all that can be is best read ahead."""
        self._adviser.consider(now_ns, lambda: self._ledger.snapshot(now_ns), price_as_of_ns=self._prices.as_of_ns, every_ns=every_ns)

    def finish(self, now_ns: int) -> None:
        """Nothing more will arrive: completes what is pending and settles everything."""
        self._book(self._mapper.finish(), now_ns)
        self._ledger.finish(now_ns)
        self.consider(now_ns, every_ns=0)

    def snapshot(
        self,
        now_ns: int,
        *,
        spans_received: Counts,
        spans_dropped: Counts,
        exports_refused: Counts,
        connections_displaced: int,
        surroundings: Surroundings,
    ) -> Snapshot:
        """All that is known at `now_ns`; changes nothing. The counters are the transports'."""
        ledger = self._ledger.snapshot(now_ns)
        return _snapshot(
            self._config,
            ledger,
            self._adviser.advice(ledger, price_as_of_ns=self._prices.as_of_ns, reserves_memory=self._mapper.reserves_memory),
            _intake(self._mapper, self._config, spans_received, spans_dropped, exports_refused, connections_displaced),
            kind="serve",
            sampled=_sampled(self._config, self._mapper),
            counted_by_server=self._is_counted_by_server,
            surroundings=surroundings,
            prices=self._prices,
        )

    def _reprice(self) -> None:
        self._prices = prices_in_force(self._config.cost, listed=self._listed, quote=self._quote, gpus=self._gpus)
        self._ledger.reprice(self._prices)

    def _book(self, inferences: InferenceBatch | None, now_ns: int) -> None:
        if inferences is None:
            return
        self._ledger.sampled = _sampled(self._config, self._mapper)
        self._ledger.add(inferences, now_ns)
        if self._config.gpu.source == "simulated":  # nobody else asks
            self.recent_compute.add(np.column_stack((inferences.compute_start_ns, inferences.compute_end_ns)), now_ns)


class RecentCompute:
    """The share of wall-clock time with something computing, over the last minute: what a simulated GPU's power follows.

    Written by the loop, read by the thread of the simulated source: the arrays are replaced, never changed.
    """

    KEPT_NS = 60_000_000_000

    def __init__(self, start_ns: int) -> None:
        """Nothing has computed before `start_ns`."""
        self._intervals = np.array([[start_ns, start_ns]], dtype=np.int64)

    def add(self, intervals: Ints, now_ns: int) -> None:
        """Takes intervals of compute, shape (n, 2), and forgets what ended over a minute before `now_ns`."""
        if not len(intervals):
            return
        known, kept_ns = self._intervals, now_ns - self.KEPT_NS
        begin, touched = np.searchsorted(known[:, 1], (kept_ns + 1, intervals[:, 0].min()))
        merged = union(np.concatenate((known[max(begin, touched) :], intervals[intervals[:, 1] > kept_ns])))
        self._intervals = np.concatenate((known[begin:touched], merged))  # what ended before the new ones is as it was

    def share(self, begin_ns: int, end_ns: int) -> float:
        """The covered part (0 to 1) of the time between two instants."""
        if end_ns <= begin_ns:
            return 0.0
        intervals = self._intervals
        covered = np.minimum(intervals[:, 1], end_ns) - np.maximum(intervals[:, 0], begin_ns)
        return float(np.clip(covered, 0, None).sum() / (end_ns - begin_ns))


def union(intervals: Ints) -> Ints:
    """Disjoint, ascending intervals that cover the same instants; shape (n, 2).

    Nothing is covered between an instant before which as many have ended as have begun, and the next beginning.
    """
    if not len(intervals):
        return intervals
    starts, ends = np.sort(intervals[:, 0]), np.sort(intervals[:, 1])
    gaps = starts[1:] > ends[:-1]
    return np.column_stack((starts[np.concatenate(([True], gaps))], ends[np.concatenate((gaps, [True]))]))


@dataclass(frozen=True, slots=True)
class RecordedPower:
    """What a power file says of the server's GPUs and of its host; both sequences ascend in time."""

    gpus: Sequence[GpuIdentity] = ()
    samples: Sequence[GpuSample] = ()
    host_samples: Sequence[HostSample] = ()
    rejected: Mapping[Rejection, int] = field(default_factory=dict)


class Replay:
    """What `replay` feeds with a whole recording. Time is the data's, everything is complete and settled at its end."""

    def __init__(self, config: Config, mappings: Sequence[ServerMapping], *, listed: Listed = NOTHING_LISTED) -> None:
        """A meter that has read nothing yet; `listed` is what the files hold that the configuration names."""
        self._config = config
        self._listed = listed
        self._mapper = Mapper(mappings, assembly=config.assembly, limits=config.limits, bounded=False)
        self._inferences: list[InferenceBatch | None] = []
        self.wanted = self._mapper.wanted

    def consume(self, export: Export) -> None:
        """Takes a decoded export."""
        self._mapper.add(export.batches, 0)
        self._inferences.append(self._mapper.take(0))

    def snapshot(
        self,
        *,
        spans_received: Counts,
        spans_dropped: Counts,
        power: RecordedPower | None,
    ) -> Snapshot:
        """The ledger over all that was consumed and this power, once; without power no GPU, energy or power-cost families.

        The period runs from the earlier of first sample and first inference's start to the later of last sample and last inference's
        end; a recording of nothing has no length.

        Raises:
            InputError: the period is longer than a year.
        """
        inferences = [batch for batch in (*self._inferences, self._mapper.finish()) if batch is not None]
        told = power or RecordedPower()
        start_ns, end_ns = _period(inferences, told)
        if end_ns - start_ns > LONGEST_REPLAY_NS:
            raise InputError(f"{_date(start_ns)} to {_date(end_ns)}", "the recording lasts over a year: some time in it is wrong")
        ledger = Ledger(self._config, start_ns=start_ns, sampled=_sampled(self._config, self._mapper), gpus=told.gpus, offline=True)
        prices = prices_in_force(self._config.cost, listed=self._listed, quote=None, gpus=told.gpus)
        ledger.reprice(prices)
        for reason, n in told.rejected.items():
            ledger.reject(reason, n)
        ledger.add_samples(told.samples)
        ledger.add_host_samples(told.host_samples)
        for batch in inferences:
            ledger.add(batch, end_ns)
        ledger.finish(end_ns)
        told_by_ledger = ledger.snapshot(end_ns)
        premises = premises_of(
            self._config,
            told_by_ledger,
            self._listed.devices,
            price_as_of_ns=prices.as_of_ns,
            reserves_memory=self._mapper.reserves_memory,
        )
        return _snapshot(
            self._config,
            told_by_ledger,
            advise(premises, prices=self._listed.candidate_prices),
            _intake(self._mapper, self._config, spans_received, spans_dropped, {}, 0),
            kind="replay",
            sampled=_sampled(self._config, self._mapper),
            counted_by_server=self._config.server.metrics_url is not None,
            surroundings=Surroundings("replay", gpu_source_up=True) if power else Surroundings(),
            prices=prices,
        )


def _period(batches: Sequence[InferenceBatch], power: RecordedPower) -> tuple[int, int]:
    starts = [int(batch.start_ns.min()) for batch in batches if len(batch)]
    ends = [int(batch.end_ns.max()) for batch in batches if len(batch)]
    times = [ascending[i].time_ns for ascending in (power.samples, power.host_samples) if ascending for i in (0, -1)]
    return min(starts + times, default=0), max(ends + times, default=0)


def _date(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns // 1_000_000_000, tz=UTC).date().isoformat()


def _sampled(config: Config, mapper: Mapper) -> bool:
    return mapper.sampled if config.server.sampled == "auto" else config.server.sampled


def _intake(mapper: Mapper, config: Config, received: Counts, dropped: Counts, refused: Counts, displaced: int) -> IntakeFacts:
    spans_dropped = Counter(dropped)
    spans_dropped.update(mapper.spans_dropped)  # both recognise duplicates
    return IntakeFacts(
        spans_received=dict(received),
        spans_dropped=dict(spans_dropped),
        spans_unmapped=dict(mapper.spans_unmapped),
        exports_refused=dict(refused),
        connections_displaced=displaced,
        last_span_ns=mapper.last_span_ns,
        traces_pending=mapper.traces_pending,
        traces_pending_limit=config.limits.pending_traces,
    )


def _snapshot(  # noqa: PLR0913 - a snapshot is made of all there is
    config: Config,
    ledger: LedgerSnapshot,
    advice: Advice,
    intake: IntakeFacts,
    *,
    kind: Literal["serve", "replay"],
    sampled: bool,
    counted_by_server: bool,
    surroundings: Surroundings,
    prices: Prices,
) -> Snapshot:
    return Snapshot(
        server=server_name(config),
        version=__version__,
        revision=__revision__,
        kind=kind,
        ledger=ledger,
        intake=intake,
        advice=advice,
        gpu_source=surroundings.gpu_source,
        gpu_source_up=surroundings.gpu_source_up,
        price_as_of_ns=prices.as_of_ns,
        price_source=prices.source,
        series_limit=config.limits.series,
        config_reload_ns=surroundings.config_loaded_ns,
        config_reload_successful=surroundings.config_reload_successful,
        sampled=sampled,
        totals_from="server" if counted_by_server else None if sampled else "observed",
        gpu_hardware=config.gpu.hardware,
        server_scrape_up=surroundings.server_scrape_up,
        state_files_rejected=surroundings.state_files_rejected,
        forward=surroundings.forward,
        server_kind=None if config.server.kind == "auto" else config.server.kind,
    )


def server_name(config: Config) -> str:
    """The `server` label: the configured name, else the mapping's, else `default`."""
    return config.server.name or ("default" if config.server.kind == "auto" else config.server.kind)

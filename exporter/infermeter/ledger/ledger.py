"""The ledger: inferences, samples and the passing of time in, what they cost out. The one object here that others change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from infermeter.config import Config
from infermeter.ledger import slots as columns
from infermeter.ledger.arrivals import Arrivals
from infermeter.ledger.bias import Bias
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.booked import LATE, Booked
from infermeter.ledger.concurrency import concurrency
from infermeter.ledger.coverage import SLOTS_BEFORE, Coverage
from infermeter.ledger.energy import Reason
from infermeter.ledger.facts import Capacities, capacities, model_bases, model_facts, server_gauges
from infermeter.ledger.instants import HOUR_SECONDS, SECOND_NS, SLOT_NS, SLOT_TICKS, TICK_NS
from infermeter.ledger.misses import missed, missed_stages_ns
from infermeter.ledger.server_capacity import ServerCapacity
from infermeter.ledger.settlement import Settlement
from infermeter.ledger.slots import Slots
from infermeter.ledger.slowdown import Slowdowns
from infermeter.ledger.tariff import Prices
from infermeter.ledger.totals import Totals
from infermeter.ledger.watermarks import Watermarks
from infermeter.ledger.window_readings import Basis, WindowReadings
from infermeter.ledger.windows import WindowQuantiles
from infermeter.model import Concurrency, GpuIdentity, GpuSample, HostSample, InferenceBatch, Ints, LedgerSnapshot, ServerReading

_BASELINE: Final = "baseline"
"""The section of the state file that holds what the devices draw while idle."""

_CAPACITY: Final = "capacity"
"""The section that holds what the server was seen to do at its SLA, and the demand for it."""

_LEAP_NS: Final = HOUR_SECONDS * SECOND_NS
"""Further ahead than this, a GPU sample is absurd, and a clock has been set."""


class Ledger:
    """Pure: no clock and no I/O; every instant is handed in. Nothing that a sender does makes it grow without bound, or a counter fall.

    `sampled` may be set later, once the server is recognised; it speaks for the ticks that are settled from then on.
    """

    def __init__(self, config: Config, *, start_ns: int, sampled: bool, gpus: Sequence[GpuIdentity], offline: bool = False) -> None:
        """`start_ns`: nothing before it counts; `sampled`: spans are a sample of the inferences, so they never prove idleness.

        `offline` (replay): there is no arrival to wait for, so nothing is late or too early, and everything is settled by `finish`.
        """
        self.sampled = sampled
        self._config = config
        self._start_ns = start_ns
        self._offline = offline
        self._now_ns = start_ns
        self._settled_ns: int | None = None
        self._watermarks = Watermarks(start_ns, span_delay_seconds=config.ledger.span_delay, sampling_seconds=config.gpu.interval)
        self._arrivals = Arrivals(config)
        self._slots = Slots(start_ns // SLOT_NS)
        self._totals = Totals(config, self._arrivals, self._slots, start_ns=start_ns, offline=offline)
        self._reading: ServerReading | None = None
        self._coverage = Coverage(self._totals, self._slots, below_ratio=config.ledger.coverage_below_ratio)
        self._bias = Bias(self._arrivals.names)
        self._has_readings = False
        self._settlement = Settlement(
            config, tuple(gpus), self._slots, first_tick=start_ns // TICK_NS, offline=offline, default_code=self._default_code
        )
        self._quantiles = WindowQuantiles(config.windows)
        self._slowdowns = Slowdowns(config.windows)
        hardware = self._settlement.devices.hardware
        self._windows = WindowReadings(self._slots, self._quantiles, self._slowdowns, hardware, self._totals)
        self._capacity = ServerCapacity(config, start_ns=start_ns)
        self._blocks: list[Blocks | None] = []
        self._late_for_energy = 0
        self._widen()
        self._price()

    def add(self, inferences: InferenceBatch, now_ns: int) -> None:
        """Books inferences that have arrived by `now_ns`; what ends later than that ends now."""
        self._arrivals.add_around(inferences.around_ns)
        self._widen()
        if not len(inferences):
            return
        self._see_clock(now_ns)
        last_ns = np.iinfo(np.int64).max if self._offline else now_ns
        ends_ns = np.minimum(inferences.end_ns, last_ns)
        booked = self._arrivals.add(inferences, ends_ns, self._slots_of(ends_ns))
        self._widen()
        self._capacity.add(booked, inferences, per_observed=self._coverage.per_observed)
        if not self._offline:
            since_start = ends_ns >= self._start_ns
            durations_ns = inferences.end_ns - inferences.start_ns
            self._watermarks.observe((now_ns - ends_ns)[since_start], durations_ns[since_start])
        self._place(inferences, booked)
        self._compute_between(inferences, booked.codes, last_ns)

    def add_server_reading(self, reading: ServerReading) -> None:
        """Takes in what the server itself says it has served since the last reading, and how many inferences are running."""
        self._see_clock(max(reading.time_ns, self._now_ns))
        self._has_readings = True
        self._totals.read(reading)
        self._bias.read(reading)
        self._reading = reading
        self._widen()
        self._settlement.running.read(reading.time_ns, reading.running)

    def add_samples(self, samples: Iterable[GpuSample]) -> None:
        """Takes in readings of the GPUs, in order of time for each."""
        latest_ns = None if self._offline else self._now_ns + _LEAP_NS
        devices = self._settlement.devices
        pricing = devices.pricing
        for sample in samples:
            pieces = devices.add(sample, latest_ns=latest_ns)
            if devices.pricing != pricing:
                pricing = devices.pricing
                self._price()
            for tick, joules in pieces:
                self._settlement.accrual.add_joules(tick, joules)

    def add_host_samples(self, samples: Iterable[HostSample]) -> None:
        """Takes in readings of the host's power or energy, in order of time for each source."""
        for sample in samples:
            rejected = self._settlement.accrual.add_host(sample)
            if rejected is not None:
                self.reject(rejected)

    def gpus_changed(self, identities: Sequence[GpuIdentity]) -> None:
        """From now on the server has these GPUs."""
        self._settlement.devices.change(identities, tick=max(self._now_ns // TICK_NS, self._settlement.first_tick))
        self._price()

    def reprice(self, prices: Prices) -> None:
        """From now on these prices are in force; what has accrued until the last `advance` stays, and nothing is booked anew.

        Raises: ValueError, if their currency is another one than that of the money that has accrued.
        """
        self._settlement.accrual.reprice(prices)

    def reconfigure(self, config: Config) -> None:
        """From the next slot on the SLAs of this configuration are in force; what ended before is judged by those before, and stays."""
        self._config = config
        next_slot = -(-self._now_ns // SLOT_NS)
        first_slot = max(next_slot, self._slots.stop)  # later than the next one only after the clock was set back
        open_ns = self._watermarks.counting_slot * SLOT_NS
        concerned = self._arrivals.reconfigure(config, since_ns=next_slot * SLOT_NS, first_slot=first_slot, open_ns=open_ns)
        for code in concerned:
            blocks = self._blocks[code] = self._blocks[code] or Blocks(None, config.ledger.confidence)
            blocks.change(self._arrivals.sla(code), first_slot=first_slot)
        self._capacity.reconfigure(config, {code: self._arrivals.sla(code) for code in concerned}, first_slot=first_slot)
        self._widen()

    def remember(self) -> dict[str, Any]:
        """What outlives a restart, as JSON: by section, each with its version."""
        return {_BASELINE: self._settlement.devices.remember(), _CAPACITY: self._capacity.remember()}

    def recall(self, sections: Mapping[str, Any]) -> tuple[str, ...]:
        """Takes in what `remember` said before this start; returns the sections that are damaged, of which nothing was taken."""
        owners: dict[str, Callable[[Any], None]] = {
            _BASELINE: lambda section: self._settlement.devices.recall(section, now_tick=self._now_ns // TICK_NS),
            _CAPACITY: self._capacity.recall,
        }
        damaged = []
        for name in owners.keys() & sections.keys():
            try:
                owners[name](sections[name])
            except ValueError:
                damaged.append(name)
        return tuple(sorted(damaged))

    def reject(self, reason: Reason, n: int = 1) -> None:
        """Counts samples that couldn't be made or used."""
        self._settlement.devices.reject(reason, n)

    def advance(self, now_ns: int, elapsed_ns: int) -> None:
        """`elapsed_ns` have passed on a monotonic clock since the last call (or the start), and the wall clock says `now_ns`."""
        self._see_clock(now_ns)
        self._settlement.accrual.advance(now_ns, elapsed_ns)
        self._move(now_ns)

    def finish(self, end_ns: int) -> None:
        """Nothing more comes: all is complete and settled. Offline, the whole period accrues, and windows end at its end."""
        if self._offline:
            self._settlement.accrual.advance(end_ns, end_ns - self._start_ns)
        self._watermarks.finish(max(end_ns, self._settlement.stop_tick * TICK_NS))
        for window in self._config.windows:
            if self._offline and window.seconds * SECOND_NS >= end_ns - self._start_ns:
                for sketches in (self._quantiles, self._slowdowns):
                    sketches.stretch(window, self._watermarks.counting_slot - self._slots.first_slot)
        self._settle(self._watermarks.energy_tick, self._watermarks.counting_slot, ends=True)
        for blocks in self._blocks:
            if blocks is not None:
                blocks.cut(self._slots.closed - 1)
        self._settled_ns = max(end_ns, self._settled_ns or end_ns)

    def read_ahead(self) -> Iterator[None]:
        """Reads what the next snapshot would have to, in steps of some two milliseconds: in between the ledger may be told and asked."""
        return self._windows.ahead(self._basis(capacities(self._arrivals, self._capacity)))

    def snapshot(self, now_ns: int) -> LedgerSnapshot:
        """What the ledger says at an instant; taking it changes nothing."""
        arrivals, settlement = self._arrivals, self._settlement
        devices, accrual, uses = settlement.devices, settlement.accrual, settlement.uses
        priced, metered = bool(accrual.cost), devices.metered
        counted = self._totals.known or not self.sampled
        longest = max((self._quantiles.length(window) for window in self._config.windows), default=SLOTS_BEFORE)
        coverage_ratio = self._coverage.ratio(longest)
        facts, biases = capacities(self._arrivals, self._capacity), self._bias.found
        basis = self._basis(facts)
        return LedgerSnapshot(
            time_ns=now_ns,
            start_ns=self._start_ns,
            settled_ns=self._settled_ns,
            models=model_facts(
                arrivals,
                self._totals,
                basis.models,
                self._windows.models(basis),
                facts,
                joules=uses.by_model(uses.joules) if metered else None,
                cost=uses.by_model(uses.cost) if priced else None,
                biases=biases,
            ),
            windows=self._windows.server(
                basis, [self._capacity.load(window.seconds) if counted else None for window in self._config.windows]
            ),
            slots=self._slots.closed_rows(
                {model.code: model.told for model in basis.models},
                self._totals.ok_by_slot,
                start_ns=self._start_ns,
                priced=accrual.cost,
                metered=metered,
            ),
            busy_seconds=settlement.busy_ns / SECOND_NS,
            stage_quality=dict(arrivals.quality),
            gpus=devices.facts(now_ns),
            host_energy_joules=dict(accrual.host_joules),
            samples_rejected=dict(devices.rejected),
            currency=accrual.prices.currency if priced else None,
            cost=dict(accrual.cost),
            cost_per_hour=accrual.per_hour(now_ns, devices.watts(now_ns)),
            unknown_seconds=accrual.unknown_seconds,
            emissions_grams=accrual.grams,
            unpriced=accrual.tariff.unpriced,
            unpriced_gpus=accrual.tariff.unpriced_gpus,
            late_for_energy=self._late_for_energy,
            totals=self._totals.by_model() if self._totals.known else None,
            coverage_ratio=coverage_ratio,
            thin=self._coverage.thin(sampled=self.sampled),
            peak_load_ratio=self._capacity.peak_load if counted else None,
            concurrency=self._concurrency(longest, coverage_ratio),
            gauges=server_gauges(self._reading, now_ns, interval_seconds=self._config.server.metrics_interval),
        )

    def _basis(self, facts: Capacities) -> Basis:
        return Basis(
            tuple(self._config.windows),
            model_bases(self._arrivals, self._blocks, facts),
            sampled=self.sampled,
            confidence=self._config.ledger.confidence,
            priced=frozenset(self._settlement.accrual.cost),
            metered=self._settlement.devices.metered,
            biased=tuple(self._bias.found),
        )

    def _concurrency(self, slots: int, coverage_ratio: float | None) -> Concurrency | None:
        """Over the last so many closed slots, of which that is the coverage; None where the server has told nothing."""
        if not self._has_readings:
            return None
        closed = self._slots.closed
        ratio = coverage_ratio if self._totals.known else None if self.sampled else 1.0
        interval_seconds = self._config.server.metrics_interval
        return concurrency(self._slots.sums(closed - slots, closed), coverage_ratio=ratio, interval_seconds=interval_seconds)

    def _slots_of(self, ends_ns: Ints) -> Ints:
        """The slots of inferences by their ends; those whose slot has closed, or that ended before the start, are late."""
        slots = np.maximum((ends_ns - 1) // SLOT_NS, self._slots.first_slot)
        np.copyto(slots, LATE, where=(ends_ns < self._start_ns) | (slots < self._watermarks.counting_slot))
        return slots

    def _place(self, inferences: InferenceBatch, booked: Booked) -> None:
        """Puts inferences into their slots, those that have one."""
        for slot, codes, sums in booked.sums:
            if slot != LATE:
                self._slots.count(slot, codes, sums[:, : columns.FIRST_MISSED_STAGE])
        on_time = booked.slots != LATE
        if len(rows := np.flatnonzero(missed(booked) & on_time)):
            self._slots.count_missed(booked.slots[rows], booked.codes[rows], missed_stages_ns(booked, inferences.parts, rows))
        placed = booked if on_time.all() else booked.rows(np.flatnonzero(on_time))
        self._quantiles.count(placed)
        self._slowdowns.count(placed)

    def _compute_between(self, inferences: InferenceBatch, codes: Ints, last_ns: int) -> None:
        """Hands the compute intervals on; those that began before the energy watermark take part from there on."""
        starts_ns = np.maximum(inferences.compute_start_ns, self._start_ns)
        if self._settled_ns is not None and (late := starts_ns < self._settled_ns).any():
            self._late_for_energy += len(np.unique(inferences.compute_rows[late]))
        self._settlement.compute.add(codes[inferences.compute_rows], starts_ns, np.minimum(inferences.compute_end_ns, last_ns))

    def _see_clock(self, now_ns: int) -> None:
        """The wall clock says `now_ns`. If it was set ahead, what lies behind is settled first: ticks are never kept across a leap."""
        if now_ns - self._now_ns > _LEAP_NS:
            self._move(now_ns)
        self._now_ns = now_ns

    def _move(self, now_ns: int) -> None:
        """Moves the watermarks, and settles what they have passed, as far as the server has told of it while it still does."""
        if self._offline:
            return
        self._watermarks.move(now_ns)
        tick, hold_tick = self._watermarks.energy_tick, self._totals.hold_tick(now_ns)
        tick = tick if hold_tick is None else min(tick, hold_tick)
        before = self._settlement.first_tick
        if tick > before:
            self._settle(tick, tick // SLOT_TICKS)
            if self._settlement.first_tick > before:
                self._settled_ns = self._settlement.first_tick * TICK_NS

    def _settle(self, stop_tick: int, stop_slot: int, *, ends: bool = False) -> None:
        """Settles the ticks before `stop_tick`, and closes the slots before `stop_slot`; unless all `ends`, as far as they can be yet."""
        if not self._has_readings:
            self._settlement.settle(stop_tick, sampled=self.sampled)
        else:
            self._settle_judged(stop_tick, ends=ends)
            stop_slot = stop_slot if ends else min(stop_slot, self._settlement.first_tick // SLOT_TICKS)
        for slot in range(self._slots.closed, min(stop_slot, self._slots.stop)):
            self._close(slot)
        self._quantiles.skip(stop_slot)
        self._slowdowns.skip(stop_slot)
        self._totals.close(stop_slot)
        self._slots.close(stop_slot)
        self._capacity.complete(stop_slot * SLOT_NS)

    def _settle_judged(self, stop_tick: int, *, ends: bool) -> None:
        """Settles slot by slot, by what the server's counts say of the spans in it; where these are a sample, block by block."""
        settlement, counting_slot = self._settlement, self._watermarks.counting_slot
        self._totals.place(complete_slot=counting_slot, closing_slot=stop_tick // SLOT_TICKS)
        while settlement.has_content and settlement.first_tick < stop_tick:
            stretch = self._coverage.next(settlement.first_tick, counting_slot=counting_slot, sampled=self.sampled, ends=ends)
            if stretch is None or (stretch.thin and stretch.stop_tick > stop_tick and not ends):
                return
            settlement.settle(min(stretch.stop_tick, stop_tick), sampled=stretch.thin, pooled=stretch.thin)
        settlement.settle(max(stop_tick, settlement.first_tick), sampled=self.sampled)

    def _close(self, slot: int) -> None:
        """A slot has closed: windows and blocks take it in."""
        sums = self._slots.sums(slot, slot + 1)
        latencies = self._quantiles.close(slot, len(self._blocks))
        self._slowdowns.close(slot, len(self._blocks))
        self._totals.close(slot + 1)
        served = self._served(slot, sums.counts)
        self._bias.close(slot, latencies, sums.counts, self._arrivals.targets.slas)
        self._capacity.close(slot, sums, served, latencies, self._settlement.devices.limits, biased=self._bias.found)
        for blocks, counts, amounts, ok in zip(self._blocks, sums.counts.tolist(), sums.amounts.tolist(), served, strict=False):
            if blocks is not None:
                observed, within = counts[columns.OBSERVED], counts[columns.WITHIN]
                blocks.add(slot, observed=observed, ok=ok, within=within, cost=amounts[columns.COST])

    def _served(self, slot: int, counts: Ints) -> list[int]:
        """Ok inferences of a slot that closes, by model: those that the server tells, once it does."""
        if self._totals.first_slot is None or slot < self._totals.first_slot:
            return [int(ok) for ok in counts[:, columns.OK]]
        return [int(ok) for ok in self._totals.told_ok()]

    def _default_code(self) -> int:
        """The code of the model that spans without one belong to, and idle time that is nobody's."""
        code = self._arrivals.code(None)
        self._widen()
        return code

    def _widen(self) -> None:
        """Makes room for models that have come up."""
        models = len(self._arrivals.names)
        if models == len(self._blocks):
            return
        for code in range(len(self._blocks), models):
            self._blocks.append(self._new_blocks(code))
        self._capacity.widen(self._arrivals.names.names, self._arrivals.targets.slas)
        self._slots.widen(models)
        self._settlement.uses.widen(models)

    def _new_blocks(self, code: int) -> Blocks | None:
        (_, sla), *later = self._arrivals.targets.history(code)
        if sla is None and not later:
            return None
        blocks = Blocks(sla, self._config.ledger.confidence)
        for first_slot, after in later:
            blocks.change(after, first_slot=first_slot)
        return blocks

    def _price(self) -> None:
        """Takes the number of GPUs into the prices, and whether their power is told."""
        devices = self._settlement.devices
        self._settlement.accrual.price(gpus=devices.shares or self._config.server.gpu_count, powered=devices.metered)

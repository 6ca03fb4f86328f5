"""The ledger: inferences, samples and the passing of time in, what they cost out. The one object here that others change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from infermeter.config import Config
from infermeter.ledger.accrual import Accrual
from infermeter.ledger.arrivals import ERROR, LATE, OK, TOKENS_INPUT, TOKENS_OUTPUT, TOLD_INPUT, TOLD_OUTPUT, WITHIN, Arrivals, Booked
from infermeter.ledger.attribution import Split, tick_use
from infermeter.ledger.blocks import Blocks
from infermeter.ledger.columns import widened
from infermeter.ledger.compute import ComputeTime
from infermeter.ledger.devices import Devices
from infermeter.ledger.energy import Reason
from infermeter.ledger.histogram import STAGES_AND_OTHER
from infermeter.ledger.instants import HOUR_SECONDS, SECOND_NS, SLOT_NS, SLOT_TICKS, TICK_NS
from infermeter.ledger.slots import COST, OBSERVED, Slots, Told
from infermeter.ledger.slots import OK as SLOT_OK
from infermeter.ledger.slots import WITHIN as SLOT_WITHIN
from infermeter.ledger.uses import Uses
from infermeter.ledger.watermarks import Watermarks
from infermeter.ledger.windows import WindowQuantiles, WindowReader
from infermeter.model import GpuIdentity, GpuSample, HostSample, InferenceBatch, Ints, LedgerSnapshot, ModelFacts

_LEAP_NS: Final = HOUR_SECONDS * SECOND_NS
"""Further ahead than this, a GPU sample is absurd, and a clock has been set."""


class Ledger:
    """Pure: no clock and no I/O; every instant is handed in. Nothing that a sender does makes it grow without bound, or a counter fall.

    `offline` (replay): there is no arrival to wait for, so nothing is late or too early, and everything is settled by `finish`.
    """

    def __init__(self, config: Config, *, start_ns: int, sampled: bool, gpus: Sequence[GpuIdentity], offline: bool = False) -> None:
        """`start_ns`: nothing before it counts; `sampled`: spans are a sample of the inferences, so they never prove idleness.

        `sampled` may be set later, once the server is recognised; it speaks for the ticks that are settled from then on.
        """
        tick = start_ns // TICK_NS
        self._config = config
        self._start_ns = start_ns
        self.sampled = sampled
        self._offline = offline
        self._now_ns = start_ns
        self._settled_ns: int | None = None
        self._arrivals = Arrivals(config)
        self._watermarks = Watermarks(start_ns, span_delay_seconds=config.ledger.span_delay, sampling_seconds=config.gpu.interval)
        self._slots = Slots(start_ns // SLOT_NS)
        self._quantiles = WindowQuantiles(config.windows)
        self._compute = ComputeTime(tick, bounded=not offline)
        self._devices = Devices(config.gpu, gpus, first_tick=tick)
        self._accrual = Accrual(config, first_tick=tick, offline=offline)
        self._uses = Uses()
        self._blocks: list[Blocks | None] = []
        self._busy_ns = 0
        self._last_busy_tick = tick
        self._late_for_energy = 0
        for model in (*(() if config.sla is None else config.sla.models), *(() if config.server.model is None else (config.server.model,))):
            self._arrivals.code(model)
        self._widen()
        self._price()

    def add(self, inferences: InferenceBatch, now_ns: int) -> None:
        """Books inferences that have arrived by `now_ns`; what ends later than that ends now."""
        if not len(inferences):
            return
        self._see_clock(now_ns)
        booked = self._arrivals.add(inferences)
        self._widen()
        last_ns = np.iinfo(np.int64).max if self._offline else now_ns
        self._place(booked, np.minimum(inferences.end_ns, last_ns), now_ns)
        self._compute_between(inferences, booked.codes, last_ns)

    def add_samples(self, samples: Iterable[GpuSample]) -> None:
        """Takes in readings of the GPUs, in order of time for each."""
        latest_ns = None if self._offline else self._now_ns + _LEAP_NS
        for sample in samples:
            for tick, joules in self._devices.add(sample, latest_ns=latest_ns):
                self._accrual.add_joules(tick, joules)

    def add_host_samples(self, samples: Iterable[HostSample]) -> None:
        """Takes in readings of the host's power, in order of time."""
        for sample in samples:
            rejected = self._accrual.add_host(sample)
            if rejected is not None:
                self._devices.reject(rejected, 1)

    def gpus_changed(self, identities: Sequence[GpuIdentity]) -> None:
        """From now on the server has these GPUs."""
        self._devices.change(identities)
        self._price()

    def reject(self, reason: Reason, n: int = 1) -> None:
        """Counts samples that the reader couldn't make."""
        self._devices.reject(reason, n)

    def advance(self, now_ns: int, elapsed_ns: int) -> None:
        """`elapsed_ns` have passed on a monotonic clock since the last call (or the start), and the wall clock says `now_ns`."""
        self._see_clock(now_ns)
        self._accrual.advance(now_ns, elapsed_ns)
        self._move(now_ns)

    def finish(self, end_ns: int) -> None:
        """Nothing more comes: all is complete and settled. Offline, the whole period accrues, and windows end at its end."""
        self._now_ns = end_ns
        if self._offline:
            self._accrual.advance(end_ns, end_ns - self._start_ns)
        self._devices.finish()
        self._watermarks.finish(end_ns)
        for window in self._config.windows:
            if self._offline and window.seconds * SECOND_NS >= end_ns - self._start_ns:
                self._quantiles.stretch(window, self._watermarks.counting_slot - self._slots.first_slot)
        self._settle(self._watermarks.energy_tick, self._watermarks.counting_slot)
        for blocks in self._blocks:
            if blocks is not None:
                blocks.cut(self._slots.closed - 1)
        self._settled_ns = end_ns

    def snapshot(self, now_ns: int) -> LedgerSnapshot:
        """What the ledger says at an instant; taking it changes nothing."""
        accrual, devices, names = self._accrual, self._devices, self._arrivals.names.names
        told = [self._told(code) for code in range(len(names))]
        by_name = sorted(range(len(names)), key=names.__getitem__)
        readers = [
            WindowReader(window, self._slots, self._quantiles, sampled=self.sampled, confidence=self._config.ledger.confidence)
            for window in self._config.windows
        ]
        priced, metered = bool(accrual.cost), devices.metered
        slas = [(code, self._arrivals.sla(code)) for code in by_name]
        return LedgerSnapshot(
            time_ns=now_ns,
            start_ns=self._start_ns,
            settled_ns=self._settled_ns,
            models=tuple(self._facts(code, told[code], readers) for code in by_name),
            windows=tuple(reader.server(slas, priced=priced, metered=metered) for reader in readers),
            slots=self._slots.closed_rows(
                by_name, [told[code] for code in by_name], start_ns=self._start_ns, priced=priced, metered=metered
            ),
            busy_seconds=self._busy_ns / SECOND_NS,
            stage_quality=dict(self._arrivals.quality),
            gpus=devices.facts(now_ns),
            host_energy_joules=dict(accrual.host_joules),
            samples_rejected=dict(devices.rejected),
            currency=self._config.cost.currency if priced and self._config.cost is not None else None,
            cost=dict(accrual.cost),
            cost_per_hour=accrual.per_hour(devices.watts(now_ns)),
            unknown_seconds=accrual.unknown_seconds,
            emissions_grams=accrual.grams,
            unpriced=accrual.tariff.unpriced,
            late_for_energy=self._late_for_energy,
        )

    def _place(self, booked: Booked, ends_ns: Ints, now_ns: int) -> None:
        """Puts inferences into the slot in which they ended; those whose slot has closed, or that ended before the start, are late."""
        since_start = ends_ns >= self._start_ns
        slots = np.maximum((ends_ns - 1) // SLOT_NS, self._slots.first_slot)
        on_time = since_start & (slots >= self._watermarks.counting_slot)
        if not self._offline:
            self._watermarks.observe((now_ns - ends_ns)[since_start], booked.signals_ns[since_start, 0])
        if not on_time.all():
            self._arrivals.late(booked.codes[~on_time])
        rows = np.flatnonzero(on_time)
        slots = slots[rows]
        self._slots.count(slots, booked.codes[rows], ok=booked.ok[rows], within=booked.within[rows], tokens=booked.tokens[rows])
        self._quantiles.add(slots, booked, rows)

    def _compute_between(self, inferences: InferenceBatch, codes: Ints, last_ns: int) -> None:
        """Hands the compute intervals on; those that began before the energy watermark take part from there on."""
        starts_ns = np.maximum(inferences.compute_start_ns, self._start_ns)
        if self._settled_ns is not None:
            self._late_for_energy += len(np.unique(inferences.compute_rows[starts_ns < self._settled_ns]))
        self._compute.add(codes[inferences.compute_rows], starts_ns, np.minimum(inferences.compute_end_ns, last_ns))

    def _see_clock(self, now_ns: int) -> None:
        """The wall clock says `now_ns`. If it was set ahead, what lies behind is settled first: ticks are never kept across a leap."""
        if now_ns - self._now_ns > _LEAP_NS:
            self._move(now_ns)
        self._now_ns = now_ns

    def _move(self, now_ns: int) -> None:
        """Moves the watermarks, and settles what they have passed."""
        if self._offline:
            return
        self._watermarks.move(now_ns)
        tick = self._watermarks.energy_tick
        if tick > self._compute.first_tick:
            self._settle(tick, tick // SLOT_TICKS)
            self._settled_ns = tick * TICK_NS

    def _settle(self, stop_tick: int, stop_slot: int) -> None:
        """Settles the ticks before `stop_tick`, once and in order, and closes the slots before `stop_slot`."""
        first = self._compute.first_tick
        content = min(stop_tick, max(self._compute.stop_tick, self._devices.stop_tick, self._accrual.stop_tick))
        if content > first:
            by_model, union = self._compute.settle(content)
            for tick, compute_ns, busy_ns in zip(range(first, content), by_model, union.tolist(), strict=True):
                self._settle_tick(tick, compute_ns, busy_ns)
        self._compute.skip(stop_tick)
        self._devices.forget(stop_tick)
        self._accrual.forget(stop_tick)
        for slot in range(self._slots.closed, min(stop_slot, self._slots.stop)):
            self._close(slot)
        self._quantiles.skip(stop_slot)
        self._slots.close(stop_slot)

    def _settle_tick(self, tick: int, compute_ns: Ints, busy_ns: int) -> None:
        """Books one tick: whose its time, its money and its joules were."""
        money = self._accrual.tick(tick)
        length_ns = round(min(money.accrued_ns, TICK_NS)) or TICK_NS
        busy_ratio = min(1.0, busy_ns / length_ns)
        lanes = self._devices.lanes(tick, length_ns)
        use = tick_use(busy_ratio, lanes, sampled=self.sampled)
        seconds = money.accrued_ns / SECOND_NS
        known = min(1.0, TICK_NS / money.accrued_ns) if money.accrued_ns else 1.0
        time = use.time.times(known).plus(Split(unattributed=1.0 - known))
        metered = (use.joules.ratios if use.joules.total > 0 else time).times(money.metered_cost)
        cost = time.times(money.fixed_cost).plus(metered)
        self._book(tick, compute_ns, busy_ns, time=time, cost=cost, joules=use.joules, seconds=seconds)
        quiet = None if self.sampled or busy_ns else tick - self._last_busy_tick - 1
        self._devices.settle(tick, lanes, use.lanes, seconds=seconds, quiet_ticks=quiet)
        self._busy_ns += busy_ns
        if busy_ns:
            self._last_busy_tick = tick

    def _book(self, tick: int, compute_ns: Ints, busy_ns: int, *, time: Split, cost: Split, joules: Split, seconds: float) -> None:
        """Books a tick's money and joules to the models, and to its slot."""
        slot, models = tick // SLOT_TICKS, len(self._arrivals.names)
        compute_ns = widened(compute_ns, models)[:models]
        self._uses.activity.add(slot, np.ceil(compute_ns * (busy_ns / max(int(compute_ns.sum()), 1))).astype(np.int64))
        default_code = None
        if not self._uses.activity.ns.any() and cost.total + joules.total > 0:
            default_code = self._arrivals.code(None)
            self._widen()
        booked = self._uses.book(
            cost=cost, joules=joules, active_seconds=time.active * seconds, compute_ns=compute_ns, default_code=default_code
        )
        self._slots.settle(slot, booked, np.array((seconds, time.active * seconds, time.idle * seconds)))

    def _close(self, slot: int) -> None:
        """A slot has closed: windows and blocks take it in."""
        sums = self._slots.sums(slot, slot + 1)
        self._quantiles.close(slot, len(self._blocks))
        for blocks, counts, amounts in zip(self._blocks, sums.counts.tolist(), sums.amounts.tolist(), strict=False):
            if blocks is not None:
                blocks.add(slot, observed=counts[OBSERVED], ok=counts[SLOT_OK], within=counts[SLOT_WITHIN], cost=amounts[COST])

    def _widen(self) -> None:
        """Makes room for models that have come up."""
        models = len(self._arrivals.names)
        for code in range(len(self._blocks), models):
            sla = self._arrivals.sla(code)
            self._blocks.append(None if sla is None else Blocks(sla, self._config.ledger.confidence))
        self._slots.widen(models)
        self._uses.widen(models)

    def _price(self) -> None:
        gpus = self._devices.shares or self._config.server.gpu_count
        self._accrual.price(gpus=gpus, powered=bool(self._devices.present))

    def _told(self, code: int) -> Told:
        tallies = self._arrivals.tallies[code]
        return Told(self._arrivals.names.names[code], self._blocks[code] is not None, bool(tallies[TOLD_INPUT]), bool(tallies[TOLD_OUTPUT]))

    def _facts(self, code: int, told: Told, readers: Sequence[WindowReader]) -> ModelFacts:
        arrivals, blocks, tallies = self._arrivals, self._blocks[code], self._arrivals.tallies[code].tolist()
        histograms, sla = arrivals.histograms, arrivals.sla(code)
        priced, metered = bool(self._accrual.cost), self._devices.metered
        return ModelFacts(
            model=told.model,
            observed_ok=tallies[OK],
            observed_error=tallies[ERROR],
            within_sla=tallies[WITHIN] if told.sla else None,
            late=tallies[LATE],
            duration=histograms.signal(code, "duration", sla),
            ttft=histograms.signal(code, "ttft", sla) if histograms.has(code, "ttft") else None,
            tpot=histograms.signal(code, "tpot", sla) if histograms.has(code, "tpot") else None,
            stages={stage: histograms.stage(code, stage) for stage in STAGES_AND_OTHER if histograms.has(code, stage)},
            part_seconds=arrivals.part_seconds(code),
            tokens_input=tallies[TOKENS_INPUT] if told.tokens_input else None,
            tokens_output=tallies[TOKENS_OUTPUT] if told.tokens_output else None,
            sla=sla,
            in_sla_state={} if blocks is None else dict(blocks.inferences),
            cost_in_sla_state=dict(blocks.cost) if blocks is not None and priced else {},
            energy_joules=self._uses.of(self._uses.joules, code) if metered else {},
            cost=self._uses.of(self._uses.cost, code) if priced else {},
            windows=tuple(reader.model(code, told, sla, blocks, priced=priced, metered=metered) for reader in readers),
        )

"""Ticks on their way to being settled, once and in order: what was computed, drawn and paid in each, and then whose it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from infermeter.config import Config
from infermeter.ledger.accrual import Accrual
from infermeter.ledger.attribution import Split, TickUse, tick_use
from infermeter.ledger.columns import widened
from infermeter.ledger.compute import ComputeTime
from infermeter.ledger.devices import Devices
from infermeter.ledger.instants import SECOND_NS, SLOT_TICKS, TICK_NS
from infermeter.ledger.running import Running, RunningGauge
from infermeter.ledger.slots import Slots
from infermeter.ledger.uses import Uses
from infermeter.model import GpuIdentity, Ints


class Settlement:
    """The columns of ticks that aren't settled yet, and what settled ones have left: uses, busy time, states of the GPUs, slots."""

    def __init__(
        self,
        config: Config,
        gpus: tuple[GpuIdentity, ...],
        slots: Slots,
        *,
        first_tick: int,
        offline: bool,
        default_code: Callable[[], int],
    ) -> None:
        """`default_code` makes the model known that idle time belongs to while no model has been active for an hour."""
        self.compute = ComputeTime(first_tick, bounded=not offline)
        self.devices = Devices(config.gpu, gpus, first_tick=first_tick)
        self.accrual = Accrual(config, first_tick=first_tick, offline=offline)
        self.running = RunningGauge(first_tick, interval_seconds=config.server.metrics_interval)
        self.uses = Uses()
        self.busy_ns = 0
        self._slots = slots
        self._default_code = default_code
        self._last_busy_tick = first_tick

    @property
    def first_tick(self) -> int:
        """The first tick that isn't settled."""
        return self.compute.first_tick

    @property
    def stop_tick(self) -> int:
        """One past the last tick in which time accrued or energy was measured."""
        return max(self.devices.stop_tick, self.accrual.stop_tick)

    @property
    def has_content(self) -> bool:
        """Whether there is anything in the ticks that aren't settled."""
        return max(self.compute.stop_tick, self.stop_tick) > self.first_tick

    def settle(self, stop_tick: int, *, sampled: bool, pooled: bool = False) -> None:
        """Settles the ticks before `stop_tick`; `sampled`: spans are a sample of the inferences.

        `pooled`: with so few of them, what was active in these ticks is shared out by the compute seconds of all of them together.
        """
        first = self.first_tick
        content = min(stop_tick, max(self.compute.stop_tick, self.stop_tick))
        if content > first:
            by_model, union = self.compute.settle(content)
            pool_ns = by_model.sum(axis=0) if pooled else None
            for tick, compute_ns, busy_ns in zip(range(first, content), by_model, union.tolist(), strict=True):
                self._settle_tick(tick, compute_ns, busy_ns, sampled=sampled, pool_ns=pool_ns)
        self.compute.skip(stop_tick)
        self.devices.forget(stop_tick)
        self.accrual.forget(stop_tick)
        self.running.forget(stop_tick)

    def _settle_tick(self, tick: int, compute_ns: Ints, busy_ns: int, *, sampled: bool, pool_ns: Ints | None) -> None:
        """Books one tick. Time beyond a second, accrued after the clock was set back, is nobody's: the tick's spans can't speak for it."""
        money = self.accrual.tick(tick)
        length_ns = round(min(money.accrued_ns, TICK_NS)) or TICK_NS
        lanes = self.devices.lanes(tick, length_ns)
        running = self.running.tick(tick, length_ns)
        use = tick_use(min(1.0, busy_ns / length_ns), lanes, sampled=sampled, pooled=pool_ns is not None, running=running)
        sharers_ns, active_ns = compute_ns, busy_ns
        if pool_ns is not None:
            use = use if pool_ns.any() else use.disowned(1.0)
            sharers_ns, active_ns = pool_ns, round(use.time.active * length_ns)
        elif running is not None:
            use = _without_unknown(use, running, computing=int(compute_ns.sum()) / length_ns)
        known_ratio = min(1.0, TICK_NS / money.accrued_ns) if money.accrued_ns else 1.0
        time = use.time.times(known_ratio).plus(Split(unattributed=1.0 - known_ratio))
        metered = (use.joules.ratios if use.joules.total > 0 else time).times(money.metered_cost)
        seconds = money.accrued_ns / SECOND_NS
        cost = time.times(money.fixed_cost).plus(metered)
        self._book(tick, sharers_ns, active_ns, time=time.times(seconds), cost=cost, joules=use.joules)
        if money.unpriced and seconds:
            self._slots.miss_prices(tick // SLOT_TICKS, money.unpriced, seconds)
        if running is not None:
            computing_seconds = int(compute_ns.sum()) / SECOND_NS * running.told_ratio
            self._slots.run(tick // SLOT_TICKS, computing_seconds, self.running.sums(tick))
        if not sampled:
            self._slots.compute(tick // SLOT_TICKS, compute_ns / SECOND_NS, busy_ns / SECOND_NS)
        quiet_ticks = None if sampled or busy_ns else tick - self._last_busy_tick - 1
        self.devices.settle(tick, lanes, use.lanes, seconds=seconds, quiet_ticks=quiet_ticks)
        self.busy_ns += busy_ns
        if busy_ns:
            self._last_busy_tick = tick

    def _book(self, tick: int, compute_ns: Ints, active_ns: int, *, time: Split, cost: Split, joules: Split) -> None:
        """Books a tick's seconds, money and joules to the models, the active ones in proportion to `compute_ns`, and to its slot."""
        slot, models = tick // SLOT_TICKS, self.uses.models
        compute_ns = widened(compute_ns, models)[:models]
        self.uses.activity.add(slot, np.ceil(compute_ns * (active_ns / max(int(compute_ns.sum()), 1))).astype(np.int64))
        unowned = not self.uses.activity.ns.any() and cost.total + joules.total > 0
        default_code = self._default_code() if unowned else None
        booked = self.uses.book(cost=cost, joules=joules, active_seconds=time.active, compute_ns=compute_ns, default_code=default_code)
        self._slots.settle(slot, booked, np.array((time.total, time.active, time.idle)))


def _without_unknown(use: TickUse, running: Running, *, computing: float) -> TickUse:
    """Of what was active, the part of those running inferences that no span tells of is nobody's.

    `running` speaks of two instants and `computing`, how many spans computed, is a mean: only what both scrapes show is unknown.
    """
    if computing <= 0:
        return use.disowned(1.0)
    return use.disowned(max(0.0, 1.0 - computing / running.least)) if running.least > 0 else use

"""Ticks on their way to being settled, once and in order: what was computed, drawn and paid in each, and then whose it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from infermeter.config import Config
from infermeter.ledger.accrual import Accrual
from infermeter.ledger.attribution import Split, tick_use
from infermeter.ledger.columns import widened
from infermeter.ledger.compute import ComputeTime
from infermeter.ledger.devices import Devices
from infermeter.ledger.instants import SECOND_NS, SLOT_TICKS, TICK_NS
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

    def settle(self, stop_tick: int, *, sampled: bool) -> None:
        """Settles the ticks before `stop_tick`; `sampled`: spans are a sample of the inferences."""
        first = self.first_tick
        content = min(stop_tick, max(self.compute.stop_tick, self.stop_tick))
        if content > first:
            by_model, union = self.compute.settle(content)
            for tick, compute_ns, busy_ns in zip(range(first, content), by_model, union.tolist(), strict=True):
                self._settle_tick(tick, compute_ns, busy_ns, sampled=sampled)
        self.compute.skip(stop_tick)
        self.devices.forget(stop_tick)
        self.accrual.forget(stop_tick)

    def _settle_tick(self, tick: int, compute_ns: Ints, busy_ns: int, *, sampled: bool) -> None:
        """Books one tick. Time beyond a second, accrued after the clock was set back, is nobody's: the tick's spans can't speak for it."""
        money = self.accrual.tick(tick)
        length_ns = round(min(money.accrued_ns, TICK_NS)) or TICK_NS
        lanes = self.devices.lanes(tick, length_ns)
        use = tick_use(min(1.0, busy_ns / length_ns), lanes, sampled=sampled)
        known_ratio = min(1.0, TICK_NS / money.accrued_ns) if money.accrued_ns else 1.0
        time = use.time.times(known_ratio).plus(Split(unattributed=1.0 - known_ratio))
        metered = (use.joules.ratios if use.joules.total > 0 else time).times(money.metered_cost)
        seconds = money.accrued_ns / SECOND_NS
        self._book(tick, compute_ns, busy_ns, time=time.times(seconds), cost=time.times(money.fixed_cost).plus(metered), joules=use.joules)
        quiet_ticks = None if sampled or busy_ns else tick - self._last_busy_tick - 1
        self.devices.settle(tick, lanes, use.lanes, seconds=seconds, quiet_ticks=quiet_ticks)
        self.busy_ns += busy_ns
        if busy_ns:
            self._last_busy_tick = tick

    def _book(self, tick: int, compute_ns: Ints, busy_ns: int, *, time: Split, cost: Split, joules: Split) -> None:
        """Books a tick's seconds, money and joules to the models, and to its slot."""
        slot, models = tick // SLOT_TICKS, self.uses.models
        compute_ns = widened(compute_ns, models)[:models]
        self.uses.activity.add(slot, np.ceil(compute_ns * (busy_ns / max(int(compute_ns.sum()), 1))).astype(np.int64))
        unowned = not self.uses.activity.ns.any() and cost.total + joules.total > 0
        default_code = self._default_code() if unowned else None
        booked = self.uses.book(cost=cost, joules=joules, active_seconds=time.active, compute_ns=compute_ns, default_code=default_code)
        self._slots.settle(slot, booked, np.array((time.total, time.active, time.idle)))

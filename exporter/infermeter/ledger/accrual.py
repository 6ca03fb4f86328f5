"""Money as it accrues: by component as time passes and joules are measured, and by tick until the tick is settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from infermeter.config import Config
from infermeter.ledger.energy import EnergyMeter, Reason, Step, gap_limit_ns, stale_limit_ns
from infermeter.ledger.instants import HOUR_SECONDS, SECOND_NS, TICK_NS, nanoseconds
from infermeter.ledger.tariff import JOULES_PER_KWH, Prices, Tariff, tariff
from infermeter.ledger.timeline import Timeline
from infermeter.model import Component, Floats, GpuSample, HostSample, Ints

_ACCRUED_NS, _FIXED_COST, _METERED_COST, _UNPRICED = range(4)
_FIELDS: Final = 4
_MOST_INTERVALS: Final = 10
"""Of sampling, at most so many accrue in one step; at least so many ticks, since a tick is what a step usually is."""


@dataclass(slots=True, eq=False)
class _Host:
    """One source of the host's energy; `watts` by its last sample or its counter's last step, None before either."""

    meter: EnergyMeter
    watts: float | None = None


class TickMoney(NamedTuple):
    """What accrued in a tick: time (more than a tick after the clock was set back), money by time, money by joules.

    `unpriced`: as `Tariff.unpriced_mask`, by the prices at the end of the tick.
    """

    accrued_ns: float
    fixed_cost: float
    metered_cost: float
    unpriced: int


class Accrual:
    """The money counters of the server, and the columns of ticks that say when it accrued."""

    def __init__(self, config: Config, *, first_tick: int, offline: bool) -> None:
        self.prices = Prices.configured(config.cost)
        self._grams_per_kwh = config.emissions.grams_per_kwh
        self._most_ns = None if offline else _MOST_INTERVALS * max(nanoseconds(config.gpu.interval), TICK_NS)
        self._gap_ns = gap_limit_ns(config.gpu.interval)
        self._hosts: dict[str, _Host] = {}
        self._stale_ns = stale_limit_ns(config.gpu)
        self._ticks: Timeline[np.float64] = Timeline(first_tick, (_FIELDS,), np.float64)
        self._gpus: tuple[Mapping[str, float] | float | None, bool] = (None, False)
        self.tariff = Tariff()
        self.cost: dict[Component, float] = {}
        self.host_joules: dict[str, float] = {}
        self.grams: float | None = None
        self.unknown_seconds = 0.0
        self._host_watts, self._host_measured = 0.0, False
        self._see_host_watts()

    @property
    def stop_tick(self) -> int:
        """One past the last tick in which something accrued."""
        return self._ticks.stop

    def reprice(self, prices: Prices) -> None:
        """From now on these prices are in force; what has accrued stays. The currency must be the same, once there is one."""
        if self.prices.currency not in (None, prices.currency):
            raise ValueError("money of one currency can't be added to that of another")
        self.prices = prices
        self._see_host_watts()
        self.price(gpus=self._gpus[0], powered=self._gpus[1])

    def _see_host_watts(self) -> None:
        watts = 0.0 if self.prices.cost is None else self.prices.cost.power.host_watts
        self._host_watts, self._host_measured = (0.0, True) if watts == "measured" else (float(watts), False)
        if self._host_watts > 0:
            self.host_joules.setdefault("configured", 0.0)

    def price(self, *, gpus: Mapping[str, float] | float | None, powered: bool) -> None:
        """From now on the server has these GPUs, as `tariff` takes them; `powered`: they tell their power."""
        self._gpus = gpus, powered
        powered = powered or self._host_watts > 0 or (self._host_measured and bool(self._hosts))
        self.tariff = tariff(self.prices, gpus=gpus, powered=powered)
        for component in self.tariff.components:
            self.cost.setdefault(component, 0.0)
        if self._grams_per_kwh is not None and powered and self.grams is None:
            self.grams = 0.0

    def advance(self, now_ns: int, elapsed_ns: int) -> None:
        """Time has passed on a monotonic clock: money accrues up to `now_ns`, of a step that is too long only its last part."""
        accrued_ns = elapsed_ns if self._most_ns is None else min(elapsed_ns, self._most_ns)
        self.unknown_seconds += (elapsed_ns - accrued_ns) / SECOND_NS
        if accrued_ns <= 0:
            return
        for component, per_hour in self.tariff.per_hour.items():
            self.cost[component] += per_hour / HOUR_SECONDS * (accrued_ns / SECOND_NS)
        ticks, ns = _ticks_between(now_ns - accrued_ns, now_ns, self._ticks.first)
        self._ticks.book(ticks, np.full_like(ticks, _ACCRUED_NS), ns)
        self._ticks.book(ticks, np.full_like(ticks, _FIXED_COST), ns * (self.tariff.per_second / SECOND_NS))
        self._ticks.rows(int(ticks[0]), int(ticks[-1]) + 1)[:, _UNPRICED] = self.tariff.unpriced_mask
        if self._host_watts > 0:
            self.host_joules["configured"] += self._host_watts * (accrued_ns / SECOND_NS)
            for tick, joules in zip(ticks.tolist(), (ns * (self._host_watts / SECOND_NS)).tolist(), strict=True):
                self.add_joules(tick, joules)

    def add_joules(self, tick: int, joules: float) -> None:
        """Books the money of measured energy."""
        for component, per_joule in self.tariff.per_joule.items():
            self.cost[component] += joules * per_joule
        self._ticks.row(tick)[_METERED_COST] += joules * self.tariff.per_energy
        if self.grams is not None and self._grams_per_kwh is not None:
            self.grams += joules * self._pue * self._grams_per_kwh / JOULES_PER_KWH

    def add_host(self, sample: HostSample) -> Reason | None:
        """Takes in a sample of the host's power or energy; why it couldn't be used.

        It is money only with `host_watts: measured`, and then of the source that told first: sources overlap (the rails of a board hold
        the processor's), and nothing may be paid twice.
        """
        host = self._hosts.get(sample.source) or _Host(EnergyMeter(self._gap_ns))
        reading = host.meter.read(GpuSample("host", sample.time_ns, power_watts=sample.power_watts, energy_joules=sample.energy_joules))
        if host.meter.last is None:
            return reading.rejected
        if sample.source not in self._hosts:
            self._hosts[sample.source] = host
            self.host_joules.setdefault(sample.source, 0.0)
            self.price(gpus=self._gpus[0], powered=self._gpus[1])
        if reading.accepted and sample.power_watts is not None:
            host.watts = sample.power_watts
        if reading.step is not None:
            self._book_host(sample.source, host, reading.step, told=sample.power_watts is not None)
        return reading.rejected

    def _book_host(self, source: str, host: _Host, step: Step, *, told: bool) -> None:
        """Energy of the host; `told`: its power is known without it."""
        if not told:
            host.watts = step.end_watts
        self.host_joules[source] += step.joules
        if self._host_measured and host is self._paid_host:
            for tick, _, joules in step.by_tick(self._ticks.first):
                self.add_joules(tick, joules)

    def per_hour(self, now_ns: int, gpu_watts: float | None) -> dict[Component, float]:
        """The hourly cost by component at the present power; what hangs on power is absent while a reading of it is stale."""
        prices = dict(self.tariff.per_hour)
        host_watts = self._host_watts_at(now_ns)
        if (gpu_watts is not None or not self._gpus[1]) and host_watts is not None:
            watts = (gpu_watts or 0.0) + host_watts
            prices.update({component: per_joule * watts * HOUR_SECONDS for component, per_joule in self.tariff.per_joule.items()})
        return prices

    def _host_watts_at(self, now_ns: int) -> float | None:
        host = self._paid_host
        if not self._host_measured or host is None or host.meter.last is None:
            return self._host_watts
        return host.watts if now_ns - host.meter.last.time_ns <= self._stale_ns else None

    @property
    def _paid_host(self) -> _Host | None:
        return next(iter(self._hosts.values()), None)

    def tick(self, tick: int) -> TickMoney:
        """What accrued in a tick that isn't settled yet."""
        accrued_ns, fixed_cost, metered_cost, unpriced = self._ticks.row(tick).tolist()
        return TickMoney(accrued_ns, fixed_cost, metered_cost, int(unpriced))

    def forget(self, stop_tick: int) -> None:
        """Ticks before this one are settled."""
        self._ticks.drop(stop_tick)

    @property
    def _pue(self) -> float:
        return 1.0 if self.prices.cost is None else self.prices.cost.power.pue or 1.0


def _ticks_between(start_ns: int, end_ns: int, first_tick: int) -> tuple[Ints, Floats]:
    """The ticks from start to end and the nanoseconds in each; what lies before `first_tick` is in that tick."""
    start_tick, last_tick = max(start_ns // TICK_NS, first_tick), max((end_ns - 1) // TICK_NS, first_tick)
    ticks = np.arange(start_tick, last_tick + 1)
    stops_ns = np.minimum((ticks + 1) * TICK_NS, end_ns)
    stops_ns[-1] = end_ns
    return ticks, np.diff(stops_ns, prepend=start_ns).astype(np.float64)

"""What an hour of the server costs, by component: disjoint, from the configured prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self, get_args

from infermeter.config import Cost, Purchase, Rent
from infermeter.ledger.instants import HOUR_SECONDS, SECOND_NS
from infermeter.model import Component

CALENDAR_HOURS_PER_YEAR: Final = 8760
"""365 days. Source: the cost model's formula, (price - residual) / (years x 8760)."""

JOULES_PER_KWH: Final = 3_600_000

COMPONENTS: Final[tuple[Component, ...]] = get_args(Component)


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices that are told: those configured, and what others tell (a prices file, OpenCost) of the rent of a GPU.

    `gpu_per_hour` is the price of an hour of each GPU, or of those with these UUIDs; None: not told, or not asked for. `as_of_ns` is the
    date of the oldest price, None if none is told. The currency is the same for the life of a ledger.
    """

    cost: Cost | None = None
    gpu_per_hour: float | Mapping[str, float] | None = None
    currency: str | None = None
    as_of_ns: int | None = None
    source: str | None = None

    @classmethod
    def configured(cls, cost: Cost | None) -> Self:
        """Those of the configuration alone."""
        if cost is None:
            return cls()
        day = cost.as_of
        as_of_ns = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND_NS if day else None
        return cls(cost, currency=cost.currency, as_of_ns=as_of_ns, source=cost.source)


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices in force. `per_hour` accrues with time, `per_joule` with every measured joule; a component is in one of them at most.

    `unpriced` are components that are configured and can't be known, `unpriced_gpus` the UUIDs of GPUs whose price would have to be told.
    """

    currency: str | None = None
    per_hour: Mapping[Component, float] = field(default_factory=dict)
    per_joule: Mapping[Component, float] = field(default_factory=dict)
    unpriced: tuple[Component, ...] = ()
    unpriced_gpus: tuple[str, ...] = ()

    @property
    def components(self) -> tuple[Component, ...]:
        """All that are priced."""
        return (*self.per_hour, *self.per_joule)

    @property
    def unpriced_mask(self) -> int:
        """What money lacks while these prices are in force: a bit for each unpriced component in the order of COMPONENTS, or all.

        All of them where nothing is priced: then even what nobody has configured yet is missing.
        """
        if not self.components:
            return (1 << len(COMPONENTS)) - 1
        return sum(1 << COMPONENTS.index(component) for component in self.unpriced)

    @property
    def per_second(self) -> float:
        """Of all that accrues with time."""
        return sum(self.per_hour.values()) / HOUR_SECONDS

    @property
    def per_energy(self) -> float:
        """Price of a joule, cooling included."""
        return sum(self.per_joule.values())


def tariff(prices: Prices, *, gpus: Mapping[str, float] | float | None, powered: bool) -> Tariff:
    """What an hour costs with these GPUs; `powered`: some reading tells watts.

    `gpus`: the server's share of each by its UUID; where none can be seen, how many there are; None: unknown.
    """
    cost = prices.cost
    if cost is None:
        return Tariff()
    count = sum(gpus.values()) if isinstance(gpus, Mapping) else gpus
    fixed: dict[Component, float | None] = {}
    unpriced_gpus: tuple[str, ...] = ()
    if cost.prices_file is not None or cost.opencost.prometheus_url is not None:
        unpriced_gpus = _unpriced(prices.gpu_per_hour, gpus)
        fixed["instance"] = _told_rent(prices.gpu_per_hour, gpus)
    elif cost.rent.per_hour is not None:
        fixed["instance"] = _rent(cost.rent, cost.rent.per_hour, count)
    if cost.purchase.price is not None and cost.purchase.lifetime_years is not None:
        amortisation = _amortisation(cost.purchase, cost.purchase.price, cost.purchase.lifetime_years)
        fixed["amortisation"] = _times(amortisation, count if cost.purchase.per == "gpu" else 1.0)
    if cost.cooling.per_hour is not None:
        fixed["cooling"] = cost.cooling.per_hour
    if cost.host.per_hour > 0:
        fixed["host"] = cost.host.per_hour
    if cost.licence.per_hour > 0:
        fixed["licence"] = _times(cost.licence.per_hour, count if cost.licence.per == "gpu" else 1.0)
    if cost.other.per_hour > 0:
        fixed["other"] = cost.other.per_hour
    metered = _metered(cost)
    per_hour = {component: price for component, price in fixed.items() if price is not None}
    unknown = [component for component, price in fixed.items() if price is None] + ([] if powered else list(metered))
    per_joule = metered if powered else {}
    return Tariff(prices.currency if per_hour or per_joule else None, per_hour, per_joule, tuple(unknown), unpriced_gpus)


def _metered(cost: Cost) -> dict[Component, float]:
    """The price of a joule: of power, and of the power that carries it away again.

    Source: power usage effectiveness is all power over that of the IT equipment (ISO/IEC 30134-2).
    """
    if cost.power.price_per_kwh is None:
        return {}
    metered: dict[Component, float] = {"power": cost.power.price_per_kwh / JOULES_PER_KWH}
    if cost.power.pue is not None:
        metered["cooling"] = metered["power"] * (cost.power.pue - 1)
    return metered


def _told_rent(gpu_per_hour: float | Mapping[str, float] | None, gpus: Mapping[str, float] | float | None) -> float | None:
    """The hourly price of all GPUs, each by its own price and the server's share of it; None unless all of them are priced."""
    if gpu_per_hour is None or gpus is None:
        return None
    if not isinstance(gpu_per_hour, Mapping):
        return gpu_per_hour * (sum(gpus.values()) if isinstance(gpus, Mapping) else gpus)
    if not isinstance(gpus, Mapping) or _unpriced(gpu_per_hour, gpus):
        return None
    return sum(gpu_per_hour[uuid] * share for uuid, share in gpus.items())


def _unpriced(gpu_per_hour: float | Mapping[str, float] | None, gpus: Mapping[str, float] | float | None) -> tuple[str, ...]:
    if not isinstance(gpu_per_hour, Mapping) or not isinstance(gpus, Mapping):
        return ()
    return tuple(uuid for uuid in gpus if uuid not in gpu_per_hour)


def _rent(rent: Rent, per_hour: float, gpus: float | None) -> float | None:
    """The hourly price, with what was paid at the start spread over the term, for the GPUs or for the used share of the instance."""
    per_hour += 0.0 if rent.term is None else rent.upfront / (rent.term / HOUR_SECONDS)
    if rent.per == "gpu":
        return _times(per_hour, gpus)
    if rent.instance_gpus is None:
        return per_hour
    if gpus is not None and gpus > rent.instance_gpus:  # more than there are: whatever they are, an instance isn't paid more than once
        return None
    return _times(per_hour / rent.instance_gpus, gpus)


def _amortisation(purchase: Purchase, price: float, years: float) -> float:
    """(price - residual) over the calendar hours of life, plus the finance rate on the price, an hour.

    Source: straight-line depreciation with a simple cost of capital on what was paid.
    """
    return ((price - purchase.residual) / years + price * purchase.finance_rate_per_year) / CALENDAR_HOURS_PER_YEAR


def _times(per_hour: float, count: float | None) -> float | None:
    return None if count is None else per_hour * count

"""What an hour of the server costs, by component: disjoint, from the configured prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from infermeter.config import Cost, Purchase, Rent
from infermeter.ledger.instants import HOUR_SECONDS
from infermeter.model import Component

CALENDAR_HOURS_PER_YEAR: Final = 8760
"""365 days. Source: the cost model's formula, (price - residual) / (years x 8760)."""

JOULES_PER_KWH: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices in force. `per_hour` accrues with time, `per_joule` with every measured joule; a component is in one of them at most.

    `unpriced` are components that are configured and can't be known.
    """

    currency: str | None = None
    per_hour: Mapping[Component, float] = field(default_factory=dict)
    per_joule: Mapping[Component, float] = field(default_factory=dict)
    unpriced: tuple[Component, ...] = ()

    @property
    def components(self) -> tuple[Component, ...]:
        """All that are priced."""
        return (*self.per_hour, *self.per_joule)

    @property
    def per_second(self) -> float:
        """Of all that accrues with time."""
        return sum(self.per_hour.values()) / HOUR_SECONDS

    @property
    def per_energy(self) -> float:
        """Price of a joule, cooling included."""
        return sum(self.per_joule.values())


def tariff(cost: Cost | None, *, gpus: float | None, powered: bool) -> Tariff:
    """The prices of a server with `gpus` GPUs (sum of shares; None: unknown); `powered`: some reading tells watts."""
    if cost is None:
        return Tariff()
    fixed: dict[Component, float | None] = {}
    if cost.rent.per_hour is not None:
        fixed["instance"] = _rent(cost.rent, cost.rent.per_hour, gpus)
    if cost.purchase.price is not None and cost.purchase.lifetime_years is not None:
        amortisation = _amortisation(cost.purchase, cost.purchase.price, cost.purchase.lifetime_years)
        fixed["amortisation"] = _times(amortisation, gpus if cost.purchase.per == "gpu" else 1.0)
    if cost.cooling.per_hour is not None:
        fixed["cooling"] = cost.cooling.per_hour
    if cost.host.per_hour > 0:
        fixed["host"] = cost.host.per_hour
    if cost.licence.per_hour > 0:
        fixed["licence"] = _times(cost.licence.per_hour, gpus if cost.licence.per == "gpu" else 1.0)
    if cost.other.per_hour > 0:
        fixed["other"] = cost.other.per_hour
    metered: dict[Component, float] = {}
    if cost.power.price_per_kwh is not None:
        metered["power"] = cost.power.price_per_kwh / JOULES_PER_KWH
        if cost.power.pue is not None:
            metered["cooling"] = metered["power"] * (cost.power.pue - 1)
    per_hour = {component: price for component, price in fixed.items() if price is not None}
    unknown = [component for component, price in fixed.items() if price is None] + ([] if powered else list(metered))
    per_joule = metered if powered else {}
    return Tariff(cost.currency if per_hour or per_joule else None, per_hour, per_joule, tuple(unknown))


def _rent(rent: Rent, per_hour: float, gpus: float | None) -> float | None:
    """The hourly price, with what was paid at the start spread over the term, for the GPUs or for the used share of the instance."""
    per_hour += 0.0 if rent.term is None else rent.upfront / (rent.term / HOUR_SECONDS)
    if rent.per == "gpu":
        return _times(per_hour, gpus)
    return per_hour if rent.instance_gpus is None else _times(per_hour / rent.instance_gpus, gpus)


def _amortisation(purchase: Purchase, price: float, years: float) -> float:
    """(price - residual) over the calendar hours of life, plus the finance rate on the price, an hour.

    Source: straight-line depreciation with a simple cost of capital on what was paid.
    """
    return ((price - purchase.residual) / years + price * purchase.finance_rate_per_year) / CALENDAR_HOURS_PER_YEAR


def _times(per_hour: float, count: float | None) -> float | None:
    return None if count is None else per_hour * count

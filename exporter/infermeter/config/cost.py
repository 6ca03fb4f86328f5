"""What the hardware costs, and what its electricity emits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from infermeter.config.keys import Duration, key


@dataclass(frozen=True, slots=True)
class Rent:
    """Rented hardware."""

    per_hour: float | None = key(None, "price of an hour", minimum=0)
    per: Literal["gpu", "instance"] = key("gpu", "what the price is for")
    instance_gpus: int | None = key(None, "GPUs in the instance, to price the share that is used", minimum=1)
    upfront: float = key(0.0, "paid at the start of the term", minimum=0)
    term: Duration | None = key(None, "over which upfront is spread", above=0)
    rent_includes_power: bool = key(default=True, doc="false: colocation, power is paid apart")


@dataclass(frozen=True, slots=True)
class Purchase:
    """Bought hardware."""

    price: float | None = key(None, "purchase price", minimum=0)
    per: Literal["server", "gpu"] = key("server", "what the price is for")
    residual: float = key(0.0, "value at the end of the lifetime", minimum=0)
    lifetime_years: float | None = key(None, "calendar years of life", above=0)
    finance_rate_per_year: float = key(0.0, "a year, on the purchase price", minimum=0)


@dataclass(frozen=True, slots=True)
class Power:
    """Electricity."""

    price_per_kwh: float | None = key(None, "price of a kilowatt-hour", minimum=0)
    pue: float | None = key(None, "power usage effectiveness; refused together with cooling.per_hour", minimum=1)
    host_watts: float | Literal["measured"] = key(0.0, "power of the rest of the host: a number, or measured", minimum=0)


@dataclass(frozen=True, slots=True)
class Cooling:
    """Cooling as an hourly sum."""

    per_hour: float | None = key(None, "refused together with power.pue", minimum=0)


@dataclass(frozen=True, slots=True)
class Host:
    """The host apart from its GPUs."""

    per_hour: float = key(0.0, "fixed hourly sum", minimum=0)


@dataclass(frozen=True, slots=True)
class Licence:
    """Software licences."""

    per_hour: float = key(0.0, "fixed hourly sum", minimum=0)
    per: Literal["server", "gpu"] = key("server", "what it is for")


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else."""

    per_hour: float = key(0.0, "fixed hourly sum", minimum=0)


@dataclass(frozen=True, slots=True)
class OpenCost:
    """Prices from OpenCost."""

    prometheus_url: str | None = key(None, "Prometheus that holds node_gpu_hourly_cost")
    selector: str | None = key(None, 'label matchers of the node, such as node="gpu-1"; none: all nodes tell the same price')
    interval: Duration = key(300.0, "how often it is asked", minimum=0.1)
    token_file: str | None = key(None, "file with a bearer token for prometheus_url")


@dataclass(frozen=True, slots=True)
class DevicePrice:
    """One entry of a prices file: what an hour of one device costs somewhere."""

    device: str = key(doc="its name in the catalogue, or the product as the driver prints it", pattern=r".*\S.*")
    provider: str = key(doc="who asks that price", pattern=r".*\S.*")
    per_hour: float = key(doc="price of an hour of one device, as the driver shows devices", minimum=0)
    currency: str = key(doc="ISO 4217", pattern=r"[A-Z]{3}")
    as_of: date = key(doc="date of the price")
    source: str = key(doc="where the price comes from", pattern=r".*\S.*")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the hardware costs. Without any price the cost families are absent."""

    currency: str | None = key(None, "ISO 4217; required with any price", reload="once", pattern=r"[A-Z]{3}")
    as_of: date | None = key(None, "date of the prices; required with any price")
    source: str | None = key(None, "where the prices come from; required with any price")
    stale_after: Duration = key(90 * 86400.0, "prices older than this are stale: a finding", above=0)
    rent: Rent = key(factory=Rent, doc="rented hardware")
    purchase: Purchase = key(factory=Purchase, doc="bought hardware")
    prices_file: str | None = key(
        None, "replaces rent.per_hour: a list of {device, provider, per_hour, currency, as_of, source}, YAML or JSON"
    )
    opencost: OpenCost = key(factory=OpenCost, doc="prices from OpenCost; replaces rent.per_hour")
    power: Power = key(factory=Power, doc="electricity")
    cooling: Cooling = key(factory=Cooling, doc="cooling")
    host: Host = key(factory=Host, doc="the host apart from its GPUs")
    licence: Licence = key(factory=Licence, doc="licences")
    other: Other = key(factory=Other, doc="anything else")


@dataclass(frozen=True, slots=True)
class Emissions:
    """Carbon."""

    grams_per_kwh: float | None = key(None, "grams of CO2e per kilowatt-hour of the grid", minimum=0)

"""How the ledger waits and judges, and when a finding holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infermeter.config.keys import Duration, key


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """How the ledger waits and judges."""

    span_delay: Duration = key(30.0, "how long a span may take from its end to here", above=0, maximum=120)
    confidence: float = key(0.95, "one-sided, of every verdict", above=0.5, maximum=0.9999)
    coverage_below_ratio: float = key(0.9, "below, busy time never comes from spans", above=0, maximum=1)
    capacity_horizon: Duration = key(7 * 86400.0, "how long slots speak for capacity", above=0)


@dataclass(frozen=True, slots=True)
class Assembly:
    """How long traces are waited for."""

    grace: Duration = key(1.0, "after the root was seen, without a new span", minimum=0)
    idle: Duration = key(12.0, "without a root, without a new span", above=0)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a finding begins to hold. Ratios of time unless said otherwise; docs/findings.md says which finding uses which."""

    peak_load_low_ratio: float = key(0.5, "over-provisioned: the peak load is at most this", above=0, maximum=1)
    stage_dominant_ratio: float = key(0.5, "a stage dominates: so much of the inferences' time", above=0, maximum=1)
    stage_large_ratio: float = key(0.3, "transfer or serialisation is worth attention: so much of the inferences' time", above=0, maximum=1)
    queue_small_ratio: float = key(0.2, "nothing waits: at most so much of the inferences' time", above=0, maximum=1)
    busy_ratio: float = key(0.2, "a resource bound is judged only where the GPUs' utilisation is at least this", above=0, maximum=1)
    utilisation_low_ratio: float = key(0.3, "so little work that more replicas change nothing", above=0, maximum=1)
    utilisation_moderate_ratio: float = key(0.7, "there is room for larger batches below this", above=0, maximum=1)
    utilisation_high_ratio: float = key(0.8, "no room is left above this", above=0, maximum=1)
    memory_bound_ratio: float = key(0.6, "of the achievable memory bandwidth, while busy", above=0, maximum=1)
    compute_bound_ratio: float = key(0.5, "of the tensor units' time, or of the peak rate, while busy", above=0, maximum=1)
    launch_bound_ratio: float = key(0.3, "neither memory nor arithmetic above this: launch bound", above=0, maximum=1)


@dataclass(frozen=True, slots=True)
class Advice:
    """What findings look at."""

    enabled: bool = key(default=True, doc="findings at all")
    devices_file: str | None = key(None, "own devices, and what differs from shipped ones; keys as in `infermeter catalogue --format json`")
    prices_file: str | None = key(None, "prices of candidates, in the format of cost.prices_file")
    candidates: Literal["all"] | tuple[str, ...] = key("all", "devices to consider, by their names in the catalogue")
    headroom: float = key(1.3, "over the peak", minimum=1)
    idle_after: Duration = key(1800.0, "a GPU that idles this long is a finding", above=0)
    minimum_history: Duration = key(86400.0, "of demand, before a peak load is told", above=0)
    minimum_saving_ratio: float = key(0.1, "smaller savings are not told", minimum=0, maximum=1)
    hold: Duration = key(300.0, "a finding holds this long before it is told, and is gone for as long before it is withdrawn", minimum=0)
    thresholds: Thresholds = key(factory=Thresholds, doc="where a finding begins to hold")

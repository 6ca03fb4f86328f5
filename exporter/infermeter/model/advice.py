"""What advice goes by, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from infermeter.model.facts import Slowdown
from infermeter.model.kinds import Component, Resource, Workload


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to act on, with its evidence. `model` None: it speaks of the server. `evidence` holds numbers and label texts only."""

    code: str
    level: Literal["info", "warning"]
    model: str | None
    evidence: Mapping[str, float | str]
    what_to_do: str
    falsified_by: str
    saving_per_hour: float | None = None


BlockedBy: TypeAlias = Literal["memory", "precision", "load", "latency", "price", "evidence", "unknown"]
"""What speaks against a candidate: it fails there, or nothing tells."""

SizingVerdict: TypeAlias = Literal["fits", "unsure", "no"]


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """What right-sizing goes by of one model; `slowdown_at_sla_ratio` and `slowdowns` as in `ModelWindow`, with `inferences` behind them.

    `quantile_ratio` is the SLA's. `slowdowns` are empty where more waited than would behind one inference at a time that come at random.
    `longest_service_ratio`: the longest inferences of any model of the server (its duration at the quantile) over the mean compute of this
    one; None where that isn't told of every model.
    """

    model: str
    workload: Workload
    has_sla: bool
    slowdown_at_sla_ratio: float | None
    inferences: int
    quantile_ratio: float = 0.99
    slowdowns: tuple[Slowdown, ...] = ()
    longest_service_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class SizingEvidence:
    """All that right-sizing goes by, of one server: what a report carries, so that it can be asked again with other prices or devices.

    `products`: the GPUs, as their driver names them, each as often as there are; `gpus` is the sum of the shares. `memory_peak_bytes` is of
    the fullest GPU; `memory_is_reserved`: the server takes whatever there is (a pool for its KV cache), so that the peak says nothing.
    `price_age_seconds`: of the oldest price in force. `busy_ratio`, `throttled_ratio` and `load_ratio` (demand over capacity, on the mean;
    None before the window is full) are of the longest window, of `window_seconds`. None: not told.
    """

    products: tuple[str, ...]
    gpus: float
    is_partitioned: bool
    cost_per_hour: Mapping[Component, float]
    currency: str | None
    price_age_seconds: float | None
    peak_load_ratio: float | None
    busy_ratio: float | None
    memory_peak_bytes: int | None
    memory_is_reserved: bool
    precision: str | None
    throttled_ratio: float | None
    window_seconds: float | None
    models: tuple[ModelEvidence, ...]
    load_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another device in place of each GPU, and what speaks for and against it. None: not known.

    Throughput is relative to the present device: `low` the published lower bound, `point` with its range up to `high`. `load_ratio`: peak
    demand over the lower bound of capacity there (headroom not included). `slowdown_ratio`: how much longer compute may take there, waiting
    included, and `slowdown_allowed_ratio` within the SLA.
    `reasons` has a sentence for each of `blocked_by`. `facts_verified`: every fact that decided was checked against its source.
    """

    product: str
    verdict: SizingVerdict
    blocked_by: tuple[BlockedBy, ...]
    reasons: Mapping[BlockedBy, str]
    throughput_ratio_low: float | None
    throughput_ratio_point: float | None
    throughput_ratio_high: float | None
    load_ratio: float | None
    slowdown_ratio: float | None
    cost_per_hour: float | None
    saving_per_hour: float | None
    provider: str | None
    facts_verified: bool
    slowdown_allowed_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Something cheaper to try before other hardware: fewer replicas, a slice, sharing, or none while nothing is asked for."""

    kind: Literal["fewer_replicas", "mig_slice", "share", "scale_to_zero"]
    verdict: SizingVerdict
    evidence: Mapping[str, float | str]
    what_to_do: str
    falsified_by: str
    saving_per_hour: float | None


@dataclass(frozen=True, slots=True)
class RightSizing:
    """Candidates, the best first, and the cheaper first moves; with the evidence they rest on."""

    evidence: SizingEvidence
    candidates: tuple[Candidate, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What the advice says of one snapshot. `bound` None: nothing was computed in the window that it is judged by."""

    findings: tuple[Finding, ...] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    bound: Resource | None = None
    sizing: RightSizing | None = None

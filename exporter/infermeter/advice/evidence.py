"""What right-sizing goes by, taken from a snapshot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from infermeter.advice.premises import Premises
from infermeter.advice.workload import workload
from infermeter.model import LedgerSnapshot, ModelEvidence, ModelFacts, ServerWindow, SizingEvidence, Slowdown

_NS: Final = 1_000_000_000
_NO_SLA: Final = 0.99
_PARTITIONED: Final = "MIG"
_LEAST_KNOWN: Final = 0.9

_BY_CHANCE: Final = 3.0
"""So many wait, where hardly any would."""


def sizing_evidence(premises: Premises) -> SizingEvidence | None:
    """None where no GPU is seen: then nothing says what would be replaced. One that answered within the window took part in it."""
    ledger, window, hardware = premises.ledger, premises.window, premises.hardware
    if not any(gpu.up for gpu in ledger.gpus):
        return None
    since_ns = ledger.time_ns - round(0 if window is None else window.window.seconds * _NS)
    gpus = [gpu for gpu in ledger.gpus if gpu.up or (gpu.last_sample_ns is not None and gpu.last_sample_ns >= since_ns)]
    price_as_of_ns = premises.price_as_of_ns
    gauges = ledger.gauges
    served = [model for model in ledger.models if _is_served(model, ledger)]
    longest_seconds = _longest_seconds(served)
    return SizingEvidence(
        products=tuple(sorted(gpu.identity.product or "unknown" for gpu in gpus)),
        gpus=sum(gpu.identity.share_ratio for gpu in gpus),
        is_partitioned=any(is_part(gpu.identity.uuid, gpu.identity.product) for gpu in gpus),
        cost_per_hour={} if ledger.unpriced else dict(ledger.cost_per_hour),
        currency=ledger.currency,
        price_age_seconds=None if price_as_of_ns is None else max(0.0, (ledger.time_ns - price_as_of_ns) / _NS),
        peak_load_ratio=ledger.peak_load_ratio,
        busy_ratio=None if window is None or ledger.thin else _busy_ratio(window),
        memory_peak_bytes=hardware.memory_peak_bytes,
        memory_is_reserved=premises.reserves_memory or (gauges is not None and gauges.kv_cache_used_ratio is not None),
        precision=premises.config.server.precision,
        throttled_ratio=hardware.throttled_ratio,
        window_seconds=None if window is None else window.window.seconds,
        models=tuple(
            ModelEvidence(
                model=model.model,
                workload=workload(premises.config, model.sla, premises.device, batch_mean=premises.batch_mean),
                has_sla=model.sla is not None,
                slowdown_at_sla_ratio=model.windows[-1].slowdown_at_sla_ratio if model.windows else None,
                inferences=model.windows[-1].inferences_observed if model.windows else 0,
                quantile_ratio=_NO_SLA if model.sla is None else model.sla.quantile_ratio,
                slowdowns=_slowdowns(model, None if ledger.thin else window),
                longest_service_ratio=_longest_service_ratio(model, longest_seconds),
            )
            for model in served
        ),
        load_ratio=None if window is None or window.accrued_seconds < _LEAST_KNOWN * window.window.seconds else window.load_ratio,
    )


def is_part(uuid: str, product: str | None) -> bool:
    """Whether a GPU is a part of one, by the names that MIG gives it."""
    return uuid.startswith(_PARTITIONED) or _PARTITIONED in (product or "")


def _slowdowns(model: ModelFacts, window: ServerWindow | None) -> tuple[Slowdown, ...]:
    """Those of a server of which nothing speaks against it that inferences wait for those before them alone, coming at random.

    Source: the mean wait of M/G/1, load / (1 - load) x the mean rest of the one in service, which is at most the longest.
    """
    if window is None or not model.windows or (busy := _busy_ratio(window) or 0.0) >= 1:
        return ()
    told = model.windows[-1]
    longest, queued = told.latency_at_sla_quantile_seconds.get("duration"), told.stage_seconds.get("queue")
    if longest is None or queued is None:
        return ()
    return told.slowdowns if queued <= (told.inferences_observed * busy / (1 - busy) + _BY_CHANCE) * longest else ()


def _longest_seconds(served: Sequence[ModelFacts]) -> float | None:
    """The longest of the models' durations at the quantile; None where a model's own isn't known: without an SLA no quantile is told."""
    told = [one.windows[-1].latency_at_sla_quantile_seconds.get("duration") if one.windows else None for one in served]
    longest = [seconds for seconds in told if seconds is not None]
    return max(longest) if longest and len(longest) == len(served) else None


def _longest_service_ratio(model: ModelFacts, longest_seconds: float | None) -> float | None:
    if not model.windows or not model.windows[-1].inferences_observed:
        return None
    mean_seconds = model.windows[-1].stage_seconds.get("compute", 0.0) / model.windows[-1].inferences_observed
    return longest_seconds / mean_seconds if longest_seconds is not None and mean_seconds > 0 else None


def _busy_ratio(window: ServerWindow) -> float | None:
    """Of the time that is known to be busy or idle; None where that is too little of it."""
    known = window.busy_seconds + (window.idle_seconds or 0.0)
    return window.busy_seconds / known if known > 0 and known >= _LEAST_KNOWN * window.accrued_seconds else None


def _is_served(model: ModelFacts, ledger: LedgerSnapshot) -> bool:
    """Whether anything was ever asked of it; else it is only the name under which money is booked, and nothing is to be proven of it."""
    told = (ledger.totals or {}).get(model.model, {})
    return model.observed_ok + model.observed_error > 0 or any(told.values())

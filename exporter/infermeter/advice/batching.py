"""The findings on batches: too small while inferences wait, and too large for the SLA. Pure."""

from __future__ import annotations

from typing import Final

from infermeter.advice.premises import Premises, Seen
from infermeter.model import Finding, StepTime

QUEUE_BOUND = "queue_bound"
BATCH_TOO_LARGE = "batch_too_large"

_HALF: Final = 0.5
_LARGEST_STEP: Final = 2.0
"""A line through what was seen speaks of at most so many times the largest batch."""

_FULL_CACHE: Final = 0.9
"""Of the KV cache: with more of it in use there is no memory for a larger batch."""

_LEAST_BATCH: Final = 2.0
"""A smaller mean batch can't be halved."""


def queue_bound(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model whose inferences mostly wait though more of them could be computed at once."""
    return tuple(_queue_bound(premises, seen) for seen in premises.models if waits_needlessly(premises, seen))


def waits_needlessly(premises: Premises, seen: Seen) -> bool:
    """Whether inferences (or those that are late) mostly wait while the GPUs have room, or while batches have, as far as is known.

    Not where the batch is at half its limit or above, the KV cache is full, or a larger batch is known to cost as much as it brings.
    """
    utilisation, limits = premises.utilisation_ratio, premises.thresholds
    if utilisation is None or _waiting(seen) <= limits.stage_dominant_ratio:
        return False
    return could_batch(premises, seen) or (utilisation < limits.utilisation_moderate_ratio and not _is_full(premises, seen))


def could_batch(premises: Premises, seen: Seen) -> bool:
    """Whether larger batches are known to be possible: the mean one is below half of the limit, and nothing says that they don't pay."""
    most, batch = premises.config.server.max_batch, premises.batch_mean
    return most is not None and batch is not None and batch < _HALF * most and not _is_full(premises, seen)


def _is_full(premises: Premises, seen: Seen) -> bool:
    """Whether something is known to speak against larger batches."""
    most, batch, gauges, step = premises.config.server.max_batch, premises.batch_mean, premises.ledger.gauges, _step(seen)
    if gauges is not None and (gauges.kv_cache_used_ratio or 0.0) >= _FULL_CACHE:
        return True
    at_limit = most is not None and batch is not None and batch >= _HALF * most
    return at_limit or (step is not None and not _is_cheap(step))


def _waiting(seen: Seen) -> float:
    """The part of their time that inferences wait; of those that are late, where it is more."""
    return max(seen.queue_ratio or 0.0, seen.late_queue_ratio or 0.0)


def _queue_bound(premises: Premises, seen: Seen) -> Finding:
    step, most = _step(seen), premises.config.server.max_batch
    told = {
        "utilisation_ratio": premises.utilisation_ratio,
        "batch_mean": premises.batch_mean,
        "max_batch": most,
        "throughput_gain_ratio": None if step is None else _gain(step, most),
    }
    evidence: dict[str, float | str] = {"queue_ratio": _waiting(seen), "window": seen.window.window.label}
    evidence |= {name: value for name, value in told.items() if value is not None}
    return Finding(
        code=QUEUE_BOUND,
        level="warning",
        model=seen.model.model,
        evidence=evidence,
        what_to_do="Let the server batch more at once, or wait less for a batch (dynamic or continuous batching, more instances).",
        falsified_by="With a larger batch or more instances the queue stays as long at the same traffic.",
    )


def batch_too_large(premises: Premises) -> tuple[Finding, ...]:
    """One finding for each model that misses its SLA by large batches: nothing waits, the mean is in time, steps grow with the batch."""
    return tuple(finding for seen in premises.models if (finding := _too_large(premises, seen)) is not None)


def _too_large(premises: Premises, seen: Seen) -> Finding | None:
    step, queue, sla = _step(seen), seen.late_queue_ratio, seen.model.sla
    if seen.window.sla_state != "missed" or sla is None or step is None or _is_cheap(step) or step.batch_mean < _LEAST_BATCH:
        return None
    mean = seen.mean_duration_seconds
    late_on_the_mean = sla.duration_seconds is not None and (mean is None or mean > sla.duration_seconds)
    if late_on_the_mean or queue is None or queue > premises.thresholds.queue_small_ratio:
        return None
    grows = step.slope_seconds * step.batch_mean
    evidence: dict[str, float | str] = {
        "batch_mean": step.batch_mean,
        "batch_largest": step.batch_largest,
        "compute_seconds": step.at_zero_seconds + grows,
        "of_it_by_batch_seconds": grows,
        "queue_ratio": queue,
        "window": seen.window.window.label,
    }
    if mean is not None:
        evidence["mean_duration_seconds"] = mean
    return Finding(
        code=BATCH_TOO_LARGE,
        level="warning",
        model=seen.model.model,
        evidence=evidence,
        what_to_do="Lower the batch limit or its delay (max_num_seqs, max_batch_size, max_queue_delay): latency falls, and capacity too.",
        falsified_by="With half the batch limit the quantile stays where it is.",
    )


def _step(seen: Seen) -> StepTime | None:
    return None if seen.model.capacity is None else seen.model.capacity.step_time


def _is_cheap(step: StepTime) -> bool:
    """Whether one more in the batch costs less than the batch as such: at least half of a step doesn't depend on it."""
    return step.at_zero_seconds >= step.slope_seconds * step.batch_mean


def _gain(step: StepTime, most: int | None) -> float:
    """Throughput with twice the largest batch that was seen (or the limit) over throughput with the mean one.

    Source: throughput = batch / step time, step time affine in the batch.
    """
    larger = _LARGEST_STEP * step.batch_largest
    larger = max(step.batch_mean, larger if most is None else min(larger, most))

    def throughput(batch: float) -> float:
        return batch / (step.at_zero_seconds + step.slope_seconds * batch)

    return throughput(larger) / throughput(step.batch_mean)

"""The findings on number formats: worth a test where memory binds, of no use for latency where arithmetic does. Pure."""

from __future__ import annotations

from typing import Final

from infermeter.advice.bound import pressure
from infermeter.advice.premises import Premises
from infermeter.advice.workload import workload
from infermeter.catalogue import Device, Precision
from infermeter.model import Finding, Resource

MEMORY_BOUND_TRY_LOWER_PRECISION = "memory_bound_try_lower_precision"
COMPUTE_BOUND_NO_LATENCY_GAIN_FROM_QUANTISATION = "compute_bound_no_latency_gain_from_quantisation"

_BITS: Final = {"fp64": 64, "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp6": 6, "int4": 4, "fp4": 4}
_PUBLISHED: Final = ("bf16", "fp8")
_PUBLISHED_RATIOS: Final = "0.67 to 1.27"
"""Throughput of FP8 over BF16, same model, GPU and parallelism, 3 MoE models. Source: ML.ENERGY leaderboard, vLLM 0.11.1."""


def memory_bound_try_lower_precision(premises: Premises, bound: Resource | None) -> tuple[Finding, ...]:
    """One finding where memory bandwidth binds, and the device computes natively in a format of fewer bits, as fast or faster."""
    precision, device, used = premises.config.server.precision, premises.device, pressure(premises)
    if bound != "memory" or precision is None or device is None or used is None:
        return ()
    lower = _lower(device, precision)
    if lower is None:
        return ()
    evidence: dict[str, float | str] = {
        "memory_ratio": used.memory_ratio,
        "compute_ratio": used.compute_ratio,
        "told_by": used.told_by,
        "precision": precision,
        "lower_precision": lower,
        "throughput_gain_most_ratio": _BITS[precision] / _BITS[lower],
    }
    if (precision, lower) == _PUBLISHED:
        evidence["published_ratios"] = _PUBLISHED_RATIOS
    return (
        Finding(
            code=MEMORY_BOUND_TRY_LOWER_PRECISION,
            level="info",
            model=None,
            evidence=evidence,
            what_to_do=f"Test {lower} against {precision} side by side, accuracy included: published results go both ways.",
            falsified_by="In an A/B test neither throughput nor the quantile gets better.",
        ),
    )


def compute_bound_no_latency_gain_from_quantisation(premises: Premises, bound: Resource | None) -> tuple[Finding, ...]:
    """One finding where arithmetic binds and somebody waits: weights of fewer bits save memory there, not time."""
    used = pressure(premises)
    if bound != "compute" or used is None or not _is_waited_for(premises):
        return ()
    return (
        Finding(
            code=COMPUTE_BOUND_NO_LATENCY_GAIN_FROM_QUANTISATION,
            level="info",
            model=None,
            evidence={"memory_ratio": used.memory_ratio, "compute_ratio": used.compute_ratio, "told_by": used.told_by},
            what_to_do="Don't quantise weights for latency: it saves memory alone. Activations in a native format may raise the ceiling.",
            falsified_by="In an A/B test weight-only quantisation shortens the compute stage.",
        ),
    )


def _is_waited_for(premises: Premises) -> bool:
    """Whether any model's answers are waited for: a batch has no latency to gain."""
    device, batch = premises.device, premises.batch_mean
    return any(workload(premises.config, model.sla, device, batch_mean=batch) != "batch" for model in premises.ledger.models)


def _lower(device: Device, precision: str) -> Precision | None:
    """Of verified facts alone: the format of the most bits below the present ones in which the device computes natively, and no slower."""
    known = device.precisions
    here = device.rate(precision)
    if known is None or not known.verified or here is None or not here.verified:
        return None
    found: list[Precision] = []
    for name in known.value:
        rate = device.dense_flops.get(name)
        if _BITS[name] < _BITS[precision] and rate is not None and rate.verified and rate.value >= here.value:
            found.append(name)
    return max(found, key=lambda name: (_BITS[name], name == "fp8"), default=None)

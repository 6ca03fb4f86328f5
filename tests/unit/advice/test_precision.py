from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.advice.precision import compute_bound_no_latency_gain_from_quantisation as no_gain
from infermeter.advice.precision import memory_bound_try_lower_precision as try_lower
from infermeter.advice.premises import Premises
from infermeter.catalogue import Catalogue, Fact, shipped_catalogue
from infermeter.config import Config, Server
from infermeter.model import GpuIdentity, HardwareWindow
from unit.advice.premised import gpu, ledger, model, one, premises, window

PRECISE = HardwareWindow(utilisation_ratio=0.9, dram_active_ratio=0.6, tensor_active_ratio=0.1)
FINE = window({"queue": 100.0, "compute": 900.0})


def served(product: str | None, precision: str | None) -> Premises:
    config = Config(server=Server(precision=precision))  # type: ignore[arg-type]
    return premises(ledger(model(FINE), hardware=PRECISE, gpus=(gpu(identity=GpuIdentity("GPU-0", product=product)),)), config)


def test_where_memory_binds_a_format_of_fewer_bits_is_worth_a_test() -> None:
    finding = one(try_lower(served("NVIDIA H100 80GB HBM3", "bf16"), "memory"))
    assert (finding.code, finding.level, finding.model) == ("memory_bound_try_lower_precision", "info", None)
    assert finding.evidence == {
        "memory_ratio": pytest.approx(0.6 / 0.9 / 0.8),
        "compute_ratio": pytest.approx(0.1 / 0.9),
        "told_by": "counters",
        "precision": "bf16",
        "lower_precision": "fp8",
        "throughput_gain_most_ratio": 2.0,
        "published_ratios": "0.67 to 1.27",
    }


@pytest.mark.parametrize(
    ("product", "precision", "lower"),
    [
        ("NVIDIA H100 80GB HBM3", "fp16", "fp8"),
        ("NVIDIA H100 80GB HBM3", "fp32", "bf16"),
        ("NVIDIA H100 80GB HBM3", "fp8", None),
        ("NVIDIA H100 80GB HBM3", None, None),
        ("NVIDIA A100-SXM4-80GB", "bf16", "int8"),
        ("Tesla T4", "bf16", None),
        ("NVIDIA H100 NVL", "bf16", None),
        ("NVIDIA B300 SXM6 AC", "fp8", "fp4"),
        (None, "bf16", None),
    ],
)
def test_only_a_format_that_the_device_is_known_to_compute_in_as_fast_is_named(
    product: str | None, precision: str | None, lower: str | None
) -> None:
    found = try_lower(served(product, precision), "memory")
    assert [finding.evidence["lower_precision"] for finding in found] == ([] if lower is None else [lower])


def test_what_was_published_of_one_pair_is_said_of_no_other() -> None:
    assert "published_ratios" not in one(try_lower(served("NVIDIA A100-SXM4-80GB", "bf16"), "memory")).evidence


def test_a_format_that_is_slower_there_is_never_named() -> None:
    """Blackwell Ultra gave up its INT8 for FP4."""
    b300 = shipped_catalogue().named("b300-sxm")
    assert b300 is not None
    assert b300.dense_flops["int8"].value < b300.dense_flops["bf16"].value
    only = replace(b300, precisions=Fact(("bf16", "int8"), source="", verified=True))
    told = replace(served("x", "bf16"), device=only)
    assert try_lower(told, "memory") == ()
    unsure = replace(b300, precisions=Fact(("bf16", "fp8"), source="", verified=False))
    assert try_lower(replace(told, device=unsure), "memory") == ()
    assert try_lower(replace(told, device=replace(b300, precisions=None)), "memory") == ()


@pytest.mark.parametrize("bound", ["compute", "launch", "queue", "unknown", None])
def test_where_something_else_binds_or_nothing_tells_no_format_is_tried(bound: str | None) -> None:
    assert try_lower(served("NVIDIA H100 80GB HBM3", "bf16"), bound) == ()  # type: ignore[arg-type]


def test_where_arithmetic_binds_and_somebody_waits_weights_of_fewer_bits_save_no_time() -> None:
    snapshot = ledger(model(FINE, sla=replace(model(FINE).sla, duration_seconds=0.5)), hardware=replace(PRECISE, tensor_active_ratio=0.8))  # type: ignore[type-var]
    finding = one(no_gain(premises(snapshot), "compute"))
    assert (finding.code, finding.level, finding.model) == ("compute_bound_no_latency_gain_from_quantisation", "info", None)
    assert finding.evidence == {
        "memory_ratio": pytest.approx(0.6 / 0.9 / 0.8),
        "compute_ratio": pytest.approx(0.8 / 0.9),
        "told_by": "counters",
    }
    assert no_gain(premises(snapshot), "memory") == ()
    assert no_gain(premises(replace(snapshot, windows=())), "compute") == ()
    assert no_gain(premises(snapshot, Config(server=Server(workload="batch"))), "compute") == (), "a batch waits for no answer"


def test_without_any_pressure_that_is_told_nothing_is_said() -> None:
    told = served("NVIDIA H100 80GB HBM3", "bf16")
    assert try_lower(replace(told, hardware=HardwareWindow(utilisation_ratio=0.9)), "memory") == ()
    assert Catalogue((shipped_catalogue().devices[0],)).devices

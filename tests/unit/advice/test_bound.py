from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infermeter.advice.bound import Pressure, pressure, resource_bound
from infermeter.config import Config, Server
from infermeter.model import GpuIdentity, HardwareWindow, LedgerSnapshot, Resource
from unit.advice.premised import gpu, ledger, model, premises, window

BF16 = Config(server=Server(precision="bf16"))
WAITS = model(window({"queue": 600.0, "compute": 400.0}))


def counted(dram: float | None, tensor: float | None, *, busy: float | None = 0.9, **keys: Any) -> LedgerSnapshot:
    """What the counters say, as means over the window."""
    return ledger(hardware=HardwareWindow(utilisation_ratio=busy, dram_active_ratio=dram, tensor_active_ratio=tensor), **keys)


@pytest.mark.parametrize(
    ("dram", "tensor", "expected"),
    [
        (0.8 * 0.6 * 0.9 + 1e-9, 0.1, "memory"),
        (0.8 * 0.6 * 0.9 - 1e-3, 0.1, "unknown"),
        (0.65, 0.58, "unknown"),
        (0.3, 0.46, "compute"),
        (0.3, 0.44, "unknown"),
        (0.6, 0.5, "unknown"),
        (0.1, 0.1, "launch"),
        (0.1, 0.3, "unknown"),
        (0.22, 0.1, "unknown"),
        (None, 0.5, "unknown"),
        (0.9, None, "unknown"),
    ],
)
def test_what_binds_is_told_by_the_counters_while_busy(dram: float | None, tensor: float | None, expected: Resource) -> None:
    assert resource_bound(premises(counted(dram, tensor))) == expected


def test_low_counters_are_launching_only_where_the_gpu_looks_full() -> None:
    assert resource_bound(premises(counted(0.05, 0.05, busy=0.8))) == "unknown"
    assert resource_bound(premises(counted(0.05, 0.05, busy=0.81))) == "launch"
    assert resource_bound(premises(counted(0.05, 0.05, busy=None))) == "unknown"


def test_while_nothing_much_runs_nothing_binds() -> None:
    assert resource_bound(premises(counted(0.1, 0.1, busy=0.19))) is None
    assert resource_bound(premises(counted(0.19, 0.01, busy=0.2))) == "memory"
    assert resource_bound(premises(ledger(windows=()))) is None


def test_without_utilisation_the_settled_busy_time_is_what_counters_are_held_against() -> None:
    assert pressure(premises(counted(0.4, 0.1, busy=None))) == Pressure(1.0, 0.2, "counters")
    assert pressure(premises(counted(0.4, 0.1, busy=None, server={"busy_seconds": 0.0}))) is None


@pytest.mark.parametrize("busy", [0.1, 0.6])
def test_inferences_that_wait_beside_idle_gpus_are_bound_by_their_queue(busy: float) -> None:
    snapshot = ledger(WAITS, hardware=HardwareWindow(utilisation_ratio=busy, dram_active_ratio=0.5, tensor_active_ratio=0.0))
    assert resource_bound(premises(snapshot)) == "queue"


def told(*, flops: float | None = 1e14, moved: float | None = 2.4e12, seconds: float = 3600.0, **keys: Any) -> LedgerSnapshot:
    """What the server estimates a second, while half busy; an H100."""
    server = {
        "flops_per_gpu": None if flops is None else flops * seconds / 2,
        "memory_bytes_per_gpu": None if moved is None else moved * seconds / 2,
        "accrued_seconds": seconds,
    }
    return ledger(server=server, **keys)


def test_without_counters_the_servers_estimates_are_held_against_what_the_device_can() -> None:
    found = pressure(premises(told(), BF16))
    assert found is not None
    assert found.told_by == "server"
    assert found.memory_ratio == pytest.approx(2.4e12 / (3.35e12 * 0.8))
    assert found.compute_ratio == pytest.approx(1e14 / 989.4e12)
    assert resource_bound(premises(told(), BF16)) == "memory"
    assert resource_bound(premises(told(flops=7e14, moved=1e12), BF16)) == "compute"


def test_what_the_device_cannot_do_is_no_more_than_all() -> None:
    assert pressure(premises(told(flops=1e16, moved=1e14), BF16)) == Pressure(1.0, 1.0, "server")


@pytest.mark.parametrize(
    ("snapshot", "config"),
    [
        (told(), Config()),
        (told(flops=None), BF16),
        (told(moved=None), BF16),
        (told(seconds=119.0), BF16),
        (told(gpus=(gpu(identity=GpuIdentity("GPU-0")),)), BF16),
        (told(gpus=(gpu(identity=GpuIdentity("GPU-0", product="NVIDIA H100 NVL")),)), BF16),
        (told(), Config(server=Server(precision="int4"))),
    ],
    ids=["no precision", "no operations", "no bytes", "too short", "no product", "facts that nobody verified", "no rate"],
)
def test_without_all_that_estimates_need_nothing_binds_for_sure(snapshot: LedgerSnapshot, config: Config) -> None:
    assert pressure(premises(snapshot, config)) is None
    assert resource_bound(premises(snapshot, config)) == "unknown"


def test_gpus_of_several_kinds_are_no_device() -> None:
    both = (gpu(), gpu(1, identity=GpuIdentity("GPU-1", product="NVIDIA L4")))
    assert premises(told(gpus=both), BF16).device is None
    assert premises(told(gpus=(both[0], replace(both[1], up=False))), BF16).device is not None

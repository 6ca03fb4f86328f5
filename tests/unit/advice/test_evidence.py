from __future__ import annotations

from dataclasses import replace

import pytest

from infermeter.advice import advise
from infermeter.advice.evidence import sizing_evidence
from infermeter.config import Advice, Config, Server
from infermeter.model import GpuIdentity, HardwareWindow, ModelEvidence, ServerGauges
from support.snapshots import END_NS
from unit.advice.premised import H100, S, gpu, ledger, model, premises, window

FINE = window({"queue": 100.0, "compute": 900.0}, slowdown_at_sla_ratio=3.0)
HARDWARE = HardwareWindow(utilisation_ratio=0.5, memory_peak_bytes=10**10, throttled_ratio=0.25)


def test_it_holds_what_other_hardware_is_judged_by() -> None:
    snapshot = ledger(model(FINE), hardware=HARDWARE, peak_load_ratio=0.25)
    config = Config(server=Server(precision="bf16"))
    found = sizing_evidence(replace(premises(snapshot, config), price_as_of_ns=END_NS - 60 * S))
    assert found is not None
    assert (found.products, found.gpus, found.is_partitioned) == ((H100,), 1.0, False)
    assert (found.cost_per_hour, found.currency, found.price_age_seconds) == ({"instance": 2.0, "licence": 0.25}, "USD", 60.0)
    assert (found.peak_load_ratio, found.busy_ratio, found.window_seconds) == (0.25, 0.5, 3600.0)
    assert (found.memory_peak_bytes, found.memory_is_reserved, found.throttled_ratio) == (10**10, False, 0.25)
    assert found.precision == "bf16"
    assert found.models == (ModelEvidence("m", "batch", has_sla=True, slowdown_at_sla_ratio=3.0, inferences=1000),)


def test_without_a_gpu_that_is_seen_there_is_nothing_to_replace() -> None:
    assert sizing_evidence(premises(ledger(model(FINE), gpus=(gpu(up=False),)))) is None


def test_what_is_not_known_is_none() -> None:
    snapshot = ledger(
        replace(model(FINE), windows=(), sla=None), windows=(), unpriced=("host",), gpus=(gpu(identity=GpuIdentity("GPU-0")),)
    )
    found = sizing_evidence(premises(snapshot))
    assert found is not None
    assert found.products == ("unknown",)
    assert (found.cost_per_hour, found.price_age_seconds, found.busy_ratio, found.window_seconds) == ({}, None, None, None)
    assert found.models == (ModelEvidence("m", "batch", has_sla=False, slowdown_at_sla_ratio=None, inferences=0),)
    nothing_accrued = sizing_evidence(premises(ledger(server={"accrued_seconds": 0.0, "busy_seconds": 0.0, "idle_seconds": None})))
    assert nothing_accrued is not None
    assert nothing_accrued.busy_ratio is None


@pytest.mark.parametrize(
    ("identity", "partitioned"),
    [
        (GpuIdentity("MIG-1", product=H100), True),
        (GpuIdentity("GPU-1", product="NVIDIA A100-SXM4-40GB MIG 1g.5gb"), True),
        (GpuIdentity("GPU-1"), False),
    ],
)
def test_a_slice_of_a_gpu_is_seen_by_its_name(identity: GpuIdentity, *, partitioned: bool) -> None:
    found = sizing_evidence(premises(ledger(gpus=(gpu(identity=identity),))))
    assert found is not None
    assert found.is_partitioned is partitioned


def test_a_server_with_a_kv_cache_takes_whatever_memory_there_is() -> None:
    gauges = ServerGauges(running=None, waiting=None, batch_size=None, kv_cache_used_ratio=0.5)
    found = sizing_evidence(premises(ledger(model(FINE), gauges=gauges)))
    assert found is not None
    assert found.memory_is_reserved


def test_advice_says_what_each_model_is_used_for_what_binds_and_what_else_would_do() -> None:
    said = advise(premises(ledger(model(FINE), hardware=HARDWARE)))
    assert said.workloads == {"m": "batch"}
    assert said.bound == "unknown"
    assert said.sizing is not None
    assert advise(premises(ledger(model(FINE), gpus=(gpu(up=False),)))).sizing is None
    only = advise(premises(ledger(model(FINE)), Config(advice=Advice(candidates=("l4",))))).sizing
    assert only is not None
    assert [candidate.product for candidate in only.candidates] == ["l4"]

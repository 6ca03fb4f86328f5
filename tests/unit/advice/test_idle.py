from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infermeter.advice.idle import held_idle_gpu, idle_gpu
from infermeter.model import GpuFacts, GpuIdentity
from support.snapshots import END_NS
from unit.advice.premised import H100, S, gpu, ledger, one, premises

AFTER = 1800 * S


def quiet(index: int = 0, *, held: bool = False, seconds: int = 1800, **keys: Any) -> GpuFacts:
    return gpu(index, quiet_since_ns=END_NS - seconds * S, held=held, **keys)


def test_a_gpu_that_has_done_nothing_for_long_enough_is_a_finding() -> None:
    finding = one(idle_gpu(premises(ledger(gpus=(quiet(),)))))
    assert (finding.code, finding.level, finding.model) == ("idle_gpu", "warning", None)
    assert finding.evidence == {"gpus": 1, "gpus_up": 1, "idle_seconds": 1800.0, "power_watts": 100.0}
    assert finding.saving_per_hour == 2.25


def test_with_a_model_on_it_it_is_held_idle() -> None:
    snapshot = ledger(gpus=(quiet(held=True), quiet(1, seconds=4000)))
    assert one(held_idle_gpu(premises(snapshot))).evidence["idle_seconds"] == 1800.0
    assert one(idle_gpu(premises(snapshot))).evidence["idle_seconds"] == 4000.0


@pytest.mark.parametrize("other", [quiet(seconds=1799), gpu(), quiet(up=False)], ids=["shorter", "works", "stale"])
def test_what_worked_or_tells_nothing_is_not_idle(other: GpuFacts) -> None:
    assert idle_gpu(premises(ledger(gpus=(other,)))) == ()


def test_before_anything_is_settled_nothing_is_idle() -> None:
    assert idle_gpu(premises(ledger(gpus=(quiet(),), settled_ns=None))) == ()


def test_of_some_of_the_gpus_only_what_is_paid_for_gpus_is_saved() -> None:
    cost = {"instance": 8.0, "amortisation": 1.0, "power": 0.5, "cooling": 0.1, "host": 1.0, "licence": 1.0, "other": 1.0}
    quarter = replace(quiet(1), identity=GpuIdentity("GPU-1", product=H100, share_ratio=0.5))
    worker = gpu(0, identity=GpuIdentity("GPU-0", product=H100))
    found = one(idle_gpu(premises(ledger(gpus=(worker, quarter), cost_per_hour=cost))))
    assert found.saving_per_hour == pytest.approx(3.0)
    assert found.evidence["power_watts"] == 50.0


def test_without_a_price_or_a_reading_of_power_neither_is_told() -> None:
    dark = quiet(last=None)
    found = one(idle_gpu(premises(ledger(gpus=(dark,), unpriced=("host",)))))
    assert found.saving_per_hour is None
    assert "power_watts" not in found.evidence
    assert "power_watts" not in one(idle_gpu(premises(ledger(gpus=(quiet(last=replace(gpu().last, power_watts=None)),))))).evidence  # type: ignore[type-var]

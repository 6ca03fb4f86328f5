"""What right-sizing goes by, as it is taken from a snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from infermeter.advice import premises_of
from infermeter.advice.evidence import sizing_evidence
from infermeter.catalogue import shipped_catalogue
from infermeter.config import Config, Server
from infermeter.model import GpuFacts, GpuIdentity, HardwareWindow, LedgerSnapshot, ServerGauges, SizingEvidence
from support.snapshots import END_NS, rich_snapshot

S = 1_000_000_000
GAUGES = ServerGauges(running=1.0, waiting=0.0, batch_size=None, kv_cache_used_ratio=None)


def gpu(uuid: str = "GPU-0", *, product: str | None = "Tesla T4", up: bool = True, share: float = 1.0, seen: int = END_NS) -> GpuFacts:
    return GpuFacts(GpuIdentity(uuid, product=product, share_ratio=share), up, None, seen, None, {}, None)


def snapshot(**different: Any) -> LedgerSnapshot:
    return replace(rich_snapshot().ledger, **{"gpus": (gpu(),), "gauges": None, "thin": False} | different)


def evidence(ledger: LedgerSnapshot, *, price_as_of_ns: int | None = None, server: Server | None = None) -> SizingEvidence:
    config = Config(server=server or Server(kind="triton", precision="fp16"))
    taken = sizing_evidence(premises_of(config, ledger, shipped_catalogue(), price_as_of_ns=price_as_of_ns))
    assert taken is not None
    return taken


def windowed(**different: Any) -> LedgerSnapshot:
    ledger = snapshot()
    return replace(ledger, windows=(replace(ledger.windows[-1], **different),))


def test_without_a_gpu_that_answers_there_is_none() -> None:
    for gpus in ((), (gpu(up=False),)):
        premises = premises_of(Config(), snapshot(gpus=gpus), shipped_catalogue(), price_as_of_ns=None)
        assert sizing_evidence(premises) is None


def test_a_gpu_that_fell_silent_within_the_window_is_one_of_the_server_s() -> None:
    """Else a server on two would look like one on one, and its figures like those of one device."""
    lately, long_ago = gpu("GPU-1", up=False, seen=END_NS - 600 * S), gpu("GPU-1", up=False, seen=END_NS - 7200 * S)
    never = replace(long_ago, last_sample_ns=None)
    assert evidence(snapshot(gpus=(gpu(), lately))).products == ("Tesla T4", "Tesla T4")
    assert evidence(snapshot(gpus=(gpu(), long_ago, never))).products == ("Tesla T4",)


def test_shares_add_up_and_products_are_told_in_order() -> None:
    taken = evidence(snapshot(gpus=(gpu("GPU-0", share=0.5), gpu("GPU-1", product=None), gpu("GPU-2", product="NVIDIA L4"))))
    assert taken.gpus == 2.5
    assert taken.products == ("NVIDIA L4", "Tesla T4", "unknown")


@pytest.mark.parametrize(
    ("one", "is_partitioned"),
    [(gpu(), False), (gpu("MIG-0"), True), (gpu(product="NVIDIA A100-SXM4-40GB MIG 1g.5gb"), True), (gpu(product=None), False)],
)
def test_an_instance_of_mig_is_a_part(one: GpuFacts, is_partitioned: bool) -> None:
    assert evidence(snapshot(gpus=(one,))).is_partitioned is is_partitioned


def test_a_cost_that_is_not_whole_is_none_at_all() -> None:
    assert evidence(snapshot(cost_per_hour={"instance": 2.0, "host": 0.5})).cost_per_hour == {"instance": 2.0, "host": 0.5}
    assert evidence(snapshot(unpriced=("power",))).cost_per_hour == {}


def test_the_age_of_the_price_is_told_and_never_below_0() -> None:
    assert evidence(snapshot(), price_as_of_ns=END_NS - 60 * S).price_age_seconds == 60
    assert evidence(snapshot(), price_as_of_ns=END_NS + 60 * S).price_age_seconds == 0
    assert evidence(snapshot()).price_age_seconds is None


@pytest.mark.parametrize(
    ("known", "gauges", "reserved"),
    [
        (False, None, False),
        (False, GAUGES, False),
        (False, replace(GAUGES, kv_cache_used_ratio=0.0), True),
        (True, None, True),
    ],
)
def test_servers_with_a_kv_cache_reserve_memory_also_where_they_do_not_tell_now(
    known: bool, gauges: ServerGauges | None, reserved: bool
) -> None:
    premises = premises_of(Config(), snapshot(gauges=gauges), shipped_catalogue(), price_as_of_ns=None, reserves_memory=known)
    taken = sizing_evidence(premises)
    assert taken is not None
    assert taken.memory_is_reserved is reserved


def test_busy_time_is_a_part_of_what_is_known_and_none_where_too_little_is() -> None:
    """An hour without readings of the GPUs isn't an idle one."""
    assert evidence(windowed(accrued_seconds=3600.0, busy_seconds=360.0, idle_seconds=3240.0)).busy_ratio == 0.1
    assert evidence(windowed(accrued_seconds=3600.0, busy_seconds=324.0, idle_seconds=2916.0)).busy_ratio == 0.1
    assert evidence(windowed(accrued_seconds=3600.0, busy_seconds=300.0, idle_seconds=2900.0)).busy_ratio is None
    assert evidence(windowed(accrued_seconds=3600.0, busy_seconds=3600.0, idle_seconds=None)).busy_ratio == 1
    assert evidence(windowed(accrued_seconds=0.0, busy_seconds=0.0, idle_seconds=0.0)).busy_ratio is None
    assert evidence(replace(windowed(), thin=True)).busy_ratio is None


def test_memory_and_throttling_are_those_of_the_longest_window() -> None:
    taken = evidence(windowed(hardware=HardwareWindow(memory_peak_bytes=5, throttled_ratio=0.25)))
    assert (taken.memory_peak_bytes, taken.throttled_ratio, taken.window_seconds) == (5, 0.25, 3600.0)


def test_without_a_window_only_the_present_is_told() -> None:
    ledger = snapshot(windows=())
    bare = replace(ledger, models=tuple(replace(model, windows=()) for model in ledger.models))
    taken = evidence(bare)
    assert (taken.window_seconds, taken.busy_ratio, taken.memory_peak_bytes) == (None, None, None)
    assert {(model.slowdown_at_sla_ratio, model.inferences) for model in taken.models} == {(None, 0)}


def test_models_are_told_with_their_sla_and_what_it_allows() -> None:
    ledger = snapshot()
    llm = ledger.models[0]
    slow = tuple(replace(window, slowdown_at_sla_ratio=3.0) for window in llm.windows)
    assert llm.sla is not None
    strict = replace(llm, windows=slow, sla=replace(llm.sla, quantile_ratio=0.999))
    idle = replace(llm, model="only a name", observed_ok=0, observed_error=0)
    told = {
        model.model: model
        for model in evidence(
            replace(
                ledger,
                models=(strict, idle, replace(idle, model="counted"), replace(idle, model="failed", observed_error=1)),
                totals={"counted": {"ok": 2}},
            )
        ).models
    }
    assert (told[llm.model].has_sla, told[llm.model].quantile_ratio, told[llm.model].slowdown_at_sla_ratio) == (True, 0.999, 3.0)
    assert set(told) == {llm.model, "counted", "failed"}
    bare = evidence(replace(ledger, models=(replace(llm, sla=None),))).models[0]
    assert (bare.has_sla, bare.quantile_ratio) == (False, 0.99)

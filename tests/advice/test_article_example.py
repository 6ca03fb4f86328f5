"""An A100 that is asked ten times a minute, and answers 99 % within 100 ms: a T4 would do if it isn't too slow by itself, nor too busy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from infermeter.advice import right_size, sizing_settings
from infermeter.advice.sizing import BOUND
from infermeter.catalogue import shipped_catalogue
from infermeter.config import Advice, Config, Cost, DevicePrice, Rent, Server, Sla
from infermeter.ledger import Ledger
from infermeter.model import Candidate, GpuIdentity, SizingEvidence
from support.advising import advice
from support.ledgers import GPU, START_NS, S, config
from support.simulated_lives import Spans, arriving, device, live
from support.simulated_servers import Floats, one_at_a_time

A100_40, A100_80 = "NVIDIA A100-SXM4-40GB", "NVIDIA A100 80GB PCIe"
PER_HOUR = {A100_40: 2.745, A100_80: 3.673}
AS_OF = datetime.fromtimestamp(START_NS / S, UTC).date()
T4 = DevicePrice("t4", "AWS", 0.526, "USD", AS_OF, "list price, on demand")
SECONDS = 75 * 60
PER_SECOND = 10 / 60
LOW = {A100_40: BOUND * 320 / 1555, A100_80: BOUND * 320 / 1935}
"""Of a T4: by bandwidth, which is the lesser ratio."""


def configured(target: float, *, product: str = A100_40, precision: str = "fp16") -> Config:
    return config(
        sla=Sla(0.99, target),
        cost=Cost(currency="USD", as_of=AS_OF, rent=Rent(per_hour=PER_HOUR[product], per="gpu")),
        server=Server(precision=precision, sampled=False),
        advice=Advice(minimum_history=3600.0, candidates=("t4",)),
    )


def random(seconds: float, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0.0, seconds, rng.poisson(PER_SECOND * seconds)))


@cache
def seen(compute: float, *, target: float = 0.1, product: str = A100_40) -> SizingEvidence:
    """What 75 minutes show of a server that computes one inference at a time, so long each."""
    arrived = random(SECONDS - 60, seed=1)
    served = one_at_a_time(arrived, np.full(len(arrived), compute))
    card = device(served, seconds=SECONDS, idle_watts=60.0, step_watts=200.0, per_sequence_watts=0.0)
    settings = configured(target, product=product)
    book = Ledger(settings, start_ns=START_NS, sampled=False, gpus=[GpuIdentity(GPU, product=product)])
    coming = arriving(served.ended, "in order", np.random.default_rng(1))
    snapshot = live(book, Spans(served, ["m"] * len(arrived), tokens=False), coming, seconds=SECONDS, samples=card.samples())
    sizing = advice(settings, snapshot, price_as_of_ns=START_NS, prices=[T4]).sizing
    assert sizing is not None
    return sizing.evidence


def told(evidence: SizingEvidence, *, product: str = A100_40, precision: str = "fp16") -> Candidate:
    settings = sizing_settings(configured(0.1, product=product, precision=precision))
    evidence = replace(evidence, precision=precision)
    (candidate,) = right_size(evidence, shipped_catalogue(), [T4], settings, now_ns=START_NS).candidates
    return candidate


def late_on_a_t4(compute: float, *, target: float = 0.1) -> float:
    """The truth, for a T4 that is as slow as the bound lets it be: a month of it."""
    arrived = random(30 * 86_400, seed=2)
    served = one_at_a_time(arrived, np.full(len(arrived), compute / LOW[A100_40]))
    return float((served.durations > target).mean())


@pytest.mark.parametrize("product", [A100_40, A100_80])
def test_a_t4_fits_where_4_ms_of_compute_leave_it_time_enough(product: str) -> None:
    candidate = told(seen(0.004, product=product), product=product)
    assert (candidate.product, candidate.verdict, candidate.blocked_by) == ("t4", "fits", ())
    assert candidate.throughput_ratio_low == pytest.approx(LOW[product])
    assert candidate.cost_per_hour == pytest.approx(0.526)
    assert candidate.saving_per_hour == pytest.approx(PER_HOUR[product] - 0.526)
    assert candidate.facts_verified


@pytest.mark.parametrize("compute", [0.004, 0.012, 0.0138, 0.0155])
def test_a_t4_fits_up_to_where_it_would_miss_the_sla_if_it_is_as_slow_as_it_may_be(compute: float) -> None:
    """From 13.2 to 16.4 ms each inference by itself is in time on the T4, and over 1 % are late: they meet it busy with another."""
    assert told(seen(compute)).verdict == ("fits" if compute <= 0.012 else "no")
    late = late_on_a_t4(compute)
    assert late <= 0.01 if compute <= 0.012 else late > 0.01


def slower(evidence: SizingEvidence, factor: float) -> SizingEvidence:
    """As if so much slower were within the SLA, whoever waits."""
    return replace(evidence, models=tuple(replace(one, slowdown_at_sla_ratio=factor, slowdowns=()) for one in evidence.models))


def test_the_edge_of_latency_is_where_the_slowdown_there_is_all_that_the_sla_allows() -> None:
    evidence = seen(0.004)
    slowdown = told(slower(evidence, 1.0)).slowdown_ratio
    assert slowdown is not None
    assert slowdown > 1 / LOW[A100_40]
    below, above = (told(slower(evidence, slowdown * factor)) for factor in (1 + 1e-9, 1 - 1e-9))
    assert (below.verdict, below.blocked_by) == ("fits", ())
    assert (above.verdict, above.blocked_by) == ("no", ("latency",))


def test_where_nobody_meets_it_busy_the_edge_is_at_16_ms() -> None:
    """Asked once an hour: then 0.1 s may be as long as the bound says, 6.07 times what it takes now."""
    evidence = replace(seen(0.004), peak_load_ratio=1e-5, load_ratio=None)
    assert told(slower(evidence, 0.1 / (0.1 * LOW[A100_40] - 1e-5))).verdict == "fits"
    assert told(slower(evidence, 0.1 / (0.1 * LOW[A100_40] + 1e-5))).blocked_by == ("latency",)
    assert 0.1 * LOW[A100_40] == pytest.approx(0.0165, abs=1e-4)


def test_the_edge_of_load_is_at_an_eighth_of_the_a100() -> None:
    evidence = seen(0.2, target=20.0)
    evidence = slower(evidence, 1e4)
    edge = LOW[A100_40] / 1.3
    assert edge == pytest.approx(0.1266, abs=1e-4)
    assert told(replace(evidence, peak_load_ratio=edge * (1 - 1e-9))).verdict == "fits"
    above = told(replace(evidence, peak_load_ratio=edge * (1 + 1e-6)))
    assert (above.verdict, above.blocked_by) == ("no", ("load",))


def test_with_a_target_of_20_s_the_busy_share_decides() -> None:
    """0.2 s ten times a minute are 3 % of the time, and at peaks 7 % of what it can do; 0.6 s are more than the T4 is sure to carry."""
    assert told(seen(0.2, target=20.0)).verdict == "fits"
    busy = told(seen(0.6, target=20.0))
    assert (busy.verdict, "load" in busy.blocked_by) == ("no", True)


def test_a_server_in_bf16_cannot_move_to_a_t4() -> None:
    candidate = told(seen(0.004), precision="bf16")
    assert (candidate.verdict, candidate.blocked_by) == ("no", ("precision",))


def test_in_fp32_the_bandwidth_binds_as_well_and_it_fits() -> None:
    candidate = told(seen(0.004), precision="fp32")
    assert candidate.verdict == "fits"
    assert candidate.throughput_ratio_low == pytest.approx(LOW[A100_40])


def test_what_fills_more_than_its_memory_cannot_move() -> None:
    evidence = seen(0.004)
    assert told(replace(evidence, memory_peak_bytes=round(16e9 / 1.1) - 1)).verdict == "fits"
    assert told(replace(evidence, memory_peak_bytes=round(16e9 / 1.1) + 1)).blocked_by == ("memory",)


def test_75_minutes_show_all_that_it_takes() -> None:
    """With the window that is shipped (1h) and a shorter history: 600 inferences an hour are more than the 299 that prove anything."""
    evidence = seen(0.004)
    (model,) = evidence.models
    assert model.inferences > 299
    assert model.slowdown_at_sla_ratio is not None
    assert 16 < model.slowdown_at_sla_ratio <= 0.1 / 0.004
    assert evidence.peak_load_ratio == pytest.approx(18 / 60 / (0.8 / 0.004), rel=0.2)
    assert evidence.memory_peak_bytes == 8 * 2**30
    assert evidence.busy_ratio == pytest.approx(PER_SECOND * 0.004, rel=0.2)

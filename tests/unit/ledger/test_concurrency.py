"""Little's law: what the server's gauge says was running against what its spans say, by servers of which both are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from infermeter.config import Config
from infermeter.ledger.concurrency import concurrency
from infermeter.ledger.slots import Sums
from infermeter.model import Concurrency, Finding, LedgerSnapshot
from support.advising import findings
from support.ledgers import Inference, ledger
from support.server_readings import lived, readings
from support.snapshots import rich_snapshot

MINUTES_20 = 1200


def arrivals(per_second: float, mean_seconds: float, *, until: int = MINUTES_20, seed: int = 1) -> list[Inference]:
    """At random, each computing for a time of its own."""
    draw = np.random.default_rng(seed)
    starts = np.sort(draw.uniform(0, until - 60, round(per_second * (until - 60))))
    lengths = draw.exponential(mean_seconds, len(starts)).clip(0.01, 50)
    return [Inference(float(a), float(a + b)) for a, b in zip(starts, lengths, strict=True)]


def seen(served: list[Inference], spans: list[Inference], *, sampled: bool = False) -> LedgerSnapshot:
    told = readings(served, until=MINUTES_20, tells_running=True)
    return lived(ledger(gpus=(), offline=False, sampled=sampled), spans, told, until=MINUTES_20)


def of(snapshot: LedgerSnapshot) -> Concurrency:
    assert snapshot.concurrency is not None
    return snapshot.concurrency


def found(snapshot: LedgerSnapshot) -> tuple[Finding, ...]:
    measured = replace(snapshot, stage_quality={"compute": "measured"})
    return tuple(finding for finding in findings(Config(), measured) if finding.code == "telemetry_inconsistent")


@pytest.mark.parametrize(("per_second", "mean_seconds"), [(2.0, 1.0), (0.5, 20.0)])
def test_a_server_that_tells_the_truth_agrees_with_itself(per_second: float, mean_seconds: float) -> None:
    served = arrivals(per_second, mean_seconds)
    snapshot = seen(served, served)
    both = of(snapshot)
    assert both.computing == pytest.approx(sum(one.end - one.start for one in served) / MINUTES_20, rel=0.1)
    assert both.running == pytest.approx(both.computing, rel=0.35)
    assert both.standard_error is not None
    assert abs(both.running - both.computing) < 4 * both.standard_error
    assert found(snapshot) == ()


def test_a_tenth_of_the_spans_stands_for_all_of_them() -> None:
    served = arrivals(4.0, 1.0)
    snapshot = seen(served, served[::10], sampled=True)
    both = of(snapshot)
    assert both.running == pytest.approx(both.computing, rel=0.3)
    assert both.inferences < 500
    assert found(snapshot) == ()


def test_work_that_leaves_no_span_and_is_in_no_count_is_found() -> None:
    served = arrivals(4.0, 1.0)
    hidden = arrivals(8.0, 1.0, seed=2)
    told = readings(served, until=MINUTES_20, tells_running=True)
    more = readings(hidden, until=MINUTES_20, tells_running=True)
    told = [replace(one, running=(one.running or 0) + (other.running or 0)) for one, other in zip(told, more, strict=True)]
    (finding,) = found(lived(ledger(gpus=(), offline=False), served, told, until=MINUTES_20))
    assert (finding.level, finding.model, finding.evidence["window"]) == ("warning", None, "1h")
    assert finding.evidence["running"] == pytest.approx(3 * float(finding.evidence["computing"]), rel=0.3)
    assert "without a span" in finding.what_to_do


def test_spans_of_another_server_are_found() -> None:
    served = arrivals(2.0, 2.0)
    (finding,) = found(seen(served, served + arrivals(4.0, 2.0, seed=2)))
    assert float(finding.evidence["computing"]) > 2 * float(finding.evidence["running"])
    assert "another replica" in finding.what_to_do


def test_a_load_as_regular_as_the_scrapes_proves_nothing() -> None:
    """Ten inferences of a second, every five seconds, always before the scrape: the gauge never sees one."""
    served = [Inference(i + 1.0, i + 2.0) for i in range(0, MINUTES_20 - 60, 5) for _ in range(10)]
    snapshot = seen(served, served)
    assert (of(snapshot).running, of(snapshot).standard_error) == (0.0, None)
    assert found(snapshot) == ()


def test_without_a_gauge_or_with_a_sample_of_nobody_knows_what_there_is_nothing_to_compare() -> None:
    served = arrivals(2.0, 1.0)
    untold = lived(ledger(gpus=(), offline=False), served, readings(served, until=MINUTES_20), until=MINUTES_20)
    assert untold.concurrency is None
    uncounted = [replace(one, inferences={}) for one in readings(served, until=MINUTES_20, tells_running=True)]
    assert lived(ledger(gpus=(), offline=False, sampled=True), served, uncounted, until=MINUTES_20).concurrency is None
    assert lived(ledger(gpus=(), offline=False), served, uncounted, until=MINUTES_20).concurrency is not None


def sums(running: tuple[float, float, float, float], *, observed: int = 1000, accrued: float = 1000.0, change: float = 8.0) -> Sums:
    counts = np.zeros((1, 13), np.int64)
    counts[0, 0] = observed
    *gauge, computing = running
    told = np.array((computing, *gauge, 100.0, *[1600.0] * 11, 100 * change))
    return Sums(counts, np.zeros((1, 4)), np.array((accrued, 0.0, 0.0, 0.0)), np.zeros(7), told)


def test_the_error_is_the_spread_over_the_root_of_the_independent_scrapes() -> None:
    both = concurrency(sums((1000.0, 2000.0, 8000.0, 1000.0)), coverage_ratio=1.0, interval_seconds=5.0)
    assert both == Concurrency(1000.0, 1000, 2.0, 1.0, pytest.approx((4.0 / 200) ** 0.5))
    both = concurrency(sums((1000.0, 2000.0, 8000.0, 10_000.0)), coverage_ratio=1.0, interval_seconds=5.0)
    assert both is not None
    assert both.standard_error == pytest.approx((4.0 / 50) ** 0.5)


def test_a_sample_of_the_spans_adds_its_own_error() -> None:
    both = concurrency(sums((1000.0, 2000.0, 8000.0, 500.0)), coverage_ratio=0.5, interval_seconds=5.0)
    assert both is not None
    assert both.computing == 1.0
    assert both.standard_error == pytest.approx((4.0 / 200 + 1 / 1000) ** 0.5)


@pytest.mark.parametrize(
    ("running", "coverage", "accrued"),
    [
        ((0.0, 0.0, 0.0, 0.0), 1.0, 9.0),
        ((9.0, 9.0, 9.0, 9.0), None, 9.0),
        ((9.0, 9.0, 9.0, 9.0), 0.0, 9.0),
        ((9.0, 9.0, 9.0, 9.0), 1.0, 0.0),
    ],
)
def test_what_is_not_told_is_no_mean(running: tuple[float, float, float, float], coverage: float | None, accrued: float) -> None:
    assert concurrency(sums(running, accrued=accrued), coverage_ratio=coverage, interval_seconds=5.0) is None


@pytest.mark.parametrize(("change", "proves"), [(0.0, False), (0.49, False), (0.5, True)])
def test_scrapes_that_repeat_one_of_those_before_them_prove_nothing(change: float, proves: bool) -> None:
    both = concurrency(sums((1000.0, 2000.0, 8000.0, 1000.0), change=change), coverage_ratio=1.0, interval_seconds=5.0)
    assert both is not None
    assert (both.standard_error is not None) == proves


@pytest.mark.parametrize("period", [5, 10, 60])
def test_a_load_that_comes_in_step_with_the_scrapes_proves_nothing(period: int) -> None:
    """Bursts of a second that one of the scrapes always meets: the gauge says far more than there is."""
    served = [Inference(i + 4.5, i + 5.5) for i in range(0, MINUTES_20 - 60, period) for _ in range(2 * period)]
    snapshot = seen(served, served)
    assert of(snapshot).running > 2 * of(snapshot).computing
    assert of(snapshot).standard_error is None


def test_long_inferences_are_met_by_every_scrape_however_regular() -> None:
    full = concurrency(sums((1000.0, 8000.0, 64_000.0, 16_000.0), change=0.0), coverage_ratio=1.0, interval_seconds=5.0)
    assert full is not None
    assert (full.running, full.computing, full.standard_error) == (8.0, 16.0, 0.0)


BOTH = Concurrency(600.0, 300, 2.0, 1.0, 0.1)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"seconds": 599.0}, False),
        ({"inferences": 299}, False),
        ({"running": 1.0, "computing": 2.0}, True),
        ({"running": 0.0, "computing": 2.0}, True),
        ({"running": 0.9, "computing": 0.1}, False),
        ({"running": 1.5}, False),
        ({"standard_error": 0.2}, False),
        ({"standard_error": None}, False),
    ],
)
def test_the_finding_needs_time_inferences_and_more_than_chance(changes: dict[str, float], holds: bool) -> None:
    snapshot = rich_snapshot().ledger
    assert bool(found(replace(snapshot, concurrency=replace(BOTH, **changes)))) == holds


def test_time_that_no_stage_claims_is_no_compute_time_and_without_windows_none_is_named() -> None:
    snapshot = replace(rich_snapshot().ledger, concurrency=BOTH, windows=())
    assert [finding.evidence.get("window") for finding in found(snapshot)] == [None]
    for quality in ({"compute": "estimated"}, {}):
        assert "telemetry_inconsistent" not in {one.code for one in findings(Config(), replace(snapshot, stage_quality=quality))}

"""Simulated servers whose difference is known, through ledger and report: what is told of them is true, and no more than that."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest

from infermeter.comparison.verdict import Interval
from infermeter.config import Server, Sla
from infermeter.errors import ConfigError
from support.compared import IDLE_WATTS, MODEL, SLA, batching, compare, life, row
from support.ledgers import config

SECONDS = 1800

Report = dict[str, Any]


@cache
def _lived(per_second: float, seed: int, most: int, per_hour: float | None, tokens: int) -> Report:
    settings = config(per_hour=per_hour, sla=SLA, baseline_watts=IDLE_WATTS, server=Server(model=MODEL, sampled=False))
    served = batching(per_second=per_second, seconds=SECONDS, seed=seed, most=most, tokens=tokens)
    return life(served, seconds=SECONDS, config_=settings, tokens=True)


def lived(*, per_second: float = 0.6, seed: int = 1, most: int = 1, per_hour: float | None = 3.6, tokens: int = 40) -> Report:
    """Half an hour of a server that can do about 1.15 inferences per second one at a time."""
    return copy.deepcopy(_lived(per_second, seed, most, per_hour, tokens))


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    assert interval.low <= interval.point <= interval.high
    return interval.low <= truth <= interval.high


def test_batching_under_the_same_overload_makes_each_inference_cheaper_by_what_more_is_served() -> None:
    before, after = lived(per_second=3.0, seed=1), lived(per_second=3.0, seed=2, most=16)
    found = compare(before, after)
    ((_, load),) = found.loads
    assert (load.limit_before, load.limit_after) == (True, False)
    each = row(found, "cost_per_inference")
    assert each.verdict == "better"
    assert holds(each.ratio, (1 / (0.021 * 40)) / 3.0), "one at a time it serves 1 / (0.021 x 40) a second, batching what is asked"
    assert row(found, "inferences_per_second").verdict == "better"
    assert row(found, "share_within_sla").verdict == "better"
    assert row(found, "joules_per_inference").verdict == "better"
    assert found.regressions == []
    assert {one.measure for one in compare(after, before).regressions} >= {"cost_per_inference", "share_within_sla", "joules_per_inference"}


def test_batching_at_the_load_that_one_at_a_time_barely_carries_saves_what_misses_cost() -> None:
    found = compare(lived(per_second=1.1, seed=1), lived(per_second=1.1, seed=2, most=16))
    assert row(found, "cost_per_inference_at_sla").verdict == "better"
    assert row(found, "cost_per_inference").verdict in ("not shown", "not comparable"), "as many are served for the same money"


@pytest.mark.parametrize("measure", ["cost_per_inference_at_sla", "share_within_sla", "joules_per_inference"])
def test_equal_servers_are_hardly_ever_told_apart(measure: str) -> None:
    lives = [lived(seed=seed) for seed in range(7)]
    verdicts = [row(compare(one, other), measure).verdict for one in lives for other in lives if one is not other]
    assert sum(verdict in ("better", "worse") for verdict in verdicts) <= 0.05 * len(verdicts)
    assert verdicts.count("not shown") >= 0.9 * len(verdicts)


def test_a_report_against_itself_shows_nothing() -> None:
    found = compare(lived(), lived())
    assert {one.verdict for one in found.measures} == {"not shown"}
    assert all(holds(one.difference, 0.0) for one in found.measures if one.reason == "interval_includes_zero")


def test_after_is_priced_at_before_s_hourly_cost() -> None:
    dear, cheap = lived(per_hour=7.2), lived(per_hour=3.6)
    found = compare(dear, cheap)
    each = row(found, "cost_per_inference")
    assert each.before == pytest.approx(each.after)
    assert (found.cost_per_hour, found.before.cost_per_hour, found.after.cost_per_hour) == pytest.approx((7.2, 7.2, 3.6))


def test_more_load_alone_is_no_improvement() -> None:
    found = compare(lived(per_second=0.45), lived(per_second=0.6))
    for measure in ("cost_per_inference", "cost_per_inference_at_sla", "inferences_per_second", "cost_per_million_tokens"):
        assert (row(found, measure).verdict, row(found, measure).reason) == ("not comparable", "load_explains_it")
    assert row(found, "joules_per_inference").verdict != "better"


@pytest.mark.parametrize(("before", "after"), [(0.3, 0.7), (0.7, 0.3)])
def test_loads_that_differ_too_much_are_not_compared(before: float, after: float) -> None:
    found = compare(lived(per_second=before), lived(per_second=after))
    told = [one for one in found.measures if one.difference is not None]
    assert {(one.verdict, one.reason) for one in told} == {("not comparable", "load_differs")}
    assert all(one.verdict not in ("better", "worse") for one in found.measures)


def test_other_work_is_not_compared_but_by_the_token() -> None:
    found = compare(lived(tokens=40), lived(tokens=25, per_second=0.65))
    assert row(found, "joules_per_inference").reason == "work_differs"
    assert row(found, "cost_per_million_tokens").reason != "work_differs"


def test_a_better_share_under_less_load_is_the_load_s() -> None:
    found = compare(lived(per_second=1.1), lived(per_second=0.8, seed=2))
    assert (row(found, "share_within_sla").verdict, row(found, "share_within_sla").reason) == ("not comparable", "load_explains_it")
    assert row(found, "cost_per_inference_at_sla").verdict not in ("better", "worse")
    worse = compare(lived(per_second=0.8, seed=2), lived(per_second=1.1))
    assert row(worse, "share_within_sla").reason == "load_explains_it"


def without(report: Report, minutes: int) -> Report:
    """The first minutes of it."""
    slots = report["report"]["slots"]
    report["report"]["slots"] = [slot for slot in slots if slot["start_unix_seconds"] < slots[0]["start_unix_seconds"] + 60 * minutes]
    return report


def test_a_side_that_is_too_short_is_not_compared() -> None:
    found = compare(lived(), without(lived(), 25))
    assert {one.reason for one in found.measures if one.unit != "s"} == {"too_few_slots"}
    assert all(one.difference is None for one in found.measures)


def test_few_inferences_are_not_compared() -> None:
    found = compare(lived(per_second=0.04), lived(per_second=0.04, seed=2))
    assert {one.reason for one in found.measures if one.unit != "s"} == {"too_few_inferences"}


def test_without_prices_energy_and_the_sla_are_compared_all_the_same() -> None:
    found = compare(lived(per_hour=None), lived(per_hour=None, seed=2))
    assert not [one for one in found.measures if one.measure.startswith("cost")]
    assert row(found, "share_within_sla").verdict == "not shown"
    assert [note for note in found.notes if "no prices" in note] != []
    assert (found.cost_per_hour, found.currency) == (None, None)


def test_prices_of_one_side_alone_are_not_held_against_nothing() -> None:
    found = compare(lived(), lived(per_hour=None))
    each = row(found, "cost_per_inference")
    assert (each.after, each.verdict, each.reason) == (None, "not comparable", "not_told_after")
    assert not [one for one in compare(lived(per_hour=None), lived()).measures if one.measure.startswith("cost")]


def sla_of(report: Report, **changed: Any) -> Report:
    report["report"]["sla"][0] |= changed
    return report


@pytest.mark.parametrize("change", [{"quantile_ratio": 0.95}, {"duration_seconds": 7.0}, {"ttft_seconds": 1.0}, {"model": "other"}])
def test_different_slas_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="different SLAs for m"):
        compare(lived(), sla_of(lived(), **change))


def test_different_currencies_are_refused() -> None:
    other = lived()
    other["report"]["cost"]["currency"] = "EUR"
    with pytest.raises(ConfigError, match="USD and EUR"):
        compare(lived(), other)


def renamed(report: Report, model: str) -> Report:
    for slot in report["report"]["slots"]:
        slot["model"] = model
    report["report"]["sla"] = []
    return report


def test_no_model_in_common_is_refused() -> None:
    with pytest.raises(ConfigError, match="no model in common"):
        compare(lived(), renamed(lived(), "n"))


def both(first: Report, second: Report) -> Report:
    """A report that holds the slots of a second model too."""
    first["report"]["slots"] += renamed(second, "n")["report"]["slots"]
    return first


def test_a_model_of_one_side_is_noted_and_the_servers_are_then_not_compared() -> None:
    found = compare(lived(), both(lived(seed=2), lived(seed=3)))
    assert "only AFTER has the model n; it is not compared" in found.notes
    assert row(found, "inferences_per_second", None).reason == "models_differ"
    assert row(found, "joules_per_inference").verdict in ("not shown", "not comparable")


def test_two_models_are_compared_each_and_together() -> None:
    found = compare(both(lived(seed=1), lived(seed=2)), both(lived(seed=3), lived(seed=4)))
    assert [model for model, _ in found.loads] == ["m", "n", None]
    together, own = row(found, "inferences_per_second", None), [row(found, "inferences_per_second", model) for model in ("m", "n")]
    assert together.before == pytest.approx(sum(one.before or 0.0 for one in own))
    assert together.verdict == "not shown"


def test_another_mix_of_models_is_not_compared_as_a_whole() -> None:
    found = compare(both(lived(per_second=0.6), lived(per_second=0.3)), both(lived(per_second=0.4), lived(per_second=0.4)))
    assert row(found, "inferences_per_second", None).reason == "models_differ"


def served_by(report: Report, *, until: float) -> Report:
    """The report that the process would have given then."""
    report["report"]["kind"] = "serve"
    report["report"]["slots"] = [slot for slot in report["report"]["slots"] if slot["start_unix_seconds"] < until]
    return report


def test_what_both_reports_of_a_process_hold_is_before_s_alone() -> None:
    start = lived()["report"]["slots"][0]["start_unix_seconds"]
    found = compare(served_by(lived(), until=start + 600), served_by(lived(), until=start + SECONDS))
    assert found.after.seconds == pytest.approx(SECONDS - 600, abs=10)
    assert any("same process" in note for note in found.notes)
    with pytest.raises(ConfigError, match="same time of the same process"):
        compare(served_by(lived(), until=start + SECONDS), served_by(lived(), until=start + 600))


def test_reports_of_a_process_that_do_not_overlap_are_whole() -> None:
    start = lived()["report"]["slots"][0]["start_unix_seconds"]
    later = served_by(lived(), until=start + SECONDS)
    later["report"]["slots"] = [slot for slot in later["report"]["slots"] if slot["start_unix_seconds"] >= start + 900]
    found = compare(served_by(lived(), until=start + 900), later)
    assert (found.before.seconds, found.after.seconds) == (900, SECONDS - 900)
    assert found.notes == []


def silent(report: Report) -> Report:
    """As if nothing had been asked: only the time and what it costs."""
    report["report"]["slots"] = [
        slot | {"observed": 0, "ok": 0, "within_sla": 0, "tokens_input": 0, "tokens_output": 0} for slot in report["report"]["slots"]
    ]
    return report


def test_two_reports_in_which_nothing_was_asked_are_refused() -> None:
    with pytest.raises(ConfigError, match="tell nothing that compares"):
        compare(silent(lived()), silent(lived()))


def test_a_silent_side_has_no_load_to_compare() -> None:
    found = compare(lived(), silent(lived()))
    assert [(load.ratio, load.is_limits, load.is_alike) for _, load in found.loads] == [(None, False, False)]
    assert {one.verdict for one in found.measures} <= {"not comparable", "not shown"}
    assert row(found, "cost_per_inference").reason == "not_told_after"


def sampled(report: Report) -> Report:
    """As a server that tells no counts, and spans of some inferences."""
    report["report"]["sampled"] = True
    return report


def test_a_sample_without_counts_tells_no_load_and_so_nothing_is_compared() -> None:
    found = compare(both(sampled(lived()), lived(seed=2)), both(sampled(lived(seed=3)), lived(seed=4)))
    assert {(one.measure, one.verdict, one.reason) for one in found.measures if one.unit != "s"} == {
        ("share_within_sla", "not comparable", "load_unknown")
    }


def test_other_servers_and_versions_are_noted() -> None:
    other = lived()
    other["report"] |= {"server": "b\n", "version": "9"}
    notes = compare(lived(), other).notes
    assert any("names, default and b?" in note for note in notes)
    assert any("versions" in note for note in notes)


def test_without_an_sla_nothing_is_told_of_it() -> None:
    def free(seed: int) -> Report:
        settings = config(per_hour=3.6, baseline_watts=IDLE_WATTS, server=Server(model=MODEL, sampled=False))
        return life(batching(per_second=0.6, seconds=SECONDS, seed=seed, most=1), seconds=SECONDS, config_=settings)

    found = compare(free(1), free(2))
    assert {one.measure for one in found.measures} & {"share_within_sla", "cost_per_inference_at_sla"} == set()
    assert any("no SLA is set" in note for note in found.notes)


def test_latencies_are_points_of_the_longest_window_that_both_tell() -> None:
    def told(seed: int, *windows: tuple[str, float]) -> Report:
        settings = config(per_hour=3.6, sla=Sla(0.9, 8.0, None, None), windows=windows, server=Server(model=MODEL, sampled=False))
        return life(batching(per_second=0.6, seconds=SECONDS, seed=seed, most=1), seconds=SECONDS, config_=settings)

    found = compare(told(1, ("5m", 300.0), ("10m", 600.0), ("20m", 1200.0)), told(2, ("5m", 300.0), ("10m", 600.0)))
    latency = row(found, "duration_at_sla_quantile")
    assert latency.title == "duration at the quantile, last 10m"
    assert latency.before != latency.after
    assert (latency.verdict, latency.reason) == ("not shown", "a_point_without_its_slots")

"""The ledger as others use it: batches, samples and instants in, a snapshot out."""

import math
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from infermeter.config import Cost, Emissions, Gpu, Limits, Power, Rent, Server, Sla, Slas
from infermeter.ledger import Ledger
from infermeter.model import GpuIdentity, GpuSample, HostSample, LedgerSnapshot, PartColumn, SlaTarget
from support.ledgers import GPU, START_NS, Inference, S, at, batch, config, ledger, of_model, replayed, samples

SLA = Sla(0.99, 0.5)


def steady(count: int, *, period: float, seconds: float = 0.1, model: str = "chat", **keys: object) -> list[Inference]:
    """Inferences at an even rate over a period."""
    return [Inference(i * period / count, i * period / count + seconds, model=model, **keys) for i in range(count)]


def served(book: Ledger, seconds: int, start: int = 0) -> LedgerSnapshot:
    for second in range(start + 1, start + seconds + 1):
        book.advance(at(second), S)
    return book.snapshot(at(start + seconds))


def numbers(value: object) -> list[float]:
    """Every number in a snapshot, however deep."""
    if isinstance(value, int | float):
        return [value]
    if is_dataclass(value):
        return [n for field in fields(value) for n in numbers(getattr(value, field.name))]
    if isinstance(value, dict):
        return [n for one in value.values() for n in numbers(one)]
    if isinstance(value, tuple):
        return [n for one in value for n in numbers(one)]
    return []


# --- what is absent ----------------------------------------------------------------------------------------------------------------
def test_with_nothing_configured_and_nothing_seen_everything_is_absent_and_nothing_is_nan() -> None:
    snapshot = replayed([], end=60, config_=config(per_hour=None), gpus=())
    assert snapshot.models == ()
    assert (snapshot.currency, snapshot.cost, snapshot.gpus, snapshot.emissions_grams) == (None, {}, (), None)
    assert snapshot.windows[0].cost is None
    assert snapshot.windows[0].joules is None
    assert snapshot.windows[0].waterfall_cost == {}
    assert list(snapshot.slots) == []
    assert all(math.isfinite(number) for number in numbers(snapshot))


def test_before_the_first_tick_is_settled_there_is_no_settled_instant() -> None:
    book = ledger(offline=False)
    assert book.snapshot(at(0)).settled_ns is None
    assert served(book, 90).settled_ns is None
    assert served(book, 1, start=90).settled_ns == at(1)


def test_an_empty_batch_changes_nothing() -> None:
    book = ledger()
    book.add(batch([]), at(1))
    assert book.snapshot(at(1)).models == ()


def test_a_configured_model_is_born_with_zeros_and_another_at_first_sight() -> None:
    book = ledger(config(server=Server(model="mine"), sla=Slas(models={"judged": {"duration_seconds": 1.0}})))
    facts = {one.model: one for one in book.snapshot(at(0)).models}
    assert set(facts) == {"judged", "mine"}
    assert facts["judged"].sla == SlaTarget(0.99, 1.0)
    assert facts["mine"].sla is None
    assert facts["mine"].within_sla is None
    assert facts["mine"].in_sla_state == {}
    assert facts["mine"].cost == {"active": 0.0, "idle": 0.0, "unattributed": 0.0}
    assert sum(facts["mine"].duration.counts) == 0


def test_a_price_of_0_costs_0_and_is_not_absent() -> None:
    snapshot = replayed(steady(60, period=60), end=60, config_=config(per_hour=0.0, sla=SLA))
    assert snapshot.cost == {"instance": 0.0}
    window = of_model(snapshot).windows[0]
    assert window.cost_per_inference == 0.0
    assert window.cost_per_inference_at_sla["goodput"] == 0.0


# --- arrival -----------------------------------------------------------------------------------------------------------------------
def test_an_error_counts_as_observed_and_as_a_miss_and_enters_nothing_else() -> None:
    work = [
        Inference(1, 1.2, tokens=(5, 7), ttft=0.1, stages=(0.05, 0.1, None, None)),
        Inference(2, 2.2, tokens=(50, 70), ttft=0.1, error=True),
    ]
    rows = PartColumn("serialisation", "net_in", np.array([0, 1]), np.array([S // 4, S]))
    book = ledger(config(sla=SLA))
    book.add(batch(work, parts=(rows, rows), quality={"compute": "estimated"}), at(10))
    book.add(batch([Inference(3, 3.1, error=True)], quality={"compute": "measured", "queue": "measured"}), at(10))
    snapshot = book.snapshot(at(10))
    facts = of_model(snapshot)
    assert (facts.observed_ok, facts.observed_error, facts.within_sla) == (1, 2, 1)
    assert (facts.tokens_input, facts.tokens_output) == (5, 7)
    assert sum(facts.duration.counts) == 1
    assert facts.ttft is not None
    assert facts.tpot is None
    assert {stage: histogram.sum_seconds for stage, histogram in facts.stages.items()} == pytest.approx(
        {"queue": 0.05, "compute": 0.1, "other": 0.05}
    )
    assert facts.part_seconds == {("serialisation", "net_in"): 0.5}
    assert snapshot.stage_quality == {"compute": "estimated", "queue": "measured"}


def test_compute_that_nobody_tells_is_estimated() -> None:
    book = ledger()
    book.add(batch([Inference(0, 1)], quality={"compute": "measured"}), at(10))
    assert book.snapshot(at(10)).stage_quality == {"compute": "measured"}
    book.add(replace(batch([Inference(1, 2)]), compute_estimated=np.ones(1, np.bool_)), at(10))
    assert book.snapshot(at(10)).stage_quality == {"compute": "estimated"}


def test_a_part_is_told_of_the_models_that_have_it() -> None:
    book = ledger()
    book.add(batch([Inference(1, 2)], parts=(PartColumn("queue", "batch", np.array([0]), np.array([S])),)), at(10))
    book.add(batch([Inference(1, 2, model="b")]), at(10))
    assert of_model(book.snapshot(at(10)), "b").part_seconds == {}


def test_time_around_inferences_is_in_the_parts_and_nowhere_else() -> None:
    book = ledger()
    around = {("a", "serialisation", "net_in"): 250_000_000, (None, "serialisation", "net_in"): 1}
    book.add(replace(batch([Inference(0, 1, model="a")]), around_ns=around), at(1))
    book.add(replace(batch([]), around_ns={("a", "serialisation", "net_in"): 250_000_000, ("b", "queue", "route"): 1}), at(1))
    facts = of_model(book.snapshot(at(10)), "a")
    assert facts.part_seconds == {("serialisation", "net_in"): 0.5}
    assert (facts.observed_ok, facts.duration.sum_seconds) == (1, 1.0)
    assert "serialisation" not in facts.stages
    assert of_model(book.snapshot(at(10)), "b").part_seconds == {("queue", "route"): 1e-9}
    assert of_model(book.snapshot(at(10)), "b").observed_ok == 0


def test_what_ends_in_the_future_ends_now() -> None:
    book = ledger(config(sla=SLA, span_delay=1.0), gpus=(), offline=False)
    book.add(batch([Inference(8, 12)]), at(10))
    snapshot = served(book, 30)
    assert snapshot.busy_seconds == pytest.approx(2.0)
    assert of_model(snapshot).duration.sum_seconds == 4.0
    assert [slot.observed for slot in snapshot.slots] == [1, 0, 0]


def test_an_inference_whose_slot_has_closed_is_late_and_counts_in_no_slot() -> None:
    book = ledger(config(sla=SLA), offline=False)
    served(book, 200)
    book.add(batch([Inference(120, 120.1), Inference(199, 199.1)]), at(200))
    snapshot = served(book, 300, start=200)
    facts = of_model(snapshot)
    assert (facts.observed_ok, facts.within_sla, facts.late) == (2, 2, 1)
    assert sum(slot.observed for slot in snapshot.slots if slot.model == "chat") == 1


def test_an_inference_that_computed_before_the_energy_watermark_takes_part_from_there_on() -> None:
    book = ledger(gpus=(), offline=False)
    served(book, 200)
    book.add(batch([Inference(100, 130, compute=((100, 105), (106, 130))), Inference(195, 196)]), at(200))
    snapshot = served(book, 300, start=200)
    assert snapshot.late_for_energy == 1
    assert snapshot.busy_seconds == pytest.approx(20 + 1)


def test_a_thousand_models_are_twenty_and_other_and_the_configured_one_stays() -> None:
    book = ledger(config(sla=SLA, server=Server(model="mine"), limits=Limits(models=20)), gpus=())
    book.add(batch([Inference(1, 1.1, model=f"made-up-{i}") for i in range(10_000)]), at(10))
    book.add(batch([Inference(2, 2.1, model=None)]), at(10))
    book.finish(at(60))
    snapshot = book.snapshot(at(60))
    assert len(snapshot.models) == 21
    assert of_model(snapshot, "mine").observed_ok == 1
    assert of_model(snapshot, "other").observed_ok == 10_000 - 19


# --- money -------------------------------------------------------------------------------------------------------------------------
def test_of_a_step_that_is_too_long_only_ten_intervals_accrue_and_the_rest_is_unknown() -> None:
    book = ledger(offline=False)
    book.advance(at(60), 60 * S)
    snapshot = book.snapshot(at(60))
    assert snapshot.cost == {"instance": pytest.approx(10.0)}
    assert snapshot.unknown_seconds == pytest.approx(50.0)


def test_a_second_accrues_however_often_the_gpus_are_read() -> None:
    book = ledger(config(per_hour=3600.0, gpu=Gpu(interval=0.02)), offline=False)
    assert served(book, 60).cost == {"instance": pytest.approx(60)}
    assert book.snapshot(at(60)).unknown_seconds == 0


def test_time_that_did_not_pass_costs_nothing() -> None:
    book = ledger(offline=False)
    book.advance(at(1), 0)
    assert book.snapshot(at(1)).cost == {"instance": 0.0}


def test_money_follows_the_monotonic_clock_whatever_the_wall_clock_says() -> None:
    book = ledger(gpus=(), offline=False)
    for now in (1, 2, 3_000_000, 3_000_001, 5, 6, 7, 8):
        book.advance(at(now), S)
    book.finish(at(3_000_002))
    snapshot = book.snapshot(at(3_000_002))
    assert snapshot.cost == {"instance": pytest.approx(8.0)}
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(8.0)


def test_power_is_priced_by_measured_joules_of_the_servers_share() -> None:
    cost = Cost(currency="EUR", power=Power(price_per_kwh=0.36, pue=1.5))
    book = Ledger(
        config(cost=cost, emissions=Emissions(400.0)),
        start_ns=START_NS,
        sampled=False,
        gpus=[GpuIdentity(GPU, share_ratio=0.5)],
        offline=True,
    )
    book.add_samples(samples(60, watts=200))
    book.finish(at(60))
    snapshot = book.snapshot(at(60))
    kilowatt_hours = 100 * 60 / 3.6e6
    assert snapshot.cost == pytest.approx({"power": 0.36 * kilowatt_hours, "cooling": 0.18 * kilowatt_hours})
    assert snapshot.cost_per_hour == pytest.approx({"power": 0.036, "cooling": 0.018})
    assert snapshot.emissions_grams == pytest.approx(400 * 1.5 * kilowatt_hours)
    assert snapshot.gpus[0].energy_joules == pytest.approx(12_000)
    assert sum(of_model(snapshot, "unknown").energy_joules.values()) == pytest.approx(6_000)


def test_a_power_price_with_stale_readings_has_no_hourly_rate() -> None:
    book = ledger(config(cost=Cost(currency="EUR", power=Power(price_per_kwh=0.36))), offline=False)
    book.add_samples(samples(3))
    assert "power" in book.snapshot(at(5)).cost_per_hour
    assert "power" not in book.snapshot(at(60)).cost_per_hour


def test_a_configured_host_power_is_energy_and_money() -> None:
    cost = Cost(currency="EUR", power=Power(price_per_kwh=3600.0, host_watts=100.0))
    snapshot = replayed([], end=60, config_=config(cost=cost), gpus=())
    assert snapshot.host_energy_joules == {"configured": pytest.approx(6000.0)}
    assert snapshot.cost == {"power": pytest.approx(6.0)}
    assert snapshot.cost_per_hour == {"power": pytest.approx(360.0)}
    assert of_model(snapshot, "unknown").cost["idle"] == pytest.approx(6.0)
    assert of_model(snapshot, "unknown").energy_joules == {}


def test_a_measured_host_power_is_money_only_where_it_is_asked_for() -> None:
    readings = [HostSample(at(i), 100.0) for i in range(61)]
    asked, unasked = (
        ledger(config(cost=Cost(currency="EUR", power=Power(price_per_kwh=3600.0, host_watts=watts))), gpus=())
        for watts in ("measured", 0.0)
    )
    for book in (asked, unasked):
        book.add_host_samples([readings[0], readings[0], *readings[1:]])
        book.finish(at(60))
    assert asked.snapshot(at(60)).cost == {"power": pytest.approx(6.0)}
    assert asked.snapshot(at(60)).cost_per_hour == {"power": pytest.approx(360.0)}
    assert asked.snapshot(at(90)).cost_per_hour == {}
    assert unasked.snapshot(at(60)).cost == {}
    for book in (asked, unasked):
        assert book.snapshot(at(60)).host_energy_joules == {"replay": pytest.approx(6000.0)}
        assert book.snapshot(at(60)).samples_rejected["outlier"] == 1


def test_a_component_that_cannot_be_known_is_told() -> None:
    rented = config(cost=Cost(currency="EUR", rent=Rent(per_hour=1.0), power=Power(price_per_kwh=0.3)))
    snapshot = replayed([], end=60, config_=rented, gpus=())
    assert snapshot.unpriced == ("instance", "power")
    assert snapshot.cost == {}
    counted = replayed([], end=3600, config_=replace(rented, server=Server(gpu_count=4)), gpus=())
    assert counted.cost == {"instance": pytest.approx(4.0)}


def test_power_that_no_gpu_tells_is_no_power_of_0() -> None:
    cost = Cost(currency="EUR", power=Power(price_per_kwh=0.36, pue=1.5))
    mute = [replace(one, power_watts=None) for one in samples(60, counter=False)]
    snapshot = replayed([], mute, end=60, config_=config(cost=cost, emissions=Emissions(400.0)))
    assert (snapshot.cost, snapshot.cost_per_hour, snapshot.emissions_grams) == ({}, {}, None)
    assert snapshot.unpriced == ("power", "cooling")


def test_power_is_priced_from_the_first_reading_that_tells_it() -> None:
    cost = Cost(currency="EUR", power=Power(price_per_kwh=3600.0))
    book = ledger(config(cost=cost))
    readings = samples(60, counter=False)
    book.add_samples([replace(one, power_watts=None) for one in readings[:10]] + readings[10:])
    book.finish(at(60))
    assert book.snapshot(at(60)).cost == {"power": pytest.approx(5.0)}


def test_gpus_that_appear_are_priced_from_then_on_and_what_accrued_stays() -> None:
    book = ledger(config(cost=Cost(currency="EUR", rent=Rent(per_hour=3600.0))), gpus=(), offline=False)
    book.advance(at(1), S)
    book.gpus_changed([GpuIdentity(GPU), GpuIdentity("GPU-1")])
    book.advance(at(2), S)
    book.gpus_changed([GpuIdentity("GPU-1")])
    book.advance(at(3), S)
    assert book.snapshot(at(3)).cost == {"instance": pytest.approx(3.0)}
    book.gpus_changed([])
    book.finish(at(4))
    snapshot = book.snapshot(at(4))
    assert snapshot.cost == {"instance": pytest.approx(3.0)}
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(3.0)
    assert [gpu.identity.uuid for gpu in snapshot.gpus] == [GPU, "GPU-1"]
    assert not any(gpu.up for gpu in snapshot.gpus)


# --- GPUs --------------------------------------------------------------------------------------------------------------------------
def test_samples_that_cannot_be_used_are_counted_by_reason() -> None:
    book = ledger(offline=False)
    book.reject("read", 3)
    book.add_samples([GpuSample("who", at(1)), GpuSample(GPU, at(1), 100.0), GpuSample(GPU, at(10), 100.0), GpuSample(GPU, at(10), -1.0)])
    book.add_samples([GpuSample(GPU, at(7200), 100.0), GpuSample(GPU, at(5), 100.0)])
    assert book.snapshot(at(10)).samples_rejected == {"read": 4, "gap": 1, "reset": 1, "outlier": 2}


def test_states_of_a_gpu_tell_a_resident_model_from_an_empty_device() -> None:
    book = ledger(config(), gpus=(GPU, "full", "told", "silent"))
    book.add_samples(samples(60, memory=2**28))
    book.add_samples(samples(60, uuid="full", memory=2**34))
    book.add_samples([replace(one, computing_processes=1) for one in samples(60, uuid="told", memory=0)])
    book.add_samples(samples(60, uuid="silent", memory=None, utilisation=None, counter=False))
    book.finish(at(60))
    states = {
        gpu.identity.uuid: {state: seconds for state, seconds in gpu.state_seconds.items() if seconds} for gpu in book.snapshot(at(60)).gpus
    }
    assert states == {
        GPU: {"idle": pytest.approx(60)},
        "full": {"held_idle": pytest.approx(60)},
        "told": {"held_idle": pytest.approx(60)},
        "silent": {"unknown": pytest.approx(60)},
    }


def test_a_gpu_that_works_for_nobody_is_active_and_its_energy_unattributed() -> None:
    snapshot = replayed([], samples(60, utilisation=0.5), end=60)
    assert snapshot.gpus[0].state_seconds["active"] == pytest.approx(60)
    assert of_model(snapshot, "unknown").energy_joules["unattributed"] == pytest.approx(6000)


def test_what_nobody_watched_is_unknown_even_of_a_busy_gpu() -> None:
    states = replayed([], [*samples(20, utilisation=0.5), *samples(60, start=40, utilisation=0.5)], end=60).gpus[0].state_seconds
    assert (states["active"], states["unknown"]) == (pytest.approx(40), pytest.approx(20))


def test_a_gpu_is_up_while_its_samples_are_fresh() -> None:
    book = ledger(config(gpu=Gpu(stale_after=10.0)), offline=False)
    assert book.snapshot(at(0)).gpus[0].last_sample_ns is None
    book.add_samples(samples(3))
    assert book.snapshot(at(13)).gpus[0].up
    stale = book.snapshot(at(14)).gpus[0]
    assert (stale.up, stale.last, stale.last_sample_ns) == (False, None, at(3))


def test_the_baseline_is_learnt_while_nothing_computes_and_a_model_is_resident() -> None:
    snapshot = replayed([Inference(10.0, 10.5)], samples(90, watts=80.0), end=90)
    assert snapshot.gpus[0].baseline_watts == 80.0
    assert replayed([], samples(90, watts=80.0), end=90, sampled=True).gpus[0].baseline_watts is None
    assert replayed([], samples(90, watts=80.0, memory=0), end=90).gpus[0].baseline_watts is None
    assert replayed([], samples(90, watts=80.0, utilisation=0.1), end=90).gpus[0].baseline_watts is None


def test_a_baseline_may_be_configured_for_one_gpu_alone() -> None:
    book = ledger(config(gpu=Gpu(baseline_watts={GPU: 33.0})), gpus=(GPU, "GPU-1"))
    assert [gpu.baseline_watts for gpu in book.snapshot(at(0)).gpus] == [33.0, None]


def test_a_counter_that_never_moves_tells_0() -> None:
    snapshot = replayed([], [replace(one, energy_joules=5.0) for one in samples(30)], end=30)
    assert snapshot.gpus[0].energy_joules == 0.0
    assert snapshot.gpus[0].state_seconds["held_idle"] == pytest.approx(30)


def test_while_a_counter_stands_still_up_to_the_end_the_power_is_not_known() -> None:
    readings = [replace(one, utilisation_ratio=1.0) for one in samples(10.5, watts=400.0, interval=0.5)]
    snapshot = replayed(
        [Inference(0, 10.2)], [*readings, replace(readings[-1], time_ns=at(11))], end=11, config_=config(baseline_watts=50.0)
    )
    assert of_model(snapshot).energy_joules["idle"] == pytest.approx(50 * 0.8 * 0.5)


# --- windows -----------------------------------------------------------------------------------------------------------------------
def test_a_window_of_a_replay_covers_the_period_cut_slots_included() -> None:
    shifted = [replace(one, start=one.start + 3, end=one.end + 3) for one in steady(600, period=54)]
    book = Ledger(config(sla=SLA, windows=(("1m", 60.0),)), start_ns=at(3), sampled=False, gpus=[], offline=True)
    book.add(batch(shifted), at(58))
    book.finish(at(58))
    snapshot = book.snapshot(at(58))
    server, window = snapshot.windows[0], of_model(snapshot).windows[0]
    assert (server.accrued_seconds, server.cost, server.inferences_ok) == (pytest.approx(55), pytest.approx(55), 600)
    assert server.busy_seconds == pytest.approx(54.01, abs=0.01)
    assert window.cost_per_inference == pytest.approx(55 / 600)
    assert window.latency_at_sla_quantile_seconds == {"duration": pytest.approx(0.1, rel=0.01)}
    assert window.sla_state == "met"
    assert sum(slot.seconds for slot in snapshot.slots) == pytest.approx(55)
    assert next(iter(snapshot.slots)).start_ns == at(3)
    assert snapshot.settled_ns == at(58)


def test_a_window_ends_with_a_replay_that_ends_with_a_slot() -> None:
    snapshot = replayed([Inference(0, 120)], end=120, config_=config(windows=(("1m", 60.0),)))
    assert (snapshot.windows[0].accrued_seconds, snapshot.windows[0].inferences_ok) == (60.0, 1)


def test_a_window_needs_30_seconds_and_30_inferences() -> None:
    for count, end, present in ((30, 30, True), (29, 30, False), (100, 29, False)):
        window = of_model(replayed(steady(count, period=20), end=end, config_=config(sla=SLA), gpus=())).windows[0]
        assert (window.cost_per_inference is not None) == present
        assert (window.cost_per_inference_at_sla != {}) == present
        assert window.sla_state == "insufficient"


def test_a_window_that_is_short_against_the_inferences_says_nothing() -> None:
    long = steady(400, period=200, seconds=25)
    window = of_model(replayed(long, end=230, config_=config(sla=Sla(0.99, 60.0), windows=(("1m", 60.0),)), gpus=())).windows[0]
    assert window.inferences_ok > 30
    assert (window.cost_per_inference, window.cost_per_inference_at_sla, window.latency_at_sla_quantile_seconds) == (None, {}, {})
    assert window.sla_state == "insufficient"


def test_nothing_is_divided_by_the_number_of_sampled_spans() -> None:
    window = of_model(replayed(steady(600, period=60), end=60, config_=config(sla=SLA), sampled=True)).windows[0]
    assert (window.cost_per_inference, window.cost_per_inference_at_sla) == (None, {})
    assert window.sla_state == "met"


def test_a_model_without_an_sla_is_judged_by_nobody_and_never_missed() -> None:
    work = steady(60, period=60) + steady(60, period=60, seconds=0.9, model="judged")
    snapshot = replayed(work, end=61, config_=config(sla=Slas(models={"judged": {"duration_seconds": 0.5}})), gpus=())
    window = of_model(snapshot).windows[0]
    assert (window.sla_state, window.inferences_within_sla, window.latency_at_sla_quantile_seconds) == (None, None, {})
    assert set(window.cost_per_inference_at_sla) == set()
    server = snapshot.windows[0]
    assert server.inferences_within_sla == 0
    assert server.waterfall_cost["sla_missed"] == pytest.approx(server.waterfall_cost["busy"])
    assert of_model(snapshot, "judged").windows[0].sla_state == "missed"
    assert of_model(snapshot, "judged").windows[0].cost_per_inference_at_sla == {}


def test_tokens_of_a_window_are_input_and_output() -> None:
    snapshot = replayed(steady(60, period=60, tokens=(3, 4)), end=61, gpus=())
    assert of_model(snapshot).windows[0].tokens == 420
    assert of_model(replayed(steady(60, period=60), end=61, gpus=())).windows[0].tokens is None
    assert sum(slot.tokens_input or 0 for slot in snapshot.slots) == 180
    assert sum(slot.tokens_output or 0 for slot in snapshot.slots) == 240


def test_inferences_leave_a_window_when_it_has_passed_them() -> None:
    book = ledger(config(sla=SLA, windows=(("1m", 60.0), ("5m", 300.0)), span_delay=1.0), gpus=(), offline=False)
    for second in range(60):
        book.add(batch([Inference(second + i / 10, second + i / 10 + 0.1) for i in range(10)]), at(second + 1))
        book.advance(at(second + 1), S)
    first = of_model(served(book, 10, start=60))
    assert [window.inferences_ok > 500 for window in first.windows] == [True, True]
    later = of_model(served(book, 80, start=70))
    assert [window.inferences_ok for window in later.windows] == [0, 600]
    assert [window.latency_at_sla_quantile_seconds.get("duration") for window in later.windows] == [None, pytest.approx(0.1, rel=0.01)]
    assert [window.sla_state for window in later.windows] == ["insufficient", "met"]


def test_a_model_that_came_after_the_last_slot_closed_has_an_empty_window() -> None:
    book = ledger(config(sla=SLA, span_delay=1.0), gpus=(), offline=False)
    served(book, 60)
    book.add(batch([Inference(59, 59.1)]), at(60))
    window = of_model(book.snapshot(at(60))).windows[0]
    assert (window.inferences_ok, window.sla_state) == (0, "insufficient")


def test_no_windows_need_nothing() -> None:
    snapshot = replayed(steady(60, period=60), end=61, config_=config(windows=()), gpus=())
    assert snapshot.windows == ()
    assert of_model(snapshot).windows == ()


def test_in_sla_state_counters_follow_the_blocks_and_a_replay_cuts_the_last() -> None:
    snapshot = replayed(steady(700, period=70), end=75, config_=config(sla=SLA), gpus=())
    facts = of_model(snapshot)
    assert facts.in_sla_state["met"] + facts.in_sla_state["insufficient"] == 700
    assert facts.in_sla_state["met"] >= 299
    assert sum(facts.cost_in_sla_state.values()) == pytest.approx(75)
    assert facts.windows[0].cost_per_inference_at_sla["compliant"] == pytest.approx(75 / 700)


def test_slots_of_the_report_can_be_indexed_and_are_24_hours_at_most() -> None:
    book = ledger(gpus=(), offline=False)
    book.add(batch([Inference(5, 5.5), Inference(15, 15.5)]), at(20))
    early = served(book, 200).slots
    assert sum(slot.observed for slot in early) == 2
    assert len(early) == len(early[:]) == len(list(early)) > 0
    assert early[-1].start_ns > early[0].start_ns == at(0)
    late = served(book, 200, start=90_000).slots
    assert sum(slot.observed for slot in late) == 0
    assert late[0].start_ns >= at(90_200 - 86_400 - 100)


def test_a_snapshot_changes_nothing() -> None:
    book = ledger(config(sla=SLA), offline=False)
    book.add(batch(steady(50, period=50)), at(60))
    book.add_samples(samples(60))
    served(book, 200, start=60)
    first, second = book.snapshot(at(260)), book.snapshot(at(260))
    assert tuple(first.slots) == tuple(second.slots)
    assert replace(first, slots=()) == replace(second, slots=())


def test_a_snapshots_slots_are_those_of_its_instant_though_others_close_and_models_come_up() -> None:
    book = ledger(gpus=(), offline=False)
    book.add(batch([Inference(5, 5.5), Inference(15, 15.5)]), at(20))
    snapshot = served(book, 200)
    told = tuple(snapshot.slots)
    book.add(batch([Inference(199, 199.5, model=f"model {i}") for i in range(9)]), at(200))
    later = served(book, 400, start=200)
    assert tuple(snapshot.slots) == told
    assert len(later.slots) > len(snapshot.slots) == len(told) > 0


def test_after_an_hour_of_silence_idle_money_is_nobodys() -> None:
    snapshot = replayed([Inference(0, 10)], samples(4000), end=4000, config_=config())
    assert of_model(snapshot).cost["idle"] == pytest.approx(3590, abs=11)
    assert of_model(snapshot, "unknown").cost["idle"] == pytest.approx(400, abs=11)


def test_a_leap_of_the_clock_by_decades_keeps_memory_and_money() -> None:
    book = ledger(config(sla=SLA), offline=False)
    served(book, 20)
    leap = 40 * 365 * 86_400
    book.add(batch([Inference(leap - 1, leap - 0.5)]), at(leap))
    book.add_samples([GpuSample(GPU, at(leap), 100.0, 5.0, utilisation_ratio=0.0)])
    for second in range(200):
        book.advance(at(leap + second), S)
    snapshot = book.snapshot(at(leap + 200))
    assert snapshot.cost == {"instance": pytest.approx(220)}
    assert of_model(snapshot).observed_ok == 1
    assert snapshot.busy_seconds == pytest.approx(0.5)


def test_serving_ends_with_everything_settled() -> None:
    book = ledger(config(sla=SLA), gpus=(), offline=False)
    book.add(batch([Inference(1, 2)]), at(5))
    served(book, 60)
    book.finish(at(60))
    snapshot = book.snapshot(at(60))
    assert snapshot.settled_ns == at(60)
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(60)


def test_serving_ends_with_everything_settled_after_the_clock_was_set_back_too() -> None:
    book = ledger(config(per_hour=3600.0), offline=False)
    served(book, 200)
    book.add_samples(samples(200))
    book.advance(at(-3000), S)
    book.finish(at(-3000))
    snapshot = book.snapshot(at(-3000))
    assert snapshot.cost == {"instance": pytest.approx(201)}
    assert sum(of_model(snapshot, "unknown").cost.values()) == pytest.approx(201)
    assert sum(of_model(snapshot, "unknown").energy_joules.values()) == pytest.approx(20_000)
    assert snapshot.settled_ns == at(110)


def test_a_window_holds_the_seconds_of_every_stage_of_its_good_inferences() -> None:
    good = [Inference(i, i + 1, stages=(0.25, 0.5, None, None)) for i in range(0, 60, 2)]
    snapshot = replayed([*good, Inference(3, 3.5, stages=(0.5, None, None, None), error=True)], end=60)

    assert of_model(snapshot).windows[0].stage_seconds == {"queue": 7.5, "compute": 15.0, "other": 7.5}


def test_a_window_without_evidence_holds_no_stages() -> None:
    assert of_model(replayed([Inference(0, 1, stages=(0.5, 0.5, None, None))], end=20)).windows[0].stage_seconds == {}

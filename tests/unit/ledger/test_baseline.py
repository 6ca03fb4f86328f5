import json
from collections.abc import Mapping, Sequence

import pytest

from infermeter.ledger import Ledger
from infermeter.ledger.baseline import Baseline
from infermeter.model import GpuIdentity
from support.ledgers import GPU, START_NS, S, at, config, ledger, samples


def test_a_minute_of_idle_ticks_is_the_least_and_the_10th_percentile_the_value() -> None:
    baseline = Baseline(None)
    for tick in range(59):
        baseline.learn(tick, 60 + tick)
    assert baseline.watts is None
    baseline.learn(59, 119)
    assert baseline.watts == 65.0
    assert baseline.watts == 65.0


def test_what_is_configured_overrides_what_is_learnt() -> None:
    baseline = Baseline(70.0)
    for tick in range(100):
        baseline.learn(tick, 60)
    assert baseline.watts == 70.0


def test_yesterday_is_forgotten() -> None:
    baseline = Baseline(None)
    for tick in range(100):
        baseline.learn(tick, 60)
    for tick in range(25 * 3600, 25 * 3600 + 60):
        baseline.learn(tick, 80)
    assert baseline.watts == 80.0


def test_an_hour_of_ever_new_powers_is_kept_in_bounded_memory_and_its_percentile_stays_near() -> None:
    baseline = Baseline(None)
    for tick in range(3600):
        baseline.learn(tick, 50 + 100 * ((tick * 0.618034) % 1))
    assert len(baseline.hours[0]) == 512
    assert baseline.watts == pytest.approx(60.0, abs=1.0)


# --- across restarts ---------------------------------------------------------------------------------------------------------------
HOUR = START_NS // S // 3600


def learnt(*gpus: str, watts: float = 80.0, seconds: int = 90) -> Ledger:
    book = ledger(gpus=gpus)
    for gpu in gpus:
        book.add_samples(samples(seconds, uuid=gpu, watts=watts))
    book.finish(at(seconds))
    return book


def restarted(sections: Mapping[str, object], *, after: float = 100, gpus: Sequence[str] = (GPU,), **keys: object) -> Ledger:
    book = Ledger(config(**keys), start_ns=at(after), sampled=False, gpus=[GpuIdentity(gpu) for gpu in gpus], offline=False)
    assert book.recall(json.loads(json.dumps(sections))) == ()
    return book


def baselines(book: Ledger) -> list[float | None]:
    return [gpu.baseline_watts for gpu in book.snapshot(at(0)).gpus]


def test_a_baseline_outlives_a_restart_and_a_configured_one_overrides_it() -> None:
    sections = learnt(GPU).remember()
    assert baselines(restarted(sections)) == [80.0]
    assert baselines(restarted(sections, baseline_watts=33.0)) == [33.0]
    assert baselines(restarted(sections, gpus=("another",))) == [None]
    assert baselines(restarted({})) == [None]
    assert baselines(restarted({"of another owner": 5})) == [None]


def test_a_baseline_older_than_a_day_or_of_a_time_to_come_is_not_recalled() -> None:
    sections = learnt(GPU).remember()
    assert baselines(restarted(sections, after=23 * 3600)) == [80.0]
    assert baselines(restarted(sections, after=25 * 3600)) == [None]
    assert baselines(restarted(sections, after=-2 * 3600)) == [None]


def test_the_baseline_of_a_device_that_shows_up_later_waits_for_it_over_restarts_too() -> None:
    sections = learnt(GPU, "late").remember()
    again = restarted(restarted(sections, gpus=(GPU,)).remember(), gpus=())
    again.gpus_changed([GpuIdentity("late")])
    assert baselines(again) == [80.0]
    assert set(again.remember()["baseline"]["gpus"]) == {"late", GPU}


def test_what_was_learnt_since_the_start_stays_when_older_hours_are_recalled() -> None:
    book = learnt(GPU, watts=60.0)
    book.recall({"baseline": {"version": 1, "gpus": {GPU: {str(HOUR): {"990": 9000}, str(HOUR - 1): {"700": 10}}}}})
    assert book.remember()["baseline"]["gpus"][GPU] == {str(HOUR): {"600": pytest.approx(85, abs=5)}, str(HOUR - 1): {"700": 10}}


def test_no_more_than_64_devices_are_remembered_nor_kept_waiting() -> None:
    many = {f"GPU-{i}": {str(HOUR): {"800": 90}} for i in range(64)}
    book = ledger(gpus=())
    assert book.recall({"baseline": {"version": 1, "gpus": many}}) == ()
    assert book.recall({"baseline": {"version": 1, "gpus": {"one more": {str(HOUR): {"800": 90}}}}}) == ()
    assert set(book.remember()["baseline"]["gpus"]) == set(many)


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        [],
        {},
        {"version": 2, "gpus": {}},
        {"version": 1, "gpus": []},
        {"version": 1, "gpus": {}, "more": 1},
        {"version": 1, "gpus": {f"GPU-{i}": {} for i in range(65)}},
        {"version": 1, "gpus": {1: {}}},
        {"version": 1, "gpus": {GPU: {"x": {}}}},
        {"version": 1, "gpus": {GPU: {"-1": {}}}},
        {"version": 1, "gpus": {GPU: {"\u0661": {}}}},
        {"version": 1, "gpus": {GPU: {"9" * 5000: {}}}},
        {"version": 1, "gpus": {GPU: {str(hour): {} for hour in range(25)}}},
        {"version": 1, "gpus": {GPU: {"5": {str(power): 1 for power in range(513)}}}},
        {"version": 1, "gpus": {GPU: {"5": {"1000001": 1}}}},
        *({"version": 1, "gpus": {GPU: {"5": {"5": ticks}}}} for ticks in (0, -1, 1.5, "1", True, None, 10**10)),
    ],
)
def test_a_damaged_section_is_refused_as_a_whole_and_told(damaged: object) -> None:
    book = learnt(GPU)
    before = book.remember()
    assert book.recall({"baseline": damaged}) == ("baseline",)
    assert book.remember() == before

"""Where the server's counters show that spans are a sample, they are treated as one; where they show that all are here, they prove."""

from itertools import pairwise
from random import Random

import pytest

from infermeter.config import LedgerConfig, Server, Sla
from infermeter.ledger import Ledger
from infermeter.model import GpuSample, LedgerSnapshot
from support.ledgers import GPU, Inference, S, at, batch, config, ledger, of_model, samples
from support.server_readings import lived, reading, readings

SCRAPED = Server(metrics_url="http://127.0.0.1:8000/metrics")


def book_of(*, gpus: tuple[str, ...] = (GPU,), sampled: bool = False, **keys: object) -> Ledger:
    return ledger(config(sla=Sla(0.9, 2.0), server=SCRAPED, baseline_watts=60.0, **keys), gpus=gpus, sampled=sampled, offline=False)


def by_use(snapshot: LedgerSnapshot, use: str) -> float:
    return sum(facts.cost[use] for facts in snapshot.models)


def joules(snapshot: LedgerSnapshot, use: str) -> float:
    return sum(facts.energy_joules[use] for facts in snapshot.models)


def settled_seconds(snapshot: LedgerSnapshot) -> float:
    return (snapshot.settled_ns - at(0)) / S


def back_to_back(until: int, *, seconds: float = 0.5, model: str = "chat") -> list[Inference]:
    return [Inference(i * seconds, (i + 1) * seconds, model=model) for i in range(round(until / seconds))]


# --- one in a hundred ----------------------------------------------------------------------------------------------------------------
def test_one_span_in_a_hundred_never_shows_a_full_gpu_idle_though_nobody_said_that_spans_are_sampled() -> None:
    """It looked 5.2 % busy when it was 99.5 %: the product would have paged "idle" on a full GPU."""
    served = back_to_back(900)
    book, gpu, told = book_of(), samples(900, watts=350.0, utilisation=0.995), readings(served, until=900)
    start = 0
    for until in range(100, 901, 100):
        snapshot = lived(book, served[::100], told, gpu, until=until, start=start)
        start = until
        assert by_use(snapshot, "idle") <= 0.0051 * settled_seconds(snapshot) if snapshot.settled_ns else True
    assert snapshot.thin
    assert snapshot.coverage_ratio == pytest.approx(0.01, abs=0.005)
    assert of_model(snapshot).cost["active"] == pytest.approx(0.995 * settled_seconds(snapshot), rel=0.01)
    assert snapshot.gpus[0].state_seconds["active"] == pytest.approx(0.995 * settled_seconds(snapshot), rel=0.01)
    assert snapshot.windows[0].waterfall_cost["idle"] <= 0.006 * snapshot.windows[0].cost
    assert of_model(snapshot).windows[0].cost_per_inference == pytest.approx(0.5, rel=0.03)


def test_without_a_gpu_that_tells_the_servers_running_gauge_says_what_was_busy() -> None:
    served = [Inference(i / 2, i / 2 + 0.5) for i in range(800)]  # 400 s of work, then none
    told = readings(served, until=800, tells_running=True)
    for gpus in ((), (GPU,)):
        gpu = samples(800, watts=200.0, utilisation=None) if gpus else []
        snapshot = lived(book_of(gpus=gpus), served[::50], told, gpu, until=800)
        assert by_use(snapshot, "active") == pytest.approx(400, abs=5)
        assert by_use(snapshot, "idle") == pytest.approx(settled_seconds(snapshot) - 400, abs=5)
        if gpus:
            assert joules(snapshot, "active") == pytest.approx(400 * 200, rel=0.02)


def test_without_any_busy_signal_a_sample_of_spans_proves_nothing() -> None:
    served = back_to_back(400)
    for gpus, gpu in (((), []), ((GPU,), samples(400, utilisation=None))):
        snapshot = lived(book_of(gpus=gpus), served[::50], readings(served, until=400), gpu, until=400)
        assert by_use(snapshot, "idle") == 0
        assert by_use(snapshot, "active") < 0.03 * settled_seconds(snapshot)


def test_a_change_of_the_sampling_rate_takes_effect_at_once_and_its_end_when_it_is_sure() -> None:
    served = [Inference(i / 2, i / 2 + 0.05) for i in range(3600)]
    spans = [one for i, one in enumerate(served) if not 600 <= one.start < 1200 or i % 100 == 0]
    book, gpu, told = book_of(), samples(1800, watts=300.0, utilisation=0.9), readings(served, until=1800)
    idle, thin = {}, []
    for until in range(100, 1801, 100):
        snapshot = lived(book, spans, told, gpu, until=until, start=until - 100)
        idle[settled_seconds(snapshot)] = by_use(snapshot, "idle")
        thin.append(snapshot.thin)
    steps = [(a, b, idle[b] - idle[a]) for a, b in pairwise(idle)]
    by_spans = [(seconds, b - a) for a, b, seconds in steps if b <= 550 or a >= 1400]
    by_utilisation = [(seconds, b - a) for a, b, seconds in steps if b >= 600 and a < 1200]
    assert len(by_spans) >= 6
    assert all(seconds == pytest.approx(0.9 * whole) for seconds, whole in by_spans)
    assert len(by_utilisation) >= 3
    assert all(seconds <= 0.1 * whole + 1e-6 for seconds, whole in by_utilisation)
    assert (thin[4], thin[8], thin[-1]) == (False, True, False)


def test_the_spans_of_a_server_that_samples_by_default_prove_idleness_once_its_counters_show_that_all_are_here() -> None:
    served = [Inference(i / 2, i / 2 + 0.05) for i in range(800)]
    alone = lived(book_of(gpus=(), sampled=True), served, [], until=400)
    assert (by_use(alone, "idle"), alone.thin) == (0, True)
    snapshot = lived(book_of(gpus=(), sampled=True), served, readings(served, until=400), until=400)
    assert by_use(snapshot, "idle") == pytest.approx(0.9 * settled_seconds(snapshot))
    assert not snapshot.thin
    assert of_model(snapshot).windows[0].cost_per_inference == pytest.approx(0.5, rel=0.03)


def test_the_limit_is_configured() -> None:
    served = back_to_back(400)
    for below, thin in ((0.3, False), (0.7, True)):
        keys = config(sla=Sla(0.9, 2.0), server=SCRAPED)
        book = ledger(
            type(keys)(sla=keys.sla, server=SCRAPED, cost=keys.cost, windows=keys.windows, ledger=LedgerConfig(coverage_below_ratio=below)),
            gpus=(),
            offline=False,
        )
        assert lived(book, served[::2], readings(served, until=400), until=400).thin is thin


# --- whose it was ----------------------------------------------------------------------------------------------------------------------
def two_models(until: int) -> list[Inference]:
    """One inference at a time: `light` computes for 0.1 s, `heavy` for 0.3 s, each twice a second at most."""
    light = [Inference(i * 0.4, i * 0.4 + 0.1, model="light") for i in range(round(until / 0.4))]
    heavy = [Inference(i * 0.4 + 0.1, i * 0.4 + 0.4, model="heavy") for i in range(round(until / 0.4))]
    return [*light, *heavy]


def test_shares_of_sampled_models_are_those_of_their_compute_in_a_block_and_nothing_is_lost() -> None:
    served = two_models(1200)
    half = len(served) // 2
    spans = [*served[:half:20], *served[half::20]]
    book, gpu = book_of(), samples(1200, watts=200.0, utilisation=1.0)
    snapshot = lived(book, spans, readings(served, until=1200), gpu, until=1200)
    light, heavy = of_model(snapshot, "light"), of_model(snapshot, "heavy")
    assert heavy.energy_joules["active"] / light.energy_joules["active"] == pytest.approx(3, rel=0.1)
    settled = settled_seconds(snapshot)
    assert settled % 60 == 0
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(settled, rel=1e-9)
    assert sum(sum(facts.energy_joules.values()) for facts in snapshot.models) == pytest.approx(200 * settled, rel=1e-6)
    assert by_use(snapshot, "active") == pytest.approx(settled, rel=1e-9)
    assert sum(slot.cost for slot in snapshot.slots) == pytest.approx(settled, rel=1e-9)
    assert light.windows[0].cost_per_inference == pytest.approx(0.1, rel=0.1)


def test_what_a_block_without_a_span_did_is_nobodys() -> None:
    told = [reading(5 * i, {("chat", "ok"): 5.0}, since=5 * i - 5 if i else None) for i in range(200)]
    snapshot = lived(book_of(), [], told, samples(990, watts=200.0, utilisation=0.6), until=990)
    settled = settled_seconds(snapshot)
    assert settled >= 600
    assert (by_use(snapshot, "active"), by_use(snapshot, "unattributed")) == (0, pytest.approx(0.6 * settled))
    assert snapshot.gpus[0].state_seconds["active"] == pytest.approx(0.6 * settled)


def test_few_spans_hold_the_settled_instant_back_by_five_minutes_at_most() -> None:
    served = back_to_back(1500, seconds=1.0)
    book, told = book_of(gpus=()), readings(back_to_back(1500, seconds=1.0), until=1500)
    lag = []
    for until in range(50, 1501, 50):
        snapshot = lived(book, served[::200], told, until=until, start=until - 50)
        lag.append(until - (settled_seconds(snapshot) if snapshot.settled_ns else 0))
    assert max(lag) <= 90 + 300 + 50
    assert max(lag) > 200


def test_a_quiet_server_is_settled_every_minute() -> None:
    told = [reading(5 * i, {("chat", "ok"): 0.0}, since=5 * i - 5 if i else None, running=0.0) for i in range(200)]
    snapshot = lived(book_of(gpus=(), sampled=True), [], told, until=500)
    assert settled_seconds(snapshot) >= 500 - 90 - 60
    assert by_use(snapshot, "idle") == pytest.approx(settled_seconds(snapshot))


def test_serving_ends_with_every_block_settled() -> None:
    served = back_to_back(100)
    book = book_of(gpus=())
    lived(book, served[::50], readings(served, until=100), until=100)
    book.finish(at(100))
    snapshot = book.snapshot(at(100))
    assert sum(sum(facts.cost.values()) for facts in snapshot.models) == pytest.approx(100)
    assert snapshot.settled_ns == at(100)


def test_serving_ends_before_the_first_reading_says_anything() -> None:
    book = book_of(gpus=(), sampled=True, span_delay=1.0)
    book.add_server_reading(reading(0, {("chat", "ok"): 0.0}))
    book.advance(at(1), S)
    book.finish(at(1))
    assert sum(sum(facts.cost.values()) for facts in book.snapshot(at(1)).models) == pytest.approx(1)


# --- what runs and no span tells of ----------------------------------------------------------------------------------------------------
def test_of_running_inferences_the_part_that_no_span_tells_of_is_nobodys() -> None:
    """A request of an hour is known when it ends; until then the others would have got its energy."""
    known = [Inference(i, i + 1) for i in range(300)]
    hour = Inference(10, 3600, model="long")
    told = readings([*known, hour], until=300, tells_running=True)
    snapshot = lived(book_of(), known, told, samples(300, watts=200.0, utilisation=1.0), until=300)
    settled = settled_seconds(snapshot)
    assert by_use(snapshot, "active") == pytest.approx(10 + (settled - 10) / 2, abs=4)
    assert by_use(snapshot, "unattributed") == pytest.approx((settled - 10) / 2, abs=4)
    assert joules(snapshot, "unattributed") == pytest.approx(200 * (settled - 10) / 2, abs=800)


def test_when_every_running_inference_is_known_nothing_is_taken_from_them() -> None:
    known = [Inference(i, i + 4) for i in range(300)]
    told = readings(known, until=300, tells_running=True)
    snapshot = lived(book_of(), known, told, samples(300, watts=200.0, utilisation=1.0), until=300)
    assert by_use(snapshot, "unattributed") == pytest.approx(0, abs=1e-9)
    assert by_use(snapshot, "active") == pytest.approx(settled_seconds(snapshot))


@pytest.mark.parametrize(("rate", "longest"), [(2.0, 2.0), (10.0, 0.4), (5.0, 8.0)])
def test_that_scrapes_see_now_more_and_now_less_than_the_mean_takes_next_to_nothing_from_those_that_are_known(
    rate: float, longest: float
) -> None:
    """Two scrapes alone took 7 to 13 % of what was active where few ran at a time."""
    random = Random(1)
    starts = [random.uniform(0, 600) for _ in range(round(600 * rate))]
    known = sorted((Inference(start, start + random.uniform(0, longest)) for start in starts), key=lambda one: one.end)
    snapshot = lived(book_of(gpus=()), known, readings(known, until=600, tells_running=True), until=600)
    assert by_use(snapshot, "unattributed") < 0.02 * by_use(snapshot, "active")


def test_a_server_that_says_it_works_is_not_idle_though_no_span_came() -> None:
    told = readings([Inference(10, 3600)], until=300, tells_running=True)
    snapshot = lived(book_of(gpus=()), [Inference(5, 6)], told, until=300)
    settled = settled_seconds(snapshot)
    assert by_use(snapshot, "idle") == pytest.approx(9, abs=4)
    assert by_use(snapshot, "unattributed") == pytest.approx(settled - 10, abs=4)


def test_a_gpu_that_does_not_tell_its_utilisation_is_idle_when_the_server_says_that_nothing_runs() -> None:
    told = readings([Inference(5, 6)], until=300, tells_running=True)
    readings_of_gpu = [GpuSample(GPU, at(i), power_watts=70.0, memory_used_bytes=2**34) for i in range(301)]
    silent = lived(book_of(), [Inference(5, 6)], [], readings_of_gpu, until=300)
    spoken = lived(book_of(), [Inference(5, 6)], told, readings_of_gpu, until=300)
    assert by_use(silent, "idle") < 1
    assert by_use(spoken, "idle") == pytest.approx(settled_seconds(spoken) - 1, abs=4)


def test_batches_that_arrive_before_their_block_is_settled_change_nothing_by_their_order() -> None:
    served = two_models(300)
    spans, told = served[::15], readings(served, until=300)
    straight, late = book_of(gpus=()), book_of(gpus=())
    lived(straight, spans, told, until=300)
    for second in range(0, 300, 20):
        lived(late, [], told, until=second + 20, start=second)
        late.add(batch([one for one in reversed(spans) if second < one.end <= second + 20]), at(second + 20))
    a, b = (lived(book, [], [], until=360, start=300) for book in (straight, late))
    for model in ("light", "heavy"):
        assert of_model(a, model).cost == pytest.approx(of_model(b, model).cost)

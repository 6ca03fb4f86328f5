"""Whether spans are a fair sample: their durations against the server's own histogram, near the target."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
import pytest

from infermeter.config import Server, Sla
from infermeter.ledger.bias import Bias, edge_near, judged
from infermeter.ledger.instants import SLOT_NS
from infermeter.ledger.names import ModelNames
from infermeter.ledger.sketch import BUCKETS, bucket_of
from infermeter.model import SIGNALS, Bools, CoverageBias, Floats, Ints, LedgerSnapshot, ServerReading, ServerTime, SlaTarget, TimeOf
from support.advising import findings
from support.ledgers import Inference, S, at, batch, config, ledger, of_model
from support.server_readings import reading

EDGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)
TARGET = SlaTarget(0.9, duration_seconds=1.0)
SLOTS_AN_HOUR = 360
FAIR = None
UNFAIR = CoverageBias(1.0, 0.9, 0.5, 1000)

Keep = Callable[[Floats, np.random.Generator], Bools]


# --- the edge ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("target", "edge"),
    [(1.0, 1.0), (1.2, 1.0), (1.26, None), (0.8, 1.0), (0.79, None), (0.45, 0.5), (60.0, None), (None, None), (0.0, None)],
)
def test_the_nearest_edge_counts_if_it_is_within_a_quarter_of_the_target(target: float | None, edge: float | None) -> None:
    assert edge_near(EDGES, target) == edge


def test_a_histogram_without_an_edge_says_nothing() -> None:
    assert edge_near((math.inf,), 1.0) is None


# --- one judgement -----------------------------------------------------------------------------------------------------------------
def test_shares_that_differ_beyond_three_standard_errors_are_biased_with_their_evidence() -> None:
    assert judged((10_000, 9000, 1000, 790, 20, 0), 1.0, FAIR) == CoverageBias(1.0, 0.9, pytest.approx(0.8), 1000)


def test_it_begins_beyond_three_standard_errors_and_ends_within_two() -> None:
    """A share of 0.9 of 1000 has an error of 0.0095: 0.875 is 2.6 of them away, 0.885 is 1.6, 0.865 is 3.7."""
    for within, begins, goes_on in ((865, True, True), (875, False, True), (885, False, False)):
        sums = (10_000, 9000, 1000, within, 0, 0)
        assert (judged(sums, 1.0, FAIR) is not None, judged(sums, 1.0, UNFAIR) is not None) == (begins, goes_on)


def test_a_sample_that_keeps_the_fast_ones_is_biased_too() -> None:
    assert judged((10_000, 5000, 1000, 600, 0, 0), 1.0, FAIR) is not None


def test_what_is_too_near_the_edge_to_tell_may_lie_on_either_side() -> None:
    assert judged((10_000, 9000, 1000, 500, 400, 0), 1.0, FAIR) is None
    assert judged((10_000, 5000, 1000, 500, 400, 0), 1.0, FAIR) is None


def test_errors_may_be_anywhere_in_the_histogram() -> None:
    assert judged((10_000, 9000, 900, 700, 0, 0), 1.0, FAIR) is not None
    assert judged((10_000, 9000, 900, 700, 0, 150), 1.0, FAIR) is None


def test_a_hundredth_is_near_enough_however_many_there_are() -> None:
    assert judged((10_000_000, 9_000_000, 1_000_000, 891_000, 0, 0), 1.0, FAIR) is None
    assert judged((10_000_000, 9_000_000, 1_000_000, 889_000, 0, 0), 1.0, FAIR) is not None


@pytest.mark.parametrize("before", [FAIR, UNFAIR])
@pytest.mark.parametrize("sums", [(10_000, 9000, 99, 0, 0, 0), (99, 99, 1000, 0, 0, 0), (0, 0, 0, 0, 0, 0)])
def test_with_too_few_what_was_judged_stays(sums: tuple[int, ...], before: CoverageBias | None) -> None:
    assert judged(sums, 1.0, before) is before


@pytest.mark.parametrize("before", [FAIR, UNFAIR])
def test_spans_that_are_all_here_are_never_biased(before: CoverageBias | None) -> None:
    assert judged((1000, 900, 970, 0, 0, 10), 1.0, before) is None
    assert judged((1000, 900, 969, 0, 0, 10), 1.0, before) is not None


def test_a_share_of_all_or_nothing_is_no_certainty() -> None:
    """With one in a hundred late nobody can say that the server's share isn't 1."""
    assert judged((10_000, 10_000, 100, 98, 0, 0), 1.0, FAIR) is None
    assert judged((10_000, 10_001, 100, 80, 0, 0), 1.0, FAIR) == CoverageBias(1.0, 1.0, 0.8, 100)


# --- hour after hour ---------------------------------------------------------------------------------------------------------------
class Life:
    """A server of ten inferences a second whose durations are lognormal, scraped every 15 s; slots close `trail` slots later."""

    def __init__(self, seed: int = 1, *, edges: tuple[float, ...] = EDGES, target: SlaTarget | None = TARGET, trail: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.names = ModelNames(100, configured=("chat",), unnamed=None)
        self.code = self.names.code("chat")
        self.bias = Bias(self.names)
        self.edges, self.target, self.trail = edges, target, trail
        self.open: deque[tuple[Ints, Ints, Ints]] = deque()
        self.slot = 0
        self.read_ns: int | None = None
        self.untold = np.zeros(0)
        self.ends_ns = np.zeros(0)

    def go(self, slots: int, keep: Keep, *, median: float = 0.6, tells: bool = True) -> list[CoverageBias | None]:
        """What is judged after each slot."""
        told = []
        for _ in range(slots):
            durations = median * np.exp(0.6 * self.random.standard_normal(100))
            self.untold = np.concatenate((self.untold, durations))
            self.ends_ns = np.concatenate((self.ends_ns, self.slot * SLOT_NS + np.sort(self.random.integers(0, SLOT_NS, 100))))
            while tells and (time_ns := 0 if self.read_ns is None else self.read_ns + 15 * S) <= (self.slot + 1) * SLOT_NS:
                self.read(time_ns)
            seen = durations[keep(durations, self.random)]
            keys, counts = np.unique(self.code * len(SIGNALS) * BUCKETS + bucket_of(np.rint(seen * S).astype(np.int64)), return_counts=True)
            self.open.append((keys, counts, np.array([[len(seen), len(seen)]])))
            if len(self.open) > self.trail:
                keys, counts, sums = self.open.popleft()
                self.bias.close(self.slot - self.trail, (keys, counts), sums, [self.target] * len(self.names))
            told.append(self.bias.found.get(self.code))
            self.slot += 1
        return told

    def read(self, time_ns: int) -> None:
        ended = self.untold[self.ends_ns < time_ns]
        self.untold, self.ends_ns = self.untold[self.ends_ns >= time_ns], self.ends_ns[self.ends_ns >= time_ns]
        durations = {edge: float((ended <= edge).sum()) for edge in self.edges}
        models = ("chat", "never seen") if durations else ()
        self.bias.read(ServerReading(time_ns, self.read_ns, {}, times=dict.fromkeys(models, times(durations))))
        self.read_ns = time_ns


def times(at_most: dict[float, float]) -> dict[TimeOf, ServerTime]:
    return {"duration": ServerTime(0.0, at_most), "queue": ServerTime(1.0)}


def head(durations: Floats, random: np.random.Generator) -> Bools:
    return random.random(len(durations)) < 0.1


def tail(durations: Floats, random: np.random.Generator) -> Bools:
    """The slow ones ten times more often."""
    return random.random(len(durations)) < np.where(durations > 1.0, 0.5, 0.05)


def everything(durations: Floats, _random: np.random.Generator) -> Bools:
    return np.ones(len(durations), np.bool_)


@pytest.mark.parametrize("seed", range(50))
def test_one_in_ten_at_the_head_is_never_biased(seed: int) -> None:
    assert not any(Life(seed).go(2 * SLOTS_AN_HOUR, head))


@pytest.mark.parametrize("seed", range(10))
def test_a_sampler_that_keeps_the_slow_ones_is_found_within_an_hour(seed: int) -> None:
    found = Life(seed).go(SLOTS_AN_HOUR, tail)[-1]
    assert found is not None
    assert found.edge_seconds == 1.0
    assert found.server_ratio == pytest.approx(0.80, abs=0.02)
    assert found.observed_ratio == pytest.approx(0.29, abs=0.04)


@pytest.mark.parametrize("after", [head, everything])
def test_it_ends_once_the_last_hour_is_fair(after: Keep) -> None:
    life = Life()
    assert life.go(SLOTS_AN_HOUR, tail)[-1] is not None
    told = life.go(2 * SLOTS_AN_HOUR, after)
    assert (told[0] is not None, told[-1]) == (True, None)


@pytest.mark.parametrize("trail", [0, 30])
def test_latency_that_changes_is_compared_with_the_same_time_however_late_slots_close(trail: int) -> None:
    life = Life(trail=trail)
    for median in (0.2, 1.5) * 4:
        assert not any(life.go(47, head, median=median))


@pytest.mark.parametrize(
    "keys",
    [
        {"target": None},
        {"target": SlaTarget(0.9, ttft_seconds=1.0)},
        {"target": SlaTarget(0.9, duration_seconds=1.6)},
        {"edges": (0.1, math.inf)},
    ],
)
def test_without_a_target_or_an_edge_near_it_nothing_is_judged(keys: dict[str, object]) -> None:
    assert not any(Life(**keys).go(SLOTS_AN_HOUR, tail))


def test_a_server_that_tells_no_histogram_is_never_judged() -> None:
    assert not any(Life(edges=()).go(SLOTS_AN_HOUR, tail))


def test_a_target_that_goes_away_takes_the_judgement_with_it() -> None:
    life = Life()
    assert life.go(SLOTS_AN_HOUR, tail)[-1] is not None
    life.target = None
    assert life.go(3, tail)[-1] is None


def test_after_an_outage_the_comparison_begins_anew_and_what_was_judged_stays() -> None:
    life = Life()
    assert life.go(SLOTS_AN_HOUR, tail)[-1] is not None
    life.go(60, head, tells=False)
    life.read_ns = life.slot * SLOT_NS - 400 * S
    life.untold, life.ends_ns = life.untold[:0], life.ends_ns[:0]  # the server was started anew: they are in no counter
    life.read_ns, since_ns = life.slot * SLOT_NS, life.read_ns
    life.bias.read(ServerReading(life.read_ns, since_ns, {}, times={"chat": times(dict.fromkeys(EDGES, 0.0))}))
    assert life.go(1, head)[-1] is not None
    assert life.go(70, head)[-1] is None


def test_models_that_go_by_one_name_are_compared_by_the_edges_that_all_have() -> None:
    """Two names beyond the limit are `other`."""
    names = ModelNames(0, configured=(), unnamed=None)
    code = names.code("one")
    bias = Bias(names)
    both = {"one": {1.0: 9000.0, 0.5: 1.0, math.inf: 10_000.0}, "two": {1.0: 5000.0, math.inf: 10_000.0}}
    keys = np.full(1, code * len(SIGNALS) * BUCKETS + BUCKETS - 1)
    for slot in range(62):
        bias.read(
            ServerReading(
                (slot + 1) * SLOT_NS, slot * SLOT_NS if slot else None, {}, times={model: times(told) for model, told in both.items()}
            )
        )
        counts = np.zeros((len(names), 2), np.int64)
        counts[code] = 10
        bias.close(slot, (keys, np.array([10])), counts, [TARGET] * len(names))
    assert bias.found.get(code) == CoverageBias(1.0, 0.7, 0.0, 600)


# --- in the ledger -----------------------------------------------------------------------------------------------------------------
def counters(snapshot: LedgerSnapshot) -> list[float]:
    model = of_model(snapshot)
    inferences = (model.observed_ok, model.within_sla, *(model.in_sla_state.get(state, 0) for state in ("met", "violated", "insufficient")))
    return [*inferences, snapshot.totals["chat"]["ok"], *(model.cost_in_sla_state.get(s, 0.0) for s in ("met", "violated", "insufficient"))]


def test_while_spans_are_biased_nothing_is_told_of_the_sla_and_no_counter_falls() -> None:
    random = np.random.default_rng(7)
    book = ledger(config(sla=Sla(0.5, 1.0), server=Server(metrics_url="http://127.0.0.1:8000/metrics")), gpus=(), offline=False)
    ended: list[float] = []
    before, snapshots = [0.0] * 9, []
    for second in range(1200):
        durations = 0.6 * np.exp(0.6 * random.standard_normal(10))
        ended += durations.tolist()
        if second % 10 == 0:
            told = {edge: float(sum(one <= edge for one in ended)) for edge in EDGES}
            book.add_server_reading(
                reading(second, {("chat", "ok"): float(len(ended))}, since=second - 10 if second else None, times={"chat": times(told)})
            )
            ended = []
        kept = durations[tail(durations, random)].tolist()
        book.add(batch([Inference(second + 0.9 - one, second + 0.9) for one in kept]), at(second + 1))
        book.advance(at(second + 1), S)
        if second % 60 == 59:
            snapshots.append(book.snapshot(at(second + 1)))
            now = counters(snapshots[-1])
            assert all(a <= b for a, b in zip(before, now, strict=True))
            before = now
    fair, biased = snapshots[7], snapshots[-1]
    (window,) = of_model(fair).windows
    assert of_model(fair).coverage_bias is None
    assert window.sla_state is not None
    assert window.cost_per_inference_at_sla
    assert window.latency_at_sla_quantile_seconds
    assert fair.windows[0].waterfall_cost
    bias, (window,) = of_model(biased).coverage_bias, of_model(biased).windows
    assert bias is not None
    assert (window.sla_state, window.inferences_within_sla) == (None, None)
    assert window.cost_per_inference_at_sla == window.latency_at_sla_quantile_seconds == {}
    assert window.cost_per_inference is not None
    assert (biased.windows[0].waterfall_cost, biased.windows[0].inferences_within_sla) == ({}, None)
    (finding,) = [one for one in findings(config(), biased) if one.code == "coverage_biased"]
    assert (finding.level, finding.model, finding.evidence["edge_seconds"]) == ("warning", "chat", 1.0)
    assert finding.evidence["server_ratio"] - finding.evidence["observed_ratio"] > 0.3
    assert finding.evidence["observed"] == bias.observed
    assert not [one for one in findings(config(), fair) if one.code == "coverage_biased"]

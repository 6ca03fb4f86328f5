from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from infermeter.config import Advice, Config, Server, Sla, Slas
from infermeter.ledger import Ledger
from infermeter.ledger import slots as columns
from infermeter.ledger.server_capacity import ServerCapacity
from infermeter.ledger.slots import Sums
from infermeter.model import GpuIdentity, GpuSample, InferenceBatch, LedgerSnapshot, SlaTarget

SECOND_NS = 10**9
START_NS = 1_784_548_800 * SECOND_NS
SLA = Slas(default=Sla(quantile=0.99, duration_seconds=0.5))
CONFIG = Config(server=Server(kind="infermeter", sampled=False), sla=SLA, advice=Advice(minimum_history=3600.0))


def arriving(now_ns: int, n: int, *, model: str = "m", seconds: float = 0.05) -> InferenceBatch:
    """Inferences one after the other, the last of which ends now."""
    ends_ns = now_ns - np.arange(n, dtype=np.int64) * (10 * SECOND_NS // n)
    starts_ns = ends_ns - round(seconds * 1e9)
    stages_ns = np.full((n, 4), -1, np.int64)
    stages_ns[:, 1] = ends_ns - starts_ns
    return InferenceBatch(
        model=[model] * n,
        start_ns=starts_ns,
        end_ns=ends_ns,
        stages_ns=stages_ns,
        parts=(),
        compute_rows=np.arange(n),
        compute_start_ns=starts_ns,
        compute_end_ns=ends_ns,
        compute_estimated=np.zeros(n, bool),
        ttft_seconds=np.full(n, np.nan),
        tpot_seconds=np.full(n, np.nan),
        tokens_input=np.full(n, -1),
        tokens_output=np.full(n, -1),
        error=np.zeros(n, bool),
        trace_id=[b""] * n,
        quality={"compute": "measured"},
    )


class Life:
    """A ledger that serves `per_slot` inferences each ten seconds."""

    def __init__(self, config: Config = CONFIG, *, start_ns: int = START_NS, remembered: dict[str, Any] | None = None) -> None:
        self.ledger = Ledger(config, start_ns=start_ns, sampled=False, gpus=())
        self.now_ns = start_ns
        self.gpu: str | None = None
        self.damaged = self.ledger.recall(json.loads(json.dumps(remembered)) if remembered else {})

    def change(self, gpus: tuple[GpuIdentity, ...]) -> None:
        self.ledger.gpus_changed(gpus)
        self.gpu = gpus[0].uuid if gpus else None

    def serve(self, minutes: float, per_slot: int, *, model: str = "m", seconds: float = 0.05) -> None:
        for _ in range(round(minutes * 6)):
            for _ in range(10):
                self.now_ns += SECOND_NS
                self.ledger.add_samples([GpuSample(self.gpu, self.now_ns, power_watts=100.0, utilisation_ratio=0.5)] if self.gpu else ())
            self.ledger.advance(self.now_ns, 10 * SECOND_NS)
            if per_slot:
                self.ledger.add(arriving(self.now_ns, per_slot, model=model, seconds=seconds), self.now_ns)

    def snapshot(self) -> LedgerSnapshot:
        return self.ledger.snapshot(self.now_ns)

    def observed(self, model: str = "m") -> float | None:
        found = {facts.model: facts.capacity for facts in self.snapshot().models}[model]
        return None if found is None else found.observed_per_second


@pytest.fixture(scope="module")
def served() -> Life:
    life = Life()
    life.serve(90, 100)
    return life


def test_a_load_that_holds_for_long_enough_is_a_capacity(served: Life) -> None:
    (model,) = served.snapshot().models
    assert model.capacity is not None
    assert model.capacity.observed_per_second == pytest.approx(10.0, rel=0.1)
    assert not model.capacity.reached


def test_one_at_a_time_the_queue_tells_what_the_server_could_do_and_how_little_is_asked(served: Life) -> None:
    snapshot = served.snapshot()
    (model,) = snapshot.models
    assert model.capacity is not None
    assert model.capacity.modelled_per_second == pytest.approx(15.3, rel=0.05)
    assert snapshot.peak_load_ratio == pytest.approx(10 / 15.3, rel=0.05)
    assert snapshot.windows[0].load_ratio == pytest.approx(10 / 15.3, rel=0.05)


def test_without_the_history_there_is_no_peak() -> None:
    life = Life()
    life.serve(55, 100)
    assert life.snapshot().peak_load_ratio is None


def test_a_model_without_an_sla_has_no_capacity_and_the_server_no_load() -> None:
    life = Life(Config(server=CONFIG.server, advice=CONFIG.advice))
    life.serve(70, 10)
    assert life.snapshot().models[0].capacity is None
    assert life.snapshot().peak_load_ratio is None


def test_two_models_that_share_the_time_have_no_capacity_of_their_own() -> None:
    life = Life()
    for _ in range(60):
        life.serve(0.5, 20, model="a")
        life.serve(0.5, 20, model="b")
    assert life.observed("a") is None
    assert life.observed("b") is None


def gpu(limit: float | None) -> GpuIdentity:
    return GpuIdentity("GPU-a", power_limit_watts=limit)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ((), (gpu(700.0),), True),
        ((gpu(None),), (gpu(700.0),), True),
        ((gpu(700.0),), (gpu(500.0),), False),
        ((gpu(700.0),), (GpuIdentity("b"),), False),
    ],
    ids=["first seen", "limit told later", "another limit", "another GPU"],
)
def test_another_gpu_or_power_limit_starts_anew(before: tuple[GpuIdentity, ...], after: tuple[GpuIdentity, ...], *, kept: bool) -> None:
    life = Life()
    life.change(before)
    life.serve(60, 100)
    assert life.observed() is not None
    life.change(after)
    life.serve(5, 100)
    assert (life.observed() is not None) is kept


def test_a_restart_goes_on_with_what_was_known(served: Life) -> None:
    again = Life(start_ns=served.now_ns + 60 * SECOND_NS, remembered=served.ledger.remember())
    assert again.damaged == ()
    again.serve(10, 100)
    assert again.observed() == pytest.approx(served.observed(), rel=1e-3)
    assert again.snapshot().peak_load_ratio == pytest.approx(10 / 15.3, rel=0.05)


def test_a_model_that_is_configured_takes_up_its_own() -> None:
    config = Config(server=CONFIG.server, sla=Slas(default=SLA.default, models={"m": {}}), advice=CONFIG.advice)
    life = Life(config)
    life.serve(60, 100)
    again = Life(config, start_ns=life.now_ns, remembered=life.ledger.remember())
    assert again.observed() == life.observed() is not None


def test_another_sla_starts_anew(served: Life) -> None:
    config = Config(server=CONFIG.server, sla=Slas(default=Sla(duration_seconds=1.0)))
    again = Life(config, start_ns=served.now_ns, remembered=served.ledger.remember())
    again.serve(1, 100)
    assert again.damaged == ()
    assert again.observed() is None


@pytest.mark.parametrize(
    "broken",
    [
        {"version": 1},
        {"gpus": []},
        {"gpus": {"a": "x"}},
        {"models": {"m": {"sla": {"quantile": 1}, "epochs": []}}},
        {"models": {"m": {"epochs": []}}},
        {"models": []},
        {"demand": {"20000": {}}},
    ],
)
def test_a_section_that_is_damaged_is_refused_as_a_whole(served: Life, broken: dict[str, Any]) -> None:
    remembered = served.ledger.remember()
    remembered["capacity"] |= broken
    again = Life(start_ns=served.now_ns, remembered=remembered)
    assert again.damaged == ("capacity",)
    again.serve(1, 100)
    assert again.observed() is None


def test_another_sla_begins_anew_once_nothing_else_judges() -> None:
    life = Life()
    life.serve(120, 100)
    before = life.observed()
    assert before is not None
    life.ledger.reconfigure(replace(CONFIG, sla=Slas(default=Sla(quantile=0.99, duration_seconds=0.4))))
    assert life.observed() is None
    life.serve(120, 100)
    assert life.observed() == before
    life.ledger.reconfigure(replace(CONFIG, sla=None))
    life.serve(1, 100)
    assert life.snapshot().models[0].capacity is None
    life.ledger.reconfigure(CONFIG)
    life.serve(120, 100)
    assert life.observed() == before


@pytest.mark.parametrize("biased", [(), (0,)])
def test_while_the_spans_of_a_model_are_no_fair_sample_nothing_is_learnt_of_its_capacity(biased: tuple[int, ...]) -> None:
    capacity = ServerCapacity(CONFIG, start_ns=START_NS)
    capacity.widen(["m"], [SlaTarget(0.99, duration_seconds=0.5)])
    counts = np.zeros((1, columns.FIRST_STAGE + 5), np.int64)
    counts[0, [columns.OBSERVED, columns.OK, columns.WITHIN, columns.TOKENS_OUTPUT]] = 100
    amounts = np.zeros((1, 4))
    amounts[0, columns.BUSY_SECONDS] = 5.0
    sums = Sums(counts, amounts, np.array([10.0, 5.0, 5.0, 0.0]), np.zeros(1), np.zeros(1))
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    first_slot = START_NS // (10 * SECOND_NS)
    for slot in range(first_slot, first_slot + 360):
        capacity.close(slot, sums, [100], none, {}, biased=biased)
    facts = capacity.facts(0)
    assert facts is not None
    assert (facts.observed_per_second is None) == bool(biased)

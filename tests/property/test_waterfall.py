"""The waterfall in 20,000 random servers: no step is negative, the steps are the cost exactly, and each is what its definition says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from infermeter.ledger.waterfall import waterfall

CASES = 20_000
EXACT = 1e-12


@dataclass(frozen=True)
class Case:
    """Money C, time T and busy time B, and of each model: ok inferences N, those within the SLA G, and capacity K an hour or None."""

    cost: float
    time: float
    busy: float
    ok: tuple[int, ...]
    within: tuple[int, ...]
    capacity: tuple[float | None, ...]

    @property
    def full(self) -> float | None:
        """The time that the inferences would have needed at capacity."""
        needed = [None if k is None else n / k for n, k in zip(self.ok, self.capacity, strict=True) if n]
        return None if None in needed else sum(hours for hours in needed if hours is not None)

    def steps(self) -> dict[str, float]:
        return waterfall(
            cost=self.cost,
            idle_ratio=(self.time - self.busy) / self.time,
            full_ratio=None if self.full is None else self.full / self.time,
            ok=sum(self.ok),
            within=sum(self.within),
        )


def cases(seed: int = 20_260_720, n: int = CASES) -> Iterator[Case]:
    """Servers of one to three models, all shares and all orders of magnitude, with the edges (0, all) far more often than by chance."""
    draw = np.random.default_rng(seed)

    def ratio() -> float:
        return float(draw.choice([0.0, 1.0, draw.uniform(), draw.beta(0.3, 0.3)]))

    for _ in range(n):
        models, time = int(draw.integers(1, 4)), float(10 ** draw.uniform(-2, 5))
        ok = tuple(int(draw.choice([0, 1, 10 ** draw.uniform(0, 7)])) for _ in range(models))
        within = tuple(round(served * ratio()) for served in ok)
        capacity = tuple(float(10 ** draw.uniform(-3, 8)) if draw.uniform() < 0.85 else None for _ in range(models))
        yield Case(float(draw.choice([0.0, 10 ** draw.uniform(-6, 9)])), time, time * ratio(), ok, within, capacity)


def test_no_step_is_negative_and_together_they_are_the_cost() -> None:
    for case in cases():
        steps = case.steps()
        assert min(steps.values()) >= 0, case
        assert sum(steps.values()) == pytest.approx(case.cost, rel=EXACT, abs=0), case


def test_each_step_is_what_its_definition_says() -> None:
    for case in cases():
        steps, n, g, c, t, b = case.steps(), sum(case.ok), sum(case.within), case.cost, case.time, case.busy
        tolerance = EXACT * c
        idle, share = c * (t - b) / t, g / n if n else 1.0
        expected = {"idle": idle, "sla_missed": c * b / t * (1 - share)}
        if case.full is None:
            expected["busy"] = c * b / t * share
        else:
            u = min(b, case.full)
            expected |= {"capacity": c * u / t * share, "low_load": c * (b - u) / t * share}
        assert steps.keys() == expected.keys()
        for step, money in expected.items():
            assert steps[step] == pytest.approx(money, rel=1e-9, abs=tolerance), (case, step)


def test_without_an_inference_all_busy_money_is_low_load_and_without_one_in_time_it_is_all_missed() -> None:
    empty = [case for case in cases() if not sum(case.ok)]
    missed = [case for case in cases() if sum(case.ok) and not sum(case.within)]
    assert min(len(empty), len(missed)) > 500
    for case in empty:
        steps = case.steps()
        assert (steps["capacity"], steps["sla_missed"]) == (0, 0)
        assert steps["low_load"] == pytest.approx(case.cost * case.busy / case.time, rel=1e-9, abs=EXACT * case.cost)
    for case in missed:
        steps = case.steps()
        assert steps["sla_missed"] == pytest.approx(case.cost * case.busy / case.time, rel=1e-9, abs=EXACT * case.cost)
        assert steps.get("busy", 0) + steps.get("capacity", 0) + steps.get("low_load", 0) == 0


def test_a_capacity_that_is_missing_joins_its_two_steps() -> None:
    blind = [case for case in cases() if case.full is None]
    assert len(blind) > 500
    for case in blind:
        known = Case(case.cost, case.time, case.busy, case.ok, case.within, tuple(1.0 if k is None else k for k in case.capacity)).steps()
        assert case.steps()["busy"] == pytest.approx(known["capacity"] + known["low_load"], rel=EXACT, abs=EXACT * case.cost)


def test_divided_by_the_inferences_within_the_sla_the_steps_are_the_goodput_cost() -> None:
    for case in cases():
        g = sum(case.within)
        if g:
            per_inference = [money / g for money in case.steps().values()]
            assert min(per_inference) >= 0
            assert sum(per_inference) == pytest.approx(case.cost / g, rel=EXACT, abs=0)

"""What misses the SLA in a window: how many, how many of them by errors, and where the time of the late ones went."""

from __future__ import annotations

import pytest

from infermeter.config import Sla, Slas
from infermeter.model import Misses, ModelWindow
from support.ledgers import Inference, at, batch, config, ledger, of_model, replayed

SLA = Sla(0.9, 1.0)
COMPUTES = (None, 0.5, None, None)


def window(inferences: list[Inference], *, sla: Sla | Slas | None = SLA) -> ModelWindow:
    return of_model(replayed(inferences, end=200.0, config_=config(sla=sla))).windows[0]


def in_time(count: int) -> list[Inference]:
    return [Inference(i, i + 0.5, stages=COMPUTES) for i in range(count)]


def test_stages_of_the_late_ones_are_told_apart_from_those_of_all() -> None:
    late = [Inference(i + 0.25, i + 2.25, stages=(1.5, 0.5, None, None)) for i in range(10)]
    found = window(in_time(90) + late)
    assert found.misses == Misses(100, 10, 0, {"queue": 15.0, "compute": 5.0})
    assert found.stage_seconds == {"queue": pytest.approx(15.0), "compute": pytest.approx(50.0)}


def test_errors_miss_the_sla_and_are_late_for_no_stage() -> None:
    failed = [Inference(i, i + 5.0, stages=(None, 5.0, None, None), error=True) for i in range(4)]
    assert window(in_time(90) + failed).misses == Misses(94, 4, 4, {})


def test_what_no_stage_claims_of_the_late_ones_is_other() -> None:
    assert window([Inference(1.0, 4.0, stages=(1.0, 0.5, None, None))]).misses == Misses(
        1, 1, 0, {"queue": 1.0, "compute": 0.5, "other": 1.5}
    )


def test_without_an_sla_nothing_misses_it() -> None:
    assert window(in_time(40), sla=None).misses is None


def test_what_another_sla_judged_does_not_count() -> None:
    book = ledger(config(sla=Sla(0.9, 0.1)), offline=False)
    for second in range(10, 301, 10):
        if second == 150:
            book.reconfigure(config(sla=SLA))
        book.add(batch([Inference(second - 1.0, second - 0.5, stages=COMPUTES)]), at(second))
        book.advance(at(second), 10 * 10**9)
    misses = of_model(book.snapshot(at(300.0))).windows[0].misses
    assert misses is not None
    assert 0 < misses.observed < 20
    assert misses.inferences == 0


def test_the_mean_batch_is_how_many_computed_at_once_while_any_did() -> None:
    pairs = [Inference(i * 2.0, i * 2.0 + 1.0, stages=(None, 1.0, None, None)) for i in range(40) for _ in range(2)]
    snapshot = replayed(pairs, end=200.0)
    assert snapshot.windows[0].batch_mean == pytest.approx(2.0)


@pytest.mark.parametrize(("inferences", "sampled"), [([], False), ([Inference(1.0, 2.0)], True)], ids=["nothing computes", "a sample"])
def test_without_all_that_computed_there_is_no_batch(inferences: list[Inference], *, sampled: bool) -> None:
    assert replayed(inferences, end=200.0, sampled=sampled).windows[0].batch_mean is None

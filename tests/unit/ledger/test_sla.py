import numpy as np

from infermeter.config import Sla, Slas
from infermeter.ledger.sla import Targets, is_within, sla_of
from infermeter.model import SlaTarget
from support.ledgers import S


def test_without_a_section_or_a_target_there_is_no_sla() -> None:
    assert sla_of("m", None) is None
    assert sla_of("m", Slas()) is None
    assert sla_of("m", Slas(default=Sla(quantile=0.95))) is None


def test_a_models_keys_come_from_the_default_and_null_removes_a_target() -> None:
    slas = Slas(
        default=Sla(None, 4.0, 0.3), models={"m": {"duration_seconds": None, "quantile": 0.9}, "n": {"quantile": None, "tpot_seconds": 0.1}}
    )
    assert sla_of("m", slas) == SlaTarget(0.9, None, 0.3, None)
    assert sla_of("n", slas) == SlaTarget(0.99, 4.0, 0.3, 0.1)
    assert sla_of("any", slas) == SlaTarget(0.99, 4.0, 0.3, None)


def test_equal_to_the_target_is_within_and_a_nanosecond_more_is_not() -> None:
    targets = Targets(Slas(default=Sla(0.99, 0.3, 0.1)))
    targets.know(["m"])
    rows = np.array([[300_000_000, -1, -1], [300_000_001, -1, -1], [1, 100_000_001, -1], [1, 100_000_000, 10**9], [1, -1, -1]])
    ok = np.array([True, True, True, True, False])
    limits_ns = targets.limits_ns(np.zeros(5, np.int64), np.zeros(5, np.int64))
    assert is_within(rows.T, limits_ns, ok).tolist() == [True, False, False, True, False]


def ended(targets: Targets, *ends_ns: int, code: int = 0, duration_ns: int = 2 * S) -> list[bool]:
    """Which of some inferences of a model, each as long, are within."""
    n = len(ends_ns)
    signals_ns = np.tile(np.array([[duration_ns], [-1], [-1]]), n)
    return is_within(signals_ns, targets.limits_ns(np.full(n, code), np.array(ends_ns)), np.ones(n, np.bool_)).tolist()


def changed(targets: Targets, sla: Sla | None, second: int, *, open_second: int = 0) -> list[int]:
    slas = None if sla is None else Slas(default=sla)
    return targets.change(slas, since_ns=second * S, first_slot=second // 10, open_ns=open_second * S)


def test_nothing_is_within_an_sla_that_is_not_there() -> None:
    targets = Targets(None)
    targets.know(["m"])
    assert ended(targets, 1, duration_ns=0) == [False]


def test_each_inference_is_judged_by_the_sla_of_the_time_at_which_it_ended() -> None:
    targets = Targets(Slas(default=Sla(duration_seconds=1.0)))
    targets.know(["m"])
    assert changed(targets, Sla(duration_seconds=2.0), 100) == [0]
    assert changed(targets, None, 200) == [0]
    assert changed(targets, Sla(duration_seconds=3.0), 300) == [0]
    ends = (50 * S, 100 * S, 100 * S + 1, 200 * S, 200 * S + 1, 300 * S, 300 * S + 1)
    assert ended(targets, *ends) == [False, False, True, True, False, False, True]
    assert (targets.slas, targets.since_slots) == ([SlaTarget(0.99, 3.0, None, None)], [30])


def test_a_model_whose_sla_stays_is_not_concerned_by_a_change() -> None:
    targets = Targets(Slas(models={"a": {"duration_seconds": 1.0}, "b": {"duration_seconds": 2.0}}))
    targets.know(["a", "b", "c"])
    slas = Slas(models={"a": {"duration_seconds": 1.0}, "b": {"duration_seconds": 3.0}})
    assert targets.change(slas, since_ns=100 * S, first_slot=10, open_ns=0) == [1]
    assert targets.since_slots == [0, 10, 0]


def test_a_model_that_comes_up_later_is_judged_like_the_others() -> None:
    targets = Targets(Slas(default=Sla(duration_seconds=1.0)))
    changed(targets, Sla(duration_seconds=2.0), 100)
    targets.know(["m"])
    assert ended(targets, 100 * S, 101 * S) == [False, True]
    assert targets.since_slots == [10]
    changed(targets, Sla(duration_seconds=2.0), 200, open_second=90)
    targets.know(["n"])
    assert targets.since_slots == [10, 10]
    assert targets.history(1) == [(0, SlaTarget(0.99, 1.0, None, None)), (10, SlaTarget(0.99, 2.0, None, None))]
    changed(targets, Sla(duration_seconds=2.0), 300, open_second=290)
    targets.know(["o"])
    assert targets.since_slots == [10, 10, 0]
    assert targets.history(2) == [(0, SlaTarget(0.99, 2.0, None, None))]


def test_what_ended_too_early_to_be_placed_may_be_judged_by_the_next_sla() -> None:
    targets = Targets(Slas(default=Sla(duration_seconds=1.0)))
    targets.know(["m"])
    changed(targets, Sla(duration_seconds=2.0), 100, open_second=50)
    assert ended(targets, 99 * S) == [False]
    changed(targets, Sla(duration_seconds=3.0), 200, open_second=150)
    assert ended(targets, 99 * S) == [True]


def test_a_change_at_the_same_instant_or_after_the_clock_was_set_back_takes_the_place_of_the_last() -> None:
    targets = Targets(Slas(default=Sla(duration_seconds=1.0)))
    targets.know(["m"])
    changed(targets, Sla(duration_seconds=1.5), 100)
    changed(targets, Sla(duration_seconds=3.0), 100)
    assert ended(targets, 100 * S, 101 * S) == [False, True]
    changed(targets, Sla(duration_seconds=1.5), 40)
    assert ended(targets, 41 * S, 100 * S, 101 * S) == [False, False, False]
    assert targets.since_slots == [10]

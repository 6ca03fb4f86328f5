import numpy as np

from infermeter.config import Sla, Slas
from infermeter.ledger.sla import Targets, sla_of
from infermeter.model import SlaTarget


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
    assert targets.within(np.zeros(5, np.int64), rows, ok).tolist() == [True, False, False, True, False]

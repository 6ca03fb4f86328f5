from infermeter.ledger.baseline import Baseline


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

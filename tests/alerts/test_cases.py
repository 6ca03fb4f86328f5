"""The cases themselves: their series are what the program exposes, and no alert is without one that fires and one that is quiet."""

from __future__ import annotations

import pytest
from tests.alerts.scenarios import TARGET, Case, Key, alerting_rules, cases, key_of, segments, values

from infermeter.metrics import catalog

CASES = cases()
ALERTS = sorted({rule["alert"] for rule in alerting_rules()})
SCRAPER = TARGET.keys() - {"server"}
OF_OTHERS = ("up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total", "node_load1")
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")


def problem_of(key: Key) -> str | None:
    """Why the program never exposes such a series, or None."""
    families = {family.full_name: family for family in catalog.CATALOG}
    name, labels = key.name, dict(key.labels)
    suffix = next((suffix for suffix in HISTOGRAM_SUFFIXES if name.endswith(suffix) and name.removesuffix(suffix) in families), "")
    family = families.get(name.removesuffix(suffix))
    if family is None or (family.kind == "histogram") != bool(suffix):
        return f"no family {name}"
    expected = {label.name for label in family.labels} | {"server"} | ({"le"} if suffix == "_bucket" else set())
    if family is catalog.FINDING or family is catalog.FINDING_SAVING_PER_HOUR:
        labels.setdefault("model", "")  # absent where it speaks of the server
    if (own := labels.keys() - SCRAPER) != expected:
        return f"{name} has {sorted(own)} instead of {sorted(expected)}"
    wrong = [label.name for label in family.labels if label.values and labels[label.name] not in label.values]
    return f"{name} never has such a {wrong[0]}" if wrong else None


def test_every_series_of_every_case_is_one_that_the_program_exposes() -> None:
    keys = {key for case in CASES for key in case.series if key.name not in OF_OTHERS}
    assert len(keys) > 100
    assert sorted(problem for key in keys if (problem := problem_of(key))) == []


@pytest.mark.parametrize(
    ("series", "problem"),
    [
        ('infermeter_gpu_fan_ratio{server="a"}', "no family infermeter_gpu_fan_ratio"),
        ('infermeter_inference_duration_seconds{server="a",model="m"}', "no family infermeter_inference_duration_seconds"),
        ('infermeter_gpu_up{gpu_uuid="u"}', "infermeter_gpu_up has ['gpu_uuid'] instead of ['gpu_uuid', 'server']"),
        ('infermeter_gpu_up{server="a",gpu_uuid="u",pod="p"}', "instead of"),
        ('infermeter_inferences_total{server="a",model="m",outcome="late"}', "never has such a outcome"),
    ],
)
def test_a_series_that_the_program_never_exposes_is_told(series: str, problem: str) -> None:
    assert problem in str(problem_of(key_of(series)))


def expected_of(case: Case) -> set[str]:
    return {alert.split()[0] for alerts in case.fires.values() for alert in alerts}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_fires_in_one_case_and_is_quiet_in_another(alert: str) -> None:
    own = [case for case in CASES if case.subject == alert]
    assert any(alert in expected_of(case) for case in own if " fires " in case.name)
    assert any(not all(alert in " ".join(alerts) for alerts in case.fires.values()) for case in own if " is quiet " in case.name)


def test_each_rule_of_an_alert_that_has_two_fires_somewhere() -> None:
    fired = {tuple(alert.split()) for case in CASES for alerts in case.fires.values() for alert in alerts}
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in alerting_rules()} == fired


def test_a_case_expects_nothing_that_is_no_alert_and_nothing_after_its_end() -> None:
    assert {alert for case in CASES for alert in expected_of(case)} <= set(ALERTS)
    assert all(int(when.removesuffix("m")) <= case.minutes for case in CASES for when in case.fires)


def test_the_notation_of_values_is_read_as_it_is_told() -> None:
    assert values("0+2x3 +0 ", 5) == [0, 2, 4, 4, 4]
    assert values("1x2 _x1 0x1 1", 6) == [1, 1, None, 0, 1, 1]
    assert values("0x2 +5x2 +0", 6) == [0, 0, 5, 10, 10, 10]
    assert list(segments("7", 3)) == [(7.0, 0.0, 3)]

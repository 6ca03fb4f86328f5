"""The rules against the project's own checks, and each check against a rule that breaks it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from tests.alerts import rule_lint
from tests.alerts.scenarios import ROOT, rules

from infermeter.metrics import catalog

RULES = rules()
MONEY = rule_lint.money_series(RULES, {family.full_name for family in catalog.CATALOG if catalog.CURRENCY in family.labels})
CHECKS: tuple[rule_lint.Check, ...] = (
    rule_lint.window_gauges,
    rule_lint.currency_kept(MONEY),
    rule_lint.parts_apart,
    rule_lint.labels_kept,
    rule_lint.division_guarded,
    rule_lint.counters_as_rates,
    rule_lint.named,
    rule_lint.compares,
    rule_lint.annotated,
)
THRESHOLDS = (ROOT / "alerts" / "rules" / "thresholds.yaml").read_text()


def alert(expr: str = "up == 0", **changes: Any) -> dict[str, Any]:
    rule = {
        "alert": "InfermeterPlanted",
        "expr": expr,
        "labels": {"severity": "warning", "category": "cost", "scope": "server"},
        "annotations": {
            "summary": "It is planted.",
            "description": "{{ $labels.server }} costs.",
            "runbook_url": "x/InfermeterPlanted.md",
            "dashboard_url": "y/d/infermeter-cost?z",
        },
    }
    for key, value in changes.items():
        part = rule["annotations"] if key in rule["annotations"] else rule["labels"] if key in rule["labels"] else rule  # type: ignore[operator]
        part[key] = value  # type: ignore[index]
    return rule


def record(expr: str, name: str = "server:infermeter_planted:rate5m") -> dict[str, Any]:
    return {"record": name, "expr": expr}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_rule_breaks_a_check(check: rule_lint.Check) -> None:
    assert [problem for rule in RULES for problem in check(rule)] == []


BY = "by (cluster, namespace, job, server)"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (record(f"max {BY} (infermeter_window_load_ratio)"), "window_ gauge"),
        (record(f"sum {BY} (rate(infermeter_cost_total[5m]))"), "loses the currency"),
        (record("sum without (instance, currency) (server:infermeter_cost:rate5m)"), "loses the currency"),
        (record(f"sum {BY} (rate(infermeter_energy_joules_total[5m]) / (rate(infermeter_inferences_total[5m]) > 0))"), "of a quotient"),
        (record(f"avg {BY} (server_model:infermeter_inferences_per_joule:ratio_rate1h)"), "the mean of"),
        (alert("avg_over_time(server:infermeter_gpu_idle:ratio_rate1h[1d]) > on () threshold:infermeter_busy:ratio"), "the mean of"),
        (record("sum by (namespace, job, server) (infermeter_gpu_up)"), "loses cluster"),
        (record("count by (cluster, namespace, server) (infermeter_build_info)"), "loses job"),
        (record("sum(infermeter_gpu_up)"), "loses cluster, job, namespace"),
        (record("sum without (job) (infermeter_gpu_up)"), "loses job"),
        (record("server:infermeter_cost:rate5m / on (server) group_left () server:infermeter_inferences_ok:rate5m"), "may be 0"),
        (record(f"sum {BY} (infermeter_inferences_total)"), "is a counter"),
        (record("infermeter_gpu_up", name="infermeter_gpu_up_sum"), "isn't level:metric:operations"),
        (alert("infermeter_gpu_utilisation_ratio"), "compares nothing"),
        (alert("infermeter_gpu_utilisation_ratio < 0.02"), "0.02 is no named threshold"),
        (alert(alert="infermeterPlanted"), "isn't InfermeterCamelCase"),
        (alert(severity="page"), "severity page"),
        (alert(category="gpu"), "category gpu"),
        (alert(scope="pod"), "scope pod"),
        (alert(severity="{{ $value }}"), "changes with the value"),
        (alert(summary="{{ $labels.server }} is planted."), "static"),
        (alert(summary="it is planted"), "static"),
        (alert(description="It costs."), "names nothing"),
        (alert(description="{{ $labels.server }} is down."), "neither money nor the SLA"),
        (alert(runbook_url=""), "no runbook"),
        (alert(dashboard_url="y/d/infermeter-nowhere?z"), "no dashboard"),
    ],
)
def test_a_planted_violation_is_found(rule: dict[str, Any], problem: str) -> None:
    assert any(problem in found for check in CHECKS for found in check(rule))


def test_what_is_right_breaks_no_check() -> None:
    right = [
        alert(),
        record(f"sum {BY[:-1]}, currency) (rate(infermeter_cost_total[5m]))"),
        record("sum by (cluster, namespace, currency) (server:infermeter_cost:rate5m)", name="namespace:infermeter_cost:rate5m"),
    ]
    assert [problem for rule in right for check in CHECKS for problem in check(rule)] == []


def test_money_is_followed_through_what_is_recorded() -> None:
    assert {
        "server:infermeter_cost:rate5m",
        "namespace:infermeter_cost:forecast30d",
        "server_step:infermeter_waterfall_cost:rate1h",
    } <= MONEY
    assert "server:infermeter_replicas:count" not in MONEY


def test_no_rule_is_there_twice() -> None:
    seen = Counter((rule_lint.title(rule), str(sorted(rule.get("labels", {}).items()))) for rule in RULES)
    assert [rule for rule, times in seen.items() if times > 1] == []


def test_each_name_is_a_family_or_recorded() -> None:
    histograms = {family.full_name for family in catalog.CATALOG if family.kind == "histogram"}
    families = {family.full_name for family in catalog.CATALOG} - histograms
    families |= {name + suffix for name in histograms for suffix in ("_bucket", "_sum", "_count")}
    known = families | {"up"} | {rule["record"] for rule in RULES if "record" in rule}
    named = {name for rule in RULES for name in rule_lint.names(rule["expr"])}
    assert named - known == set()


def test_each_recorded_name_that_an_annotation_asks_for_is_recorded() -> None:
    known = {rule["record"] for rule in RULES if "record" in rule} | {family.full_name for family in catalog.CATALOG}
    notes = " ".join(rule["annotations"][note] for rule in RULES if "alert" in rule for note in rule["annotations"])
    assert set(re.findall(r"\b(?:[a-z_]+:infermeter_\w+:\w+|infermeter_\w+|infermeter:\w+:\w+)", notes)) - known == set()


def test_each_threshold_is_used_and_explained() -> None:
    thresholds = [rule["record"] for rule in RULES if rule.get("record", "").startswith("threshold:")]
    used = {name for rule in RULES for name in rule_lint.names(rule["expr"])}
    assert [name for name in thresholds if name not in used] == []
    for block in re.split(r"\n\n", THRESHOLDS):
        if re.search("record: (?:threshold|colour):", block):
            assert re.search(r"# \w", block.split("- record:")[0]), f"no explanation: {block}"

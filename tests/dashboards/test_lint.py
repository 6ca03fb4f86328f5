"""The committed dashboards keep every rule, and each rule catches what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from tests.dashboards import lint_queries
from tests.dashboards.lint_pages import UIDS, lint, panels_of

SELECTED = 'cluster=~"$cluster",namespace=~"$namespace",job=~"$job",instance=~"$instance",server=~"$server"'
COST = f"rate(infermeter_cost_total{{{SELECTED}}}[$__rate_interval])"


def first(page: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(panel for panel in page["panels"] if panel["type"] == kind)


def planted_page(page: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    place: Any = page
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value


def test_the_committed_dashboards_keep_every_rule(pages: list[dict[str, Any]]) -> None:
    assert lint(pages) == []


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("uids", "uid", "infermeter-other"),
        ("uid", "uid", "Infermeter Fleet"),
        ("title", "title", "Fleet"),
        ("tag", "tags", []),
        ("schema-version", "schemaVersion", 30),
        ("uneditable-dashboard", "editable", True),
        ("no-inputs", "__inputs", []),
        ("crosshair", "graphTooltip", 0),
        ("refresh", "refresh", "5s"),
        ("timezone", "timezone", "Europe/Berlin"),
        ("description", "description", ""),
        ("ids", "panels.2.id", 2),
        ("template-variables", "templating.list.6.name", "models"),
        ("template-datasource", "templating.list.0.label", "Prometheus"),
        ("template-datasource", "templating.list.2.datasource.uid", "P1809F7CD0C75ACF3"),
        ("template-query", "templating.list.3.multi", False),
        ("template-query", "templating.list.3.refresh", 1),
        ("template-all", "templating.list.1.allValue", ".+"),
        ("template-label-promql", "templating.list.2.query.query", "label_values(up{, namespace)"),
        ("template-label-promql", "templating.list.2.query.query", "label_values(up, job)"),
        ("links", "links.0.keepTime", False),
        ("annotations", "annotations.list.2.expr", "vector(1)"),
        ("grid", "panels.1.gridPos.x", 1),
        ("grid", "panels.1.gridPos.w", 3),
        ("panel-kind", "panels.1.type", "graph"),
        ("panel-title-description", "panels.1.description", ""),
        ("panel-description", "panels.1.description", "How much."),
        ("panel-datasource", "panels.1.datasource.uid", "${DS_PROMETHEUS}"),
        ("panel-targets", "panels.1.targets", []),
        ("panel-missing", "panels.1.fieldConfig.defaults.noValue", ""),
        ("panel-units", "panels.1.fieldConfig.defaults.unit", "nonsense-unit"),
        ("panel-thresholds", "panels.1.fieldConfig.defaults.thresholds.steps", []),
        ("panel-nan", "panels.1.fieldConfig.defaults.mappings", []),
        ("target-instant", "panels.1.targets.0.instant", False),
        ("target-promql", "panels.1.targets.0.expr", "sum by (currency) (rate(x["),
        ("target-variables", "panels.1.targets.0.expr", "infermeter_build_info"),
        ("target-variables", "panels.1.targets.0.expr", f'infermeter_build_info{{{SELECTED},revision="$revision"}}'),
    ],
)
def test_a_page_that_breaks_a_rule_is_caught(rule: str, path: str, value: object, pages: list[dict[str, Any]]) -> None:
    broken = deepcopy(pages)
    planted_page(next(page for page in broken if page["uid"] == "infermeter-fleet"), path, value)
    assert rule in {finding.rule for finding in lint(broken)}


def _relinked(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def plant(page: dict[str, Any]) -> None:
        (link,) = first(page, "stat")["fieldConfig"]["defaults"]["links"]
        link["url"] = change(link["url"])

    return plant


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("link-target", _relinked(lambda url: url.replace("/d/infermeter-cost", "/d/costs"))),
        ("link-time", _relinked(lambda url: url.replace("${__url_time_range}&", ""))),
        ("link-variables", _relinked(lambda url: url.replace("${server:queryparam}", ""))),
        ("target-legend", lambda page: first(page, "timeseries")["targets"][0].update(legendFormat="")),
        ("legend-labels", lambda page: first(page, "timeseries")["targets"][0].update(legendFormat="{{pod}}")),
        ("panel-targets", lambda page: first(page, "stat")["targets"].append(first(page, "stat")["targets"][0])),
        ("rows", lambda page: page["panels"].pop(0)),
        ("grid", lambda page: page["panels"].pop(0)),
        ("panel-range", lambda page: page["panels"].append({**deepcopy(first(page, "stat")), **SHARE_WITHOUT_MAXIMUM})),
    ],
)
def test_a_panel_that_breaks_a_rule_is_caught(rule: str, plant: Callable[[dict[str, Any]], None], pages: list[dict[str, Any]]) -> None:
    broken = deepcopy(pages)
    plant(next(page for page in broken if page["uid"] == "infermeter-fleet"))
    assert rule in {finding.rule for finding in lint(broken)}


SHARE_WITHOUT_MAXIMUM = {
    "type": "bargauge",
    "fieldConfig": {"defaults": {"unit": "percentunit", "thresholds": {"steps": [{}]}, "mappings": [], "noValue": "-"}, "overrides": []},
}


@pytest.mark.parametrize(
    ("rule", "expression"),
    [
        ("target-counter-agg", f"sum by (currency) (infermeter_cost_total{{{SELECTED}}})"),
        ("rate-interval", f"sum by (currency) (rate(infermeter_cost_total{{{SELECTED}}}[2m]))"),
        ("rate-interval", f'sum by (use) (rate(infermeter_energy_joules_total{{{SELECTED},model=~"$model"}}[$__rate_interval]))'),
        ("money-keeps-currency", f"sum({COST})"),
        ("money-keeps-currency", f"max by (server) (1000 * {COST})"),
        ("money-keeps-currency", f"topk(3, sum by (server, currency) ({COST}))"),
        ("window-never-aggregated", f"avg(infermeter_window_load_ratio{{{SELECTED}}})"),
        ("gpu-once", f"sum(infermeter_gpu_power_watts{{{SELECTED}}})"),
        ("gpu-once", f"avg(max by (server) (infermeter_gpu_power_watts{{{SELECTED}}}))"),
        ("division-guarded", f"{COST} / infermeter_series{{{SELECTED}}}"),
        ("quantile-shape", f'histogram_quantile(0.9, rate(infermeter_stage_duration_seconds_bucket{{{SELECTED},model=~"$model"}}[5m]))'),
        ("quantile-never-nan", f"histogram_quantile(0.9, sum by (le) (rate(x{{{SELECTED}}}[5m])))"),
        ("known-names", "infermeter_made_up_total"),
        ("target-variables", 'server:infermeter_cost:rate5m{cluster=~"$cluster"}'),
        ("legend-labels", f"sum by (server, currency) ({COST})"),
    ],
)
def test_an_expression_that_breaks_a_rule_is_caught(rule: str, expression: str) -> None:
    assert rule in {found for found, _ in lint_queries.findings(expression, "{{gpu_uuid}}")}


@pytest.mark.parametrize(
    "expression",
    [
        f"sum by (currency) ({COST})",
        f"sum by (currency) ({COST}) / 3600",
        f"max(sum by (server, currency) ({COST}) / (sum by (server, currency) ({COST}) > 0))",
        f"sum(max by (gpu_uuid) (infermeter_gpu_power_watts{{{SELECTED}}}))",
        f"count({COST})",
        f"infermeter_window_load_ratio{{{SELECTED}}} * 2",
    ],
)
def test_an_expression_that_keeps_the_rules_passes(expression: str) -> None:
    assert list(lint_queries.findings(expression)) == []


def test_every_page_leads_to_others_and_is_led_to(pages: list[dict[str, Any]]) -> None:
    led_to = {uid for page in pages for uid in UIDS if f"/d/{uid}?" in str([panel["fieldConfig"] for panel in panels_of(page)])}
    assert led_to >= set(UIDS) - {"infermeter-fleet"}, "from general to specific"

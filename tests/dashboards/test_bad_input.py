"""Panels of stacks that aren't as they should be: what isn't known is missing, with a word on why, and never 0 or another's.

None has a cluster label. Two servers of two namespaces have one name; a sidecar starts anew every minute; a model never gets a request; a
server has no price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.alerts.scenarios import changed, healthy_series, values
from tests.dashboards import history
from tests.dashboards.lint_pages import UIDS, panels_of
from tests.dashboards.plausible import assert_plausible
from tests.dashboards.queries import Answer, History, answers, said

START, STEP_SECONDS, MINUTES = 1767225600.0, 15, 70
STEPS = MINUTES * 60 // STEP_SECONDS
MONEY = ("infermeter_cost_total", "infermeter_cost_per_hour", "infermeter_cost_by_use_total", "infermeter_cost_in_sla_state_total")
NEVER = {
    'infermeter_inferences_total{model="never",outcome="ok"}': "0",
    'infermeter_inferences_total{model="never",outcome="error"}': "0",
    'infermeter_inferences_observed_total{model="never",outcome="ok"}': "0",
    'infermeter_inferences_observed_total{model="never",outcome="error"}': "0",
    'infermeter_inferences_observed_within_sla_total{model="never"}': "0",
    'infermeter_inference_duration_seconds_bucket{model="never",le="0.16"}': "0",
    'infermeter_inference_duration_seconds_bucket{model="never",le="+Inf"}': "0",
    'infermeter_stage_duration_seconds_bucket{model="never",stage="queue",le="0.01"}': "0",
    'infermeter_stage_duration_seconds_bucket{model="never",stage="queue",le="+Inf"}': "0",
    'infermeter_stage_duration_seconds_sum{model="never",stage="queue"}': "0",
    'infermeter_stage_duration_seconds_count{model="never",stage="queue"}': "0",
    'infermeter_tokens_total{model="never",direction="output"}': "0",
    'infermeter_sla_quantile_ratio{model="never"}': "0.99",
    'infermeter_sla_target_seconds{model="never",signal="duration"}': "1",
    'infermeter_cost_by_use_total{model="never",use="active",currency="USD"}': "0",
    'infermeter_energy_joules_total{model="never",use="active"}': "0",
}


def stack(name: str, **raw: Any) -> dict[str, Any]:
    namespace = raw.pop("namespace", name)
    target = {"namespace": namespace, "server": name, "instance": f"{namespace}:10470"}
    return {"case": name, "unlabelled": ["cluster"], "target": target, **raw}


STACKS = (
    stack("chat", namespace="one"),
    stack("chat", namespace="two", change={'infermeter_cost_per_hour{component="instance",currency="USD"}': 7.5}),
    stack("crashing", crashes={"every": 4, "until": STEPS - 8, "seconds": STEP_SECONDS}),
    stack("quiet", change=NEVER),
    stack("free", without=MONEY),
)


def lines() -> Iterator[str]:
    """Samples of all stacks, four a minute; the healthy server's counters rise as much a step as they do in its minute."""
    for raw in STACKS:
        for key, notation in changed(raw, healthy_series()).items():
            labels = dict(key.labels) | {"instance": raw["target"]["instance"]}
            if "gpu_uuid" in labels:
                labels["gpu_uuid"] += "-" + raw["target"]["namespace"]
            text = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
            is_start, is_time = key.name == "process_start_time_seconds", key.name.endswith("_timestamp_seconds")
            for step, value in enumerate(values(notation, STEPS + 1)):
                if value is not None:
                    shown = START + value * STEP_SECONDS / 60 if is_time else START + value if is_start else value
                    yield f"{key.name}{{{text}}} {shown!r} {START + step * STEP_SECONDS:.0f}"
    yield "# EOF"


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder = tmp_path_factory.mktemp("stacks")
    end = START + MINUTES * 60
    data = history.build(folder, lines(), START, end, 60.0)
    with history.serving(folder, data) as url:
        yield History(url, START, end, float(STEP_SECONDS))


def asked(stacks: History, pages: list[dict[str, Any]], chosen: Mapping[str, str]) -> list[Answer]:
    return [answer for page in pages for answer in answers(stacks, page, chosen)]


def panel(pages: list[dict[str, Any]], uid: str, title: str) -> dict[str, Any]:
    return next(panel for page in pages if page["uid"] == uid for panel in panels_of(page) if panel["title"] == title)


def number(stacks: History, pages: list[dict[str, Any]], uid: str, title: str, chosen: Mapping[str, str]) -> float | None:
    found = said(stacks, panel(pages, uid, title)["targets"][0]["expr"], chosen, instant=True)
    return float(found[0]["value"][1]) if found else None


@pytest.mark.parametrize("uid", UIDS)
def test_every_panel_answers_without_cluster_labels_and_says_nothing_that_can_not_be(
    uid: str, pages: list[dict[str, Any]], stacks: History
) -> None:
    found = asked(stacks, [page for page in pages if page["uid"] == uid], {})
    assert sum(bool(answer.series) for answer in found) >= len(found) / 3
    for answer in found:
        assert_plausible(answer)
        assert "cluster" not in {label for series in answer.series for label, value in series["metric"].items() if value}, answer.where


def test_one_name_in_two_namespaces_is_two_servers_each_with_its_own_figures(pages: list[dict[str, Any]], stacks: History) -> None:
    prices = said(stacks, panel(pages, "infermeter-idle", "Replicas against need")["targets"][5]["expr"], {"server": "chat"}, instant=True)
    assert {(row["metric"]["namespace"], float(row["value"][1])) for row in prices} == {("one", 3.75), ("two", 7.5)}
    assert number(stacks, pages, "infermeter-fleet", "Servers", {"server": "chat"}) == 2
    assert number(stacks, pages, "infermeter-fleet", "Servers", {"server": "chat", "namespace": "two"}) == 1
    for title in ("Spend", "GPUs idle, on average"):
        alone = [number(stacks, pages, "infermeter-fleet", title, {"namespace": name}) or 0 for name in ("one", "two")]
        assert number(stacks, pages, "infermeter-fleet", title, {"server": "chat"}) == pytest.approx(sum(alone)), title
        assert min(alone) > 0


def test_a_row_of_each_table_is_of_one_of_two_servers_of_one_name(pages: list[dict[str, Any]], stacks: History) -> None:
    for answer in asked(stacks, pages, {"server": "chat"}):
        if answer.panel["type"] == "table" and any("server" in series["metric"] for series in answer.series):
            rows = [tuple(sorted(series["metric"].items())) for series in answer.series]
            assert len(rows) == len(set(rows)), answer.where
            assert {series["metric"].get("namespace") for series in answer.series} <= {"one", "two"}, answer.where


def test_a_sidecar_that_restarts_every_minute_is_never_shown_with_more_than_it_did(pages: list[dict[str, Any]], stacks: History) -> None:
    chosen = {"server": "crashing"}
    whole = {title: number(stacks, pages, "infermeter-fleet", title, {"namespace": "one"}) for title in ("Spend", "Inferences per joule")}
    spent = number(stacks, pages, "infermeter-fleet", "Spend", chosen)
    assert spent is None or 0 <= spent <= (whole["Spend"] or 0) * 1.05
    rate = panel(pages, "infermeter-fleet", "Inferences per second, the ten busiest servers")["targets"][0]["expr"]
    ((series),) = said(stacks, rate, chosen, instant=False)
    assert 0 < max(float(value) for _, value in series["values"]) <= 4 * 600 / 60 * 1.05
    states = panel(pages, "infermeter-fleet", "GPUs by state")["targets"][0]["expr"]
    known = said(stacks, states, chosen, instant=True)
    assert sum(float(state["value"][1]) for state in known) <= 4.05, "its settled counters never come to anything before they begin anew"
    for answer in asked(stacks, pages, chosen):
        assert_plausible(answer)


def test_a_model_that_never_gets_a_request_has_no_ratio_and_no_quantile_rather_than_0(pages: list[dict[str, Any]], stacks: History) -> None:
    chosen = {"server": "quiet", "model": "never"}
    for uid, titles in {
        "infermeter-fleet": ("Per 1,000 within the SLA", "Within the SLA", "Inferences per joule"),
        "infermeter-server": ("Paid per 1,000 inferences", "Per 1,000 at capacity, now", "Paid over cost at capacity", "Errors"),
        "infermeter-slo": ("Within the SLA", "Least budget left", "Fastest burn, 1h"),
    }.items():
        for title in titles:
            assert number(stacks, pages, uid, title, chosen) is None, title
            assert panel(pages, uid, title)["fieldConfig"]["defaults"]["noValue"], title
    for uid, title in (
        ("infermeter-slo", "Duration p99 and target, the ten slowest models"),
        ("infermeter-stages", "p99 by stage, of the slowest model"),
        ("infermeter-stages", "Mean time by stage"),
        ("infermeter-server", "Cost per 1,000 inferences"),
        ("infermeter-server", "Joules per inference"),
        ("infermeter-server", "Duration p50, p95, p99 and target, the ten busiest models"),
    ):
        assert said(stacks, panel(pages, uid, title)["targets"][0]["expr"], chosen, instant=False) == [], title
    assert number(stacks, pages, "infermeter-fleet", "Within the SLA", {"server": "quiet"}) == pytest.approx(599 / 600, abs=1e-4)


def test_without_a_price_every_panel_of_money_is_empty_and_says_that_a_price_is_missing(
    pages: list[dict[str, Any]], stacks: History
) -> None:
    looked_at = 0
    for answer in asked(stacks, pages, {"namespace": "free"}):
        if answer.panel["fieldConfig"]["defaults"]["unit"] == "money" and "udget" not in answer.panel["title"]:
            assert answer.series == [], answer.where
            assert answer.panel["fieldConfig"]["defaults"]["noValue"], answer.where
            looked_at += 1
        assert all("currency" not in series["metric"] for series in answer.series) or "udget" in answer.panel["title"], answer.where
    assert looked_at > 20
    assert number(stacks, pages, "infermeter-fleet", "Inferences per joule", {"server": "free"}) == pytest.approx(600 / 13500, rel=1e-3)

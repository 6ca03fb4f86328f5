"""Every panel asks a real Prometheus of a story, and its dollars are those that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.dashboards import story
from tests.dashboards.conftest import STORY_HOURS, STORY_STEP
from tests.dashboards.lint_pages import UIDS, VARIABLES
from tests.dashboards.plausible import MAY_BE_EMPTY, assert_plausible, assert_says_something
from tests.dashboards.queries import History, answers, one_value, said


@pytest.mark.parametrize("uid", UIDS)
def test_every_panel_says_something_plausible(uid: str, pages: list[dict[str, Any]], story_history: History) -> None:
    assert_says_something(story_history, next(page for page in pages if page["uid"] == uid), MAY_BE_EMPTY)


@pytest.mark.parametrize("variable", [name for name in VARIABLES if name != "datasource"])
def test_a_variable_with_one_value_narrows_every_panel_to_it(variable: str, pages: list[dict[str, Any]], story_history: History) -> None:
    chosen = {variable: one_value(story_history, variable)}
    assert chosen[variable]
    narrowed = 0
    for page in pages:
        for answer in answers(story_history, page, chosen):
            found = {series["metric"].get(variable, chosen[variable]) for series in answer.series}
            assert found <= {chosen[variable]}, f"{answer.where}: {found}"
            narrowed += variable in str(answer.series)
            assert_plausible(answer)
    assert narrowed


PRICED = [replica for replica in story.FLEET if replica.per_hour is not None]


def stat(pages: list[dict[str, Any]], uid: str, title: str, history: History, chosen: Mapping[str, str] | None = None) -> float:
    """The one number of a panel."""
    page = next(page for page in pages if page["uid"] == uid)
    panel = next(panel for panel in page["panels"] if panel["title"] == title)
    (series,) = said(history, panel["targets"][0]["expr"], chosen or {}, instant=True)
    return float(series["value"][1])


def test_the_fleet_s_spend_is_hours_times_prices(pages: list[dict[str, Any]], story_history: History) -> None:
    paid = STORY_HOURS * sum(replica.per_hour or 0 for replica in PRICED)
    assert stat(pages, "infermeter-fleet", "Spend", story_history) == pytest.approx(paid, rel=0.005)
    assert stat(pages, "infermeter-cost", "Spend", story_history) == pytest.approx(paid, rel=0.005)


def test_a_gpu_without_work_costs_all_of_its_price_while_idle(pages: list[dict[str, Any]], story_history: History) -> None:
    sandbox = {"server": "sandbox"}
    assert stat(pages, "infermeter-idle", "Spent while idle", story_history, sandbox) == pytest.approx(20 * 3.43, rel=0.005)
    assert stat(pages, "infermeter-idle", "Of all spend", story_history, sandbox) == pytest.approx(1.0)
    assert stat(pages, "infermeter-idle", "GPU hours idle", story_history, sandbox) == pytest.approx(20.0, rel=0.005)


def test_a_batch_server_s_idle_hours_are_those_outside_its_night(pages: list[dict[str, Any]], story_history: History) -> None:
    busy = 4 * 0.985 * 0.95**0.6
    batch = {"server": "summaries"}
    assert stat(pages, "infermeter-idle", "Spent while idle", story_history, batch) == pytest.approx((20 - busy) * 4.42, rel=0.01)
    assert stat(pages, "infermeter-idle", "GPU hours held idle", story_history, batch) == pytest.approx((20 - busy) * 2, rel=0.01)


def test_the_price_of_an_hour_is_the_sum_of_prices(pages: list[dict[str, Any]], story_history: History) -> None:
    assert stat(pages, "infermeter-cost", "Price of an hour, now", story_history) == pytest.approx(
        sum(replica.per_hour or 0 for replica in PRICED)
    )


def test_cost_per_thousand_is_the_spend_over_what_was_served(pages: list[dict[str, Any]], story_history: History) -> None:
    chosen = {"server": "rerank"}
    (model,) = next(replica for replica in story.FLEET if replica.server == "rerank").models
    steps = int(STORY_HOURS * story.HOUR / STORY_STEP)
    served = 3 * sum(model.load(n * STORY_STEP / story.HOUR) * model.capacity * STORY_STEP for n in range(1, steps + 1)) * (1 - 0.0008)
    paid = stat(pages, "infermeter-server", "Paid per 1,000 inferences", story_history, chosen)
    assert paid == pytest.approx(1000 * 20 * 3 * 2.21 / served, rel=0.01)
    within = stat(pages, "infermeter-server", "Per 1,000 within the SLA", story_history, chosen)
    assert within == pytest.approx(paid / 0.998, rel=0.01), "never less than what any inference costs"


def test_a_budget_without_a_cluster_holds_in_every_cluster(pages: list[dict[str, Any]], story_history: History) -> None:
    worst = stat(pages, "infermeter-cost", "Worst forecast of a budget", story_history)
    assert worst == pytest.approx(1.86 * 24 * 30 / story.BUDGETS["vision"], rel=0.02)


def test_a_server_without_a_price_has_no_cost_and_not_0(pages: list[dict[str, Any]], story_history: History) -> None:
    page = next(page for page in pages if page["uid"] == "infermeter-cost")
    spend = next(panel for panel in page["panels"] if panel["title"] == "Spend")
    assert said(story_history, spend["targets"][0]["expr"], {"server": "legacy"}, instant=True) == []
    assert "no price" in spend["fieldConfig"]["defaults"]["noValue"]


def test_what_is_paid_is_never_below_the_cost_at_capacity(pages: list[dict[str, Any]], story_history: History) -> None:
    for server in ("chat", "rerank", "embed"):
        factor = stat(pages, "infermeter-server", "Paid over cost at capacity", story_history, {"server": server})
        assert factor >= 1.0, server


def test_replicas_beyond_need_are_those_that_the_peak_leaves_over(pages: list[dict[str, Any]], story_history: History) -> None:
    """Rerank: 3 replicas, peaks of 0.17 each, with headroom 1.3 one is enough. Nobody else has one to spare."""
    assert stat(pages, "infermeter-idle", "Replicas beyond need", story_history) == 2

"""What pages show holds: every configuration is taken, every query is PromQL over names that exist, every rule and panel is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.dashboards.lint_pages import panels_of
from tests.dashboards.lint_queries import OUTSIDE, family_of, findings, series_names
from tests.docs.pages import READ, ROOT, blocks, name, prose

from infermeter.config import Config
from infermeter.parsing.structure import load_config

SECTIONS = set(Config.__dataclass_fields__)
DASHBOARDS = {
    page["title"].partition(" / ")[2]: page for file in (ROOT / "dashboards").glob("*.json") if (page := json.loads(file.read_text()))
}
RECORDED = {
    rule["record"]
    for file in (ROOT / "alerts" / "rules").glob("*.yaml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Series that Prometheus itself and its Python client publish."""

KEPT = {"target-promql", "gpu-once", "division-guarded", "target-counter-agg", "money-keeps-currency", "quantile-shape"}
"""Rules of dashboards' queries that hold for a person's, too, who puts in a server and a time."""

FAQ = ROOT / "docs" / "faq.md"


def configurations(path: Path) -> list[str]:
    """The blocks of a page that are Infermeter's own configuration, by their sections."""
    return [
        text
        for text in blocks(path, "yaml")
        if isinstance(found := yaml.safe_load(text), dict) and set(found) & SECTIONS and "schema" not in found
    ]


@pytest.mark.parametrize("path", [path for path in READ if configurations(path)], ids=name)
def test_a_configuration_that_is_shown_is_taken(path: Path) -> None:
    for text in configurations(path):
        load_config(text, name(path))


@pytest.mark.parametrize("path", READ, ids=name)
def test_configuration_that_is_named_in_passing_is_taken(path: Path) -> None:
    for text in re.findall(r"`(\w+: \{[^`]*?\})`", prose(path)):
        if text.partition(":")[0] in SECTIONS and "..." not in text:
            load_config(text, text)


@pytest.mark.parametrize("path", [path for path in READ if blocks(path, "promql") and path.parent.name != "runbooks"], ids=name)
def test_a_query_that_is_shown_asks_for_what_exists(path: Path) -> None:
    """Runbooks' are asked of a story in tests/alerts."""
    for query in blocks(path, "promql"):
        assert [finding for finding in findings(query) if finding[0] in KEPT] == [], query
        unknown = {series for series in series_names(query) if not (family_of(series) or series in RECORDED | OTHERS | set(OUTSIDE))}
        assert unknown == set(), query


@pytest.mark.parametrize("path", READ, ids=name)
def test_a_rule_that_is_named_is_recorded(path: Path) -> None:
    named = set(re.findall(r"`([a-z_]+:infermeter_\w+:\w+)", path.read_text()))
    assert named - RECORDED == set()


def test_the_faq_has_six_questions_each_with_metric_rule_panel_command_and_query() -> None:
    sections = re.findall(r"^## \d\. .+?(?=^## )", FAQ.read_text(), re.MULTILINE | re.DOTALL)
    assert len(sections) == 6
    for section in sections:
        assert re.findall(r"^\| (metric|rule|panel|command) \|", section, re.MULTILINE) == ["metric", "rule", "panel", "command"]
        assert "```promql" in section


def test_the_panels_that_the_faq_names_are_on_the_dashboards_that_it_names() -> None:
    rows = re.findall(r"^\| panel \| (.+) \|$", FAQ.read_text(), re.MULTILINE)
    named = [
        (panel, page)
        for row in rows
        for part in row.split(";")
        for panel in re.findall(r"\*(.+?)\*", part)
        for page in DASHBOARDS
        if page in part
    ]
    assert len(named) >= len(rows)
    for panel, page in named:
        assert panel in {shown["title"] for shown in panels_of(DASHBOARDS[page])}, (panel, page)
    assert [row for row in rows if not any(page in row for page in DASHBOARDS)] == []


def test_each_symptom_leads_to_a_section_that_says_how_to_tell_and_what_to_do() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    table = re.findall(r"^\| .+ \| \[(.+?)\]\(#.+?\) \|$", page, re.MULTILINE)
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert table == list(sections)
    untold = [title for title, text in sections.items() if not re.search("```(promql|sh)", text)]
    assert untold == ["The model has the wrong name"], "its name is all that there is to see"

"""Each alert has a page: what it means, how to look, what to do, what it costs to ignore. Its queries parse and name what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.alerts import rule_lint
from tests.alerts.scenarios import ROOT, alerting_rules, rules

from infermeter.metrics import catalog

RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = sorted({rule["alert"] for rule in alerting_rules()})
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "What it costs to ignore"]
QUERY = re.compile(r"```promql\n(.*?)\n```", re.DOTALL)


def text_of(alert: str) -> str:
    return (RUNBOOKS / f"{alert}.md").read_text()


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_has_its_sections_with_something_in_each(alert: str) -> None:
    text = text_of(alert)
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert all(len(section.strip()) > 20 for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:])
    assert QUERY.findall(text), "no query"


@pytest.mark.parametrize("alert", ALERTS)
def test_what_a_runbook_links_to_is_there(alert: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", text_of(alert))
    assert [link for link in links if not (RUNBOOKS / link).exists()] == []
    named = set(re.findall(r"\bInfermeter[A-Z]\w+", text_of(alert)))
    assert named <= set(ALERTS)


def test_every_query_of_every_runbook_parses(tmp_path: Path) -> None:
    queries = [(alert, query) for alert in ALERTS for query in QUERY.findall(text_of(alert))]
    recorded = [{"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(queries)]
    planted = {"groups": [{"name": "a", "rules": recorded}]}
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump(planted))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_name_in_a_runbook_is_a_family_or_recorded() -> None:
    histograms = {family.full_name for family in catalog.CATALOG if family.kind == "histogram"}
    known = {family.full_name for family in catalog.CATALOG} | {rule["record"] for rule in rules() if "record" in rule}
    known |= {name + suffix for name in histograms for suffix in ("_bucket", "_sum", "_count")}
    named = {name for alert in ALERTS for query in QUERY.findall(text_of(alert)) for name in rule_lint.names(query)} - {"up"}
    assert named - known == set()
    recorded = {name for alert in ALERTS for name in re.findall(r"`([a-z_]+:infermeter_\w+:\w+)`", text_of(alert))}
    assert recorded - known == set()

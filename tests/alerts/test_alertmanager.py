"""Where each alert goes, by amtool on the shipped configuration."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from tests.alerts.scenarios import ROOT, alerting_rules

CONFIG = ROOT / "alerts" / "alertmanager.yml"
BY_CATEGORY = {
    "cost": "infermeter-cost",
    "efficiency": "infermeter-cost",
    "advice": "infermeter-cost",
    "sla": "infermeter-tickets",
    "exporter": "infermeter-exporter",
}


def routed(receiver: str, **labels: str) -> None:
    command = ["amtool", "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}"]
    done = subprocess.run([*command, *(f"{name}={value}" for name, value in labels.items())], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_takes_the_configuration() -> None:
    done = subprocess.run(["amtool", "check-config", str(CONFIG)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", alerting_rules(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_each_alert_goes_to_who_can_act_on_it(rule: dict[str, dict[str, str]]) -> None:
    severity, category = rule["labels"]["severity"], rule["labels"]["category"]
    expected = {"critical": "infermeter-page", "info": "infermeter-none"}.get(severity, BY_CATEGORY[category])
    routed(expected, alertname=str(rule["alert"]), severity=severity, category=category)


@pytest.mark.parametrize("alert", ["InfermeterGpuIdle", "InfermeterGpuHeldIdle", "InfermeterServerOverProvisioned"])
def test_waste_pages_as_shipped_and_makes_a_ticket_where_the_user_says_so(alert: str) -> None:
    (rule,) = [rule for rule in alerting_rules() if rule["alert"] == alert]
    assert rule["labels"]["severity"] == "critical"
    routed("infermeter-cost", alertname=alert, severity="warning", category="cost")


def test_alerts_of_others_keep_the_default_route() -> None:
    routed("infermeter-tickets", alertname="NodeDown", severity="critical", category="cost")


def test_only_tickets_on_cost_wait_for_business_hours() -> None:
    (ours,) = yaml.safe_load(CONFIG.read_text())["route"]["routes"]
    waiting = [route["receiver"] for route in ours["routes"] if "active_time_intervals" in route]
    assert waiting == ["infermeter-cost"]

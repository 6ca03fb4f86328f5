"""A real Prometheus and a real Alertmanager: a history of many servers, each with its own trouble, and one of healthy ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.alerts.running import Receiver, alertmanager, firing, get, post, prometheus, until
from tests.alerts.scenarios import Case, cases, rules

pytestmark = pytest.mark.e2e_alerts

LONGEST_MINUTES = 400
FLEET_WIDE = ("InfermeterExporterAbsent",)
"""Not of one server: another one's series keep it quiet."""


def last(case: Case) -> int:
    """The last minute of which a case says what fires."""
    return max(int(when.removesuffix("m")) for when in case.fires)


def chosen() -> list[Case]:
    return [case for case in cases() if case.minutes <= LONGEST_MINUTES and case.subject not in FLEET_WIDE]


TROUBLED = {f"troubled-{number}": (case, last(case)) for number, case in enumerate(chosen()) if case.fires[f"{last(case)}m"]}
HEALTHY = {f"healthy-{number}": (case, last(case)) for number, case in enumerate(chosen()) if not case.fires[f"{last(case)}m"]}


def expected() -> list[tuple[str, str]]:
    return sorted(tuple(alert.split()) for case, minutes in TROUBLED.values() for alert in case.fires[f"{minutes}m"])  # type: ignore[misc]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[str]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager"), receiver.address) as address:
        yield address


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, manager: str) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("troubled"), TROUBLED, [manager]) as url:
        yield url


def test_a_history_of_troubles_fires_exactly_what_it_should(troubled: str) -> None:
    def is_right() -> bool:
        return sorted((alert, severity) for alert, severity, _ in firing(troubled)) == expected()

    assert until(is_right), set(firing(troubled))
    for alert, _, server in firing(troubled):
        own = TROUBLED.get(server)
        assert own is None or alert in " ".join(own[0].fires[f"{own[1]}m"])


def test_descriptions_name_the_money_and_the_sla_at_stake(troubled: str) -> None:
    assert until(lambda: len(firing(troubled)) == len(expected()))
    alerts = [alert for alert in get(f"{troubled}/api/v1/alerts")["data"]["alerts"] if alert["state"] == "firing"]
    for alert in alerts:
        notes = alert["annotations"]
        assert "error" not in notes["description"], notes
        assert notes["runbook_url"] == f"https://runbooks.example.com/infermeter/{alert['labels']['alertname']}.md"
        assert notes["dashboard_url"].startswith("https://grafana.example.com/d/infermeter-")
    said = {(alert["labels"].get("server"), alert["labels"]["alertname"]): alert["annotations"]["description"] for alert in alerts}
    known = {
        (name, alert): text.replace("chat at ", f"{name} at {name}/").replace("chat", name)
        for name, (case, _) in TROUBLED.items()
        for alert, text in case.says.items()
        if alert != "InfermeterBudgetForecastExceeded"
    }
    assert len(known) > 8
    assert {key: said.get(key) for key in known} == known


@pytest.mark.usefixtures("troubled")
def test_pages_tickets_and_inhibited_alerts_reach_whom_they_should(manager: str, receiver: Receiver) -> None:
    fired = {alert for alert, _ in expected()}

    def told() -> dict[str, set[str]]:
        return {path: {alert["labels"]["alertname"] for at, alert in list(receiver.taken) if at == path} for path, _ in receiver.taken}

    assert until(lambda: len(set().union(*told().values())) >= len(fired - {"InfermeterFinding", "InfermeterLowCoverage"}))
    paging = {"InfermeterGpuIdle", "InfermeterGpuHeldIdle", "InfermeterSlaBudgetBurn", "InfermeterExporterDown"}
    assert until(lambda: paging <= told()["page"]), "a ticket of the same name may have come before its page"
    assert {"InfermeterReplicasExceedDemand", "InfermeterPriceMissing"} <= told()["cost"]
    assert {"InfermeterNoSpans", "InfermeterSeriesLimit"} <= told()["exporter"]
    assert not set().union(*told().values()) & {"InfermeterFinding", "InfermeterLowCoverage"}, "info is for context"
    burning = [name for name, (case, at) in TROUBLED.items() if sum("Burn" in alert for alert in case.fires[f"{at}m"]) == 2]
    tickets = [
        alert
        for alert in get(f"http://{manager}/api/v2/alerts", filter='alertname="InfermeterSlaBudgetBurn"')
        if alert["labels"].get("server") in burning and alert["labels"]["severity"] == "warning"
    ]
    assert tickets
    assert all(ticket["status"]["state"] == "suppressed" for ticket in tickets)


def test_a_healthy_history_fires_nothing(tmp_path: Path) -> None:
    with prometheus(tmp_path, HEALTHY, [], held_seconds=12) as url:

        def evaluated() -> float:
            groups = get(f"{url}/api/v1/rules")["data"]["groups"]
            unhealthy = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]
            assert unhealthy == []
            found = get(f"{url}/api/v1/query", query="count_over_time(threshold:infermeter_busy:ratio[5m])")["data"]["result"]
            return float(found[0]["value"][1]) if found else 0.0

        assert until(lambda: evaluated() >= 12), "twelve rounds of two seconds"
        assert firing(url) == []
        recorded = get(f"{url}/api/v1/query", query='{__name__=~".+:.+:.+"}')["data"]["result"]
    names = {rule["record"] for rule in rules() if "record" in rule}
    seen = {series["metric"]["__name__"] for series in recorded}
    assert names - seen == OF_WHAT_ISNT_THERE, "and not because nothing was recorded"
    assert {problem for series in recorded if (problem := level_problem(series["metric"]))} == set()


OF_WHAT_ISNT_THERE = {
    "server_model:infermeter_time_to_first_token_seconds:p99_5m",
    "server_model:infermeter_time_per_output_token_seconds:p99_5m",
    "server:infermeter_server_scrape_silent:count5m",
    "server:infermeter_server_scrape_silent:count1h",
}
"""The healthy server doesn't stream, and tells its own count all the time."""
SERVER_LEVEL = {"cluster", "namespace", "job", "server"}
LEVELS = {"server": SERVER_LEVEL, "instance": SERVER_LEVEL | {"instance"}, "namespace": {"cluster", "namespace"}}


def level_problem(labels: dict[str, str]) -> str | None:
    """Why a recorded series isn't of the level that its name says."""
    level, *others = labels["__name__"].split(":")[0].split("_")
    if level not in LEVELS:
        return None
    own = LEVELS[level] | {"gpu_uuid" if other == "gpu" else other for other in others}
    scraper = {"cluster", "namespace"}
    found = set(labels) - {"__name__", "currency"} | scraper
    return None if found == own | scraper else f"{labels['__name__']} has {sorted(found)}"


SERVER = {"cluster": "eu", "namespace": "ml", "job": "infermeter", "server": "planted"}
AT = SERVER | {"instance": "planted:10470"}


def planted(alert: str, severity: str, scope: str, **labels: str) -> dict[str, object]:
    return {"labels": {"alertname": alert, "severity": severity, "scope": scope, "category": "cost"} | labels}


@pytest.mark.parametrize(
    ("source", "target", "held"),
    [
        (("InfermeterExporterDown", "critical", "instance", AT), ("InfermeterGpuDataStale", "warning", "instance", AT), True),
        (("InfermeterExporterDown", "critical", "instance", AT), ("InfermeterServerOverProvisioned", "critical", "server", SERVER), False),
        (
            ("InfermeterExporterDown", "critical", "instance", AT),
            ("InfermeterBudgetForecastExceeded", "warning", "namespace", {"cluster": "eu", "namespace": "ml"}),
            False,
        ),
        (
            ("InfermeterExporterDown", "critical", "instance", AT),
            ("InfermeterGpuDataStale", "warning", "instance", AT | {"instance": "another:10470"}),
            False,
        ),
        (("InfermeterGpuHeldIdle", "critical", "instance", AT), ("InfermeterServerOverProvisioned", "critical", "server", SERVER), True),
        (("InfermeterGpuIdle", "warning", "instance", AT), ("InfermeterReplicasExceedDemand", "warning", "server", SERVER), True),
        (
            ("InfermeterGpuIdle", "warning", "instance", AT),
            ("InfermeterReplicasExceedDemand", "warning", "server", SERVER | {"server": "another"}),
            False,
        ),
        (
            ("InfermeterSlaBudgetBurn", "warning", "server", SERVER | {"model": "m"}),
            ("InfermeterServerOverProvisioned", "critical", "server", SERVER),
            True,
        ),
        (
            ("InfermeterSlaBudgetBurn", "critical", "server", SERVER | {"model": "m"}),
            ("InfermeterSlaBudgetBurn", "warning", "server", SERVER | {"model": "other"}),
            False,
        ),
        (("InfermeterExporterRestarting", "warning", "instance", AT), ("InfermeterNoSpans", "warning", "instance", AT), True),
        (
            ("InfermeterServerOverProvisioned", "warning", "server", SERVER),
            ("InfermeterReplicasExceedDemand", "warning", "server", SERVER),
            True,
        ),
    ],
)
def test_an_alert_that_another_one_explains_is_held_back_and_nothing_else(
    manager: str, source: tuple[str, str, str, dict[str, str]], target: tuple[str, str, str, dict[str, str]], held: bool
) -> None:
    case = f"case-{time.monotonic_ns()}"  # each has its own namespace, so that none sees another's alerts

    def of(alert: tuple[str, str, str, dict[str, str]]) -> dict[str, object]:
        name, severity, scope, labels = alert
        return planted(name, severity, scope, **(labels | {"namespace": case}))

    post(f"http://{manager}/api/v2/alerts", [of(source), of(target)])

    def state() -> str:
        alerts = get(f"http://{manager}/api/v2/alerts", filter=f'namespace="{case}"')
        (found,) = [alert for alert in alerts if alert["labels"] == of(target)["labels"]]
        return str(found["status"]["state"])

    assert until(lambda: state() != "unprocessed", seconds=20)
    assert state() == ("suppressed" if held else "active")

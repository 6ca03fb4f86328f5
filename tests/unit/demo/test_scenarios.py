"""A scenario changes load and batching, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from infermeter.demo.launch import configuration, server_command
from infermeter.demo.scenarios import SCENARIOS, Scenario
from infermeter.parsing.structure import load_config

TODAY = date(2026, 11, 1)
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=str)


def written(scenario: Scenario) -> str:
    return configuration(scenario, web_port=1, otlp_http_port=2, today=TODAY)


def test_load_changes_evenly_between_its_points() -> None:
    scenario = replace(SCENARIOS["healthy"], load=((0, 0.2), (0.5, 0.6), (1, 0.0)))
    assert [scenario.load_ratio(at) for at in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0.2, 0.4, 0.6, 0.3, 0.0])


def test_before_the_beginning_and_after_the_end_the_load_stays() -> None:
    scenario = replace(SCENARIOS["healthy"], load=((0, 0.2), (1, 0.6)))
    assert (scenario.load_ratio(-1), scenario.load_ratio(2)) == pytest.approx((0.2, 0.6))


@every_scenario
def test_a_scenario_covers_the_whole_demo(scenario: Scenario) -> None:
    shares = [share for share, _ in scenario.load]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(set(shares))


@every_scenario
def test_the_name_of_a_scenario_is_a_label_and_changes_nothing_else(scenario: Scenario) -> None:
    renamed = replace(scenario, name="another", about="something else")
    assert server_command(renamed, port=1, otlp_http_port=2) == server_command(scenario, port=1, otlp_http_port=2)
    assert written(renamed) == written(scenario).replace(f"demo-{scenario.name}", "demo-another")


def test_scenarios_have_one_configuration_of_the_sidecar() -> None:
    assert len({written(replace(scenario, name="any")) for scenario in SCENARIOS.values()}) == 1


def test_a_server_that_is_told_no_port_sends_its_spans_nowhere() -> None:
    scenario = SCENARIOS["healthy"]
    assert "--otlp" not in server_command(scenario, port=1)
    assert "http://127.0.0.1:2" in server_command(scenario, port=1, otlp_http_port=2)


@every_scenario
def test_the_configuration_is_valid_and_calls_its_prices_examples_and_its_gpu_simulated(scenario: Scenario) -> None:
    config = load_config(written(scenario), "demo")
    assert config.gpu.source == "simulated"
    assert config.cost is not None
    assert config.cost.source == "example prices of the demo"
    assert config.server.name == f"demo-{scenario.name}"

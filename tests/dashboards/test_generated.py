"""What is committed is what the modules make, in the shape that Grafana's own types have, of names that somebody publishes."""

from __future__ import annotations

import re
import subprocess
import sys
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from dashboards.src import limits, rules
from dashboards.src.__main__ import pages as generated
from dashboards.src.__main__ import text
from dashboards.src.promql import of
from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.prometheus import Dataquery
from tests.dashboards.history import ROOT, alerting_rules, recording_rules
from tests.dashboards.lint_pages import UIDS, panels_of
from tests.dashboards.lint_queries import family_of, series_names

from infermeter.metrics import catalog

RAW = {
    catalog.GPU_ENERGY: "energy_joules_total is the server's share of it",
    catalog.GPU_SM_CLOCK: "gpu_throttled_seconds_total says what matters of it",
    catalog.INFERENCES_SOURCE: "told by the report and the page",
    catalog.WINDOW_COST_PER_INFERENCE: "for a person without rules; the rules say it over any time",
    catalog.WINDOW_COST_PER_INFERENCE_AT_SLA: "as above",
    catalog.WINDOW_SLA_STATE: "as above",
    catalog.SPANS_FORWARD_REENCODED: "for debugging a receiver",
    catalog.CONNECTIONS_DISPLACED: "for debugging senders that reconnect; nothing of theirs is lost",
}
"""Families that no panel and no rule reads, each with its reason."""


def test_the_committed_files_are_what_the_modules_make(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "dashboards.src", str(tmp_path)], cwd=ROOT, check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    assert made == committed, "make dashboards"


def test_there_are_eight_from_general_to_specific() -> None:
    assert tuple(page.uid for page in generated()) == UIDS
    assert [text(page) for page in generated()] == [text(page) for page in generated()], "the same bytes each time"


def test_a_label_or_value_that_the_catalog_does_not_know_ends_the_generation() -> None:
    with pytest.raises(ValueError, match="has no use=wasted"):
        of(catalog.COST_BY_USE, use="wasted")
    with pytest.raises(ValueError, match="has no pod=x"):
        of(catalog.COST, pod="x")


def test_every_recorded_name_is_one_that_the_rules_record() -> None:
    recorded = {rule["record"] for rule in recording_rules()}
    assert {series.name for series in rules.RECORDED} <= recorded


def test_every_limit_that_a_colour_goes_by_stands_in_the_file_of_thresholds(pages: list[dict[str, Any]]) -> None:
    constants = {rule["expr"] for rule in recording_rules() if rule["record"].startswith(("threshold:", "colour:"))}
    known = {0.0, 1.0} | {float(found[1]) for expr in constants if (found := re.fullmatch(r"vector\(([\d.]+)\)", expr))}
    steps = re.findall(r"'value': (-?[\d.]+)[,}]", str([found for page in pages for found in thresholds_in(page)]))
    assert len(steps) > 40
    assert {float(step) for step in steps} <= known


def thresholds_in(value: Any) -> list[Any]:
    """Every list of steps, of a panel and of a table's cell."""
    if isinstance(value, list):
        return [found for part in value for found in thresholds_in(part)]
    if not isinstance(value, dict):
        return []
    return [value["steps"]] if "steps" in value else [found for part in value.values() for found in thresholds_in(part)]


def test_a_limit_that_nobody_has_set_ends_the_generation() -> None:
    with pytest.raises(KeyError):
        limits.limit("colour:infermeter_mood:ratio")


def test_every_family_is_read_by_a_panel_or_a_rule_or_is_listed_with_its_reason(pages: list[dict[str, Any]]) -> None:
    expressions = [target["expr"] for page in pages for panel in panels_of(page) for target in panel["targets"]]
    expressions += [annotation["expr"] for page in pages for annotation in page["annotations"]["list"] if "expr" in annotation]
    expressions += [rule["expr"] for rule in (*recording_rules(), *alerting_rules())]
    read = {family_of(name) for expression in expressions for name in series_names(expression)}
    assert set(catalog.CATALOG) - read == set(RAW)


def test_alerts_lead_to_dashboards_and_variables_that_exist() -> None:
    for rule in alerting_rules():
        url = rule["annotations"].get("dashboard_url", "")
        assert any(f"/d/{uid}" in url for uid in UIDS), rule["alert"]


# --- Grafana's own types ------------------------------------------------------------------------------------------------------------
def mistakes(value: Any, hint: Any, where: str) -> list[str]:
    """Where a JSON value isn't of a type of the SDK, whose builders check nothing."""
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return []
    if origin in {Union, UnionType}:
        arms = [arm for arm in get_args(hint) if value is None or arm is not NoneType]
        return min((mistakes(value, arm, where) for arm in arms), key=len)
    if origin in {list, dict}:
        return mistakes_of_parts(value, hint, where)
    if isinstance(hint, type) and hint not in PLAIN_TYPES and not issubclass(hint, Enum):
        return mistakes_of_object(value, hint, where)
    return [] if fits(value, hint) else [f"{where}: {value!r} is no {hint}"]


PLAIN_TYPES = {int, float, str, bool, NoneType}


def fits(value: Any, hint: Any) -> bool:
    """Whether it is one of an enumeration, of a literal's values, or a plain value of its type; a bool is no number."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if issubclass(hint, Enum):
        return value in {member.value for member in hint}
    return isinstance(value, (int, float) if hint is float else hint) and (hint is bool or not isinstance(value, bool))


def mistakes_of_parts(value: Any, hint: Any, where: str) -> list[str]:
    if not isinstance(value, get_origin(hint)):
        return [f"{where}: {value!r} is no {hint}"]
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, part in parts for found in mistakes(part, get_args(hint)[-1], f"{where}.{key}")]


def mistakes_of_object(value: Any, hint: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no {hint}"]
    known = {camel(name): part for name, part in get_type_hints(hint).items()}
    if not known:  # a target or another plugin's part: looked at by itself
        return []
    found = [f"{where}.{key}: unknown" for key in value if key not in known]
    return found + [error for key, part in value.items() if key in known for error in mistakes(part, known[key], f"{where}.{key}")]


def camel(name: str) -> str:
    first, *others = name.removesuffix("_val").split("_")
    return first + "".join(word.capitalize() for word in others)


def mistakes_of_page(page: dict[str, Any]) -> list[str]:
    found = mistakes({key: value for key, value in page.items() if key not in LEGACY}, Dashboard, page["uid"])
    for panel in panels_of(page):
        module = import_module(f"grafana_foundation_sdk.models.{panel['type']}")
        where = f"{page['uid']} / {panel['title']}"
        found += mistakes(panel["options"], module.Options, f"{where}.options")
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            field_config = getattr(module, "FieldConfig", None) or import_module("grafana_foundation_sdk.models.common").TableFieldOptions
            found += mistakes(custom, field_config, f"{where}.custom")
        for target in panel["targets"]:
            found += mistakes(target, Dataquery, f"{where}.targets")
    return found


LEGACY = {"style"}
"""Grafana 10 reads them, and the newest types know them no more."""


def test_every_page_is_of_grafana_s_own_types(pages: list[dict[str, Any]]) -> None:
    assert [mistake for page in pages for mistake in mistakes_of_page(page)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("panels", 1, "gridPos", "h"), "tall"),
        (("panels", 1, "colour"), "red"),
        (("panels", 1, "options", "colorMode"), "loud"),
        (("panels", 1, "targets", 0, "expression"), "up"),
        (("templating", "list", 1, "type"), "choice"),
    ],
)
def test_a_page_of_another_shape_is_caught(path: tuple[str | int, ...], value: object, pages: list[dict[str, Any]]) -> None:
    broken = yaml.safe_load(yaml.safe_dump(pages[0]))
    place: Any = broken
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert mistakes_of_page(broken)

"""What is generated of the Helm chart: its copies of rules and dashboards, the schema of its values, its README. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from deploy.src.chart_values import DESCRIPTION, VALUES, Value
from deploy.src.written import Json, yaml_text

DURATION: Final = r"^([0-9]+(ms|[smhdwy]))+$"


def files(rules: Mapping[str, Json], dashboards: Mapping[str, Json], defaults: Json) -> Mapping[str, str]:
    """Text by path under deploy/helm/infermeter/. `defaults`: values.yaml."""
    return {
        **{f"files/rules/{name}.yaml": yaml_text(read) for name, read in rules.items()},
        **{f"files/dashboards/{uid}.json": _compact(page) for uid, page in dashboards.items()},
        "values.schema.json": json.dumps(schema(rules), indent=2, ensure_ascii=False) + "\n",
        "README.md": readme(rules, defaults),
    }


def alert_keys(rules: Mapping[str, Json]) -> Sequence[str]:
    """What each alerting rule goes by in `rules.alerts`: its name, or name/severity where two rules have one name."""
    found = [rule for rule in _rules(rules) if "alert" in rule]
    named = Counter(rule["alert"] for rule in found)
    return [rule["alert"] if named[rule["alert"]] == 1 else f"{rule['alert']}/{rule['labels']['severity']}" for rule in found]


def thresholds(rules: Mapping[str, Json]) -> Mapping[str, str]:
    """The thresholds that `rules.thresholds` may set, with their values."""
    found = (rule for rule in _rules(rules) if rule.get("record", "").startswith("threshold:"))
    return {rule["record"]: rule["expr"].removeprefix("vector(").removesuffix(")") for rule in found}


def schema(rules: Mapping[str, Json]) -> Json:
    """The schema of the values: strict, so that a misspelt key or an alert that isn't there is an error."""
    root: Json = {"type": "object", "additionalProperties": False, "properties": {}}
    for value in VALUES:
        *above, key = value.path.split(".")
        inner = root
        for name in above:
            inner = inner["properties"].setdefault(name, {"type": "object", "additionalProperties": False, "properties": {}})
        inner["properties"][key] = {"description": value.about, **value.schema}
    own = root["properties"]["rules"]["properties"]
    own["alerts"] |= {"additionalProperties": False, "properties": dict.fromkeys(alert_keys(rules), _ALERT)}
    own["thresholds"] |= {"additionalProperties": False, "properties": {key: {"type": "number"} for key in thresholds(rules)}}
    root["properties"] |= {"global": {"type": "object", "description": "Helm's own, in a parent chart."}}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart infermeter", **root}


_ALERT: Final[Json] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "enabled": {"type": "boolean"},
        "for": {"type": "string", "pattern": DURATION},
        "keep_firing_for": {"type": "string", "pattern": DURATION},
        "severity": {"enum": ["critical", "warning", "info"]},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def readme(rules: Mapping[str, Json], defaults: Json) -> str:
    """The chart's README: how it is used, each value, each alert with the thresholds that it compares with."""
    lines = [DESCRIPTION, "## Values", "", "| value | default | |", "| --- | --- | --- |"]
    lines += [f"| `{value.path}` | `{_cell(_default(value, defaults))}` | {_cell(value.about)} |" for value in VALUES]
    lines += ["", "## Alerts", "", "Keys of `rules.alerts`; each takes `enabled`, `for`, `keep_firing_for`, `severity` and `labels`.", ""]
    lines += ["| alert | severity | for | compares with |", "| --- | --- | --- | --- |"]
    found = [rule for rule in _rules(rules) if "alert" in rule]
    for key, rule in zip(alert_keys(rules), found, strict=True):
        read = ", ".join(f"`{name}`" for name in thresholds(rules) if name in rule["expr"])
        lines.append(f"| `{key}` | {rule['labels']['severity']} | {rule.get('for', '')} | {read} |")
    lines += ["", "## Thresholds", "", "Keys of `rules.thresholds`; dashboards draw the same series.", ""]
    lines += ["| threshold | value |", "| --- | --- |"]
    lines += [f"| `{name}` | {number} |" for name, number in thresholds(rules).items()]
    return "\n".join(lines) + "\n"


def _rules(rules: Mapping[str, Json]) -> Iterator[Json]:
    return (rule for read in rules.values() for group in read["groups"] for rule in group["rules"])


def _default(value: Value, defaults: Json) -> str:
    found: Any = defaults
    for name in value.path.split("."):
        found = found[name]
    return json.dumps(found)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _compact(page: Json) -> str:
    return json.dumps(page, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"

"""Rules that every dashboard keeps, on its JSON: identity, variables, links, grid, and what each panel says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from tests.dashboards.lint_queries import findings as query_findings
from tests.dashboards.lint_queries import series_names

Json: TypeAlias = dict[str, Any]

UIDS = (
    "infermeter-fleet",
    "infermeter-server",
    "infermeter-stages",
    "infermeter-cost",
    "infermeter-idle",
    "infermeter-rightsizing",
    "infermeter-slo",
    "infermeter-exporter",
)
"""They are in people's bookmarks and in alerts: never changed."""

VARIABLES = ("datasource", "cluster", "namespace", "job", "instance", "server", "model")
KINDS = {"timeseries", "stat", "bargauge", "table", "text", "row"}
UNITS = {
    *("none", "short", "percentunit", "s", "watt", "joule", "kwatth", "bytes", "Bps", "celsius", "hertz", "massg", "cps", "money"),
}
UNIT_PREFIXES = ("count:", "suffix:", "prefix:", "si:", "currency")
MAX_PANELS, MAX_TARGETS = 12, 6
MACROS = {"__rate_interval", "__range", "__interval", "__all", "__url_time_range", "__data", "__field", "__value"}


@dataclass(frozen=True)
class Finding:
    rule: str
    where: str
    what: str


def lint(pages: Sequence[Json]) -> list[Finding]:
    """All that is wrong with a bundle."""
    found = [finding for page in pages for finding in _page(page)]
    uids = [page["uid"] for page in pages]
    if sorted(uids) != sorted(UIDS):
        found.append(Finding("uids", "bundle", f"{sorted(set(uids) ^ set(UIDS))}"))
    return found


def panels_of(page: Json) -> Iterator[Json]:
    """Panels, rows left out."""
    return (panel for panel in page["panels"] if panel["type"] != "row")


def _page(page: Json) -> Iterator[Finding]:
    uid = str(page["uid"])
    for rule, holds in {
        "uid": re.fullmatch(r"[a-z0-9-]{1,40}", uid) is not None,
        "title": str(page["title"]).startswith("Infermeter / "),
        "tag": page["tags"] == ["infermeter"],
        "schema-version": page["schemaVersion"] == 38,
        "uneditable-dashboard": page["editable"] is False,
        "no-inputs": not {"__inputs", "__requires", "__elements"} & set(page) and page["id"] is None,
        "crosshair": page["graphTooltip"] == 1,
        "refresh": page["refresh"] in {"30s", "1m", "5m"},
        "timezone": page["timezone"] in {"browser", "utc"},
        "description": bool(page["description"]),
        "ids": len({panel["id"] for panel in page["panels"]}) == len(page["panels"]) and all(panel["id"] for panel in page["panels"]),
    }.items():
        if not holds:
            yield Finding(rule, uid, "doesn't hold")
    yield from _variables(page)
    yield from _links(page)
    yield from _annotations(page)
    yield from _grid(page)
    for panel in panels_of(page):
        yield from _panel(uid, panel)


def _variables(page: Json) -> Iterator[Finding]:
    uid, variables = page["uid"], {variable["name"]: variable for variable in page["templating"]["list"]}
    if tuple(variables) != VARIABLES:
        yield Finding("template-variables", uid, f"{tuple(variables)}")
    for name, variable in variables.items():
        if name == "datasource":
            if variable["type"] != "datasource" or variable["label"] != "Data source":
                yield Finding("template-datasource", uid, "is no data source")
            continue
        wanted = ".*" if name in {"cluster", "namespace", "model"} else ".+"
        if (variable["type"], variable["multi"], variable["includeAll"], variable["refresh"]) != ("query", True, True, 2):
            yield Finding("template-query", uid, f"{name} is no query of many values that follows the period")
        if variable["allValue"] != wanted:
            yield Finding("template-all", uid, f"{name}: {variable['allValue']} instead of {wanted}")
        if variable["datasource"]["uid"] != "${datasource}":
            yield Finding("template-datasource", uid, f"{name} asks another source")
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        if found is None or found[2] != name:
            yield Finding("template-label-promql", uid, f"{name}: {variable['query']['query']}")
        else:
            try:
                series_names(found[1])
            except ValueError as error:
                yield Finding("template-label-promql", uid, f"{name}: {error}")


def _links(page: Json) -> Iterator[Finding]:
    (*bar,) = page["links"]
    if len(bar) != 1 or bar[0]["tags"] != ["infermeter"] or not (bar[0]["keepTime"] and bar[0]["includeVars"]):
        yield Finding("links", page["uid"], "the bundle isn't linked by its tag, with period and variables")
    for url in re.findall(r"/d/[^\"\s]+", str(page)):
        path, _, query = url.rstrip("',").partition("?")
        if path.removeprefix("/d/") not in UIDS:
            yield Finding("link-target", page["uid"], path)
        if "${__url_time_range}" not in query:
            yield Finding("link-time", page["uid"], url)
        carried = set(re.findall(r"\$\{(\w+):queryparam\}", query)) | set(re.findall(r"var-(\w+)=", query))
        if carried != set(VARIABLES):
            yield Finding("link-variables", page["uid"], f"{path}: {sorted(set(VARIABLES) ^ carried)}")


def _annotations(page: Json) -> Iterator[Finding]:
    expressions = [annotation["expr"] for annotation in page["annotations"]["list"] if "expr" in annotation]
    for part in ("infermeter_config_last_reload_success_timestamp_seconds", "ALERTS"):
        if not any(part in expression for expression in expressions):
            yield Finding("annotations", page["uid"], f"nothing marks {part}")
    for expression in expressions:
        yield from (Finding(rule, page["uid"], what) for rule, what in query_findings(expression))


def _grid(page: Json) -> Iterator[Finding]:
    uid, taken = page["uid"], set[tuple[int, int]]()
    bottom = 0
    for panel in page["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        if cells & taken or place["x"] < 0 or place["x"] + place["w"] > 24:
            yield Finding("grid", uid, f"{panel['title']} lies over another, or outside")
        taken |= cells
        bottom = max(bottom, place["y"] + place["h"])
    if len(taken) != 24 * bottom:
        yield Finding("grid", uid, "there are gaps")
    starts = [index for index, panel in enumerate(page["panels"]) if panel["type"] == "row"]
    if not starts or starts[0] != 0:
        yield Finding("rows", uid, "no row at the top")
    for first, after in pairwise([*starts, len(page["panels"])]):
        if not 0 < after - first - 1 <= MAX_PANELS:
            yield Finding("rows", uid, f"{page['panels'][first]['title']} has {after - first - 1} panels")


def _panel(uid: str, panel: Json) -> Iterator[Finding]:
    where = f"{uid} / {panel['title']}"
    kind, targets = panel["type"], panel["targets"]
    if kind not in KINDS:
        yield Finding("panel-kind", where, kind)
    if not panel["title"] or not panel["description"]:
        yield Finding("panel-title-description", where, "says nothing")
    if panel["datasource"]["uid"] != "${datasource}" or any(target["datasource"]["uid"] != "${datasource}" for target in targets):
        yield Finding("panel-datasource", where, "asks another source")
    if kind == "text":
        return
    if not targets or len(targets) > (16 if kind == "table" else MAX_TARGETS):
        yield Finding("panel-targets", where, f"{len(targets)} targets")
    if len({target["refId"] for target in targets}) != len(targets):
        yield Finding("panel-targets", where, "two have one refId")
    yield from _says(where, panel)
    yield from _looks(where, kind, panel["fieldConfig"])
    for target in targets:
        yield from _target(where, kind, target)


def _says(where: str, panel: Json) -> Iterator[Finding]:
    for part in ("**Formula:**" if panel["type"] != "table" else "**Metrics:**", "**Metrics:**", "**Empty:**"):
        if part not in panel["description"]:
            yield Finding("panel-description", where, f"lacks {part}")
    for target in panel["targets"]:
        for name in _names(target["expr"]):
            if name != "ALERTS" and f"`{name}`" not in panel["description"]:
                yield Finding("panel-description", where, f"doesn't name {name}")
    if (
        any(":" in name for target in panel["targets"] for name in _names(target["expr"]))
        and "needs the recording rules" not in panel["description"]
    ):
        yield Finding("panel-description", where, "doesn't say that it needs the recording rules")
    if not panel["fieldConfig"]["defaults"].get("noValue"):
        yield Finding("panel-missing", where, "doesn't say what is missing")


def _looks(where: str, kind: str, config: Mapping[str, Any]) -> Iterator[Finding]:
    defaults = config["defaults"]
    units = [defaults.get("unit")]
    units += [part["value"] for override in config["overrides"] for part in override["properties"] if part["id"] == "unit"]
    for unit in units:
        if unit is None or (unit not in UNITS and not unit.startswith(UNIT_PREFIXES)):
            yield Finding("panel-units", where, f"{unit}")
    if defaults.get("unit") == "percentunit" and kind == "bargauge" and defaults.get("max") != 1:
        yield Finding("panel-range", where, "a share without a maximum of 1")
    if kind in {"stat", "bargauge"} and not defaults["thresholds"]["steps"]:
        yield Finding("panel-thresholds", where, "has none")
    if not any(mapping["type"] == "special" and mapping["options"]["match"] == "nan" for mapping in defaults["mappings"]):
        yield Finding("panel-nan", where, "NaN is a word of its own")


def _target(where: str, kind: str, target: Json) -> Iterator[Finding]:
    named = None if kind in {"table", "stat"} and not target["legendFormat"] else target["legendFormat"]
    if kind in {"timeseries", "bargauge"} and not target["legendFormat"]:
        yield Finding("target-legend", where, "series without names")
    if target["instant"] is not (kind in {"table", "stat", "bargauge"}):
        yield Finding("target-instant", where, "a graph is over time, a number is of an instant")
    for macro in re.findall(r"\$(\w+)", target["expr"]):
        if macro not in MACROS and macro not in VARIABLES:
            yield Finding("target-variables", where, f"${macro} is no variable")
    yield from (Finding(rule, where, what) for rule, what in query_findings(target["expr"], named))


def _names(expression: str) -> set[str]:
    try:
        return series_names(expression)
    except ValueError:
        return set()

"""What the eight pages share: identity, variables, links, annotations, and how sections become a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dashboards.src import promql
from dashboards.src.grafana import DATASOURCE, Json, Panel

from infermeter.metrics import catalog

SCHEMA_VERSION = 38
"""Grafana 10.0's: it reads it as it is, later ones migrate it."""

TAG = "infermeter"
GRID_WIDTH = 24

Uid = str
FLEET, SERVER, STAGES, COST = "infermeter-fleet", "infermeter-server", "infermeter-stages", "infermeter-cost"
IDLE, RIGHTSIZING, SLO, EXPORTER = "infermeter-idle", "infermeter-rightsizing", "infermeter-slo", "infermeter-exporter"

KEPT = ("cluster", "namespace", "job", "instance", "server", "model")
"""The query variables, each narrowed by those before it."""

_ALL = {"cluster": ".*", "namespace": ".*", "job": ".+", "instance": ".+", "server": ".+", "model": ".*"}
"""What All stands for: clusters and namespaces may have no name, and what speaks of a server has no model."""


@dataclass(frozen=True, slots=True)
class Section:
    """A titled row and the panels under it, in reading order."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard."""

    uid: Uid
    title: str
    about: str
    sections: tuple[Section, ...]
    since: str = "now-24h"

    def json(self) -> Json:
        """The dashboard as Grafana imports it."""
        return {
            "uid": self.uid,
            "id": None,
            "title": f"Infermeter / {self.title}",
            "description": self.about,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "1m",
            "timezone": "browser",
            "weekStart": "",
            "fiscalYearStartMonth": 0,
            "liveNow": False,
            "style": "dark",
            "time": {"from": self.since, "to": "now"},
            "timepicker": {},
            "templating": {"list": [_datasource(), *(_variable(name) for name in KEPT)]},
            "annotations": {"list": _annotations()},
            "links": [_links()],
            "panels": list(_grid(self.sections)),
        }


def link(uid: Uid, title: str, **values: str) -> Json:
    """A drill-down that keeps the period and the variables, but for those that it sets: label=where the value comes from."""
    kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", *KEPT) if name not in values)
    chosen = "&".join(f"var-{name}={value}" for name, value in values.items())
    return {"title": title, "url": f"/d/{uid}?${{__url_time_range}}&{kept}&{chosen}", "targetBlank": False}


def row_link(uid: Uid, title: str, *labels: str) -> Json:
    """A table's link: the labels' values are the row's."""
    return link(uid, title, **{label: f"${{__data.fields.{label}}}" for label in labels})


def series_link(uid: Uid, title: str, *labels: str) -> Json:
    """A graph's link: the labels' values are the series'."""
    return link(uid, title, **{label: f"${{__field.labels.{label}}}" for label in labels})


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "skipUrlSync": False,
    }


def _variable(name: str) -> Json:
    of = catalog.INFERENCES_OBSERVED if name == "model" else catalog.BUILD_INFO
    before = KEPT[: KEPT.index(name)]
    matchers = ",".join(f'{earlier}=~"${earlier}"' for earlier in before)
    query = f"label_values({of.full_name}{{{matchers}}}, {name})" if before else f"label_values({of.full_name}, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}", "qryType": 1},
        "regex": "",
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": True,
        "allValue": _ALL[name],
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "skipUrlSync": False,
    }


def _annotations() -> list[Json]:
    loaded = f"changes({promql.of(catalog.CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP)}[2m]) > 0"
    firing = promql.of(promql.ALERTS, alertname=("Infermeter.+",), alertstate="firing", server=("$server", ""))
    return [
        {
            "builtIn": 1,
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations & Alerts",
            "type": "dashboard",
        },
        _annotation("Configuration loaded", loaded, "blue", "{{server}} {{instance}}", "server,instance"),
        _annotation("Firing alerts", firing, "red", "{{alertname}} {{server}}", "alertname,severity"),
    ]


def _annotation(name: str, expression: str, colour: str, text: str, tags: str) -> Json:
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "name": name,
        "expr": expression,
        "step": "60s",
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": tags,
        "useValueForTime": False,
    }


def _links() -> Json:
    return {
        "type": "dashboards",
        "title": "Infermeter",
        "tags": [TAG],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def _grid(sections: Sequence[Section]) -> Iterator[Json]:
    """Panels from left to right, line by line; a line's panels have one height.

    Raises: ValueError for a line that isn't full or isn't even.
    """
    number, y = 1, 0
    for section in sections:
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, y, GRID_WIDTH, 1),
        }
        number, y = number + 1, y + 1
        x = 0
        for panel in section.panels:
            yield panel.json(number, x, y)
            number, x = number + 1, x + panel.width
            if x == GRID_WIDTH:
                x, y = 0, y + panel.height
            elif x > GRID_WIDTH:
                raise ValueError(f"{section.title}: {panel.title} doesn't fit into its line")
        if x:
            raise ValueError(f"{section.title}: its last line is {x} wide")


def _place(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "w": width, "h": height}

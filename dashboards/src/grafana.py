"""Panels in Grafana's classic schema (10 to 13). Of metrics nothing is known here but the shape of their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

Json: TypeAlias = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
MAX_TARGETS = 8
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "INR", "KRW", "BRL", "SEK", "NOK", "DKK", "PLN", "CZK", "ZAR")
"""Currencies that Grafana has a unit for, chosen by a series' name; others are plain numbers beside their code."""

COLOURS: Mapping[str, str] = {
    "active": "green",
    "held_idle": "yellow",
    "idle": "orange",
    "unattributed": "#8e8e8e",
    "unknown": "#8e8e8e",
    "queue": "orange",
    "compute": "green",
    "transfer": "blue",
    "serialisation": "purple",
    "other": "#8e8e8e",
    "capacity": "green",
    "low_load": "yellow",
    "busy": "super-light-green",
    "sla_missed": "red",
    "met": "green",
    "missed": "red",
    "insufficient": "#8e8e8e",
    "target": "red",
    "limit": "red",
    "budget": "red",
    "error": "red",
}
"""What means the same looks the same on each page: by the words in a series' name. The value is worse the warmer its colour."""

Step: TypeAlias = tuple[float | None, str]
PLAIN: tuple[Step, ...] = ((None, "text"),)
"""No judgement: the value has no limit that holds everywhere."""


@dataclass(frozen=True, slots=True)
class Query:
    """One target.

    `instant`: the value at the end of the period. `dashed`: a target or a limit rather than a reading;
    `plain`: words in its legend don't colour it; `right`: the unit of an axis of its own.
    """

    expression: str
    legend: str = ""
    instant: bool = False
    exemplars: bool = False
    dashed: bool = False
    plain: bool = False
    right: str = ""

    def json(self, ref: str, *, table: bool = False) -> Json:
        """The target."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "exemplar": self.exemplars,
            "expr": self.expression,
            "format": "table" if table else "time_series",
            "instant": self.instant,
            "legendFormat": self.legend,
            "range": not self.instant,
            "refId": ref,
        }


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What every panel says. `read` says how to read it, `formula` what is computed, `missing` what to do where there is nothing."""

    kind: ClassVar[str]
    title: str
    read: str
    formula: str = ""
    missing: str = ""
    queries: tuple[Query, ...] = ()
    unit: str = "none"
    decimals: int | None = None
    thresholds: tuple[Step, ...] = PLAIN
    width: int = 12
    height: int = 8
    links: tuple[Json, ...] = ()

    @property
    def description(self) -> str:
        """How to read it, the formula, the metrics in it, and when it is empty."""
        names = sorted(set(_NAMES.findall(self._expressions())))
        parts = [self.read]
        if self.formula:
            parts.append(f"**Formula:** {self.formula}")
        if names:
            parts.append(
                f"**Metrics:** {', '.join(f'`{name}`' for name in names)}" + (_NEEDS_RULES if any(":" in n for n in names) else "")
            )
        if self.missing:
            parts.append(f"**Empty:** {self.missing}")
        return "\n\n".join(parts)

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel at its place."""
        panel: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": self._options(),
            "targets": [query.json(chr(ord("A") + i), table=self._tabular()) for i, query in enumerate(self._targets())],
        }
        if transformations := self._transformations():
            panel["transformations"] = transformations
        return panel

    def _targets(self) -> Sequence[Query]:
        return self.queries

    def _expressions(self) -> str:
        return "\n".join(query.expression for query in self._targets())

    def _tabular(self) -> bool:
        return False

    def _transformations(self) -> list[Json]:
        return []

    def _defaults(self) -> Json:
        defaults: Json = {
            "unit": self.unit,
            "noValue": self.missing or "nothing here",
            "mappings": [{"type": "special", "options": {"match": "nan", "result": {"text": "no traffic", "index": 0}}}],
            "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in self.thresholds]},
            "links": list(self.links),
        }
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.unit in _FROM_ZERO or self.unit.startswith("count:"):
            defaults["min"] = 0
        if self.unit == "percentunit":
            defaults["max"] = 1
        return defaults

    def _overrides(self) -> list[Json]:
        return _by_currency() if MONEY in self.unit else []

    def _options(self) -> Json:
        return {}


MONEY = "money"
"""A panel's unit where the series' names hold the currency: each gets its own."""

_NEEDS_RULES = " (needs the recording rules)"
_FROM_ZERO = ("s", "watt", "joule", "bytes", "percentunit", "short", "none", MONEY, "kwatth", "massg", "cps", "Bps")


_NAMES = re.compile(r"[a-z_]+(?::[a-z0-9_]+)+|\b(?:infermeter|process|scrape)_[a-z0-9_]+|\b(?:up|ALERTS)\b")
_STATES = re.compile(r"{{(use|state|stage|step)}}")


def _colour(word: str) -> Json:
    return _override(rf"/\b{word}\b/", color={"mode": "fixed", "fixedColor": COLOURS[word]})


def _by_currency() -> list[Json]:
    return [_override(rf"/\b{currency}\b/", unit=f"currency{currency}") for currency in CURRENCIES]


def _override(pattern: str, **properties: object) -> Json:
    return {
        "matcher": {"id": "byRegexp", "options": pattern},
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


@dataclass(frozen=True, kw_only=True)
class Series(Panel):
    """Lines over time; `stacked`: areas that add up, `percent`: to all there is."""

    kind: ClassVar[str] = "timeseries"
    stacked: bool = False
    percent: bool = False
    logarithmic: bool = False
    maximum: float | None = None

    def _defaults(self) -> Json:
        defaults = super()._defaults()
        if self.maximum is not None or self.unit == "percentunit":
            defaults.pop("max", None)
            if self.maximum is not None:
                defaults["max"] = self.maximum
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1 if self.stacked else 2,
            "fillOpacity": 60 if self.stacked else 0,
            "gradientMode": "none",
            "showPoints": "never",
            "spanNulls": False,
            "axisLabel": "",
            "axisPlacement": "auto",
            "scaleDistribution": {"type": "log", "log": 10} if self.logarithmic else {"type": "linear"},
            "stacking": {"group": "A", "mode": ("percent" if self.percent else "normal") if self.stacked else "none"},
            "thresholdsStyle": {"mode": "off" if self.thresholds is PLAIN else "dashed"},
        }
        if self.percent or self.logarithmic:
            defaults.pop("min", None)
        return defaults

    def _overrides(self) -> list[Json]:
        found = super()._overrides()
        found += [_colour(word) for word in COLOURS if self._coloured(word)]
        for i, query in enumerate(self.queries):
            if query.dashed:
                found.append(
                    {
                        "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + i)},
                        "properties": [
                            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}},
                            {"id": "custom.fillOpacity", "value": 0},
                            {"id": "custom.lineWidth", "value": 1},
                            {"id": "custom.stacking", "value": {"group": "A", "mode": "none"}},
                        ],
                    }
                )
            if query.right:
                found.append(
                    {
                        "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + i)},
                        "properties": [{"id": "unit", "value": query.right}, {"id": "custom.axisPlacement", "value": "right"}],
                    }
                )
        return found

    def _coloured(self, word: str) -> bool:
        """Only where the colour is what tells the series apart: a set of states, or a line that stands for a limit."""
        legends = [query.legend for query in self.queries if not query.plain]
        return any(re.search(rf"(?<!{{)\b{word}\b(?!}})", legend) or _STATES.search(legend) for legend in legends)

    def _options(self) -> Json:
        return {
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True, kw_only=True)
class Stat(Panel):
    """One number, or one for each series, at the end of the period or over it."""

    kind: ClassVar[str] = "stat"
    width: int = 4
    height: int = 4

    def _defaults(self) -> Json:
        return {**super()._defaults(), "color": {"mode": "thresholds"}}

    def _options(self) -> Json:
        return {
            "colorMode": "value",
            "graphMode": "none" if all(query.instant for query in self.queries) else "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "auto",
            "wideLayout": True,
        }


@dataclass(frozen=True, kw_only=True)
class Bars(Panel):
    """A bar for each series, each with its name."""

    kind: ClassVar[str] = "bargauge"
    maximum: float | None = None

    def _defaults(self) -> Json:
        defaults = {**super()._defaults(), "color": {"mode": "thresholds"}}
        if self.maximum is not None:
            defaults["max"] = self.maximum
        return defaults

    def _overrides(self) -> list[Json]:
        found = super()._overrides()
        if any(_STATES.search(query.legend) for query in self.queries):
            found += [_colour(word) for word in COLOURS]
        return found

    def _options(self) -> Json:
        return {
            "displayMode": "basic",
            "minVizHeight": 16,
            "minVizWidth": 8,
            "maxVizHeight": 40,
            "namePlacement": "left",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showUnfilled": True,
            "sizing": "manual",
            "text": {"titleSize": 13, "valueSize": 16},
            "valueMode": "color",
        }


@dataclass(frozen=True, kw_only=True)
class Text(Panel):
    """A few sentences of Markdown: what the page answers, and where to go on."""

    kind: ClassVar[str] = "text"
    width: int = 24
    height: int = 3
    content: str

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel at its place."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.read,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": {}, "overrides": []},
            "options": {"mode": "markdown", "content": self.content},
            "targets": [],
        }

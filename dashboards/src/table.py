"""The table: columns that are queries of their own, joined by the labels that they share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from dashboards.src.grafana import PLAIN, Json, Panel, Query, Step


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values: its query, its heading, and how a value looks. `words`: what stands for a value that is a state."""

    title: str
    query: Query
    unit: str = "none"
    decimals: int | None = None
    thresholds: tuple[Step, ...] = PLAIN
    bar: bool = False
    maximum: float | None = None
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    width: int | None = None
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Table(Panel):
    """A row for each set of `labels` (label and heading in order, no heading: hidden), joined from the columns' queries."""

    kind: ClassVar[str] = "table"
    width: int = 24
    labels: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    sort: str = ""
    label_links: Mapping[str, Json] = field(default_factory=dict)
    label_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    label_widths: Mapping[str, int] = field(default_factory=dict)

    def _targets(self) -> Sequence[Query]:
        return [replace(column.query, expression=_nameless(column.query.expression)) for column in self.columns]

    def _tabular(self) -> bool:
        return True

    def _transformations(self) -> list[Json]:
        names = [(label, title) for label, title in self.labels if title]
        joined = {label: True for label, title in self.labels if not title}
        values = [(f"Value #{chr(ord('A') + i)}", column.title) for i, column in enumerate(self.columns)]
        if len(values) == 1:
            values.append(("Value", self.columns[0].title))
        excluded = {f"Value #{chr(ord('A') + i)}": True for i, column in enumerate(self.columns) if column.hidden}
        if len(self.columns) == 1 and self.columns[0].hidden:
            excluded["Value"] = True
        return [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True, **joined, **excluded},
                    "indexByName": {name: i for i, (name, _) in enumerate((*names, *values))},
                    "renameByName": dict((*names, *values)),
                },
            },
        ]

    def _defaults(self) -> Json:
        return {
            **super()._defaults(),
            "color": {"mode": "thresholds"},
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False, "minWidth": 60},
        }

    def _overrides(self) -> list[Json]:
        found: list[Json] = [
            {"matcher": {"id": "byType", "options": kind}, "properties": [{"id": "noValue", "value": text}]}
            for kind, text in (("number", "-"), ("string", ""))
        ]
        for label, title in self.labels:
            properties: list[Json] = []
            if label in self.label_links:
                properties.append({"id": "links", "value": [self.label_links[label]]})
            if label in self.label_widths:
                properties.append({"id": "custom.width", "value": self.label_widths[label]})
            if label in self.label_words:
                options = {
                    value: {"text": value, "color": colour, "index": i} for i, (value, colour) in enumerate(self.label_words[label].items())
                }
                properties.append({"id": "mappings", "value": [{"type": "value", "options": options}]})
                properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
            if properties:
                found.append({"matcher": {"id": "byName", "options": title}, "properties": properties})
        found += [{"matcher": {"id": "byName", "options": c.title}, "properties": _cell(c)} for c in self.columns if not c.hidden]
        return found

    def _options(self) -> Json:
        options: Json = {"cellHeight": "sm", "showHeader": True}
        if self.sort:
            options["sortBy"] = [{"displayName": self.sort, "desc": True}]
        return options


def _nameless(expression: str) -> str:
    """A selector's values without its name, which would keep the rows of two rules apart."""
    return f"{expression} + 0" if re.fullmatch(r"[\w:]+{[^{}]*}", expression) else expression


def _cell(column: Column) -> list[Json]:
    properties: list[Json] = [{"id": "unit", "value": column.unit}]
    if column.decimals is not None:
        properties.append({"id": "decimals", "value": column.decimals})
    if column.maximum is not None:
        properties.append({"id": "max", "value": column.maximum})
    if column.thresholds is not PLAIN:
        steps = [{"value": value, "color": colour} for value, colour in column.thresholds]
        properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": steps}})
    if column.bar:
        properties.append({"id": "min", "value": 0})
        properties.append({"id": "custom.cellOptions", "value": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}})
    elif column.thresholds is not PLAIN or column.words:
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    if column.words:
        options = {value: {"text": text, "color": colour, "index": i} for i, (value, (text, colour)) in enumerate(column.words.items())}
        properties.append({"id": "mappings", "value": [{"type": "value", "options": options}]})
    if column.width is not None:
        properties.append({"id": "custom.width", "value": column.width})
    return properties

"""Asks a Prometheus what a dashboard would ask, with the variables set as a person would set them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.dashboards.history import ask
from tests.dashboards.lint_pages import panels_of

POINTS = 200
NAMED = ("job", "instance", "server")
ALL = dict.fromkeys(NAMED, ".+") | dict.fromkeys(("cluster", "namespace", "model"), ".*")
"""As the dashboards' allValue has it."""


@dataclass(frozen=True)
class History:
    """A Prometheus and the period that it knows, in unix seconds; `step` is what lies between two scrapes."""

    url: str
    start: float
    end: float
    step: float


@dataclass(frozen=True)
class Answer:
    """What one target says."""

    page: str
    panel: dict[str, Any]
    expression: str
    series: list[dict[str, Any]]

    @property
    def where(self) -> str:
        return f"{self.page} / {self.panel['title']}"

    @property
    def values(self) -> list[float]:
        return [float(value) for series in self.series for _, value in series.get("values", [series.get("value")])]


def answers(history: History, page: Mapping[str, Any], chosen: Mapping[str, str]) -> Iterator[Answer]:
    """What each target of a page says; numbers at the end of the period, graphs over it. Fails with Prometheus' own words."""
    for panel in panels_of(dict(page)):
        for target in panel["targets"]:
            yield Answer(page["uid"], panel, target["expr"], said(history, target["expr"], chosen, instant=target["instant"]))


def said(history: History, expression: str, chosen: Mapping[str, str], *, instant: bool) -> list[dict[str, Any]]:
    """The series of one expression."""
    query = interpolated(history, expression, ALL | dict(chosen))
    if instant:
        found = ask(history.url, "query", query=query, time=history.end)["result"]
    else:
        step = max(history.step, (history.end - history.start) / POINTS)
        found = ask(history.url, "query_range", query=query, start=history.start, end=history.end, step=step)["result"]
    return list(found)


def interpolated(history: History, expression: str, chosen: Mapping[str, str]) -> str:
    """As Grafana does: a rate is over four scrapes at least, a value stands for itself in a regular expression."""
    step = max(history.step, (history.end - history.start) / POINTS)
    interval = math.ceil(max(step + history.step, 4 * history.step))
    macros = {"__rate_interval": f"{interval}s", "__range": f"{history.end - history.start:.0f}s"}
    return re.sub(r"\$(\w+)", lambda found: {**chosen, **macros}[found[1]], expression)


def one_value(history: History, name: str) -> str:
    """A value of a variable: of those of the busiest server, so that other variables' values go with it."""
    found = ask(
        history.url,
        "query",
        query="topk(1, sum by (cluster, namespace, job, instance, server, model) (infermeter_inferences_total))",
        time=history.end,
    )
    return str(found["result"][0]["metric"].get(name, ""))

"""What people ask: the queries of every panel of dashboards/*.json, with the variables filled in as Grafana does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards"
POINTS = 720
"""Of a graph: what Grafana asks for a day, at a step of two minutes."""


@dataclass(frozen=True, slots=True)
class Question:
    """A panel's query; `instant`: one value for each series, else a graph."""

    page: str
    panel: str
    promql: str
    instant: bool


def questions(*, scrape_seconds: float, period_seconds: float, chosen: Mapping[str, str]) -> list[Question]:
    """Every panel's queries: what isn't `chosen` of the variables is at All. Ranges of rates are Grafana's: four scrapes at least."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        page = json.loads(path.read_text())
        values = {variable["name"]: variable.get("allValue") or ".*" for variable in page["templating"]["list"]}
        values |= {name: re.escape(value).replace("\\", "\\\\") for name, value in chosen.items()}
        values |= {
            "__rate_interval": f"{max(4 * scrape_seconds, period_seconds / POINTS + scrape_seconds):.0f}s",
            "__interval": f"{max(1.0, period_seconds / POINTS):.0f}s",
            "__range": f"{period_seconds:.0f}s",
        }
        for panel in page["panels"]:
            found += [
                Question(page["uid"], panel["title"], _filled(target, values), bool(target.get("instant")))
                for target in panel.get("targets", ())
            ]
    return found


def _filled(target: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """The expression with each `$name` and `${name:format}` replaced."""
    return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", lambda match: values[match[1] or match[2]], target["expr"])

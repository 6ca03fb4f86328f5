"""What pages colour by: the constants of alerts/rules/thresholds.yaml, so that a limit stands in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

_FILE = Path(__file__).resolve().parents[2] / "alerts" / "rules" / "thresholds.yaml"
_CONSTANT = re.compile(r"vector\(([\d.]+)\)")


def limit(name: str) -> float:
    """The value of a constant: `threshold:...` or `colour:...`. Raises: KeyError for a name that isn't there."""
    return _constants()[name]


@cache
def _constants() -> Mapping[str, float]:
    groups = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["groups"]
    found = ((rule["record"], _CONSTANT.fullmatch(rule["expr"])) for group in groups for rule in group["rules"])
    return {name: float(constant[1]) for name, constant in found if constant is not None}


BURN_PAGES = limit("threshold:infermeter_sla_burn_1h:ratio")
BURN_PAGES_SLOWER = limit("threshold:infermeter_sla_burn_6h:ratio")
MOSTLY_IDLE = limit("threshold:infermeter_mostly_idle:ratio")
IDLE_MONEY, IDLE_MONEY_HIGH = limit("colour:infermeter_cost_idle:ratio"), limit("colour:infermeter_cost_idle_high:ratio")
IDLE_GPU = limit("colour:infermeter_gpu_idle:ratio")
BUDGET_LEFT = limit("colour:infermeter_sla_budget_left:ratio")
OVER_CAPACITY = limit("colour:infermeter_cost_over_capacity:ratio")
OVER_CAPACITY_HIGH = limit("colour:infermeter_cost_over_capacity_high:ratio")
ERRORS, ERRORS_HIGH = limit("colour:infermeter_inferences_errors:ratio"), limit("colour:infermeter_inferences_errors_high:ratio")
BUDGET_FORECAST = limit("colour:infermeter_budget_forecast:ratio")
COVERAGE = limit("colour:infermeter_span_coverage:ratio")
SETTLED_BEHIND_SECONDS = limit("colour:infermeter_settled_behind:seconds")
PRICE_AGE_SECONDS = limit("colour:infermeter_price_age:seconds")
OPEN_FILES = limit("colour:infermeter_open_files:ratio")

"""What promtool doesn't look at: money keeps its currency, ratios are made of sums, labels are kept, thresholds stand in one place.

Each check is given one rule as YAML has it, and returns the problems. PromQL is looked at as text with balanced brackets: promtool has
parsed it before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Rule = Mapping[str, Any]
Check = Callable[[Rule], list[str]]

AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile", "topk", "bottomk", "count_values")
RECORD = re.compile(r"^(?P<level>[a-z_]+):(?P<metric>[a-z0-9_]+):(?P<operations>[a-z0-9_]+)$")
SEVERITIES = ("critical", "warning", "info")
CATEGORIES = ("cost", "efficiency", "advice", "sla", "exporter")
SCOPES = ("instance", "server", "namespace", "fleet")
DASHBOARDS = tuple(f"infermeter-{name}" for name in ("fleet", "server", "stages", "cost", "idle", "rightsizing", "slo", "exporter"))

SUMS_OF_QUOTIENTS = {
    "instance:infermeter_inferences_within_sla:ratio_rate1h": "each model's inferences x its own share: the sum is of inferences",
    "instance:infermeter_capacity_used:ratio_rate1h": "each model's inferences over its own capacity: the sum is of machine time",
    "server_state:infermeter_gpu_state_seconds:rate5m": "each GPU over the servers that report it: the sum is of GPUs",
    "server:infermeter_gpu_power_watts:sum": "as above",
    "server:infermeter_gpu_power_limit_watts:sum": "as above",
    "server:infermeter_gpu_baseline_watts:sum": "as above",
    "server_direction:infermeter_gpu_pcie_bytes:rate5m": "as above",
}
"""Records whose definition is a sum of quotients, and why that is no mean of ratios."""

STATES_THAT_ARE_COUNTERS = {"infermeter_state_files_rejected_total": "counted at the start of a process alone, before anything scrapes it"}
"""Counters that are compared as they are, and why."""

_AGGREGATION = re.compile(rf"\b({'|'.join(AGGREGATIONS)})\s*(?:(by|without)\s*\(([^)]*)\)\s*)?\(")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"\b[a-z_][a-z0-9_]*(?::[a-z0-9_]+)*\b")
_DIVISION = re.compile(r"/\s*(?:on\s*\([^)]*\)\s*)?(?:group_(?:left|right)\s*(?:\([^)]*\))?\s*)?")
_LITERAL = re.compile(r"(?:[<>]=?|==|!=)\s*(?:bool\s+)?(-?[\d.]+)\b")


def without_strings(expr: str) -> str:
    """Label values and comments can't be taken for names then."""
    return re.sub(r"#[^\n]*", "", _STRING.sub('""', expr))


def balanced(text: str, opens: int) -> str:
    """What is between the bracket at `opens` and the one that closes it."""
    depth = 0
    for at in range(opens, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return text[opens + 1 : at]
    raise AssertionError(f"a bracket isn't closed: {text}")


def aggregations(expr: str) -> Iterator[tuple[str, str | None, frozenset[str], str]]:
    """Operator, `by`, `without` or None, its labels, and what is aggregated; nested ones too."""
    text = without_strings(expr)
    for found in _AGGREGATION.finditer(text):
        labels = frozenset(label.strip() for label in (found[3] or "").split(",") if label.strip())
        yield found[1], found[2], labels, balanced(text, found.end() - 1)


def names(expr: str) -> set[str]:
    """Metrics and recorded series that an expression names."""
    return {name for name in _NAME.findall(without_strings(expr)) if name.startswith(("infermeter_", "up")) or ":" in name}


def title(rule: Rule) -> str:
    return str(rule.get("record") or rule.get("alert"))


def window_gauges(rule: Rule) -> list[str]:
    """They are for a person without rules, and can't be added up."""
    return [f"{title(rule)}: {name} is a window_ gauge" for name in sorted(names(rule["expr"])) if name.startswith("infermeter_window_")]


def currency_kept(money: set[str]) -> Check:
    """`money`: every series with a currency. An aggregation of one of them has it in `by`, or not in `without`."""

    def check(rule: Rule) -> list[str]:
        return [
            f"{title(rule)}: {operator} of money loses the currency"
            for operator, kind, labels, inner in aggregations(rule["expr"])
            if names(inner) & money and ("currency" in labels) != (kind == "by")
        ]

    return check


def money_series(rules: list[Rule], families: set[str]) -> set[str]:
    """Families of money, and all that is recorded of them."""
    money = set(families)
    for rule in rules * 3:  # of what is recorded of what is recorded
        operands = re.split(r"\b(?:and|unless)\b", without_strings(rule["expr"]))[0]
        if "record" in rule and names(operands) & money:
            money.add(rule["record"])
    return money


def parts_apart(rule: Rule) -> list[str]:
    """No aggregation of quotients, and none of recorded ratios: the mean of ratios is no ratio of sums."""
    if title(rule) in SUMS_OF_QUOTIENTS:
        return []
    text = without_strings(rule["expr"])
    problems = [
        f"{title(rule)}: {operator} of a quotient"
        for operator, _, _, inner in aggregations(text)
        if operator in ("sum", "avg") and re.search(r"/\s*(?!\s*3600)", inner)
    ]
    averaged = [inner for operator, _, _, inner in aggregations(text) if operator in ("sum", "avg")]
    averaged += [balanced(text, found.end() - 1) for found in re.finditer(r"\b(?:avg|sum)_over_time\s*\(", text)]
    for inner in averaged:
        problems += [f"{title(rule)}: the mean of {name}" for name in sorted(names(inner)) if re.search(r":(?:ratio|share|p\d)", name)]
    return problems


def labels_kept(rule: Rule) -> list[str]:
    """Nothing is added up over clusters, namespaces, jobs or servers, unless the level says so."""
    found = RECORD.match(title(rule))
    level = found["level"] if found else rule.get("labels", {}).get("scope", "")
    kept = {"cluster", "namespace"} | ({"job"} if not level.startswith(("namespace", "fleet")) else set())
    return [
        f"{title(rule)}: {operator} {kind or ''} loses {', '.join(sorted(lost))}"
        for operator, kind, labels, _ in aggregations(rule["expr"])
        if title(rule) not in OVER_ALL and (lost := kept & labels if kind == "without" else kept - labels)
    ]


OVER_ALL = {
    "InfermeterExporterAbsent": "of the whole fleet",
    "fleet_gpu:infermeter_gpu_servers:count": "one GPU, whoever reports it",
    "InfermeterBudgetForecastExceeded": "a budget without a cluster holds in each",
}
"""Rules that look beyond a server's job or a cluster, and why."""


def division_guarded(rule: Rule) -> list[str]:
    """What is divided by is a number, or filtered by `> 0` there or where it is recorded."""
    text = without_strings(rule["expr"])
    problems = []
    for found in _DIVISION.finditer(text):
        divisor = text[found.end() :].lstrip()
        if re.match(r"[\d.]+", divisor) or divisor.startswith("clamp_min"):
            continue
        aggregated = _AGGREGATION.match(divisor)
        opens = aggregated.end() - 1 if aggregated else 0
        operand = balanced(divisor, opens) if divisor[opens] == "(" else re.split(r"[\s{[]", divisor)[0]
        if "> 0" not in operand and not names(operand) & ABOVE_ZERO.keys():
            problems.append(f"{title(rule)}: divides by what may be 0")
    return problems


ABOVE_ZERO = {
    "server_model_bound:infermeter_capacity_at_sla_inferences_per_second:sum": "of capacities above 0 alone",
    "server:infermeter_inferences_divisible:rate5m": "of at least so many inferences as are evidence",
    "server:infermeter_inferences_divisible:rate1h": "as above",
    "server_model:infermeter_inferences_divisible:rate5m": "as above",
    "server_model:infermeter_inferences_divisible:rate1h": "as above",
    "fleet_gpu:infermeter_gpu_servers:count": "a count",
}
"""Recorded series that are never 0, and why."""


def counters_as_rates(rule: Rule) -> list[str]:
    """A counter says something through its increase alone."""
    text = without_strings(rule["expr"])
    inside = "".join(balanced(text, found.end() - 1) for found in re.finditer(r"\b(?:rate|increase|resets|changes)\s*\(", text))
    raw = {name for name in names(text) if re.search(r"^infermeter_\w+_(?:total|bucket|sum|count)$", name)} - names(inside)
    return [f"{title(rule)}: {name} is a counter" for name in sorted(raw - STATES_THAT_ARE_COUNTERS.keys())]


def named(rule: Rule) -> list[str]:
    """`level:metric:operations`, and alerts that say whose they are."""
    if "record" in rule:
        return [] if RECORD.match(rule["record"]) else [f"{rule['record']}: isn't level:metric:operations"]
    return [] if re.match(r"^Infermeter([A-Z][a-z]+)+$", rule["alert"]) else [f"{rule['alert']}: isn't InfermeterCamelCase"]


def compares(rule: Rule) -> list[str]:
    """An alert fires on a comparison, of metric with metric: numbers other than 0 and 1 are thresholds, and stand elsewhere."""
    if "alert" not in rule:
        return []
    text = without_strings(rule["expr"])
    problems = [] if re.search(r"[<>]|==|\babsent\(", text) else [f"{title(rule)}: compares nothing"]
    literals = {number for number in _LITERAL.findall(text) if float(number) not in (0.0, 1.0)}
    return problems + [f"{title(rule)}: {number} is no named threshold" for number in sorted(literals - {"6"})]


def annotated(rule: Rule) -> list[str]:
    """Summary static, so that grouped alerts share one headline; description with all the templating; links; labels from closed sets."""
    if "alert" not in rule:
        return []
    labels, notes, problems = rule["labels"], rule.get("annotations", {}), []
    for label, allowed in (("severity", SEVERITIES), ("category", CATEGORIES), ("scope", SCOPES)):
        if labels.get(label) not in allowed:
            problems.append(f"{label} {labels.get(label)}")
    if "$value" in str(labels):
        problems.append("a label changes with the value")
    summary, description = notes.get("summary", ""), notes.get("description", "")
    if "{{" in summary or not re.match(r"^[A-Z].*\.$", summary):
        problems.append("the summary isn't one static sentence")
    if "{{" not in description and labels.get("scope") != "fleet":
        problems.append("the description names nothing")
    if not re.search(r"\b(?:costs?|money|budget|saves|SLA|currency|prices?|energy)\b", description):
        problems.append("the description names neither money nor the SLA")
    if not notes.get("runbook_url", "").endswith(f"/{rule['alert']}.md"):
        problems.append("no runbook")
    if not any(f"/d/{uid}?" in notes.get("dashboard_url", "") for uid in DASHBOARDS):
        problems.append("no dashboard")
    return [f"{title(rule)}: {problem}" for problem in problems]

"""Rules that every expression of a dashboard keeps, on PromQL's syntax tree. Each finding is (rule, what is wrong)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeAlias

import promql_parser as promql
from dashboards.src import promql as names

from infermeter.metrics import catalog

Finding: TypeAlias = tuple[str, str]

RATE_INTERVAL, PERIOD, INTERVAL = 887654, 606977, 486785
"""Seconds that stand for Grafana's variables while an expression is parsed."""

VARIABLE = "variable_"
FAMILIES = {family.full_name: family for family in catalog.CATALOG}
OUTSIDE = {outside.name: outside for outside in names.OUTSIDE}
SUFFIXES = ("_bucket", "_sum", "_count")
COUNTER_CALLS = ("rate", "irate", "increase")
CHOOSING = ("topk", "bottomk")
SETTLED = {family.full_name for family in names.SETTLED}
RATIOS = ("server:infermeter_cost_idle:ratio_rate1h",)
"""Recorded from money by money, so without a currency to keep."""

_LEVEL_WORDS = {
    "namespace": {"cluster", "namespace"},
    "fleet": {"cluster"},
    "server": {"cluster", "namespace", "job", "server"},
    "instance": {"cluster", "namespace", "job", "server", "instance"},
    "gpu": {"gpu_uuid"},
}


def parsed(expression: str) -> Any:
    """Raises: ValueError for what isn't PromQL."""
    text = (
        expression.replace("$__rate_interval", f"{RATE_INTERVAL}s").replace("$__range", f"{PERIOD}s").replace("$__interval", f"{INTERVAL}s")
    )
    return promql.parse(re.sub(r"\$(\w+)|\$\{(\w+)[^}]*\}", lambda found: VARIABLE + (found[1] or found[2]), text))


def findings(expression: str, legend: str | None = None) -> Iterator[Finding]:
    """All that is wrong with one target; `legend` where it names series."""
    try:
        tree = parsed(expression)
    except ValueError as error:
        yield "target-promql", str(error)
        return
    for node, parents in walk(tree):
        if isinstance(node, promql.VectorSelector):
            yield from _selector(node, parents)
        elif isinstance(node, promql.AggregateExpr):
            yield from _aggregate(node)
        elif isinstance(node, promql.BinaryExpr) and str(node.op) == "/" and not _guarded(node.rhs):
            yield "division-guarded", f"{node.rhs} may be 0"
        elif isinstance(node, promql.Call) and node.func.name == "histogram_quantile":
            yield from _quantile(node, parents)
    if legend is not None:
        missing = set(re.findall(r"{{\s*(\w+)\s*}}", legend)) - (known := labels(tree))
        if missing:
            yield "legend-labels", f"{sorted(missing)} aren't among {sorted(known)}"


def walk(node: Any, parents: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each node with those above it, the root first."""
    yield node, parents
    below = (*parents, node)
    for name in ("expr", "lhs", "rhs", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str | int | float | bool):
            yield from walk(child, below)
    if isinstance(node, promql.MatrixSelector):
        yield from walk(node.vector_selector, below)
    for child in getattr(node, "args", None) or ():
        yield from walk(child, below)


def family_of(name: str) -> catalog.Family | None:
    """The catalog's family of a series, parts of a histogram included."""
    for suffix in ("", *SUFFIXES):
        family = FAMILIES.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if family is not None and (not suffix or family.kind == "histogram"):
            return family
    return None


def series_names(expression: str) -> set[str]:
    """The names of all series that an expression reads."""
    return {node.name for node, _ in walk(parsed(expression)) if isinstance(node, promql.VectorSelector)}


def labels(node: Any) -> set[str]:
    """The labels that a series of the expression can have."""
    if isinstance(node, promql.VectorSelector):
        return _selected_labels(node.name)
    if isinstance(node, promql.MatrixSelector):
        return labels(node.vector_selector)
    if isinstance(node, promql.AggregateExpr):
        inner = labels(node.expr)
        if str(node.op) in CHOOSING:
            return inner
        return set(node.modifier.labels) & inner if node.modifier else set()
    if isinstance(node, promql.BinaryExpr):
        return _binary_labels(node)
    if isinstance(node, promql.Call):
        inner = set[str]().union(*(labels(argument) for argument in node.args)) if node.args else set()
        return inner - {"le"} if node.func.name == "histogram_quantile" else inner
    return labels(node.expr) if hasattr(node, "expr") else set()


def money(node: Any) -> bool:
    """Whether the values are of some currency: money over money isn't."""
    if isinstance(node, promql.VectorSelector):
        return _is_money(node.name)
    if isinstance(node, promql.MatrixSelector):
        return money(node.vector_selector)
    if isinstance(node, promql.AggregateExpr):
        return str(node.op) != "count" and money(node.expr)
    if isinstance(node, promql.BinaryExpr):
        if node.modifier and node.modifier.return_bool:
            return False
        if str(node.op) == "/":
            return money(node.lhs) and not money(node.rhs)
        return money(node.lhs) or (str(node.op) in {"*", "+", "-", "or"} and money(node.rhs))
    if isinstance(node, promql.Call):
        return any(money(argument) for argument in node.args)
    return hasattr(node, "expr") and money(node.expr)


def _selector(node: Any, parents: tuple[Any, ...]) -> Iterator[Finding]:
    name = node.name
    matchers = {(matcher.name, matcher.value) for matcher in node.matchers.matchers}
    for label in _wanted_matchers(name):
        if not any(label == of and VARIABLE + label in value for of, value in matchers):
            yield "target-variables", f"{name} lacks {label}=~${label}"
    family = family_of(name)
    if family is None and name not in OUTSIDE and ":" not in name:
        yield "known-names", f"nobody publishes {name}"
    over = parents[-1] if parents and isinstance(parents[-1], promql.MatrixSelector) else None
    call = parents[-2].func.name if over is not None and len(parents) > 1 and isinstance(parents[-2], promql.Call) else None
    counter = name.endswith("_total") or (family is not None and family.kind == "histogram")
    if counter and call not in COUNTER_CALLS and not _only_exists(parents):
        yield "target-counter-agg", f"{name} is a counter: rate or increase"
    if over is not None and call in {"rate", "irate"}:
        yield from _rate(name, over.range)


def _rate(name: str, over: timedelta) -> Iterator[Finding]:
    seconds = int(over.total_seconds())
    if seconds == PERIOD:
        return
    if name in SETTLED:
        if seconds != 3600:
            yield "rate-interval", f"{name} moves in steps of minutes: its rate is over 1h"
    elif seconds not in {RATE_INTERVAL, 3600}:
        yield "rate-interval", f"{name}: rate over {seconds} s instead of $__rate_interval"


def _only_exists(parents: tuple[Any, ...]) -> bool:
    """`and max by (...) (x_total)`: the values don't matter, only that there are any."""
    for above, node in pairwise(parents):
        if isinstance(above, promql.BinaryExpr) and str(above.op) in {"and", "unless"} and str(above.rhs) == str(node):
            return True
    return False


def _aggregate(node: Any) -> Iterator[Finding]:
    kept = set(node.modifier.labels) if node.modifier else set()
    operation = str(node.op)
    for inner, parents in walk(node.expr):
        if not isinstance(inner, promql.VectorSelector):
            continue
        if inner.name.startswith("infermeter_window_") and operation not in CHOOSING:
            yield "window-never-aggregated", f"{operation} of {inner.name}"
        family = family_of(inner.name)
        if family is not None and catalog.GPU_UUID in family.labels and operation in {"sum", "avg"}:
            between = [above for above in parents if isinstance(above, promql.AggregateExpr)]
            if not any(str(above.op) == "max" and "gpu_uuid" in above.modifier.labels for above in between):
                yield "gpu-once", f"{operation} of {inner.name} without max by (gpu_uuid)"
    if operation != "count" and money(node.expr) and "currency" not in kept:
        yield "money-keeps-currency", f"{operation} of money without currency: {node.expr}"


def _quantile(node: Any, parents: tuple[Any, ...]) -> Iterator[Finding]:
    inner = node.args[1]
    shaped = isinstance(inner, promql.AggregateExpr) and str(inner.op) == "sum" and inner.modifier and "le" in inner.modifier.labels
    if not shaped:
        yield "quantile-shape", f"histogram_quantile of {inner}"
    if not (parents and isinstance(parents[-1], promql.BinaryExpr) and str(parents[-1].op) == ">="):
        yield "quantile-never-nan", "a model without a request has NaN: >= 0 leaves it out"


def _guarded(node: Any) -> bool:
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    if isinstance(node, promql.NumberLiteral):
        return True
    return isinstance(node, promql.BinaryExpr) and str(node.op) in {">", "!="}


def _wanted_matchers(name: str) -> tuple[str, ...]:
    family = family_of(name)
    if family is not None:
        return (*names.SCRAPED, "server", *(("model",) if catalog.MODEL in family.labels else ()))
    if name in OUTSIDE:
        return OUTSIDE[name].labels
    level = name.partition(":")[0].split("_")
    return () if name.endswith(":per_30d") or level[0] == "threshold" else tuple(sorted(_LEVEL_WORDS.get(level[0], ())))


def _selected_labels(name: str) -> set[str]:
    family = family_of(name)
    if family is not None:
        edge = {"le"} if name.endswith("_bucket") else set()
        return {*names.SCRAPED, "server", *(label.name for label in family.labels), *edge}
    if name in OUTSIDE:
        return {*names.SCRAPED, "server", "alertname", "severity"}
    words = name.partition(":")[0].split("_")
    found = set[str]().union(*(_LEVEL_WORDS.get(word, {word}) for word in words))
    return found | ({"currency"} if _is_money(name) or name in RATIOS else set())


def _binary_labels(node: Any) -> set[str]:
    left, right = labels(node.lhs), labels(node.rhs)
    if isinstance(node.lhs, promql.NumberLiteral) or (isinstance(node.lhs, promql.Call) and node.lhs.func.name == "time"):
        return right
    if str(node.op) == "or":
        return left | right
    if str(node.op) in {"and", "unless"} or isinstance(node.rhs, promql.NumberLiteral) or node.modifier is None:
        return left
    matching, taken = node.modifier.matching, node.modifier.card
    extra = set(node.modifier.group_labels or ()) if hasattr(node.modifier, "group_labels") else set()
    if "ManyToOne" in str(taken):
        return left | extra
    return (left & set(matching.labels)) if matching is not None and "On" in str(matching.type) else left


def _is_money(name: str) -> bool:
    family = family_of(name)
    if family is not None:
        return catalog.CURRENCY in family.labels
    return ":" in name and name not in RATIOS and bool(re.search(r"infermeter_(cost|budget|waterfall_cost)", name))


def selectors(expression: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each series name with its matchers' values."""
    for node, _ in walk(parsed(expression)):
        if isinstance(node, promql.VectorSelector):
            yield node.name, {matcher.name: matcher.value for matcher in node.matchers.matchers}

"""What a server's own /metrics tells, for people: a part of the reference of servers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infermeter.mapping.metrics import CountRule, Gauge, MetricRules, What, Work
from infermeter.mapping.series import SeriesRule
from infermeter.mapping.texts import TextMatch
from infermeter.mapping.times import TimeRule
from infermeter.model import TimeOf

_COUNTED: dict[What, str] = {
    "ok": "inferences that ended well",
    "error": "failed inferences",
    None: "inferences",
    "input": "input tokens",
    "output": "output tokens",
    "executed": "inferences executed",
    "executions": "executions that they were in",
}
_GAUGED: dict[Gauge, str] = {
    "running": "inferences that run right now",
    "waiting": "inferences that wait",
    "batch_size": "batch size",
    "kv_cache_used": "use of the KV cache",
}
_TIMED: dict[TimeOf, str] = {"duration": "durations", "ttft": "times to first token", "tpot": "times per output token"}
_WORKED: dict[Work, str] = {
    "flops": "floating-point operations of a GPU",
    "bytes_read": "bytes that it read from its memory",
    "bytes_written": "bytes that it wrote there",
}
_ORIGINS = {
    "captured": "captured (a real server exposed it)",
    "published": "published (somebody else's recording)",
    "derived from source": "derived from source (written after reading the server's code: nothing of it was measured)",
}


def metrics_lines(rules: MetricRules | None) -> Iterator[str]:
    """Entries of a list: where they are, and what they tell."""
    if rules is None:
        yield "- own metrics: none that are read"
        return
    if rules.origin is not None:
        yield f"- its metrics were tried with a page that is {_ORIGINS[rules.origin]}"
    yield f"- own metrics{f', {rules.endpoint}' if rules.endpoint else ''}: {'; '.join(_told(rules))}"


def _told(rules: MetricRules) -> Iterator[str]:
    yield from (_count(count) for count in rules.counts)
    if rules.ok_is_what_is_left:
        yield "those that ended well are the rest"
    yield from (f"{_GAUGED[gauge]} ({_series(series)})" for gauge, series in rules.gauges.items())
    yield from (_time(time) for time in rules.times)
    yield from (f"{_WORKED[work]}, estimated ({_series(series)})" for work, series in rules.work.items())
    yield f"by model (`{rules.model_label}`)" if rules.model_label else "no model: `server.model`, or the only one that its API lists"
    if rules.inner_calls:
        where = "where there are several, " if rules.among_several else ""
        yield f"calls by other models are among a model's: {where}one counts once a span has shown it asked directly"


def _count(rule: CountRule) -> str:
    told = _series(rule.series)
    if rule.outcome_label is not None:
        told += f", failed where `{rule.outcome_label}` is {_any(rule.errors)}"
    return f"{_COUNTED[rule.what]} ({told})"


def _time(rule: TimeRule) -> str:
    name = f"{rule.of[0]}'s part `{rule.of[1]}`" if isinstance(rule.of, tuple) else _TIMED.get(rule.of, f"time in {rule.of}")
    if rule.counts is None or not rule.counts.names[0].endswith("_count"):
        return f"{name} ({_series(rule.sums)}, a sum{'' if rule.counts is None else f' over `{rule.counts.names[0]}`'})"
    whole = SeriesRule(tuple(one.removesuffix("_sum") for one in rule.sums.names), rule.sums.where)
    return f"{name} ({_series(whole)}, {'a sum' if rule.buckets is None else 'a histogram'})"


def _series(rule: SeriesRule) -> str:
    where = "".join(f" where `{label}` is {_any((match,))}" for label, match in rule.where)
    return " or ".join(f"`{name}`" for name in rule.names) + where


def _any(matches: tuple[TextMatch, ...]) -> str:
    return " or ".join(text for match in matches for text in _texts(match))


def _texts(match: TextMatch) -> list[str]:
    if match.pattern is not None:
        return [f"like `{match.pattern.pattern}`"]
    return [f"`{text}`" for text in sorted(match.exact)] if match.prefix is None else [f"`{match.prefix}...`"]

"""Whose /metrics a page is: the mappings that can tell anything of one, and which of them it fits. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from infermeter.errors import ConfigError
from infermeter.fetching import url_problem
from infermeter.mapping import ServerMapping, shipped_mappings
from infermeter.mapping.metrics import MetricRules

KEY = "server.metrics_url"


def check_metrics_url(url: str, mappings: Sequence[ServerMapping]) -> None:
    """Tells what can't be: a URL that nobody can ask, or a page that none of the `mappings` that apply could read.

    Raises: ConfigError.
    """
    problem = url_problem(url)
    if problem is not None:
        raise ConfigError(KEY, problem)
    if not any(mapping.metrics for mapping in mappings):
        able = ", ".join(sorted(mapping.server for mapping in shipped_mappings().values() if mapping.metrics))
        named = " and ".join(mapping.server for mapping in mappings)
        raise ConfigError(KEY, f"nothing is known of {named}'s own metrics; server.kind is one of {able}, or a mapping has `metrics`")


def recognised(mappings: Sequence[ServerMapping], present: Collection[str]) -> tuple[ServerMapping, MetricRules] | None:
    """The first of the `mappings`, in order of precedence, that reads a metric that is `present`, and its rules."""
    for mapping in mappings:
        if mapping.metrics is not None and not set(mapping.metrics.names).isdisjoint(present):
            return mapping, mapping.metrics
    return None

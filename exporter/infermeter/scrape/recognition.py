"""Whose /metrics a page is: the mappings that can tell anything of one, and which of them it fits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from infermeter.errors import ConfigError
from infermeter.mapping import ServerMapping, shipped_mappings
from infermeter.mapping.metrics import MetricRules
from infermeter.model import Series
from infermeter.network.fetching import url_problem

KEY = "server.metrics_url"

_TYPE: Final = re.compile(rb"^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]{0,127}) ", re.MULTILINE)


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


def recognised(mappings: Sequence[ServerMapping], page: Iterable[Series]) -> tuple[ServerMapping, MetricRules] | None:
    """The first of the `mappings`, in order of precedence, that reads a series of the `page`, and its rules.

    Any of them will do: a counter may not be there before it counts.
    """
    page = list(page)
    for mapping in mappings:
        rules = mapping.metrics
        if rules is not None and any(rules.reads(one.name, one.labels) for one in page):
            return mapping, rules
    return None


def declared(mappings: Sequence[ServerMapping], body: bytes) -> tuple[ServerMapping, MetricRules] | None:
    """The first of the `mappings`, in order of precedence, of whose metrics a page says the type, though it has no series of any yet."""
    families = {match[1].decode() for match in _TYPE.finditer(body)}
    for mapping in mappings:
        rules = mapping.metrics
        if rules is not None and any(_family(name) in families or name in families for name in rules.unmistakable_names):
            return mapping, rules
    return None


def _family(name: str) -> str:
    """What a series of this name belongs to: a histogram's or summary's have endings of their own."""
    return name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket")

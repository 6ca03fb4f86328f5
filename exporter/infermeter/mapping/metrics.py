"""The `metrics` section of a server's file: which series of the server's own /metrics say what. How it is written, and what it yields.

A reading is the name of a metric and what its labels tell. A new one is learnt here, and in scrape/increases.py how it adds up, once for
all servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infermeter.mapping.places import Place
from infermeter.model import Outcome

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class CountRule:
    """A counter of inferences. All of its series have the one `outcome`, or `outcome_label` tells it, or nothing does.

    `error_values` of that label are errors; every other value is ok.
    """

    name: str
    outcome: Outcome | None = None
    outcome_label: str | None = None
    error_values: frozenset[str] = frozenset()

    def outcome_of(self, labels: Mapping[str, str]) -> Outcome | None:
        """How the inferences of the series with these labels ended; None: it doesn't tell."""
        if self.outcome_label is None:
            return self.outcome
        return "error" if labels.get(self.outcome_label, "") in self.error_values else "ok"


@dataclass(frozen=True, slots=True)
class MetricRules:
    """What a server's own /metrics says. `endpoint` is for people.

    `counts` are one counter of all inferences (perhaps with one of the errors among them: ok is what is left), or one of those that ended
    well, perhaps with one of those that didn't. `model_label`: whose value is the model; None: the server doesn't name one. `running`: the
    gauge of inferences that run right now. `inner_calls`: a model's counts hold calls by other models too.
    """

    counts: tuple[CountRule, ...]
    model_label: str | None = None
    running: str | None = None
    inner_calls: bool = False
    endpoint: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics that are read. A page with any of them is this server's: a counter may not be there before it counts."""
        counts = tuple(count.name for count in self.counts)
        return counts if self.running is None else (*counts, self.running)

    @property
    def ok_is_what_is_left(self) -> bool:
        """Whether the errors have a counter of their own among all inferences."""
        return {count.outcome for count in self.counts if count.outcome_label is None} == {None, "error"}


def read_metrics(place: Place) -> MetricRules:
    """The section that stands in `place`; its problems are noted there. Raises: Unreadable."""
    at = place.keys("endpoint labels counters gauges inner_calls", required="counters")
    labels = at["labels"].keys("model", required="model") if "labels" in at else {}
    gauges = at["gauges"].keys("running", required="running") if "gauges" in at else {}
    if "inner_calls" in at:
        at["inner_calls"].true()
    rules = MetricRules(
        counts=_counts(at["counters"]),
        model_label=labels["model"].text() if labels else None,
        running=_name(gauges["running"].keys("name", required="name")) if gauges else None,
        inner_calls="inner_calls" in at,
        endpoint=at["endpoint"].text() if "endpoint" in at else None,
    )
    if len(set(rules.names)) < len(rules.names):
        raise place.wrong("two readings are of one metric")
    return rules


def _counts(place: Place) -> tuple[CountRule, ...]:
    at = place.keys("inferences ok errors")
    if ("inferences" in at) == ("ok" in at):
        raise place.wrong("must have exactly one of inferences, ok")
    first = _inferences(at["inferences"]) if "inferences" in at else CountRule(_name(at["ok"].keys("name", required="name")), "ok")
    if "errors" not in at:
        return (first,)
    if first.outcome_label is not None:
        raise at["errors"].wrong("means nothing beside inferences with by: its label tells the errors")
    return first, CountRule(_name(at["errors"].keys("name", required="name")), "error")


def _inferences(place: Place) -> CountRule:
    at = place.keys("name by", required="name")
    if "by" not in at:
        return CountRule(_name(at))
    by = at["by"].keys("label error", required="label error")
    return CountRule(_name(at), None, by["label"].text(), frozenset(by["error"].each(Place.text)))


def _name(at: Mapping[str, Place]) -> str:
    return at["name"].text(pattern=METRIC_NAME)

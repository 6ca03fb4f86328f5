"""The `metrics` section of a server's file: which series of the server's own /metrics say what. How it is written, and what it yields.

A reading is the names of a metric and what its labels tell. A new one is learnt here, and in scrape/increases.py how it adds up, once for
all servers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, TypeAlias, get_args

from infermeter.mapping.origins import ORIGINS
from infermeter.mapping.places import Place, every
from infermeter.mapping.texts import TextMatch, text_match
from infermeter.model import Direction, Outcome

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

What: TypeAlias = Outcome | Direction | Literal["executed", "executions"] | None
"""What a counter counts: inferences (by outcome, None: it doesn't tell), tokens, or inferences executed and the executions they were in."""

Gauge: TypeAlias = Literal["running", "waiting", "batch_size", "kv_cache_used"]
"""What a gauge tells: inferences that run, or wait, right now; how many the server computes at once; how full its KV cache is."""

GAUGES: tuple[Gauge, ...] = get_args(Gauge)
_PER_SECOND: Mapping[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6}
_TOKENS: Mapping[str, Direction] = {"tokens_in": "input", "tokens_out": "output"}


@dataclass(frozen=True, slots=True)
class SeriesRule:
    """Which series are read: those of the first of `names` that is exposed (others are older ones), whose labels are as `where` says."""

    names: tuple[str, ...]
    where: tuple[tuple[str, TextMatch], ...] = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        return all(match.matches(labels.get(label, "")) for label, match in self.where)


@dataclass(frozen=True, slots=True)
class CountRule:
    """A counter. All of its series count the one thing that `what` says, unless `outcome_label` tells how the inferences ended.

    Values of that label that `errors` match are errors; every other value is ok.
    """

    series: SeriesRule
    what: What = None
    outcome_label: str | None = None
    errors: tuple[TextMatch, ...] = ()

    def what_of(self, labels: Mapping[str, str]) -> What:
        """What the series with these labels counts."""
        if self.outcome_label is None:
            return self.what
        value = labels.get(self.outcome_label, "")
        return "error" if any(match.matches(value) for match in self.errors) else "ok"


@dataclass(frozen=True, slots=True)
class DurationRule:
    """A histogram of whole inferences' durations: the series of its buckets, and how many of its units make a second."""

    series: SeriesRule
    units_per_second: float = 1.0

    def edge_seconds(self, labels: Mapping[str, str]) -> float | None:
        """The upper edge of the bucket with these labels, math.inf for that of all; None: no duration is told."""
        try:
            edge = float(labels.get("le", ""))
        except ValueError:
            return None
        return edge / self.units_per_second if edge > 0 and not math.isnan(edge) else None


@dataclass(frozen=True, slots=True)
class MetricRules:
    """What a server's own /metrics says. `endpoint`, and the `origin` of the page that it was tried with, are for people.

    Of `counts`, those of inferences are one counter of all of them (perhaps with one of the errors among them: ok is what is left), or one
    of those that ended well, perhaps with one of those that didn't, or none. `model_label`: whose value is the model; None: the server
    doesn't name one. `inner_calls`: a model's counts hold calls by other models too.
    """

    counts: tuple[CountRule, ...] = ()
    gauges: Mapping[Gauge, SeriesRule] = field(default_factory=dict)
    model_label: str | None = None
    inner_calls: bool = False
    endpoint: str | None = None
    origin: str | None = None
    durations: DurationRule | None = None

    @property
    def series(self) -> tuple[SeriesRule, ...]:
        """Everything that is read."""
        histograms = () if self.durations is None else (self.durations.series,)
        return tuple(chain((count.series for count in self.counts), self.gauges.values(), histograms))

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics that are read, each once."""
        return tuple(dict.fromkeys(name for series in self.series for name in series.names))

    @property
    def unmistakable_names(self) -> tuple[str, ...]:
        """Those that need no label to say that they are this server's."""
        return tuple(name for series in self.series if not series.where for name in series.names)

    def reads(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a series of this name and these labels tells anything."""
        return any(name in series.names and series.fits(labels) for series in self.series)

    @property
    def inferences(self) -> tuple[CountRule, ...]:
        """The counters of inferences."""
        return tuple(count for count in self.counts if count.what in ("ok", "error", None))

    @property
    def directions(self) -> frozenset[Direction]:
        """The tokens that are counted."""
        return frozenset(direction for direction in _TOKENS.values() if any(count.what == direction for count in self.counts))

    @property
    def ok_is_what_is_left(self) -> bool:
        """Whether the errors have a counter of their own among all inferences."""
        return {count.what for count in self.inferences if count.outcome_label is None} == {None, "error"}


def read_metrics(place: Place) -> MetricRules:
    """The section that stands in `place`; its problems are noted there. Raises: Unreadable."""
    at = place.keys("endpoint origin labels counters gauges histograms inner_calls")
    if not at.keys() & {"counters", "gauges"}:
        raise place.wrong("must have counters or gauges")
    labels = at["labels"].keys("model", required="model") if "labels" in at else {}
    if "inner_calls" in at:
        at["inner_calls"].true()
    rules = MetricRules(
        counts=_counts(at["counters"]) if "counters" in at else (),
        gauges=_gauges(at["gauges"]) if "gauges" in at else {},
        model_label=labels["model"].text() if labels else None,
        inner_calls="inner_calls" in at,
        endpoint=at["endpoint"].text() if "endpoint" in at else None,
        origin=at["origin"].choice(ORIGINS) if "origin" in at else None,
        durations=_durations(at["histograms"]) if "histograms" in at else None,
    )
    counted = [(name, count.series.where) for count in rules.counts for name in count.series.names]
    gauged = {name for one in rules.gauges.values() for name in one.names}
    if len(set(counted)) < len(counted) or not gauged.isdisjoint(name for name, _ in counted):
        raise place.wrong("two readings are of one metric")
    if rules.inner_calls and (rules.directions or rules.durations):
        raise at["inner_calls"].wrong("with tokens or durations: those of inner calls would count too")
    return rules


def _counts(place: Place) -> tuple[CountRule, ...]:
    at = place.keys("inferences ok errors tokens_in tokens_out batch_size")
    if not at:
        raise place.wrong("is empty")
    counts = list(_served(place, at))
    counts += [CountRule(_series(at[key]), direction) for key, direction in _TOKENS.items() if key in at]
    if "batch_size" in at:
        keys = at["batch_size"].keys("name per where", required="name per")
        where = _where(keys)
        counts.append(CountRule(SeriesRule((keys["name"].text(pattern=METRIC_NAME),), where), "executed"))
        counts.append(CountRule(SeriesRule((keys["per"].text(pattern=METRIC_NAME),), where), "executions"))
    return tuple(counts)


def _served(place: Place, at: Mapping[str, Place]) -> tuple[CountRule, ...]:
    """The counters of inferences; none of them is fine."""
    if "inferences" in at and "ok" in at:
        raise place.wrong("must not have both inferences and ok")
    if "inferences" not in at and "ok" not in at:
        if "errors" in at:
            raise at["errors"].wrong("means nothing without inferences or ok")
        return ()
    first = _inferences(at["inferences"]) if "inferences" in at else CountRule(_series(at["ok"]), "ok")
    if "errors" not in at:
        return (first,)
    if first.outcome_label is not None:
        raise at["errors"].wrong("means nothing beside inferences with by: its label tells the errors")
    return first, CountRule(_series(at["errors"]), "error")


def _inferences(place: Place) -> CountRule:
    series = _series(place, also="by")
    at = place.mapping()
    if "by" not in at:
        return CountRule(series)
    by = at["by"].keys("label error", required="label error")
    return CountRule(series, None, by["label"].text(), by["error"].each(text_match))


def _gauges(place: Place) -> dict[Gauge, SeriesRule]:
    at = place.keys(" ".join(GAUGES))
    if not at:
        raise place.wrong("is empty")
    return {gauge: _series(at[gauge]) for gauge in GAUGES if gauge in at}


def _durations(place: Place) -> DurationRule:
    at = place.keys("e2e", required="e2e")["e2e"].keys("name unit older where", required="name unit")
    older = at["older"].each(_name) if "older" in at else ()
    names = tuple(f"{name}_bucket" for name in (_name(at["name"]), *older))
    return DurationRule(SeriesRule(names, _where(at)), _PER_SECOND[at["unit"].choice(tuple(_PER_SECOND))])


def _series(place: Place, *, also: str = "") -> SeriesRule:
    at = place.keys(f"name older where {also}", required="name")
    older = at["older"].each(_name) if "older" in at else ()
    return SeriesRule((_name(at["name"]), *older), _where(at))


def _where(at: Mapping[str, Place]) -> tuple[tuple[str, TextMatch], ...]:
    return every(at["where"].mapping().items(), lambda entry: (entry[0], text_match(entry[1]))) if "where" in at else ()


def _name(place: Place) -> str:
    return place.text(pattern=METRIC_NAME)

"""The `metrics` section of a server's file: which series of the server's own /metrics say what. How it is written, and what it yields.

A reading is the names of a metric and what its labels tell. A new one is learnt here (a time: in times.py), and in scrape/ how it adds up,
once for all servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, TypeAlias, get_args

from infermeter.mapping.origins import ORIGINS
from infermeter.mapping.places import Place
from infermeter.mapping.series import SeriesRule, read_name, read_series, read_where
from infermeter.mapping.texts import TextMatch, text_match
from infermeter.mapping.times import TIMES, TimeRule, read_histograms, read_summaries, read_sums
from infermeter.model import Direction, Outcome

What: TypeAlias = Outcome | Direction | Literal["executed", "executions"] | None
"""What a counter counts: inferences (by outcome, None: it doesn't tell), tokens, or inferences executed and the executions they were in."""

Gauge: TypeAlias = Literal["running", "waiting", "batch_size", "kv_cache_used"]
"""What a gauge tells: inferences that run, or wait, right now; how many the server computes at once; how full its KV cache is."""

Work: TypeAlias = Literal["flops", "bytes_read", "bytes_written"]
"""What a server estimates that each of its GPUs did: floating-point operations, bytes of its memory read and written."""

GAUGES: tuple[Gauge, ...] = get_args(Gauge)
WORK: tuple[Work, ...] = get_args(Work)
_TOKENS: Mapping[str, Direction] = {"tokens_in": "input", "tokens_out": "output"}


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
class MetricRules:
    """What a server's own /metrics says. `endpoint`, and the `origin` of the page that it was tried with, are for people.

    Of `counts`, those of inferences are one counter of all of them (perhaps with one of the errors among them: ok is what is left), or one
    of those that ended well, perhaps with one of those that didn't, or none. `model_label`: whose value is the model; None: the server
    doesn't name one. `inner_calls`: a model's counts hold calls by other models too; `among_several`: but not while it is the only one that
    was ever on the page, where all that the server has are from the start. Of `times` there is one of each at most; a stage of which only
    parts are there is what they are together. Each series of `work` is of a GPU. `known_by`: metrics that aren't read, by which a page
    without any that are is still known to be this server's.
    """

    counts: tuple[CountRule, ...] = ()
    gauges: Mapping[Gauge, SeriesRule] = field(default_factory=dict)
    model_label: str | None = None
    inner_calls: bool = False
    among_several: bool = False
    endpoint: str | None = None
    origin: str | None = None
    times: tuple[TimeRule, ...] = ()
    work: Mapping[Work, SeriesRule] = field(default_factory=dict)
    known_by: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[SeriesRule, ...]:
        """Everything that is read."""
        times = chain.from_iterable(time.series for time in self.times)
        return tuple(chain((count.series for count in self.counts), self.gauges.values(), times, self.work.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics that are read, each once."""
        return tuple(dict.fromkeys(name for series in self.series for name in series.names))

    @property
    def unmistakable_names(self) -> tuple[str, ...]:
        """Those that need no label to say that they are this server's."""
        return (*(name for series in self.series if not series.where for name in series.names), *self.known_by)

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
    at = place.keys("endpoint origin known_by labels counters gauges histograms summaries inner_calls")
    if not at.keys() & {"counters", "gauges"}:
        raise place.wrong("must have counters or gauges")
    labels = at["labels"].keys("model", required="model") if "labels" in at else {}
    inner_calls = at["inner_calls"].choice(("true", "several")) if "inner_calls" in at else None
    rules = MetricRules(
        counts=_counts(at["counters"]) if "counters" in at else (),
        gauges=_gauges(at["gauges"]) if "gauges" in at else {},
        model_label=labels["model"].text() if labels else None,
        inner_calls=inner_calls is not None,
        among_several=inner_calls == "several",
        endpoint=at["endpoint"].text() if "endpoint" in at else None,
        origin=at["origin"].choice(ORIGINS) if "origin" in at else None,
        times=_times(at),
        work=_work(at["counters"]) if "counters" in at else {},
        known_by=at["known_by"].each(read_name) if "known_by" in at else (),
    )
    if not {name for series in rules.series if not series.where for name in series.names}.isdisjoint(rules.known_by):
        raise at["known_by"].wrong("means nothing of a metric that is read without where: a page is known by it anyway")
    counted = [(name, count.series.where) for count in rules.counts for name in count.series.names]
    gauged = {name for one in rules.gauges.values() for name in one.names}
    if len(set(counted)) < len(counted) or not gauged.isdisjoint(name for name, _ in counted):
        raise place.wrong("two readings are of one metric")
    if len({time.of for time in rules.times}) < len(rules.times) or len({time.sums for time in rules.times}) < len(rules.times):
        raise place.wrong("two readings are of one time")
    if rules.among_several and rules.model_label is None:
        raise at["inner_calls"].wrong("means nothing without labels: nobody says whether there are several")
    if rules.inner_calls and rules.directions:
        raise at["inner_calls"].wrong("with tokens: those of inner calls would count too")
    return rules


def _counts(place: Place) -> tuple[CountRule, ...]:
    at = place.keys(f"inferences ok errors tokens_in tokens_out batch_size {TIMES} {' '.join(WORK)}")
    if not at:
        raise place.wrong("is empty")
    counts = list(_served(place, at))
    counts += [CountRule(read_series(at[key]), direction) for key, direction in _TOKENS.items() if key in at]
    if "batch_size" in at:
        keys = at["batch_size"].keys("name per where", required="name per")
        where = read_where(keys)
        counts.append(CountRule(SeriesRule((read_name(keys["name"]),), where), "executed"))
        counts.append(CountRule(SeriesRule((read_name(keys["per"]),), where), "executions"))
    return tuple(counts)


def _served(place: Place, at: Mapping[str, Place]) -> tuple[CountRule, ...]:
    """The counters of inferences; none of them is fine."""
    if "inferences" in at and "ok" in at:
        raise place.wrong("must not have both inferences and ok")
    if "inferences" not in at and "ok" not in at:
        if "errors" in at:
            raise at["errors"].wrong("means nothing without inferences or ok")
        return ()
    first = _inferences(at["inferences"]) if "inferences" in at else CountRule(read_series(at["ok"]), "ok")
    if "errors" not in at:
        return (first,)
    if first.outcome_label is not None:
        raise at["errors"].wrong("means nothing beside inferences with by: its label tells the errors")
    return first, CountRule(read_series(at["errors"]), "error")


def _inferences(place: Place) -> CountRule:
    series = read_series(place, also="by")
    at = place.mapping()
    if "by" not in at:
        return CountRule(series)
    by = at["by"].keys("label error", required="label error")
    return CountRule(series, None, by["label"].text(), by["error"].each(text_match))


def _gauges(place: Place) -> dict[Gauge, SeriesRule]:
    at = place.keys(" ".join(GAUGES))
    if not at:
        raise place.wrong("is empty")
    return {gauge: read_series(at[gauge]) for gauge in GAUGES if gauge in at}


def _times(at: Mapping[str, Place]) -> tuple[TimeRule, ...]:
    """All of them, however they are told."""
    summed = {key: one for key, one in at["counters"].mapping().items() if key in TIMES.split()} if "counters" in at else {}
    return tuple(
        chain(
            read_sums(summed),
            read_histograms(at["histograms"]) if "histograms" in at else (),
            read_summaries(at["summaries"]) if "summaries" in at else (),
        )
    )


def _work(place: Place) -> dict[Work, SeriesRule]:
    at = place.mapping()
    return {work: read_series(at[work]) for work in WORK if work in at}

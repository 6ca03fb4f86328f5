"""From one page of counters to the next: how many more inferences were served, and tokens. Pure: no clock, no I/O.

A series is told by its name and all of its labels. What it counted before the first page is never counted; what comes into being later
counts from 0, and so does a counter that fell (the server was started anew). A series that vanishes is remembered: it
goes on where it was, should it come back. Where a reading has several names, the one that was read first is read for as long as it is
exposed. Whatever a server exposes, no increase is negative, none is counted twice, and nothing is counted beyond LARGEST_COUNT. Whether the
pages are one server's is told in succession.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from infermeter.mapping.metrics import CountRule, Gauge, MetricRules, What, Work
from infermeter.mapping.series import SeriesRule
from infermeter.model import Direction, Outcome, Series, ServerReading, ServerTime, TimeOf
from infermeter.scrape.times import FORGOTTEN_AFTER_NS, LARGEST_COUNT, Key, Times, Told, whole
from infermeter.scrape.work import WorkOfOne

SERIES_REMEMBERED: Final = 10_000
LABELS_CHARACTERS: Final = 1_024
"""Of all names and values of a series' labels; one with more isn't counted."""

Row: TypeAlias = tuple[str | None, Outcome | None]
"""Model and outcome, each None where the server doesn't tell it."""

_Row: TypeAlias = tuple[str | None, What]
"""Model, and what is counted."""

_Identity: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Totals:
    """What the pages up to `time_ns` told. Counts mean something only beside other totals: as what happened between the two.

    `executed` inferences were in so many `executions`. `gauges` are of the last page, as are the `models` that it names; with inner calls
    none of them is known to be served. `work` is of one GPU, on the mean. Those of another `era` have nothing in common with these.
    """

    time_ns: int
    inferences: Mapping[Row, int]
    resets: int = 0
    tokens: Mapping[Direction, Mapping[str | None, int]] = field(default_factory=dict)
    executed: int = 0
    executions: int = 0
    gauges: Mapping[Gauge, float] = field(default_factory=dict)
    models: frozenset[str] = frozenset()
    inner_calls: bool = False
    counts_inferences: bool = True
    times: Mapping[Key, Told] = field(default_factory=dict)
    work: Mapping[Work, float] = field(default_factory=dict)
    era: int = 0

    def since(self, before: Totals | None) -> ServerReading:
        """The reading that these totals are, after those that were handed on before; the first of an era is a baseline."""
        before = before if before is not None and before.era == self.era else None
        earlier = self if before is None else before
        executions = self.executions - earlier.executions
        return ServerReading(
            time_ns=self.time_ns,
            since_ns=None if before is None else before.time_ns,
            # a row that was forgotten, and came back, begins anew
            inferences={row: float(max(count - earlier.inferences.get(row, 0), 0)) for row, count in self.inferences.items()},
            tokens={
                direction: {model: float(max(count - earlier.tokens[direction].get(model, 0), 0)) for model, count in counts.items()}
                for direction, counts in self.tokens.items()
            },
            inner_calls=self.inner_calls,
            counts_inferences=self.counts_inferences,
            running=self.gauges.get("running"),
            waiting=self.gauges.get("waiting"),
            batch_size=(self.executed - earlier.executed) / executions if executions > 0 else self.gauges.get("batch_size"),
            kv_cache_used_ratio=self.gauges.get("kv_cache_used"),
            resets=self.resets - earlier.resets,
            model=next(iter(self.models)) if len(self.models) == 1 else None,
            times=self._times(earlier),
            flops_per_gpu=self._work(earlier, "flops"),
            memory_bytes_per_gpu=self._work(earlier, "bytes_read", "bytes_written"),
        )

    def _times(self, earlier: Totals) -> dict[str | None, dict[TimeOf, ServerTime]]:
        times: dict[str | None, dict[TimeOf, ServerTime]] = {}
        for (model, of), told in self.times.items():
            times.setdefault(model, {})[of] = told.since(earlier.times.get((model, of)))
        return times

    def _work(self, earlier: Totals, *wanted: Work) -> float | None:
        """How much more of these kinds together; None: one of them isn't told."""
        if not all(work in self.work for work in wanted):
            return None
        return sum(max(self.work[work] - earlier.work.get(work, 0.0), 0.0) for work in wanted)


@dataclass(slots=True)
class _Remembered:
    """A series when it was seen last. `value` None: it never had one that counts anything."""

    row: _Row
    value: int | None
    time_ns: int


class Counts:
    """Adds up the increases of a server's counters, page by page, in order of time."""

    def __init__(self, rules: MetricRules, *, era: int = 0) -> None:
        """Nothing is known yet. The totals will be of this `era`."""
        self._ignored = 0
        self._era = era
        self._rules = rules
        self._names: dict[SeriesRule, str] = {}
        self._series: dict[_Identity, _Remembered] = {}
        self._totals: dict[_Row, int] = {}
        self._executed: dict[What, int] = {"executed": 0, "executions": 0}
        self._ok: dict[str | None, int] = {}
        self._resets = 0
        self._last_page_ns = 0
        self._refused = False
        self._times = Times(rules.times)
        self._work = WorkOfOne()
        self._several = False

    @property
    def ignored(self) -> int:
        """How many samples couldn't be counted."""
        return self._ignored + self._times.ignored

    def add(self, series: Iterable[Series], time_ns: int) -> Totals:
        """Takes one whole page, read at `time_ns` (unix); the totals with it. Metrics that no rule reads are passed over."""
        if len(self._series) >= SERIES_REMEMBERED // 2:
            self._forget(self._last_page_ns - FORGOTTEN_AFTER_NS)
        self._last_page_ns = time_ns
        page = self._page(series)
        models = set()
        for count in self._rules.counts:
            for identity, one in self._read(page, count.series):
                self._take(count, identity, one, time_ns)
                models.add(self._model(one))
        gauges = {}
        for gauge, rule in self._rules.gauges.items():
            read = [one for _, one in self._read(page, rule)]
            gauges[gauge] = self._value(gauge, [one.value for one in read])
            models.update(map(self._model, read))
        self._times.add(lambda rule: [one for _, one in self._read(page, rule)], self._model, time_ns)
        for work, rule in self._rules.work.items():
            self._work.take(work, [(identity, one.value) for identity, one in self._read(page, rule)])
        self._several |= len(models - {None}) > 1
        inner_calls = self._rules.inner_calls and (self._several or not self._rules.among_several)
        return Totals(
            time_ns=time_ns,
            inferences=self._rows(),
            resets=self._resets,
            tokens={
                direction: {model: count for (model, what), count in self._totals.items() if what == direction}
                for direction in sorted(self._rules.directions)
            },
            executed=self._executed["executed"],
            executions=self._executed["executions"],
            gauges={gauge: value for gauge, value in gauges.items() if value is not None},
            models=frozenset() if inner_calls else frozenset(model for model in models if model is not None),
            inner_calls=inner_calls,
            counts_inferences=bool(self._rules.inferences),
            times=self._times.told,
            work=self._work.sums,
            era=self._era,
        )

    def restart(self) -> None:
        """The server was started anew: what it counts begins at 0, also where it has counted past where it was."""
        self._resets += 1
        for known in self._series.values():
            known.value = 0
        self._times.restart()
        self._work.restart()

    def _page(self, series: Iterable[Series]) -> dict[str, dict[_Identity, Series]]:
        """The series that may be read, by name, each once."""
        page: dict[str, dict[_Identity, Series]] = {name: {} for name in self._rules.names}
        for one in series:
            if one.name not in page:
                continue
            identity = _identity(one)
            if identity is None or identity in page[one.name]:
                self._ignored += 1
            else:
                page[one.name][identity] = one
        return page

    def _read(self, page: Mapping[str, Mapping[_Identity, Series]], rule: SeriesRule) -> list[tuple[_Identity, Series]]:
        """The series of the page that a rule reads."""
        name = self._names.get(rule)
        if name is None or not page[name]:
            name = next((one for one in rule.names if page[one]), None)
            if name is None:
                return []
            self._names[rule] = name
        return [(identity, one) for identity, one in page[name].items() if rule.fits(one.labels)]

    def _take(self, rule: CountRule, identity: _Identity, one: Series, time_ns: int) -> None:
        value = whole(one.value)
        self._ignored += value is None
        known = self._series.get(identity)
        if known is None:
            known = self._remembered(rule, identity, one, time_ns)
            if known is None:
                self._ignored += value is not None
                return
            known.value = value if self._refused or value is None else 0
        known.time_ns = time_ns
        if value is None:
            self._add(known.row, 0)
            return
        before = value if known.value is None else known.value
        self._resets += value < before
        self._add(known.row, value - before if value >= before else value)
        known.value = value

    def _add(self, row: _Row, more: int) -> None:
        totals: dict[Any, int] = self._executed if row[1] in self._executed else self._totals
        key = row[1] if totals is self._executed else row
        totals[key] = min(totals.get(key, 0) + more, LARGEST_COUNT)

    def _remembered(self, rule: CountRule, identity: _Identity, one: Series, time_ns: int) -> _Remembered | None:
        """A place for a new series; None: there is no room."""
        if len(self._series) >= SERIES_REMEMBERED:
            self._refused = True  # from here on a new series may be one that was refused: its value is no increase
            return None
        known = self._series[identity] = _Remembered((self._model(one), rule.what_of(one.labels)), None, time_ns)
        return known

    def _model(self, one: Series) -> str | None:
        label = self._rules.model_label
        return None if label is None else one.labels.get(label) or None

    def _forget(self, before_ns: int) -> None:
        """Lets go of the series that weren't seen since `before_ns`, and of the models that none is left of."""
        self._series = {identity: known for identity, known in self._series.items() if known.time_ns >= before_ns}
        models = {known.row[0] for known in self._series.values()}
        self._totals = {row: count for row, count in self._totals.items() if row[0] in models}
        self._ok = {model: count for model, count in self._ok.items() if model in models}

    def _rows(self) -> dict[Row, int]:
        """Inferences by outcome, as far as the counters tell it."""
        rows: dict[Row, int] = {}
        for (model, what), count in self._totals.items():
            if what == "error" or ((what == "ok" or what is None) and not self._rules.ok_is_what_is_left):
                rows[model, what] = count
            elif what is None:  # a page isn't of one instant: the errors may be ahead of all inferences for a while
                left = count - self._totals.get((model, "error"), 0)
                rows[model, "ok"] = self._ok[model] = max(left, self._ok.get(model, 0))
        return rows

    def _value(self, gauge: Gauge, values: list[float]) -> float | None:
        """What a gauge's series say together: their sum, of a cache the fullest; None: not told, or nonsense."""
        most = 1 if gauge == "kv_cache_used" else LARGEST_COUNT
        fit = [value for value in values if 0 <= value <= most]
        self._ignored += len(values) - len(fit)
        if not fit or len(fit) < len(values):
            return None
        return max(fit) if gauge == "kv_cache_used" else sum(fit)


def _identity(one: Series) -> _Identity | None:
    """None: longer than anything that is remembered."""
    if sum(len(name) + len(value) for name, value in one.labels.items()) > LABELS_CHARACTERS:
        return None
    return one.name, frozenset(one.labels.items())

"""From one page of counters to the next: how many more inferences were served. Pure: no clock, no I/O.

A series is told by its name and all of its labels. What it counted before the first page is never counted; what comes into being later
counts from 0, and so does a counter that fell (the server was started anew). A series that vanishes is remembered: it
goes on where it was, should it come back. Whatever a server exposes, no increase is negative, and none is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from infermeter.mapping.metrics import CountRule, MetricRules
from infermeter.model import Outcome, Series, ServerReading

SERIES_REMEMBERED: Final = 10_000
FORGOTTEN_AFTER_NS: Final = 3_600_000_000_000
"""A series that was gone for so long, while pages were read, gives up its place once half of them are taken."""

LABELS_CHARACTERS: Final = 1_024
"""Of all names and values of a series' labels; one with more isn't counted."""

LARGEST_COUNT: Final = 2**53
"""Beyond it a float doesn't count in ones."""

Row: TypeAlias = tuple[str | None, Outcome | None]
"""Model and outcome, each None where the server doesn't tell it."""

_Identity: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Totals:
    """What the pages up to `time_ns` told. `inferences` mean something only beside other totals: as what was served between the two."""

    time_ns: int
    inferences: Mapping[Row, int]
    running: float | None
    resets: int
    inner_calls: bool

    def since(self, before: Totals | None) -> ServerReading:
        """The reading that these totals are, after those that were handed on before; the first is a baseline."""
        earlier = self if before is None else before
        return ServerReading(
            time_ns=self.time_ns,
            since_ns=None if before is None else before.time_ns,
            # a row that was forgotten, and came back, begins anew
            inferences={row: float(max(count - earlier.inferences.get(row, 0), 0)) for row, count in self.inferences.items()},
            inner_calls=self.inner_calls,
            running=self.running,
            resets=self.resets - earlier.resets,
        )


@dataclass(slots=True)
class _Remembered:
    """A series when it was seen last. `value` None: it never had one that counts anything."""

    row: Row
    value: int | None
    time_ns: int


class Counts:
    """Adds up the increases of a server's counters, page by page, in order of time."""

    def __init__(self, rules: MetricRules) -> None:
        """Nothing is known yet. `ignored` counts samples that couldn't be counted."""
        self.ignored = 0
        self._rules = rules
        self._counts = {count.name: count for count in rules.counts}
        self._series: dict[_Identity, _Remembered] = {}
        self._totals: dict[Row, int] = {}
        self._ok: dict[str | None, int] = {}
        self._resets = 0
        self._last_page_ns = 0
        self._refused = False

    def add(self, series: Iterable[Series], time_ns: int) -> Totals:
        """Takes one whole page, read at `time_ns` (unix); the totals with it. Metrics that no rule reads are passed over."""
        if len(self._series) >= SERIES_REMEMBERED // 2:
            self._forget(self._last_page_ns - FORGOTTEN_AFTER_NS)
        self._last_page_ns = time_ns
        seen: set[_Identity] = set()
        gauges = []
        for one in series:
            rule = self._counts.get(one.name)
            identity = _identity(one)
            if (rule is None and one.name != self._rules.running) or identity is None or identity in seen:
                self.ignored += rule is not None
                continue
            seen.add(identity)
            if rule is None:
                gauges.append(one.value)
            else:
                self._take(rule, identity, one, time_ns)
        return Totals(time_ns, self._rows(), self._running(gauges), self._resets, self._rules.inner_calls)

    def _take(self, rule: CountRule, identity: _Identity, one: Series, time_ns: int) -> None:
        value = _count(one.value)
        self.ignored += value is None
        known = self._series.get(identity)
        if known is None:
            known = self._remembered(rule, identity, one, time_ns)
            if known is None:
                self.ignored += value is not None
                return
            known.value = value if self._refused or value is None else 0
        known.time_ns = time_ns
        self._totals.setdefault(known.row, 0)
        if value is None:
            return
        before = value if known.value is None else known.value
        self._resets += value < before
        self._totals[known.row] += value - before if value >= before else value
        known.value = value

    def _remembered(self, rule: CountRule, identity: _Identity, one: Series, time_ns: int) -> _Remembered | None:
        """A place for a new series; None: there is no room."""
        if len(self._series) >= SERIES_REMEMBERED:
            self._refused = True  # from here on a new series may be one that was refused: its value is no increase
            return None
        label = self._rules.model_label
        model = None if label is None else one.labels.get(label) or None
        known = self._series[identity] = _Remembered((model, rule.outcome_of(one.labels)), None, time_ns)
        return known

    def _forget(self, before_ns: int) -> None:
        """Lets go of the series that weren't seen since `before_ns`, and of the models that none is left of."""
        self._series = {identity: known for identity, known in self._series.items() if known.time_ns >= before_ns}
        models = {known.row[0] for known in self._series.values()}
        self._totals = {row: count for row, count in self._totals.items() if row[0] in models}
        self._ok = {model: count for model, count in self._ok.items() if model in models}

    def _rows(self) -> dict[Row, int]:
        """The totals by outcome, as far as the counters tell it."""
        if not self._rules.ok_is_what_is_left:
            return dict(self._totals)
        rows: dict[Row, int] = {}
        for (model, outcome), count in self._totals.items():
            if outcome == "error":
                rows[model, "error"] = count
            else:  # a page isn't of one instant: the errors may be ahead of all inferences for a while
                left = count - self._totals.get((model, "error"), 0)
                rows[model, "ok"] = self._ok[model] = max(left, self._ok.get(model, 0))
        return rows

    def _running(self, gauges: list[float]) -> float | None:
        """The sum of a gauge's series; None: not told, or nonsense."""
        fit = [value for value in gauges if 0 <= value <= LARGEST_COUNT]
        self.ignored += len(gauges) - len(fit)
        return sum(fit) if fit and len(fit) == len(gauges) else None


def _identity(one: Series) -> _Identity | None:
    """None: longer than anything that is remembered."""
    if sum(len(name) + len(value) for name, value in one.labels.items()) > LABELS_CHARACTERS:
        return None
    return one.name, frozenset(one.labels.items())


def _count(value: float) -> int | None:
    """None: no count of anything."""
    return int(value) if 0 <= value <= LARGEST_COUNT and int(value) == value else None

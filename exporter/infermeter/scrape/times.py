"""The server's own times, from one page to the next: how many more seconds, of how many inferences, of which so many took at most so long.

Pure: no clock, no I/O. The series of one time with the same labels (of a histogram those of its buckets, its sum and its count) are one
thing, which begins at 0 again when one of its counts falls. Whatever a server exposes, nothing here ever falls. A histogram that is
larger than the bounds says nothing from then on: half of one would be another distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from infermeter.mapping.series import SeriesRule
from infermeter.mapping.times import TimeRule
from infermeter.model import Series, ServerTime, TimeOf

SERIES_REMEMBERED: Final = 20_000
"""Of all times and models together; a series of a labelled histogram has some twenty."""

FORGOTTEN_AFTER_NS: Final = 3_600_000_000_000
"""A series that was gone for so long, while pages were read, gives up its place once half of them are taken."""

EDGES_OF_A_TIME: Final = 64
LARGEST_COUNT: Final = 2**53
"""Beyond it a float doesn't count in ones."""

Key: TypeAlias = tuple[str | None, TimeOf]
"""A model, None where the server doesn't tell it, and a time."""

Read: TypeAlias = Callable[[SeriesRule], Sequence[Series]]
ModelOf: TypeAlias = Callable[[Series], str | None]

_Place: TypeAlias = tuple[TimeOf, frozenset[tuple[str, str]]]


def whole(value: float) -> int | None:
    """A sample as a count; None: no count of anything."""
    return int(value) if 0 <= value <= LARGEST_COUNT and int(value) == value else None


@dataclass(slots=True)
class Told:
    """A time as it stands: seconds, and counts by upper edge in seconds (math.inf: of all)."""

    seconds: float = 0.0
    at_most: dict[float, int] = field(default_factory=dict)

    def since(self, before: Told | None) -> ServerTime:
        """What came between; what was forgotten and came back begins anew."""
        if before is None:
            return ServerTime(self.seconds, {edge: float(count) for edge, count in self.at_most.items()})
        more = {edge: float(max(count - before.at_most.get(edge, 0), 0)) for edge, count in self.at_most.items()}
        return ServerTime(max(self.seconds - before.seconds, 0.0), more)


@dataclass(slots=True)
class _Remembered:
    """Series with the same labels, when they were seen last; a sum of None: it never was."""

    key: Key
    seconds: float | None = None
    at_most: dict[float, int] = field(default_factory=dict)
    time_ns: int = 0

    def begin(self) -> None:
        """At 0, again."""
        self.at_most, self.seconds = dict.fromkeys(self.at_most, 0), None if self.seconds is None else 0.0


class Times:
    """Adds up the increases of times, page by page, in order of time. What comes into being counts from 0."""

    def __init__(self, rules: Iterable[TimeRule]) -> None:
        """Nothing is known yet. `ignored` counts samples that say nothing."""
        self.ignored = 0
        self._rules = tuple(rules)
        self._remembered: dict[_Place, _Remembered] = {}
        self._sums: dict[Key, Told] = {}
        self._series = 0
        self._last_page_ns = 0
        self._is_too_large = False

    def add(self, read: Read, model_of: ModelOf, time_ns: int) -> None:
        """Takes one whole page, read at `time_ns`: `read` tells the series of a rule that are on it. Without its sum no time is told."""
        if self._is_too_large:
            return
        if self._series >= SERIES_REMEMBERED // 2:
            self._forget(self._last_page_ns - FORGOTTEN_AFTER_NS)
        self._last_page_ns = time_ns
        for rule in self._rules:
            for place, page in self._page(rule, read, model_of).items():
                self._take(place, page, time_ns)
        if self._series > SERIES_REMEMBERED or any(len(told.at_most) > EDGES_OF_A_TIME for told in self._sums.values()):
            self._is_too_large = True
            self._remembered, self._sums = {}, {}

    def restart(self) -> None:
        """The server was started anew: everything begins at 0."""
        for known in self._remembered.values():
            known.begin()

    @property
    def told(self) -> dict[Key, Told]:
        """Everything so far. Meant beside an earlier one: as what happened between the two.

        A stage that is told in parts alone is what they are together: it has their seconds, of as many inferences as are in any of them.
        """
        told = {key: Told(sums.seconds, dict(sums.at_most)) for key, sums in self._sums.items()}
        whole = {rule.of for rule in self._rules}
        for (model, of), part in self._sums.items():
            if isinstance(of, tuple) and of[0] not in whole:
                together = told.setdefault((model, of[0]), Told())
                together.seconds += part.seconds
                if part.at_most:
                    together.at_most[math.inf] = max(together.at_most.get(math.inf, 0), *part.at_most.values())
        return told

    def _page(self, rule: TimeRule, read: Read, model_of: ModelOf) -> dict[_Place, _Remembered]:
        """What a page says of one time, by the labels of its series."""
        found: dict[_Place, _Remembered] = {}
        for series, series_rule in ((one, of) for of in rule.series for one in read(of)):
            labels = (
                {name: value for name, value in series.labels.items() if name != "le"} if series_rule is rule.buckets else series.labels
            )
            page = found.setdefault((rule.of, frozenset(labels.items())), _Remembered((model_of(series), rule.of)))
            if series_rule is rule.sums:
                seconds = series.value / rule.units_per_second
                page.seconds = seconds if abs(series.value) <= LARGEST_COUNT else None
                self.ignored += page.seconds is None
                continue
            edge = math.inf if series_rule is rule.counts else rule.edge_seconds(series.labels)
            count = whole(series.value)
            if edge is None or count is None:
                self.ignored += 1
            elif series_rule is rule.counts or edge not in page.at_most:
                page.at_most[edge] = count
        return found

    def _take(self, place: _Place, page: _Remembered, time_ns: int) -> None:
        known = self._remembered.get(place)
        if known is None:
            known = self._remembered[place] = _Remembered(page.key)
        self._series += len(page.at_most.keys() - known.at_most.keys()) + (known.seconds is None and page.seconds is not None)
        if _is_reset(known, page):
            known.begin()
        if page.seconds is not None:
            sums = self._sums.setdefault(page.key, Told())
            for edge, count in page.at_most.items():
                sums.at_most[edge] = min(sums.at_most.get(edge, 0) + count - known.at_most.get(edge, 0), LARGEST_COUNT)
            sums.seconds = min(sums.seconds + max(page.seconds - (known.seconds or 0.0), 0.0), LARGEST_COUNT)
            known.seconds = page.seconds
        known.at_most.update(page.at_most)
        known.time_ns = time_ns

    def _forget(self, before_ns: int) -> None:
        """Lets go of what wasn't seen since `before_ns`, and of the models that nothing is left of."""
        self._remembered = {place: known for place, known in self._remembered.items() if known.time_ns >= before_ns}
        self._series = sum(len(known.at_most) + (known.seconds is not None) for known in self._remembered.values())
        keys = {known.key for known in self._remembered.values()}
        self._sums = {key: told for key, told in self._sums.items() if key in keys}


def _is_reset(known: _Remembered, page: _Remembered) -> bool:
    """Whether the server was started anew: a count fell or, where there is none, the sum did. Negative times alone make a sum fall, too."""
    if page.at_most.keys() & known.at_most.keys():
        return any(count < known.at_most[edge] for edge, count in page.at_most.items() if edge in known.at_most)
    return page.seconds is not None and known.seconds is not None and page.seconds < known.seconds

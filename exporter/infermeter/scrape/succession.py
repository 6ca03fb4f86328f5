"""Whether the pages at an address are one server's: by when its process began, where they say it, else by what they count. Pure.

Behind a balanced address each switch to a server that counted less looks like a restart, and all that it ever counted like new. So what
follows a fall is held back until so many pages in a row have gone on from there that it is no other server's. One that goes on from where
the fall began shows that the pages between were another's. Over and over, there are several.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from infermeter.mapping.metrics import MetricRules
from infermeter.model import Series

START_TIME: Final = "process_start_time_seconds"
"""Unix time. Source: Prometheus, "Writing client libraries", "Standard and runtime collectors"."""

PAGES: Final = 30
BREAKS: Final = 3
"""So many in so many pages are of several servers; none in so many: of one again."""

PAGES_AT_START: Final = 5
"""What the first page is followed by, until it counts: turns show within them."""

PAGES_AFTER_FALL: Final = 10
"""By chance one of two servers answers so often in a row once in a thousand times."""

GONE: Final = 4
"""Servers whose place another took, by all that it counts, as far back as they are known again."""

SAME_SECONDS: Final = 1.0
"""Start times that lie nearer are of one process: some compute them anew for each page."""

CLOCKS_SECONDS: Final = 5.0
"""What a server's clock may be behind ours."""

Verdict: TypeAlias = Literal["counts", "restarted", "held", "several", "anew"]
"""Of a page: it counts, as what follows the last one that did; it does, from 0; not yet; not at all; or it is the first one again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a page counts, by series, at `time_ns`; when its process began, None: it doesn't say."""

    time_ns: int
    counts: Mapping[int, float]
    started_seconds: float | None = None

    def breaks_off(self, before: Standing) -> bool:
        """Whether it doesn't go on from an earlier page: something fell, or nothing that was there is any more."""
        return bool(self.counts and before.counts) and not self.goes_on_from(before)

    def goes_on_from(self, before: Standing) -> bool:
        """Whether it has something of an earlier page, nothing of it is less, and no other process says it."""
        common = self.counts.keys() & before.counts.keys()
        return bool(common) and self.later_seconds(before) == 0 and all(self.counts[series] >= before.counts[series] for series in common)

    def later_seconds(self, before: Standing) -> float:
        """By how much its process began later; 0: not at all, or nobody says it."""
        if self.started_seconds is None or before.started_seconds is None:
            return 0.0
        later = self.started_seconds - before.started_seconds
        return later if abs(later) > SAME_SECONDS else 0.0

    def ran_at(self, time_ns: int) -> bool:
        """Whether its process ran then for longer than clocks may differ."""
        return self.started_seconds is not None and self.started_seconds < time_ns / 1e9 - CLOCKS_SECONDS


def standing(rules: MetricRules, page: Sequence[Series], time_ns: int) -> Standing:
    """What of a page can only rise while its server lives; sums that are counted apart may hold a negative time."""
    times = [rule for time in rules.times for rule in (time.series if len(time.series) == 1 else time.series[1:])]
    rising = {name for rule in (*(count.series for count in rules.counts), *times) for name in rule.names}
    starts = [one.value for one in page if one.name == START_TIME]
    counts = {hash((one.name, frozenset(one.labels.items()))): one.value for one in page if one.name in rising}
    return Standing(time_ns, counts, starts[0] if len(starts) == 1 else None)


class Succession:
    """Judges page after page, in order of time."""

    def __init__(self) -> None:
        """No page has come yet."""
        self._last: Standing | None = None
        self._counted = Standing(0, {})
        self._gone: deque[Standing] = deque(maxlen=GONE)
        self._waits: Literal["fall", "rise"] | None = None
        self._pages = 0  # still to come without a break
        self._breaks: deque[bool] = deque(maxlen=PAGES)
        self._several = False

    def judge(self, page: Standing) -> Verdict:
        """What becomes of this page."""
        last = self._last
        if last is None:
            return self._begin(page, "counts")
        if page.counts:
            self._last = page
        later_seconds = page.later_seconds(last)
        restarted = later_seconds > 0 and not page.ran_at(last.time_ns)
        broke = not restarted and (later_seconds != 0 or page.breaks_off(last))
        self._breaks.append(broke)
        if later_seconds < 0 or sum(self._breaks) >= BREAKS:
            self._several = True
        if self._several:
            return "several" if any(self._breaks) else self._begin(page, "anew")
        if restarted:
            self._waits = None
            self._gone.clear()
            return self._count(page, "restarted")
        if not self._is_believed(page, broke=broke):
            return "held"
        # a process that ran beside the one that counted is no successor of it
        return self._count(page, "counts") if page.later_seconds(self._counted) == 0 else self._begin(page, "anew")

    def _begin(self, page: Standing, verdict: Verdict) -> Verdict:
        """With a page before which nothing is known."""
        self._last, self._several = page, False
        self._gone.clear()
        self._breaks.clear()
        self._waits, self._pages = ("rise", PAGES_AT_START - 1) if page.started_seconds is None else (None, 0)
        return self._count(page, verdict)

    def _is_believed(self, page: Standing, *, broke: bool) -> bool:
        """Whether this page, and those that waited before it, are of the one server."""
        is_back = any(page.goes_on_from(gone) for gone in self._gone)
        if broke or (is_back and self._waits != "rise"):
            is_fall = broke and self._waits != "rise"
            self._waits, self._pages = "fall" if is_fall else "rise", PAGES_AFTER_FALL - 1
        else:
            self._pages -= 1
        if self._waits == "fall" and page.goes_on_from(self._counted):
            self._waits = None  # what lay between was another's
            return True
        if self._waits is not None and self._pages > 0:
            return False
        if self._waits == "fall":
            self._gone.append(self._counted)
        elif is_back:
            self._gone = deque((gone for gone in self._gone if not page.goes_on_from(gone)), maxlen=GONE)
        self._waits = None
        return True

    def _count(self, page: Standing, verdict: Verdict) -> Verdict:
        self._counted = page
        return verdict

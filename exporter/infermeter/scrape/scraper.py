"""The server's own /metrics, asked every interval in a thread of its own: readings for the ledger, and whether it answers."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from infermeter.errors import Answered, Unavailable
from infermeter.mapping import ServerMapping
from infermeter.mapping.metrics import MetricRules
from infermeter.model import Series, ServerReading
from infermeter.network.exposition_text import series_of
from infermeter.network.fetching import fetch
from infermeter.polling import Poller
from infermeter.scrape.increases import Counts, Totals
from infermeter.scrape.recognition import declared, recognised
from infermeter.scrape.served_model import ANSWER_SECONDS, PATHS, served_model
from infermeter.scrape.succession import START_TIME, Succession, standing

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS: Final = 10.0
LOOK_UPS: Final = 3
"""So many pages in a row make it ask the server for its model, until it is told; a restart of the server begins anew."""

SEVERAL: Final = (
    "is several servers' by turns, or one's that starts again and again, and nothing of it is counted:"
    " server.metrics_url must be one server's own address"
)

READING_SECONDS: Final = 1.0
"""What taking a page apart, and the resolving of its host's name, may take beyond the time for fetching it."""


class Scraper:
    """Hands on a `ServerReading` for each page that came in time and isn't held back; the first is a baseline.

    What goes wrong is a state: `up` is False, nothing is handed on, and the next reading holds the increases since the last one.
    """

    def __init__(  # noqa: PLR0913 - what it asks and how, and whom it tells
        self,
        url: str,
        mappings: Sequence[ServerMapping],
        *,
        interval_seconds: float,
        timeout_seconds: float | None = None,
        token_file: str | None = None,
        now: Callable[[], int],
        loop: AbstractEventLoop,
        deliver: Callable[[ServerReading], None],
        fail: Callable[[Exception], None],
    ) -> None:
        """`mappings` in order of precedence, checked by `check_metrics_url`; the first that a page fits is read from then on.

        `now` is unix nanoseconds, called on the thread; `deliver` and `fail` are called on the loop. `timeout_seconds` is for fetching
        one page; None: the interval, at most LONGEST_WAIT_SECONDS.
        """
        wait_seconds = min(interval_seconds, LONGEST_WAIT_SECONDS) if timeout_seconds is None else timeout_seconds
        self._page = _Page(url, mappings, timeout_seconds=wait_seconds, token_file=token_file)
        self._deliver = deliver
        self._delivered: Totals | None = None
        self._poller: Poller[Totals | None] = Poller(
            "the server's own /metrics",
            self._page.totals,
            interval_seconds=interval_seconds,
            timeout_seconds=wait_seconds + READING_SECONDS + len(PATHS) * ANSWER_SECONDS,
            now=now,
            loop=loop,
            deliver=self._hand_on,
            fail=fail,
        )

    def start(self) -> None:
        """Begins to ask; returns at once. Called on the loop."""
        self._poller.start()

    def stop(self) -> None:
        """Nothing is delivered any more once this returns; doesn't wait for a page under way. Called on the loop."""
        self._poller.stop()

    @property
    def up(self) -> bool:
        """Whether the last page came in time and was the server's, and none is overdue."""
        return self._poller.up

    def _hand_on(self, totals: Totals | None) -> None:
        """Totals cross to the loop, not increases: a page that came too late is dropped on the way, and the next makes up for it."""
        if totals is None:
            return
        reading = totals.since(self._delivered)
        self._delivered = totals
        self._deliver(reading)


class _Page:
    """What the thread knows: which server it is, and what was counted."""

    def __init__(self, url: str, mappings: Sequence[ServerMapping], *, timeout_seconds: float, token_file: str | None) -> None:
        self._url = url
        self._mappings = tuple(mapping for mapping in mappings if mapping.metrics)
        self._timeout_seconds = timeout_seconds
        self._token_file = token_file
        self._wanted = (START_TIME, *(name for mapping in mappings if mapping.metrics for name in mapping.metrics.names))
        self._counts: Counts | None = None
        self._succession = Succession()
        self._era = 0
        self._is_recognised = False
        self._told_ignored = False
        self._model: str | None = None
        self._look_ups = LOOK_UPS
        self._resets = 0

    def totals(self, now_ns: int) -> Totals | None:
        """Asks for the page and adds up what it counts; None: later pages must say first whose it is. Raises: Unavailable."""
        body = fetch(self._url, timeout_seconds=self._timeout_seconds, token_file=self._token_file)
        series = series_of(body, self._wanted)
        rules = self._rules_of(series, body)
        verdict = self._succession.judge(standing(rules, series, now_ns))
        if verdict == "held":
            return None
        if verdict == "several":
            raise Answered(SEVERAL)
        if verdict == "anew":
            self._forget()
        counts = self._counts = self._counts or Counts(rules, era=self._era)
        if verdict == "restarted":
            counts.restart()
        totals = counts.add(series, now_ns)
        if counts.ignored and not self._told_ignored:
            self._told_ignored = True
            log.warning("the server's own /metrics: what is no whole number, or one series too many, is ignored")
        return self._with_model(totals)

    def _with_model(self, totals: Totals) -> Totals:
        """A page that names no model is of the one that the server's own API lists."""
        if totals.resets > self._resets:
            self._resets, self._model, self._look_ups = totals.resets, None, LOOK_UPS
        if totals.models or totals.inner_calls:
            return totals
        if self._model is None and self._look_ups:
            self._look_ups -= 1
            self._model = served_model(self._url, token_file=self._token_file)
        return totals if self._model is None else replace(totals, models=frozenset((self._model,)))

    def _forget(self) -> None:
        """What several servers said by turns."""
        self._era += 1
        self._counts, self._resets, self._model, self._look_ups = None, 0, None, LOOK_UPS

    def _rules_of(self, page: Sequence[Series], body: bytes) -> MetricRules:
        """How a page that holds these series is read: once it was recognised as a server's, it stays that server's."""
        found = recognised(self._mappings, page) or declared(self._mappings, body)
        if found is None:
            raise Unavailable(f"the page has no metric that is read of {', '.join(mapping.server for mapping in self._mappings)}")
        mapping, rules = found
        if not self._is_recognised:
            log.info("the server's own /metrics is read as %s's", mapping.server)
            self._mappings, self._wanted, self._is_recognised = (mapping,), (START_TIME, *rules.names), True
        return rules
